"""The registry and the token compared, both ways; nothing is changed on either.

Ours is what the registry knows by its CKA_ID, and what carries a label that kmscore gives. All else
belongs to somebody else, and is counted.
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from ctypes import c_ulong, sizeof
from typing import TYPE_CHECKING, Final, NamedTuple

from pkcs11 import Attribute, ObjectClass

from kmscore.algorithms import KeyState, Origin
from kmscore.registry.reconciliation import Finding, FindingKind, Reconciliation
from kmscore_pkcs11._abilities import FLAGS
from kmscore_pkcs11._guard import identity_of_guard
from kmscore_pkcs11._keys import place_of
from kmscore_pkcs11._native import NativeError
from kmscore_pkcs11._sessions import USER_NOT_LOGGED_IN
from kmscore_pkcs11._templates import IDENTITY_BYTES, usage_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kmscore.registry import SqliteStore
    from kmscore.registry.model import KeyRecord
    from kmscore_pkcs11._abilities import Abilities
    from kmscore_pkcs11._sessions import Session
    from kmscore_pkcs11._token import Token

SECOND_LOOK: Final = 1.0
"""Seconds after which what was found is looked for again: keys come and go in other processes."""

_PAGE: Final = 500
_OURS: Final = re.compile(r"kms:(?:(registry|probe)|([0-9a-f-]{36}):(wrapping|[1-9][0-9]*))")
_USAGES: Final = (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.SIGN)
_LOOKED_AT: Final[Mapping[int, int]] = {
    Attribute.CLASS: sizeof(c_ulong),
    Attribute.ID: 64,
    Attribute.LABEL: 64,
    **dict.fromkeys(_USAGES, 1),
}
"""With their sizes. Our labels have up to 50 bytes, CKA_ID has 16; longer ones are of others."""

_NEWER: Final = (
    "If the registry was restored from an older copy, or the token has another one, go on with the "
    "newest. What no registry knows cannot be used: destroy it with the token's own tool"
)
_LEFT: Final = (
    "This registry does not use it: if no other one does, destroy it with the token's own tool"
)
_AGAIN: Final = {
    KeyState.ENABLED: "Find out who switched it off, or if the registry is an older copy; then "
    "kmscore keys enable {key}",
    KeyState.DISABLED: "kmscore keys disable {key}",
    KeyState.ARCHIVED: "kmscore keys restore {key}; kmscore keys archive {key}",
    KeyState.PENDING_DELETION: "kmscore keys cancel-deletion {key}; kmscore keys disable {key}; "
    "then schedule its deletion again",
}
"""What sets the flags again that a state has."""


class _Seen(NamedTuple):
    """An object that stays on the token."""

    place: tuple[int, bytes]
    label: str
    usages: frozenset[Attribute]


class _Wanted(NamedTuple):
    """What the registry says there is: a version of a key, or with number 0 its wrapping key."""

    record: KeyRecord
    number: int

    def __str__(self) -> str:
        what = f"version {self.number}" if self.number else "the wrapping key"
        alias = f" ({self.record.alias})" if self.record.alias else ""
        return f"{what} of key {self.record.key_id}{alias}"


def reconcile(token: Token, store: SqliteStore, abilities: Abilities) -> Reconciliation:
    """Compare a registry with its token.

    Args:
        token: The token.
        store: The registry's database.
        abilities: What the token can do.

    Raises:
        IntegrityError: The registry was altered.
        Unavailable: The token cannot be reached.
    """
    first = _compared(token, store, abilities)
    if not first.findings:
        return first
    time.sleep(SECOND_LOOK)
    second = _compared(token, store, abilities)
    lasting = tuple(each for each in second.findings if each in first.findings)
    return second._replace(findings=lasting)


def _compared(token: Token, store: SqliteStore, abilities: Abilities) -> Reconciliation:
    seen: list[_Seen] = token.ask("C_FindObjects", _look)
    wanted = dict(_wanted(store))
    known = {each.record.key_id: each.record for each in wanted.values()}
    guard = (ObjectClass.SECRET_KEY, identity_of_guard(store))
    there: defaultdict[tuple[int, bytes], list[_Seen]] = defaultdict(list)
    findings: list[Finding] = []
    others = 0
    for each in seen:
        there[each.place].append(each)
        if each.place in wanted or each.place == guard:
            continue
        label = _OURS.fullmatch(each.label)
        if label is None:
            others += 1
        else:
            findings.append(_unregistered(each, label, known))
    has_flags = not abilities.found.get(FLAGS, "").startswith("CKR_")
    agreed = 0
    for place, version in wanted.items():
        finding = _finding(place, version, there[place], has_flags=has_flags)
        if finding is not None:
            findings.append(finding)
        elif version.number:
            agreed += 1
    findings.sort(key=lambda each: (each.key_id, each.version, each.kind, each.object_id))
    return Reconciliation(tuple(findings), agreed, others)


def _look(session: Session) -> list[_Seen]:
    """All objects that stay on the token; those that go meanwhile are left out.

    Raises:
        NativeError: The token fails, or the login was lost, without which it hides its keys.
    """
    native, number = session.pool.native, session.raw.handle
    seen: list[_Seen] = []
    for handle in native.token_objects(number):
        values = native.attributes(number, handle, _LOOKED_AT)
        if values is None:
            continue
        kind, identity, label, *flags = (each or b"" for each in values)
        usages = {usage for usage, flag in zip(_USAGES, flags, strict=True) if any(flag)}
        place = (int.from_bytes(kind, sys.byteorder), identity)
        seen.append(_Seen(place, label.decode("utf-8", "replace"), frozenset(usages)))
    if not native.is_logged_in(number):
        raise NativeError(USER_NOT_LOGGED_IN, "C_FindObjects")
    return seen


def _wanted(store: SqliteStore) -> Iterator[tuple[tuple[int, bytes], _Wanted]]:
    last = 0
    while page := store.keys(_PAGE, last):
        last = page[-1][0]
        for _, record in page:
            for version in store.versions(record.key_id):
                yield place_of(record.spec, version.material), _Wanted(record, version.number)
            job = store.job(record.key_id)
            if job is not None:
                place = (ObjectClass.PRIVATE_KEY, job.private_key[:IDENTITY_BYTES])
                yield place, _Wanted(record, 0)


def _unregistered(seen: _Seen, label: re.Match[str], known: Mapping[str, KeyRecord]) -> Finding:
    own, key_id, part = label.groups()
    record = known.get(key_id)
    number = int(part) if part and part.isdecimal() else 0
    if own == "registry":
        what, advice = "the key of another registry", _NEWER
    elif own == "probe":
        what, advice = "a key that a trial of the token left behind", _LEFT
    elif not number:
        what, advice = f"a wrapping key of key {key_id} that takes no imports", _LEFT
    elif record is None:
        what, advice = f"version {number} of key {key_id}, which is not registered", _NEWER
    elif number > record.version:
        what = (
            f"version {number} of key {key_id}, of which {record.version} is the newest registered"
        )
        advice = _NEWER
    else:
        what, advice = f"another object for version {number} of key {key_id}", _LEFT
    return Finding(
        FindingKind.UNREGISTERED, what, advice, key_id or "", number, seen.place[1].hex()
    )


def _finding(
    place: tuple[int, bytes], version: _Wanted, there: list[_Seen], *, has_flags: bool
) -> Finding | None:
    record, number = version
    if not there:
        kind, what = FindingKind.MISSING, f"{version} is not on the token"
        advice = _advice_if_missing(record, number)
    elif len(there) > 1:
        kind, what = FindingKind.AMBIGUOUS, f"{version} is on the token {len(there)} times"
        advice = "It is not used while that is so: find out who copied it, and destroy the copy"
    else:
        flags = usage_flags(
            record.spec, record.usage, record.state, newest=number == record.version
        )
        wrong = [flag for flag, on in flags.items() if (flag in there[0].usages) is not on]
        if not (number and has_flags and wrong):
            return None
        allowed = ", ".join(flag.name for flag in wrong if flag in there[0].usages)
        forbidden = ", ".join(flag.name for flag in wrong if flag not in there[0].usages)
        does = f"allows {allowed}" if allowed else f"forbids {forbidden}"
        kind, what = FindingKind.DIVERGENT, f"{version} is {record.state}, and the token {does}"
        advice = _AGAIN[record.state].format(key=record.key_id)
    return Finding(kind, what, advice, record.key_id, number, place[1].hex())


def _advice_if_missing(record: KeyRecord, number: int) -> str:
    key = record.key_id
    if not number:
        return f"Imports with it fail: kmscore keys import-parameters {key} makes another"
    if record.origin is Origin.EXTERNAL:
        return (
            f"Import the same material again: kmscore keys delete-material {key}, and then as the "
            "first time"
        )
    return (
        "What it encrypted is lost unless the token is restored from a backup; if that cannot be, "
        f"kmscore keys disable {key}, and schedule its deletion"
    )
