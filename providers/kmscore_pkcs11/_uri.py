"""``pkcs11:`` URIs (RFC 7512), read strictly and written in one way.

What would let whoever writes the URI run code or leave a secret in a log is refused: ``pin-value``
and ``module-name`` always, ``module-path`` and ``pin-source`` outside the configuration file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from kmscore.errors import ConfigError, InvalidRequest

SCHEME: Final = "pkcs11:"
MOST_CHARACTERS: Final = 4096
"""Longest URI that is looked at."""


class ObjectType(StrEnum):
    """What kind of object a URI names (RFC 7512, section 2.3)."""

    CERT = "cert"
    DATA = "data"
    PRIVATE = "private"
    PUBLIC = "public"
    SECRET_KEY = "secret-key"  # noqa: S105 - a kind of object


class Pkcs11Uri(NamedTuple):
    """The parts of a URI; None where it says nothing.

    Attributes:
        token: The token's label, 1 to 32 bytes in UTF-8, as the two after it.
        manufacturer: Who made the token.
        library_manufacturer: Who made the module.
        model: The token's model, 1 to 16 bytes.
        serial: The token's serial number, 1 to 16 bytes.
        slot_id: The number of the slot.
        slot_description: What the slot says of itself, 1 to 64 bytes.
        slot_manufacturer: Who made the slot, 1 to 32 bytes.
        library_description: What the module says of itself, 1 to 32 bytes.
        library_version: The module's version, ``major.minor``.
        object: CKA_LABEL of an object.
        id: CKA_ID of an object, 1 to 255 bytes.
        type: The kind of object.
        module_path: The module: an absolute path.
        pin_source: The file that holds the PIN: an absolute path.
    """

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    slot_id: int | None = None
    slot_description: str | None = None
    slot_manufacturer: str | None = None
    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: str | None = None
    object: str | None = None
    id: bytes | None = None
    type: ObjectType | None = None
    module_path: str | None = None
    pin_source: str | None = None


_TEXTS: Final[Mapping[str, int]] = MappingProxyType(
    # Sizes of the fields in CK_TOKEN_INFO, CK_SLOT_INFO and CK_INFO; labels of objects have none.
    {
        "token": 32,
        "manufacturer": 32,
        "serial": 16,
        "model": 16,
        "slot-description": 64,
        "slot-manufacturer": 32,
        "library-manufacturer": 32,
        "library-description": 32,
        "object": 255,
    }
)
_ID_BYTES: Final = 255
_PATH: Final = frozenset(
    {*_TEXTS, "slot-id", "library-version", "id", "type"},
)
_QUERY: Final = frozenset({"module-path", "pin-source"})
# RFC 7512, section 2.3: unreserved characters, those that need no escape, and escapes.
_PATH_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_PLAIN: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~",
)
_SLOT_ID: Final = re.compile(r"0|[1-9][0-9]{0,19}")
_FILE: Final = re.compile(r"(?:file:(?://)?)?(/(?!/).*)")
_VERSION: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")


def parse(uri: str, *, from_configuration: bool = False) -> Pkcs11Uri:
    """Read a URI.

    Args:
        uri: Such as ``pkcs11:token=prod;serial=12ab34cd``.
        from_configuration: Whether it stands in the configuration file itself. Only there may it
            say which library to load, and where the PIN is.

    Raises:
        InvalidRequest: It is malformed, says something twice, or something unknown.
        ConfigError: It says what it may not say.
    """
    # Callers without a type checker pass anything at all.
    if not isinstance(uri, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"a PKCS#11 URI is a {type(uri).__name__}", hint="Give a str")
    if len(uri) > MOST_CHARACTERS:
        raise InvalidRequest(f"a PKCS#11 URI has {len(uri)} characters", hint="At most 4096")
    scheme, colon, rest = uri.partition(":")
    # RFC 3986, section 3.1: schemes are written in any case.
    if scheme.lower() + colon != SCHEME:
        raise InvalidRequest("this is no PKCS#11 URI", hint="It begins with pkcs11:")
    _refuse_secrets(rest)
    path, question, query = rest.partition("?")
    found = _attributes(path, ";", _PATH, _PATH_VALUE)
    if question:
        found |= _attributes(query, "&", _QUERY, _QUERY_VALUE)
    if not from_configuration and not _QUERY.isdisjoint(found):
        raise ConfigError(
            "a PKCS#11 URI from outside the configuration names a library or a PIN",
            hint="Set module and pin in the configuration file",
        )
    return Pkcs11Uri(**{name.replace("-", "_"): _value(name, raw) for name, raw in found.items()})


def build(parts: Pkcs11Uri) -> str:
    """Write a URI; `parse` reads it back to the same parts."""
    path: list[str] = []
    query: list[str] = []
    for field, value in zip(Pkcs11Uri._fields, parts, strict=True):
        if value is None:
            continue
        name = field.replace("_", "-")
        text = f"{name}={_escape(value)}"
        (query if name in _QUERY else path).append(text)
    return SCHEME + ";".join(path) + ("?" + "&".join(query) if query else "")


def _refuse_secrets(attributes: str) -> None:
    """Wherever they stand: in front of the ``?`` is where people put them, too."""
    names = {each.partition("=")[0] for each in re.split("[;?&]", attributes)}
    if "pin-value" in names:
        # Nothing of the URI is repeated: it holds a PIN.
        raise ConfigError(
            "a PKCS#11 URI holds a PIN (pin-value)",
            hint='Refer to it instead: pin = { file = "/path" } or pin = { env = "NAME" }; change '
            "the PIN if others may have seen the URI",
        )
    if "module-name" in names:
        raise ConfigError(
            "a PKCS#11 URI names a library to search for (module-name)",
            hint="Give its absolute path with the option module",
        )


def _attributes(
    text: str, separator: str, known: frozenset[str], value_form: re.Pattern[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in text.split(separator) if text else ():
        name, equals, value = each.partition("=")
        if name not in known:
            # Vendors' own attributes narrow the choice down: ignoring one may choose another token.
            raise InvalidRequest("a PKCS#11 URI has an attribute that is not known", hint=_KNOWN)
        if not equals or not value_form.fullmatch(value):
            raise InvalidRequest(f"{name} of a PKCS#11 URI is malformed (RFC 7512)")
        if name in found:
            raise InvalidRequest(f"a PKCS#11 URI has {name} twice")
        found[name] = value
    return found


_KNOWN: Final = "Known are " + ", ".join(sorted(_PATH | _QUERY))


def _value(name: str, raw: str) -> Any:
    if name == "id":
        value = unquote_to_bytes(raw)
        _check_size(name, value, _ID_BYTES)
        return value
    try:
        text = unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name} of a PKCS#11 URI is not UTF-8") from error
    if not text.isprintable():
        raise InvalidRequest(f"{name} of a PKCS#11 URI holds characters that cannot be printed")
    if name in _TEXTS:
        _check_size(name, text.encode(), _TEXTS[name])
        return text
    return _READ[name](text)


def _check_size(name: str, value: bytes, most: int) -> None:
    if not 1 <= len(value) <= most:
        raise InvalidRequest(
            f"{name} of a PKCS#11 URI has {len(value)} bytes", hint=f"It has 1 to {most}"
        )


def _slot_id(text: str) -> int:
    if not _SLOT_ID.fullmatch(text) or int(text) >= 1 << 64:
        raise InvalidRequest("slot-id of a PKCS#11 URI is no slot number")
    return int(text)


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise InvalidRequest("library-version of a PKCS#11 URI is no version")
    return text


def _type(text: str) -> ObjectType:
    try:
        return ObjectType(text)
    except ValueError as error:
        raise InvalidRequest(
            "type of a PKCS#11 URI is not known", hint="Known are " + ", ".join(ObjectType)
        ) from error


def _module_path(text: str) -> str:
    if not PurePosixPath(text).is_absolute():
        raise ConfigError("module-path of a PKCS#11 URI is not absolute", hint="Give a full path")
    return text


def _pin_source(text: str) -> str:
    # RFC 7512 also has commands ("|/usr/bin/program"), which are not run, and other schemes.
    found = _FILE.fullmatch(text)
    if found is None:
        raise ConfigError("pin-source of a PKCS#11 URI is no file", hint="Give file:/absolute/path")
    return found[1]


_READ: Final = MappingProxyType(
    {
        "slot-id": _slot_id,
        "library-version": _version,
        "type": _type,
        "module-path": _module_path,
        "pin-source": _pin_source,
    }
)


def _escape(value: str | bytes | int) -> str:
    raw = value if isinstance(value, bytes) else str(value).encode()
    # RFC 7512, section 2.3: every byte of an id is escaped, to be read by people.
    every = isinstance(value, bytes)
    return "".join(chr(byte) if byte in _PLAIN and not every else f"%{byte:02X}" for byte in raw)
