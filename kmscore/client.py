"""What users hold: `Kms`, an open provider, and `Key`, one of its keys.

Here is done once what would otherwise be done in every provider: arguments are checked, the
context is made canonical, what a key cannot do is refused by name, errors say where they happened.
Every call goes through one gate, in one order: audit, then retry, then the provider.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from kmscore.algorithms import TRAITS, KeySpec, KeyUsage, Origin, parse
from kmscore.checks import require_bytes, require_length, require_text
from kmscore.context import EncryptionContext
from kmscore.errors import (
    ConfigError,
    InvalidRequest,
    KmsError,
    PluginError,
    Unsupported,
)
from kmscore.gate import DEFECT, Gate, interface
from kmscore.key import Key
from kmscore.retry import Replay, Retrier
from kmscore.spi import Health, KeyManager, NewKey, Provider, RandomSource, Symmetric
from kmscore.uri import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

    from kmscore.audit import AuditEvent
    from kmscore.capabilities import Capabilities
    from kmscore.config import Config
    from kmscore.context import ContextLike
    from kmscore.plugin import ProviderType, Secret, Setting
    from kmscore.registry.reconciliation import Reconciliation
    from kmscore.retry import Wait
    from kmscore.spi import KeyInfo

__all__ = ["Key", "Kms", "connect"]

Interface = TypeVar("Interface")

PAGE_SIZE = 200


class Kms:
    """An open provider. A context manager; safe to use from several threads.

    Attributes:
        name: The configured name of the provider.
        provider: The provider itself, for what only it can do.
    """

    def __init__(self, provider: Provider, gate: Gate) -> None:
        """Use `connect`; this is for who opens a provider in code."""
        self.name = gate.provider
        self.provider = provider
        self._gate = gate
        self._capabilities = provider.capabilities()

    @property
    def capabilities(self) -> Capabilities:
        """What the provider can do, as data."""
        return self._capabilities

    @property
    def is_audited(self) -> bool:
        """Whether a log or a plugin takes notice of what happens."""
        return self._gate.is_watched

    def record(self, *events: AuditEvent) -> None:
        """Tell the audit trail of what it does not know: refusals, and the events of an errand.

        Raises:
            Unavailable: The audit log is to be complete, and cannot be written.
        """
        self._gate.record(*events)

    def health(self) -> Health:
        """Whether the provider can serve now; never raises for that."""
        try:
            health = self.provider.health()
            # A plugin may have been written without a type checker.
            if not isinstance(health, Health):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError
        except KmsError as error:
            return Health(ok=False, message=str(error))
        except Exception as error:  # noqa: BLE001 - whoever asks wants to know of the others, too
            return Health(ok=False, message=f"the provider failed with {type(error).__name__}")
        return health

    def create_key(
        self,
        spec: KeySpec | str = KeySpec.AES_256,
        *,
        usage: KeyUsage | str | None = None,
        alias: str | None = None,
        origin: Origin | str = Origin.GENERATED,
        description: str = "",
    ) -> Key:
        """Make a key. Sent once, whatever happens: a second try could make a second key.

        Args:
            spec: What it is made of.
            usage: What it is for; needed only where the spec leaves a choice (RSA, SM2).
            alias: Its name, unique in the provider.
            origin: EXTERNAL for a key whose material will be imported.
            description: Free text.

        Raises:
            Unsupported: The provider makes no such keys.
            AlreadyExists: The alias is taken.
        """
        spec = parse(KeySpec, spec, "key spec")
        origin = parse(Origin, origin, "origin")
        usages = TRAITS[spec].usages
        if usage is not None:
            usage = parse(KeyUsage, usage, "key usage")
        elif len(usages) == 1:
            usage = usages[0]
        else:
            names = " or ".join(usages)
            raise InvalidRequest(f"a key of {spec} needs a usage", hint=f"Say {names}")
        kind = self._capabilities.find(spec, usage)
        if kind is None or origin not in kind.origins:
            raise Unsupported(
                f"provider {self.name!r} has no {origin} {spec} keys for {usage}",
                hint="See what it has with: kmscore providers",
                provider=self.name,
                operation="create_key",
            )
        if alias is not None:
            require_text(alias, "alias")
        new = NewKey(spec, usage, origin, alias, require_text(description, "description"))
        manager = self._interface(KeyManager)
        info = self._gate.run("create_key", "", Replay.NEVER, manager.create_key, (new,))
        return Key(self._gate, self.provider, self._capabilities, info)

    def key(self, reference: str) -> Key:
        """A key by its id, its alias, or ``kms://provider/key``.

        Raises:
            KeyNotFound: There is none.
            InvalidRequest: The reference names another provider.
        """
        uri = parse_reference(reference)
        if uri.provider not in (None, self.name) or uri.key is None:
            raise InvalidRequest(
                f"{reference!r} names no key of provider {self.name!r}",
                hint=f"Open provider {uri.provider!r}" if uri.key else "Use kms://provider/key",
            )
        manager = self._interface(KeyManager)
        info = self._gate.run(
            "describe_key", uri.key, Replay.SAFE, manager.describe_key, (uri.key,)
        )
        return Key(self._gate, self.provider, self._capabilities, info)

    def keys(self) -> Iterator[KeyInfo]:
        """All keys, page after page, in the provider's order."""
        manager = self._interface(KeyManager)
        cursor: str | None = None
        while True:
            page = self._gate.run(
                "list_keys", "", Replay.SAFE, manager.list_keys, (PAGE_SIZE, cursor)
            )
            yield from page.keys
            cursor = page.cursor
            if cursor is None:
                return

    def decrypt(self, ciphertext: bytes, *, context: ContextLike = None) -> bytes:
        """Open a ciphertext with the key that it names.

        Raises:
            CiphertextInvalid: For every reason that lies in ciphertext, key or context.
        """
        checked = EncryptionContext.of(context)
        cipher = self._interface(Symmetric)
        return self._gate.run(
            "decrypt",
            "",
            Replay.SAFE,
            cipher.decrypt,
            (None, require_bytes(ciphertext, "ciphertext"), checked),
            checked,
        ).plaintext

    def re_encrypt(
        self,
        ciphertext: bytes,
        key: Key | str,
        *,
        source_context: ContextLike = None,
        context: ContextLike = None,
    ) -> bytes:
        """Bring a ciphertext under another key, another version or another context.

        Args:
            ciphertext: A ciphertext of this provider.
            key: The key that shall protect it from now on.
            source_context: The context that it has.
            context: The context that it shall have.
        """
        target = key if isinstance(key, Key) else self.key(key)
        target.require_usage(KeyUsage.ENCRYPT_DECRYPT, "re_encrypt")
        checked = EncryptionContext.of(context)
        cipher = self._interface(Symmetric)
        return self._gate.run(
            "re_encrypt",
            target.key_id,
            Replay.SAFE,
            cipher.re_encrypt,
            (
                require_bytes(ciphertext, "ciphertext"),
                EncryptionContext.of(source_context),
                target.key_id,
                checked,
            ),
            checked,
        )

    def generate_random(self, length: int) -> bytes:
        """Random bytes from the provider's own generator.

        Args:
            length: 1 to `Limits.random` bytes.
        """
        require_length(length, self._capabilities.limits.random, "random value")
        source = self._interface(RandomSource)
        return self._gate.run("generate_random", "", Replay.SAFE, source.generate_random, (length,))

    def rewrap_root(self, secret: Secret, *, passphrase: bool = False) -> None:
        """Protect the provider's keys with another root key or passphrase, from the next open on.

        Args:
            secret: The new one.
            passphrase: Whether it is a passphrase.

        Raises:
            Unsupported: The provider has no root key.
            IntegrityError: The one that it was opened with is no longer right.
        """
        rewrap = getattr(self.provider, "rewrap_root", None)
        if rewrap is None:
            raise Unsupported(
                f"provider {self.name!r} has no root key",
                provider=self.name,
                operation="rewrap_root",
            )
        self._gate.run(
            "rewrap_root", "", Replay.NEVER, lambda: rewrap(secret, passphrase=passphrase)
        )

    def reconcile(self) -> Reconciliation:
        """Compare the provider's registry with the token that its keys are on; nothing is changed.

        Raises:
            Unsupported: The provider's keys are nowhere else than its registry.
        """
        from kmscore.registry.reconciliation import Reconcilable

        provider = self.provider
        if not isinstance(provider, Reconcilable):
            raise Unsupported(
                f"the keys of provider {self.name!r} are nowhere else than its registry",
                provider=self.name,
                operation="reconcile",
            )
        return self._gate.run("reconcile", "", Replay.SAFE, provider.reconcile)

    def close(self) -> None:
        """Give everything back; may be called twice."""
        try:
            self.provider.close()
        except KmsError as error:
            error.at(provider=self.name, operation="close")
            raise
        except Exception as error:
            raise self._gate.defect(error, "close") from error
        finally:
            self._gate.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Kms {self.name!r}>"

    def _interface(self, kind: type[Interface]) -> Interface:
        return interface(self.provider, kind, self.name)


def connect(
    name: str | None = None,
    *,
    config: Config | Mapping[str, Any] | Path | str | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    on_wait: Callable[[Wait], None] | None = None,
) -> Kms:
    """Open a configured provider.

    Args:
        name: Name of a provider, or ``kms://name``; by default the configuration's ``default``.
        config: A configuration, its content as a mapping, or the path of a ``kms.toml``; by
            default it is looked for (see `Config.load`).
        clock: Seconds since the epoch; for tests.
        sleep: Waits between tries; for tests.
        on_wait: Told before every wait between tries.

    Raises:
        ConfigError: The configuration is wrong.
        PluginError: The provider's type cannot be loaded.
        AuthenticationFailed: The provider refuses the credentials.
        Unavailable: The provider cannot be reached.
    """
    from kmscore.config import Config

    if isinstance(config, Config):
        settings = config
    elif isinstance(config, Mapping):
        settings = Config.from_mapping(config)
    else:
        settings = Config.load(config)
    if name is not None:
        uri = parse_reference(name)
        if uri.provider is not None and uri.key is not None:
            raise InvalidRequest(
                f"{name!r} names a key", hint="Open the provider, then ask for its key"
            )
        name = uri.provider or uri.key
    return _connect(settings, name, (), clock=clock, sleep=sleep, on_wait=on_wait)


def _connect(
    settings: Config,
    name: str | None,
    waiting: tuple[str, ...],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    on_wait: Callable[[Wait], None] | None,
) -> Kms:
    """Open a provider, while others wait for a secret that it keeps for them."""
    from kmscore.discovery import Plugins

    entry = settings.entry(name)
    if entry.name in waiting:
        raise ConfigError(
            f"provider {entry.name!r} keeps the secret that it needs itself to open",
            hint="Keep one of the secrets elsewhere: in a file, or in the environment",
            provider=entry.name,
        )

    def unseal(reference: str, ciphertext: bytes) -> bytes:
        keeper = parse_reference(reference).provider
        others = (*waiting, entry.name)
        with _connect(settings, keeper, others, clock=clock, sleep=sleep, on_wait=on_wait) as kms:
            return kms.key(reference).decrypt(ciphertext)

    plugins = Plugins()
    for plugin in settings.plugins:
        plugins.load(plugin)
    kind = plugins.provider_type(entry.type)
    setting = settings.setting(entry, kind, clock, unseal)
    log = None
    if settings.audit is not None:
        from kmscore.audit import AuditLog

        audit = settings.audit
        log = AuditLog(audit.path, key=audit.key, fail_closed=audit.fail_closed)
    gate = Gate(
        entry.name,
        Retrier(settings.retry, sleep=sleep, on_wait=on_wait),
        log=log,
        hooks=plugins.hook if plugins.has_audit_subscribers else None,
        clock=clock,
    )
    try:
        return _open(kind, setting, gate)
    except BaseException:
        gate.close()
        raise


def _open(kind: ProviderType, setting: Setting, gate: Gate) -> Kms:
    from kmscore.capabilities import Capabilities
    from kmscore.discovery import missing_package

    what = f"provider type {kind.name!r}"
    try:
        provider = kind.open(setting)
        # Plugins may have been written without a type checker.
        if not isinstance(provider, Provider):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PluginError(f"{what} opened a {type(provider).__name__}", hint=DEFECT)
        try:
            kms = Kms(provider, gate)
            if not isinstance(kms.capabilities, Capabilities):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise PluginError(f"{what} does not say what it can do", hint=DEFECT)
        except BaseException:
            provider.close()
            raise
    except KmsError as error:
        error.at(provider=setting.name, operation="open")
        raise
    except ImportError as error:
        raise PluginError(
            f"{what} needs the Python package {error.name!r}",
            hint=missing_package(kind.name),
            provider=setting.name,
            operation="open",
        ) from error
    except Exception as error:
        # The text of a foreign exception may hold a secret: name its class alone.
        raise PluginError(
            f"{what} failed to open with {type(error).__name__}",
            hint=DEFECT,
            provider=setting.name,
            operation="open",
        ) from error
    return kms
