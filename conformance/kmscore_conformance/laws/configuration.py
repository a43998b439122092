"""The configuration: what the provider's own options say holds, and mistakes are explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kmscore.config import check
from kmscore.discovery import Plugins
from kmscore.errors import ConfigError, KmsError
from kmscore.plugin import Option, OptionKind, ProviderType
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Inapplicable, Violation
from kmscore_conformance.scope import ANY
from kmscore_conformance.trial import Trial, require

CONFIGURED = replace(ANY, configured=True)

WRONG: Mapping[OptionKind, Any] = {
    OptionKind.STRING: 17,
    OptionKind.INTEGER: "seventeen",
    OptionKind.NUMBER: "seventeen",
    OptionKind.BOOLEAN: "perhaps",
    OptionKind.PATH: 17,
    OptionKind.SECRET: "an inline secret",
    OptionKind.STRINGS: 17,
    OptionKind.TABLE: 17,
}


def _type(trial: Trial) -> ProviderType:
    if trial.subject.source is None:
        raise Inapplicable("the provider was opened in code, without a configuration")
    _, entry = trial.subject.source
    return Plugins().provider_type(entry.type)


def _options(trial: Trial) -> tuple[dict[str, Any], ProviderType]:
    kind = _type(trial)
    if trial.subject.source is None:
        raise Inapplicable("the provider was opened in code, without a configuration")
    return dict(trial.subject.source[1].options), kind


def _refusal(trial: Trial, options: Mapping[str, Any], what: str) -> str:
    kind = _type(trial)
    if trial.subject.source is None:
        raise Inapplicable("the provider was opened in code, without a configuration")
    try:
        check(options, kind.options, where="kms.toml", base=trial.subject.source[0].base)
    except ConfigError as error:
        return str(error)
    except KmsError as error:
        raise Violation(f"{what}: {type(error).__name__} instead of ConfigError") from error
    raise Violation(f"{what} is accepted")


@law(
    "config.options",
    "The provider's type describes itself and every option in a sentence.",
    Layer.CONFIGURATION,
    CONFIGURED,
)
def options(trial: Trial) -> None:
    """What `kmscore providers` and the JSON Schema show."""
    kind = _type(trial)
    require(kind.summary.strip(), "the type has no summary")
    names = [option.name for option in kind.options]
    require(len(set(names)) == len(names), "an option is there twice")
    for option in _all(kind.options):
        require(option.help.strip(), f"the option {option.name!r} has no help")
        require(option.kinds, f"the option {option.name!r} takes nothing")
        secret = any(word in option.name for word in ("password", "passphrase", "pin"))
        secret = secret and option.name.rpartition("_")[2] not in ("type", "file")
        by_reference = OptionKind.SECRET in option.kinds or OptionKind.TABLE in option.kinds
        harmless = option.kinds == (OptionKind.BOOLEAN,) or option.choices
        require(
            by_reference or harmless or not secret,
            f"the option {option.name!r} would be a secret in the file",
        )


def _all(options: tuple[Option, ...]) -> list[Option]:
    found: list[Option] = []
    for option in options:
        found += [option, *_all(option.options)]
    return found


@law(
    "config.unknown-option",
    "An option that does not exist is ConfigError, which names it and a near one.",
    Layer.CONFIGURATION,
    CONFIGURED,
)
def unknown_option(trial: Trial) -> None:
    """A misspelt option that is ignored is a surprise for later."""
    given, kind = _options(trial)
    for name in [option.name + "s" for option in kind.options] + ["kmscore-no-such-option"]:
        told = _refusal(trial, {**given, name: 1}, f"the option {name!r}")
        require(name in told, f"the error does not name {name!r}")


@law(
    "config.wrong-type",
    "A value of the wrong type is ConfigError, which names the option.",
    Layer.CONFIGURATION,
    CONFIGURED,
)
def wrong_type(trial: Trial) -> None:
    """For every option of the type."""
    given, kind = _options(trial)
    for option in kind.options:
        value = next((WRONG[k] for k in option.kinds if not _takes(option, WRONG[k])), None)
        if value is None:
            continue
        told = _refusal(trial, {**given, option.name: value}, f"{option.name} = {value!r}")
        require(option.name in told, f"the error does not name {option.name!r}")
        require("inline secret" not in told, "the error repeats an inline secret")


def _takes(option: Option, value: Any) -> bool:
    fits = {
        OptionKind.STRING: isinstance(value, str),
        OptionKind.PATH: isinstance(value, str),
        OptionKind.INTEGER: isinstance(value, int),
        OptionKind.NUMBER: isinstance(value, int),
    }
    return any(fits.get(kind, False) for kind in option.kinds)


@law(
    "config.required-option",
    "A required option that is missing is ConfigError, which names it.",
    Layer.CONFIGURATION,
    CONFIGURED,
)
def required_option(trial: Trial) -> None:
    """When the provider is opened, not when it is used."""
    given, kind = _options(trial)
    for option in kind.options:
        if option.required:
            rest = {name: value for name, value in given.items() if name != option.name}
            told = _refusal(trial, rest, f"a configuration without {option.name!r}")
            require(option.name in told, f"the error does not name {option.name!r}")


@law(
    "config.spi-version",
    "The provider was written for this version of the provider interface.",
    Layer.CONFIGURATION,
    CONFIGURED,
)
def spi_version(trial: Trial) -> None:
    """Said, and not assumed."""
    from kmscore.spi import SPI_VERSION

    version = _type(trial).spi_version
    require(version == SPI_VERSION, f"it was written for version {version}")
