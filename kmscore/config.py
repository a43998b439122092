"""The configuration: ``kms.toml``, found, read strictly, and turned into settings."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

from kmscore.errors import ConfigError
from kmscore.paths import named_path
from kmscore.plugin import Option, OptionKind, ProviderType, Secret, Setting
from kmscore.retry import RetryPolicy
from kmscore.secret import Unseal, secret_of

FILE_NAME: Final = "kms.toml"
VARIABLE: Final = "KMSCORE_CONFIG"
"""The one environment variable that is read without being named in the configuration."""

RETRY: Final = (
    Option("max_attempts", "How often a call is sent at most.", (OptionKind.INTEGER,), default=6),
    Option(
        "initial_delay",
        "Upper bound of the first wait, in seconds; it doubles each time.",
        (OptionKind.NUMBER,),
        default=0.1,
    ),
    Option("max_delay", "Upper bound of every wait.", (OptionKind.NUMBER,), default=5.0),
    Option(
        "deadline",
        "Seconds after which nothing is sent again.",
        (OptionKind.NUMBER,),
        default=30.0,
    ),
)

AUDIT: Final = (
    Option("path", "The audit log, one line of JSON for each event.", (OptionKind.PATH,), True),
    Option(
        "key",
        "Reference to a key for the log's chain: without it nobody can forge the log.",
        (OptionKind.SECRET,),
    ),
    Option(
        "fail_closed",
        "Whether an operation fails when it cannot be logged.",
        (OptionKind.BOOLEAN,),
        default=False,
    ),
)

CORE: Final = (
    Option("default", "Name of the provider that is used when none is named."),
    Option(
        "plugins",
        "Plugins to load besides the providers' own, for audit hooks and commands.",
        (OptionKind.STRINGS,),
        default=(),
    ),
    Option("providers", "A table for each provider.", (OptionKind.TABLE,)),
    Option("retry", "How failed calls are sent again.", (OptionKind.TABLE,), options=RETRY),
    Option("audit", "Where events are logged.", (OptionKind.TABLE,), options=AUDIT),
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)


class ProviderEntry(NamedTuple):
    """A provider as the configuration has it: its type's options are not checked yet."""

    name: str
    type: str
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<ProviderEntry {self.name} of type {self.type}>"


class AuditSettings(NamedTuple):
    """The table ``[audit]``."""

    path: Path
    key: Secret | None = None
    fail_closed: bool = False


class Config(NamedTuple):
    """A configuration.

    Attributes:
        path: The file that it was read from, or None.
        base: The folder that relative paths count from.
        default: The provider that is used when none is named.
        providers: All providers by name.
        retry: How failed calls are sent again.
        audit: Where events are logged, or None.
        plugins: Plugins to load besides the providers' own.
    """

    path: Path | None
    base: Path
    default: str | None
    providers: Mapping[str, ProviderEntry]
    retry: RetryPolicy
    audit: AuditSettings | None
    plugins: tuple[str, ...]

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Read the configuration file.

        Args:
            path: The file. Without one: ``$KMSCORE_CONFIG``, else ``kms.toml`` in the working
                directory, else ``kmscore/kms.toml`` in the user's configuration folder.

        Raises:
            ConfigError: There is none, it cannot be read, or something in it is wrong.
        """
        # Callers without a type checker pass anything at all.
        if not isinstance(path, str | os.PathLike | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"a {type(path).__name__} is no configuration",
                hint="Give a path, a mapping, or a Config",
            )
        file = Path(path) if path is not None else _find()
        import tomllib

        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"configuration {file} cannot be read: {error.strerror}",
                hint="Check the path, or write one: see docs/configuration.md",
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"configuration {file} is not UTF-8") from error
        except ValueError as error:
            raise ConfigError(f"{str(file)!r} cannot be the path of a configuration") from error
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"configuration {file} is not TOML: {error}") from error
        except (ValueError, RecursionError) as error:
            # What the parser leaves to Python: numbers of thousands of digits, deep nesting.
            raise ConfigError(
                f"configuration {file} holds a number that is too long, or is nested too deeply"
            ) from error
        return cls.from_mapping(data, base=file.absolute().parent, path=file)

    @classmethod
    def from_mapping(
        cls, data: Mapping[str, Any], *, base: Path | None = None, path: Path | None = None
    ) -> Self:
        """A configuration from its content.

        Args:
            data: What `tomllib` would return; in code, secrets may also be functions.
            base: The folder that relative paths count from; by default the working directory.
            path: The file, for errors.

        Raises:
            ConfigError: Something in it is wrong.
        """
        # Callers without a type checker pass anything at all.
        if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a {type(data).__name__} is no configuration", hint="Give a mapping")
        folder = base or Path.cwd()
        source = str(path or "configuration")
        values = check(data, CORE, where=source, base=folder)
        tables: Mapping[str, Any] = values["providers"] or {}
        providers = {name: _entry(name, table, source) for name, table in tables.items()}
        default = values["default"]
        if default is not None and default not in providers:
            raise ConfigError(
                f"{source}: default names provider {default!r}, which is not configured",
                hint=_nearest(default, providers),
            )
        audit = values["audit"]
        return cls(
            path,
            folder,
            default,
            providers,
            _retry(values["retry"] or {}, source),
            AuditSettings(**audit) if audit else None,
            tuple(values["plugins"]),
        )

    def entry(self, name: str | None = None) -> ProviderEntry:
        """A provider by name; without one the default, or the only one.

        Raises:
            ConfigError: There is none of that name, or there are several and no default.
        """
        source = str(self.path or "configuration")
        if name is None:
            name = self.default
        if name is None:
            if len(self.providers) == 1:
                return next(iter(self.providers.values()))
            raise ConfigError(
                f"{source} has {len(self.providers) or 'no'} providers, and no default",
                hint="Name one with --provider, or set default",
            )
        entry = self.providers.get(name)
        if entry is None:
            raise ConfigError(
                f"{source} has no provider {name!r}", hint=_nearest(name, self.providers)
            )
        return entry

    def setting(
        self,
        entry: ProviderEntry,
        kind: ProviderType,
        clock: Callable[[], float] = time.time,
        unseal: Unseal | None = None,
    ) -> Setting:
        """A provider's options, checked against its type.

        Args:
            entry: The provider.
            kind: Its type.
            clock: Seconds since the epoch.
            unseal: Decrypts secrets that other providers keep.

        Raises:
            ConfigError: One is unknown, missing, or has the wrong type.
        """
        where = f"{self.path or 'configuration'} [providers.{entry.name}]"
        options = check(entry.options, kind.options, where=where, base=self.base, unseal=unseal)
        for secret in _secrets(options):
            if secret.keeper:
                self.entry(secret.keeper)
        return Setting(entry.name, options, clock)


def check(
    data: Mapping[str, Any],
    options: Iterable[Option],
    *,
    where: str,
    base: Path,
    unseal: Unseal | None = None,
) -> dict[str, Any]:
    """Check a table against its options, and fill in what is missing.

    Raises:
        ConfigError: A key is unknown (with the nearest known one), missing, or of a wrong type.
    """
    known = {option.name: option for option in options}
    for name in data:
        if name not in known:
            hint = _nearest(str(name), known)
            raise ConfigError(f"{where} has an unknown key {name!r}", hint=hint)
    values: dict[str, Any] = {}
    for option in known.values():
        if option.name in data:
            values[option.name] = _value(data[option.name], option, where, base, unseal)
        elif option.required:
            raise ConfigError(f"{where} lacks the key {option.name!r}", hint=option.help)
        else:
            values[option.name] = option.default
    return values


def _value(value: Any, option: Option, where: str, base: Path, unseal: Unseal | None) -> Any:
    place = f"{where} {option.name}"
    for kind in option.kinds:
        fits = _FITS.get(kind)
        if fits is not None and not fits(value):
            continue
        if kind is OptionKind.SECRET:
            return secret_of(value, where=place, base=base, unseal=unseal)
        if kind is OptionKind.PATH:
            return named_path(value, where=place, base=base)
        if kind is OptionKind.TABLE and option.options:
            return check(value, option.options, where=place, base=base, unseal=unseal)
        if option.choices and value not in option.choices:
            raise ConfigError(
                f"{place} is {value!r}", hint=f"Use one of: {', '.join(option.choices)}"
            )
        return value
    kinds = " or ".join(_SHOWN[kind] for kind in option.kinds)
    raise ConfigError(f"{place} is a {_type_name(value)}", hint=f"It must be {kinds}")


def _secrets(options: Mapping[str, Any]) -> Iterator[Secret]:
    for value in options.values():
        if isinstance(value, Secret):
            yield value
        elif isinstance(value, Mapping):
            yield from _secrets(cast("Mapping[str, Any]", value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(item, str) for item in cast("list[Any]", value)
    )


_FITS: Final[dict[OptionKind, Callable[[Any], bool]]] = {
    OptionKind.STRING: lambda value: isinstance(value, str),
    OptionKind.INTEGER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    OptionKind.NUMBER: _is_number,
    OptionKind.BOOLEAN: lambda value: isinstance(value, bool),
    OptionKind.PATH: lambda value: isinstance(value, str | Path) and bool(str(value)),
    OptionKind.STRINGS: _is_strings,
    OptionKind.TABLE: lambda value: isinstance(value, Mapping),
}

_SHOWN: Final = {
    OptionKind.STRING: "a string",
    OptionKind.INTEGER: "a whole number",
    OptionKind.NUMBER: "a number",
    OptionKind.BOOLEAN: "true or false",
    OptionKind.PATH: "a path",
    OptionKind.SECRET: "a reference to a secret",
    OptionKind.STRINGS: "a list of strings",
    OptionKind.TABLE: "a table",
}

_TOML_NAMES: Final = {
    "bool": "boolean",
    "dict": "table",
    "float": "number",
    "int": "number",
    "list": "list",
    "str": "string",
}


def _type_name(value: Any) -> str:
    name = type(value).__name__
    return _TOML_NAMES.get(name, name)


def _entry(name: str, table: Any, source: str) -> ProviderEntry:
    # Callers without a type checker pass anything at all.
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"{source}: {name!r} cannot name a provider", hint="Use letters, digits, - and _"
        )
    where = f"{source} [providers.{name}]"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is a {_type_name(table)}", hint="It must be a table")
    options = dict(cast("Mapping[str, Any]", table))
    kind = options.pop("type", None)
    if not isinstance(kind, str) or not kind:
        raise ConfigError(f"{where} lacks the key 'type'", hint='For example: type = "software"')
    return ProviderEntry(name, kind, options)


def _retry(values: Mapping[str, Any], source: str) -> RetryPolicy:
    try:
        return RetryPolicy(**values)
    except ConfigError as error:
        error.message = f"{source} [retry]: {error.message}"
        raise


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(names)) or 'none'}"


def find() -> Path | None:
    """The configuration file that is read when none is named, or None when there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    here = Path(FILE_NAME)
    if here.is_file():
        return here
    user = _user_file()
    return user if user.is_file() else None


def _user_file() -> Path:
    from platformdirs import user_config_path

    return user_config_path("kmscore") / FILE_NAME


def _find() -> Path:
    found = find()
    if found is not None:
        return found
    here = Path(FILE_NAME)
    with suppress(OSError):  # the working directory may have been removed
        here = here.absolute()
    raise ConfigError(
        f"no configuration: {VARIABLE} is not set, and there is neither {here} nor {_user_file()}",
        hint="Write one, or name it with --config: see docs/configuration.md",
    )
