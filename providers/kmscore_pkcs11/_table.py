"""The provider's options as it uses them, its capability table, and what `doctor` shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind
from kmscore.errors import ConfigError, InvalidRequest
from kmscore_pkcs11 import _abilities, _uri
from kmscore_pkcs11._abilities import RAW_RSA
from kmscore_pkcs11._login import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmscore.plugin import Setting
    from kmscore_pkcs11._abilities import Abilities
    from kmscore_pkcs11._login import Facts

_DENIABLE: Final = frozenset(
    str(each) for kind in (KeySpec, SigningAlgorithm, EncryptionAlgorithm, Feature) for each in kind
) | {"IMPORT"}

_NEED_SYMMETRIC: Final = frozenset(
    {Feature.DATA_KEYS, Feature.RE_ENCRYPT, Feature.ROTATION, Feature.ROTATION_SCHEDULE}
)


def registry_path(setting: Setting) -> Path:
    """Where the registry is: the option, or a file of this user under the provider's name."""
    path = setting.options["path"]
    if path is not None:
        return Path(path)
    from platformdirs import user_data_path

    folder = user_data_path("kmscore")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"pkcs11-{setting.name}.db"


def identity_of(options: Mapping[str, Any]) -> Identity:
    """Which token the options mean.

    Raises:
        ConfigError: They name none, or name it twice, or the URI is wrong or names more.
    """
    label, serial, uri = options["token"], options["serial"], options["uri"]
    if uri is None:
        if not label and not serial:
            raise ConfigError(
                "a PKCS#11 provider needs token, serial or uri",
                hint='For example: token = "prod"; see them with: pkcs11-tool -L --module …',
            )
        return Identity(label or "", serial or "")
    if label or serial:
        raise ConfigError("uri names the token already", hint="Leave token and serial out")
    try:
        parts = _uri.parse(uri)
    except InvalidRequest as error:
        raise ConfigError(error.message, hint=error.hint) from error
    named = {name for name, value in zip(parts._fields, parts, strict=True) if value is not None}
    if not named or not named <= {"token", "serial", "model", "manufacturer"}:
        raise ConfigError(
            "the provider's uri must name a token, and nothing else",
            hint="Use token, serial, model and manufacturer, as in pkcs11:token=prod",
        )
    return Identity(
        parts.token or "", parts.serial or "", parts.model or "", parts.manufacturer or ""
    )


def capabilities_of(
    abilities: Abilities, facts: Facts, deny: Sequence[str], *, host_oaep: bool
) -> Capabilities:
    """The table: what the token does, less what is denied.

    Raises:
        ConfigError: Something unknown is denied.
    """
    unknown = sorted(set(deny) - _DENIABLE)
    if unknown:
        raise ConfigError(
            f"deny names {unknown[0]!r}, which is no capability",
            hint="Name key specs, algorithms or features, or IMPORT",
        )
    denied = frozenset(deny)
    wrapping = frozenset(
        each
        for each in WrappingAlgorithm
        if can_unwrap(abilities, each) and each not in denied and "IMPORT" not in denied
    )
    kinds = [
        kind
        for spec, traits in TRAITS.items()
        if spec not in denied
        for usage in traits.usages
        if (kind := _kind(abilities, spec, usage, denied, wrapping, host_oaep)) is not None
    ]
    features = set(Feature)
    if not any(TRAITS[kind.spec].is_symmetric for kind in kinds):
        features -= _NEED_SYMMETRIC
    if not wrapping:
        features.discard(Feature.MATERIAL_EXPIRY)
    if not abilities.can(_abilities.RANDOM):
        features -= {Feature.RANDOM, Feature.DATA_KEYS}
    notes = {"token": facts.label, "model": f"{facts.manufacturer} {facts.model}"}
    if host_oaep:
        notes["RSAES_OAEP_SHA_256"] = "padding is taken off on this machine"
    return Capabilities(
        keys=tuple(kinds),
        wrapping=wrapping,
        features=frozenset(features) - denied,
        notes=notes,
    )


def can_unwrap(abilities: Abilities, wrapping: WrappingAlgorithm) -> bool:
    """Whether material that is wrapped so can be imported.

    Not with PKCS #1 v1.5 on a token that makes random keys of garbage, so that nobody can tell.
    """
    if wrapping is WrappingAlgorithm.RSAES_PKCS1_V1_5 and not abilities.can(
        _abilities.EXPLICIT_REJECTION
    ):
        return False
    return abilities.can(f"unwrap {wrapping}")


def _kind(
    abilities: Abilities,
    spec: KeySpec,
    usage: KeyUsage,
    denied: frozenset[str],
    wrapping: frozenset[WrappingAlgorithm],
    host_oaep: bool,
) -> KeyKind | None:
    traits = TRAITS[spec]
    if traits.is_symmetric:
        is_aes = traits.family == "AES"
        if not abilities.can(spec) or (is_aes and not abilities.can(_abilities.GCM)):
            return None
        origins = frozenset(Origin) if is_aes and wrapping else frozenset({Origin.GENERATED})
        return KeyKind(spec, usage, origins)
    schemes = traits.signing if usage is KeyUsage.SIGN_VERIFY else traits.encryption
    algorithms = frozenset(
        each
        for each in schemes
        if each not in denied
        and (abilities.can(each) or (host_oaep and each is EncryptionAlgorithm.RSAES_OAEP_SHA_256))
    )
    if not algorithms or not _has_spec(abilities, spec):
        return None
    return KeyKind(spec, usage, frozenset({Origin.GENERATED}), algorithms)


def _has_spec(abilities: Abilities, spec: KeySpec) -> bool:
    if spec is KeySpec.ED25519:
        return abilities.can(spec) or abilities.can(_abilities.ED25519_BY_OID)
    if spec is KeySpec.SM2:
        # Its schemes say it all.
        return True
    return abilities.can(spec)


_LARGER: Final = frozenset({KeySpec.RSA_3072.value, KeySpec.RSA_4096.value})

_OF_VENDORS: Final = frozenset({"SM4", "SM2DSA", "SM2"})

_SHOWN: Final = (
    ("AES_128", (KeySpec.AES_128, _abilities.GCM)),
    ("AES_256", (KeySpec.AES_256, _abilities.GCM)),
    *((spec.value, (spec.value,)) for spec in TRAITS if TRAITS[spec].family == "RSA"),
    *((each.value, (each.value,)) for each in TRAITS[KeySpec.RSA_2048].signing),
    *((each.value, (each.value,)) for each in TRAITS[KeySpec.RSA_2048].encryption),
    *((each, (each,)) for each in ("EC_P256", "EC_P384", "ED25519", "SM4", "SM2DSA", "SM2")),
    *((f"import by {each}", (f"unwrap {each}",)) for each in WrappingAlgorithm),
    ("random numbers", (_abilities.RANDOM,)),
    ("refuses disabled keys itself", (_abilities.FLAGS,)),
    ("restricts keys to their mechanisms", (_abilities.ALLOWED,)),
    ("keeps unextractable keys inside", (_abilities.NEVER_WRAPPED,)),
    ("authenticates the registry", (_abilities.HMAC,)),
)


def details_of(
    abilities: Abilities, facts: Facts, path: Path, module: Path, capabilities: Capabilities
) -> dict[str, str]:
    """Facts for people: the token, and line by line what it does, or how it refused."""
    details = {
        "module": str(module),
        "library": facts.library,
        "token": f"{facts.label} (serial {facts.serial})",
        "model": f"{facts.manufacturer} {facts.model}, firmware {facts.firmware}",
        "flags": facts.flags,
        "registry": str(path),
    }
    offered = {str(kind.spec) for kind in capabilities.keys}
    offered |= {str(each) for kind in capabilities.keys for each in kind.algorithms}
    offered |= {f"import by {each}" for each in capabilities.wrapping}
    for name, needed in _SHOWN:
        if name in _OF_VENDORS and name not in abilities.found:
            details[name] = "no: only with a profile of the vendor's numbers"
        elif name == KeySpec.ED25519 and abilities.can(_abilities.ED25519_BY_OID):
            details[name] = _verdict(abilities, name, (_abilities.ED25519_BY_OID,), offered)
        else:
            details[name] = _verdict(abilities, name, needed, offered)
    return details


def _verdict(abilities: Abilities, name: str, needed: Sequence[str], offered: set[str]) -> str:
    reasons = [abilities.found.get(each, "not tried") for each in needed]
    reason = next((each for each in reasons if each), "")
    if name in _LARGER and name in offered and not abilities.can(_abilities.BORROWS_RSA):
        return "yes, as it lists: it takes no private key for a trial"
    if name in offered:
        return f"on this machine: the token says {reason}" if reason else "yes"
    if reason and name == EncryptionAlgorithm.RSAES_OAEP_SHA_256 and abilities.can(RAW_RSA):
        return f"no: {reason}; allow_host_oaep = true decrypts with the padding taken off here"
    if reason:
        return f"no: {reason}"
    if name == f"import by {WrappingAlgorithm.RSAES_PKCS1_V1_5}" and not abilities.can(
        _abilities.EXPLICIT_REJECTION
    ):
        return "no: garbage would become a random key"
    is_capability = name.startswith("import by ") or name in _DENIABLE
    return "no: denied, or of no use alone" if is_capability else "yes"
