"""The rules of a key's life, as functions of a record and the time; nothing is read or written."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from kmscore.algorithms import TRAITS, KeyState, Origin
from kmscore.errors import (
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

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)


class Purpose(Enum):
    """What a key is about to be used for, and the states that allow it."""

    ENCRYPT = ("encrypt", frozenset({KeyState.ENABLED}))
    DECRYPT = ("decrypt", frozenset({KeyState.ENABLED, KeyState.ARCHIVED}))
    ASYMMETRIC_DECRYPT = ("asymmetric_decrypt", frozenset({KeyState.ENABLED}))
    SIGN = ("sign", frozenset({KeyState.ENABLED}))
    VERIFY = ("verify", frozenset({KeyState.ENABLED}))
    PUBLIC_KEY = ("public_key", frozenset({KeyState.ENABLED}))

    def __init__(self, verb: str, states: frozenset[KeyState]) -> None:
        self.verb = verb
        self.states = states


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
    """The record after its imported material was deleted or has expired."""
    state = KeyState.PENDING_IMPORT
    if record.state is KeyState.PENDING_DELETION:
        state = record.state
    return record._replace(state=state, version=0, valid_to=None)


def next_change(record: KeyRecord) -> float:
    """Until when the record holds by itself, in seconds since the epoch."""
    ends = [end for end in (record.deletion_at, record.valid_to) if end is not None]
    return min(ends, default=float("inf"))


def require_purpose(record: KeyRecord, purpose: Purpose) -> None:
    """Refuse a use that the state forbids.

    Raises:
        KeyStateError: It does.
    """
    if record.state not in purpose.states:
        raise state_error(record, purpose.verb)


def require_state(record: KeyRecord, allowed: frozenset[KeyState], verb: str) -> None:
    """Refuse a change that the state forbids.

    Raises:
        KeyStateError: It does.
    """
    if record.state not in allowed:
        raise state_error(record, verb)


def require_editable(record: KeyRecord, verb: str) -> None:
    """Refuse to change the names of a key that is pending deletion."""
    if record.state is KeyState.PENDING_DELETION:
        raise state_error(record, verb)


def require_rotatable(record: KeyRecord) -> None:
    """Refuse to rotate what cannot rotate.

    Raises:
        Unsupported: The key is asymmetric or external.
    """
    if record.origin is not Origin.GENERATED or not TRAITS[record.spec].is_symmetric:
        raise Unsupported(
            "asymmetric and external keys do not rotate",
            hint="Create a new key, and move the alias",
            key=record.key_id,
        )


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


def require_importable(record: KeyRecord) -> None:
    """Refuse an import in a state that does not take one.

    Raises:
        KeyStateError: The key is neither waiting for material nor enabled.
    """
    require_state(
        record, frozenset({KeyState.PENDING_IMPORT, KeyState.ENABLED}), "import_key_material"
    )


def require_alias(alias: str) -> str:
    """The alias, if it is one: 1 to 60 letters, digits, - and _, the first a letter or digit.

    Raises:
        InvalidRequest: It is not, or it could be mistaken for a key id.
    """
    if not _ALIAS.fullmatch(alias) or looks_like_id(alias):
        raise InvalidRequest(
            f"{alias!r} cannot be an alias",
            hint="Use 1 to 60 letters, digits, - and _, beginning with a letter or digit, "
            "and nothing that looks like a key id",
        )
    return alias


def require_description(description: str) -> str:
    """The description, if it is printable and at most 1024 bytes of UTF-8.

    Raises:
        InvalidRequest: It is not.
    """
    if not description.isprintable():
        raise InvalidRequest("the description holds characters that cannot be printed")
    size = len(description.encode())
    if size > MAX_DESCRIPTION_BYTES:
        raise LimitExceeded(
            f"the description has {size} bytes", hint=f"At most {MAX_DESCRIPTION_BYTES}"
        )
    return description


def looks_like_id(text: str) -> bool:
    """Whether a text has the form of a key id: a UUID."""
    return _ID.fullmatch(text) is not None


def not_found(ref: str) -> KeyNotFound:
    """The error for a key that is not there."""
    return KeyNotFound(
        "there is no such key", hint="See what there is with: kmscore keys list", key=ref
    )


def state_error(record: KeyRecord, verb: str) -> KeyStateError:
    """The error for a key in the wrong state."""
    hints = {
        KeyState.ENABLED: "Disable it first",
        KeyState.DISABLED: "Enable it first",
        KeyState.PENDING_IMPORT: "Import its material first",
        KeyState.PENDING_DELETION: "Cancel the deletion first",
        KeyState.ARCHIVED: "Restore it from the archive first",
    }
    return KeyStateError(
        f"the key is {record.state}",
        state=record.state.value,
        hint=hints[record.state],
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
