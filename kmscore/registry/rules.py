"""The rules of a key's life, as functions of a record and the time; nothing is read or written.

::

    GENERATED ──▶ ENABLED ◀──▶ DISABLED ◀──▶ PENDING_DELETION ──▶ gone
                   ▲   │           │
                   │   └─▶ ARCHIVED ◀┘         restored: ENABLED
                   │
    EXTERNAL ──▶ PENDING_IMPORT                material deleted or expired: back to here

A key pending deletion decrypts nothing, and can be cancelled until its last second. An archived
key decrypts, but encrypts no more.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from kmscore.algorithms import TRAITS, KeyState, Origin
from kmscore.checks import require_text
from kmscore.errors import (
    AlreadyExists,
    ImportTokenExpired,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    LimitExceeded,
    Unsupported,
)
from kmscore.registry.model import KeyRecord

DAY: Final = 86400
IMPORT_LIFETIME: Final = DAY
"""Import parameters are accepted for 24 hours, in seconds."""

DELETION_DAYS: Final = (7, 30)
ROTATION_DAYS: Final = (7, 365)
MAX_DESCRIPTION_BYTES: Final = 1024
LAST_SECOND: Final = 253402300799
"""The end of the year 9999, the last time that can be shown."""

SWITCHABLE: Final = frozenset({KeyState.ENABLED, KeyState.DISABLED})
"""States of a key that can be enabled, disabled and archived."""

IMPORTABLE: Final = frozenset({KeyState.PENDING_IMPORT, KeyState.ENABLED})
"""States of an external key that takes material."""

EMPTIABLE: Final = frozenset({KeyState.PENDING_IMPORT, KeyState.ENABLED, KeyState.DISABLED})
"""States of an external key whose material can be deleted."""

EDITABLE: Final = frozenset(KeyState) - {KeyState.PENDING_DELETION}
"""States of a key whose alias and description can change."""

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)


class Purpose(Enum):
    """What a key is about to be used for.

    Attributes:
        verb: The operation, as in errors.
        states: The states that allow it.
    """

    ENCRYPT = ("encrypt", frozenset({KeyState.ENABLED}))
    DECRYPT = ("decrypt", frozenset({KeyState.ENABLED, KeyState.ARCHIVED}))
    ASYMMETRIC_DECRYPT = ("asymmetric_decrypt", frozenset({KeyState.ENABLED}))
    SIGN = ("sign", frozenset({KeyState.ENABLED}))
    VERIFY = ("verify", frozenset({KeyState.ENABLED}))
    PUBLIC_KEY = ("public_key", frozenset({KeyState.ENABLED}))

    def __init__(self, verb: str, states: frozenset[KeyState]) -> None:
        self.verb = verb
        self.states = states


# --- What the clock brings -------------------------------------------------------------------


def is_gone(record: KeyRecord, now: float) -> bool:
    """Whether a key pending deletion has reached its end."""
    return (
        record.state is KeyState.PENDING_DELETION
        and record.deletion_at is not None
        and record.deletion_at <= now
    )


def has_expired(record: KeyRecord, now: float) -> bool:
    """Whether a key's imported material has come to its end, but is still written as usable."""
    return record.valid_to is not None and record.valid_to <= now


def as_of(record: KeyRecord, now: float) -> KeyRecord:
    """The record as it holds at a time: expired material is gone, whoever has noticed yet.

    Raises:
        KeyNotFound: The key's waiting time before deletion is over.
    """
    if is_gone(record, now):
        raise not_found(record.key_id)
    if has_expired(record, now):
        return without_material(record)
    return record


def without_material(record: KeyRecord) -> KeyRecord:
    """The record after its imported material was deleted or has expired.

    It waits for the same material again, unless it waits for its deletion.
    """
    state = KeyState.PENDING_IMPORT
    if record.state is KeyState.PENDING_DELETION:
        state = record.state
    return record._replace(state=state, version=0, valid_to=None)


def next_change(record: KeyRecord) -> float:
    """Until when the record holds by itself, in seconds since the epoch."""
    ends = [end for end in (record.deletion_at, record.valid_to) if end is not None]
    return min(ends, default=float("inf"))


# --- What is refused -------------------------------------------------------------------------


def require_state(record: KeyRecord, allowed: frozenset[KeyState], verb: str) -> None:
    """Refuse what the state forbids.

    Raises:
        KeyStateError: It does.
    """
    if record.state not in allowed:
        raise state_error(record, verb, allowed)


def require_rotatable(record: KeyRecord, verb: str) -> None:
    """Refuse to rotate what cannot rotate, or not now.

    Raises:
        Unsupported: The key is asymmetric or external.
        KeyStateError: The key is not enabled.
    """
    if record.origin is not Origin.GENERATED or not TRAITS[record.spec].is_symmetric:
        raise Unsupported(
            "asymmetric and external keys do not rotate",
            hint="Create a new key, and move the alias",
            key=record.key_id,
        )
    require_state(record, frozenset({KeyState.ENABLED}), verb)


def require_external(record: KeyRecord) -> None:
    """Refuse to import into a key that has material of its own.

    Raises:
        InvalidRequest: It has.
    """
    if record.origin is not Origin.EXTERNAL:
        raise InvalidRequest(
            "the key's material was generated, not imported",
            hint="Create a key with origin EXTERNAL",
            key=record.key_id,
        )


def require_expiry(valid_to: int | None, now: float) -> None:
    """Refuse an expiry that is over, or that no calendar shows.

    Raises:
        InvalidRequest: It is.
    """
    if valid_to is not None and not now < valid_to <= LAST_SECOND:
        raise InvalidRequest(
            "the material would have expired already, or after the year 9999",
            hint="Give a time in the future, or none",
        )


def require_alias(alias: str) -> str:
    """The alias, if it is one: 1 to 60 letters, digits, - and _, the first a letter or digit.

    Raises:
        InvalidRequest: It is not, or it could be mistaken for a key id.
    """
    if not _ALIAS.fullmatch(require_text(alias, "alias")) or looks_like_id(alias):
        raise InvalidRequest(
            f"{alias[:80]!r} cannot be an alias",
            hint="Use 1 to 60 letters, digits, - and _, beginning with a letter or digit, "
            "and nothing that looks like a key id",
        )
    return alias


def require_description(description: str) -> str:
    """The description, if it is printable and at most 1024 bytes of UTF-8.

    Raises:
        InvalidRequest: It is not printable.
        LimitExceeded: It is longer.
    """
    size = len(require_text(description, "description").encode())
    if size > MAX_DESCRIPTION_BYTES:
        raise LimitExceeded(
            f"the description has {size} bytes", hint=f"At most {MAX_DESCRIPTION_BYTES}"
        )
    return description


def looks_like_id(text: str) -> bool:
    """Whether a text has the form of a key id: a UUID (RFC 9562), in upper or lower case."""
    return _ID.fullmatch(text) is not None


# --- Errors ----------------------------------------------------------------------------------


def not_found(ref: str) -> KeyNotFound:
    """The error for a key that is not there."""
    return KeyNotFound(
        "there is no such key", hint="See what there is with: kmscore keys list", key=ref
    )


def alias_taken(alias: str) -> AlreadyExists:
    """The error for an alias that another key has."""
    return AlreadyExists(
        f"the alias {alias!r} is taken",
        hint="Choose another, or rename the key that has it",
    )


_WAY_OUT: Final = {
    KeyState.ENABLED: ("Disable it first", KeyState.DISABLED),
    KeyState.DISABLED: ("Enable it first", KeyState.ENABLED),
    KeyState.PENDING_IMPORT: ("Import its material first", KeyState.ENABLED),
    KeyState.PENDING_DELETION: ("Cancel the deletion first", KeyState.DISABLED),
    KeyState.ARCHIVED: ("Restore it from the archive first", KeyState.ENABLED),
}


def state_error(record: KeyRecord, verb: str, allowed: frozenset[KeyState]) -> KeyStateError:
    """The error for a key in the wrong state; it says which states would do, and how to get there.

    Args:
        record: The key.
        verb: The operation that is refused.
        allowed: The states that allow it.
    """
    advice, reached = _WAY_OUT[record.state]
    if reached not in allowed:
        if reached is KeyState.DISABLED and KeyState.ENABLED in allowed:
            advice += ", and enable it"
        elif reached is KeyState.ENABLED and KeyState.DISABLED in allowed:
            advice += ", and disable it"
        else:
            advice = ""
    needed = " or ".join(state for state in KeyState if state in allowed)
    return KeyStateError(
        f"the key is {record.state}, and {needed} is needed",
        state=record.state.value,
        hint=advice,
        operation=verb,
        key=record.key_id,
    )


def token_expired(key_id: str) -> ImportTokenExpired:
    """The error for an import token that is unknown, too old, or not the newest."""
    return ImportTokenExpired(
        "the import token is too old, or newer parameters were issued",
        hint="Fetch new import parameters, and wrap the material again",
        key=key_id,
    )
