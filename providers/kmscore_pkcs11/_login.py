"""Which token is meant, and its login: a wrong PIN is never tried twice."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error

from kmscore.errors import AuthenticationFailed, ConfigError, Unavailable
from kmscore_pkcs11._errors import from_code
from kmscore_pkcs11._failures import explain
from kmscore_pkcs11._native import NativeError

if TYPE_CHECKING:
    from kmscore.plugin import Secret
    from kmscore_pkcs11._module import Module

ALREADY_LOGGED_IN: Final = 0x100
PIN_INCORRECT: Final = 0xA0

_SALT: Final = os.urandom(16)
_REFUSED_PINS: Final[set[bytes]] = set()
"""Hashes of PINs that were refused, with their tokens: three wrong tries lock many tokens."""

_ACCEPTED_PINS: Final[dict[bytes, bytes]] = {}
"""By token, the hash of the PIN that it last took from this process."""


class Identity(NamedTuple):
    """Which token is meant; empty parts fit every token.

    Attributes:
        label: CKA_LABEL, up to 32 characters.
        serial: The serial number, up to 16 characters.
        model: The model, up to 16 characters.
        manufacturer: Up to 32 characters.
    """

    label: str = ""
    serial: str = ""
    model: str = ""
    manufacturer: str = ""

    def fits(self, token: Any) -> bool:
        """Whether that is the token, or one of them."""
        there = (
            token.label,
            token.serial.decode("utf-8", "replace"),
            token.model,
            token.manufacturer_id,
        )
        return all(not wanted or wanted == found for wanted, found in zip(self, there, strict=True))

    def __str__(self) -> str:
        parts = zip(self._fields, self, strict=True)
        return ", ".join(f"{name} {value!r}" for name, value in parts if value)


class Facts(NamedTuple):
    """What a token says of itself, for people and for the cache of what it can do.

    Attributes:
        label: Its label.
        serial: Its serial number.
        model: Its model.
        manufacturer: Who made it.
        firmware: Version of its firmware.
        library: The module's description and version.
        flags: Names of its flags.
    """

    label: str
    serial: str
    model: str
    manufacturer: str
    firmware: str
    library: str
    flags: str


def find(module: Module, identity: Identity) -> Any:
    """The token that is meant, as the library's own.

    Raises:
        ConfigError: Several fit.
        Unavailable: None fits.
    """
    try:
        slots = module.library.get_slots(token_present=True)
    except PKCS11Error as error:
        raise explain(error, "C_GetSlotList") from error
    tokens: list[Any] = []
    failure: PKCS11Error | None = None
    for slot in slots:
        try:
            tokens.append(slot.get_token())
        except PKCS11Error as error:
            # Another token's trouble is not ours, unless ours is not found for it.
            failure = error
    fitting = [token for token in tokens if identity.fits(token)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        serials = ", ".join(token.serial.decode("utf-8", "replace") for token in fitting)
        raise ConfigError(
            f"several tokens fit {identity}: serial numbers {serials}",
            hint="Add serial to the configuration",
        )
    if failure is not None:
        raise explain(failure, "C_GetTokenInfo") from failure
    names = ", ".join(repr(token.label) for token in tokens if token.label) or "none"
    raise Unavailable(f"there is no token with {identity}", hint=f"There are: {names}")


def facts_of(module: Module, token: Any) -> Facts:
    """What the token says of itself."""
    library = module.library
    return Facts(
        label=token.label,
        serial=token.serial.decode("utf-8", "replace"),
        model=token.model,
        manufacturer=token.manufacturer_id,
        firmware="{}.{}".format(*token.firmware_version),
        library="{} {}.{}".format(library.library_description, *library.library_version),
        flags=", ".join(str(flag.name) for flag in TokenFlag if token.flags & flag),
    )


def require_login(token: Any) -> None:
    """Refuse a token that asks for no PIN, or where giving one could lock it.

    Raises:
        ConfigError: The token is not initialised, or everybody can use its keys.
        AuthenticationFailed: Its PIN is locked, or one wrong try away from that.
    """
    flags = token.flags
    if not flags & TokenFlag.TOKEN_INITIALIZED:
        raise ConfigError("the token is not initialised", hint="Initialise it, and set its PIN")
    if not flags & TokenFlag.LOGIN_REQUIRED:
        raise ConfigError(
            "the token asks for no PIN, so that everybody could use its keys",
            hint="Set its user PIN",
        )
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise AuthenticationFailed(
            "the token's user PIN is locked",
            hint="Have the token's security officer set a new PIN",
            code="CKF_USER_PIN_LOCKED",
        )
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise AuthenticationFailed(
            "one more wrong PIN would lock the token, so none is tried",
            hint="Log in once with another tool, and the right PIN, to reset the count",
            code="CKF_USER_PIN_FINAL_TRY",
        )


def log_in(module: Module, secret: Secret, session: Any, token: Any) -> None:
    """Log in on a session, for all sessions of this process.

    Raises:
        AuthenticationFailed: The token refuses the PIN, or has refused it before.
        ConfigError: The PIN cannot be read.
    """
    pin = secret.reveal()
    spot = f"{module.path}\0{token.label}\0".encode() + token.serial + b"\0"
    digest = hashlib.sha256(_SALT + spot + pin).digest()
    if digest in _REFUSED_PINS:
        raise AuthenticationFailed(
            f"the token refused the PIN from {secret.source} before: it is not tried again",
            hint="Correct the PIN, or start the process again if the token's PIN was changed",
            code="CKR_PIN_INCORRECT",
        )
    try:
        module.native.login(session.handle, pin)
    except NativeError as error:
        if error.code == ALREADY_LOGGED_IN:
            # By another provider of this process: logins count for all sessions.
            if hmac.compare_digest(_ACCEPTED_PINS.get(spot, digest), digest):
                return
            raise AuthenticationFailed(
                "the token is logged in already, with another PIN",
                hint="Refer to the same PIN in all providers of this token",
            ) from error
        if error.code == PIN_INCORRECT:
            _REFUSED_PINS.add(digest)
        raise from_code(error.code, error.function) from error
    _ACCEPTED_PINS[spot] = digest
