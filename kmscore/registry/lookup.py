"""What the key registry tells: which keys there are, and what each may do at this moment."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from kmscore.algorithms import KeyState
from kmscore.checks import require_text
from kmscore.errors import IntegrityError, InvalidRequest, KmsError
from kmscore.registry import rules
from kmscore.registry.model import KeyRecord, VersionRecord
from kmscore.registry.rules import Purpose
from kmscore.registry.store import Store
from kmscore.spi import KeyInfo, KeyPage

CACHED_KEYS: Final = 10_000
"""How many records are kept in memory, about 1 KiB each."""

CACHED_VERSIONS: Final = 1_000
"""How many versions are kept in memory, about 3 KiB each for RSA."""


class _HeldKey(NamedTuple):
    """A record, and for how long it holds: until the store or the clock changes it."""

    counter: int
    record: KeyRecord
    until: float


class _HeldVersion(NamedTuple):
    counter: int
    version: VersionRecord


class Lookup:
    """Reads the registry; `kmscore.registry.Registry` adds what changes it.

    Args:
        store: The database.
        clock: Seconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        # An entry counts as long as the store's counter is what it was before the entry was read.
        # So threads need no lock here, and a record that is out of date is never used.
        self._keys: dict[str, _HeldKey] = {}
        self._versions: dict[tuple[str, int], _HeldVersion] = {}

    def find(self, ref: str) -> KeyRecord:
        """A key by its id or alias, as it stands now.

        Raises:
            KeyNotFound: There is none.
            InvalidRequest: The reference is no text.
            IntegrityError: The store was altered.
        """
        require_text(ref, "key reference")
        key_id = ref.lower() if rules.looks_like_id(ref) else self._store.key_id_of_alias(ref)
        record = None if key_id is None else self._store.key(key_id)
        if record is None:
            raise rules.not_found(ref)
        return rules.as_of(record, self._clock())

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """A key that may be used for a purpose at this moment.

        Takes microseconds: the record is kept in memory until anybody, in any process, changes
        anything in the store.

        Raises:
            KeyNotFound: There is none.
            KeyStateError: Its state forbids that.
            IntegrityError: The store was altered.
        """
        counter = self._store.change_counter()
        held = self._keys.get(key_id)
        if held is None or held.counter != counter:
            held = self._load(key_id, counter)
        record = held.record
        now = self._clock()
        if now >= held.until:
            record = rules.as_of(record, now)
        if record.state not in purpose.states:
            raise rules.state_error(record, purpose.verb, purpose.states)
        return record

    def version(self, key_id: str, number: int) -> VersionRecord:
        """One version of a key; kept in memory as in `usable`.

        Raises:
            KeyNotFound: There is no such key, perhaps since a moment ago.
            KeyStateError: Its material was deleted or has expired.
            IntegrityError: The version is not there, though the key says so, or it was altered.
        """
        counter = self._store.change_counter()
        held = self._versions.get((key_id, number))
        if held is None or held.counter != counter:
            version = self._store.version(key_id, number)
            if version is None:
                raise self._missing(key_id, number)
            held = _HeldVersion(counter, version)
            _make_room(self._versions, CACHED_VERSIONS)
            self._versions[key_id, number] = held
        return held.version

    def has_version(self, key_id: str, number: int) -> bool:
        """Whether the key has that version; numbers in ciphertexts may be anything."""
        return 0 < number < 2**31 and self._store.version(key_id, number) is not None

    def page(self, limit: int, cursor: str | None) -> KeyPage:
        """Keys in the order of their creation.

        Args:
            limit: How many at most, from 1; there may be fewer.
            cursor: What the page before returned, or None for the first one. Keys that are made
                or destroyed meanwhile do not disturb it.

        Raises:
            InvalidRequest: The limit is too small, or the cursor is none.
        """
        if limit < 1:
            raise InvalidRequest(f"a page cannot have {limit} keys", hint="Ask for 1 or more")
        found = self._store.keys(limit + 1, _place(cursor))
        now = self._clock()
        keys = tuple(
            self.info(rules.as_of(record, now))
            for _, record in found[:limit]
            if not rules.is_gone(record, now)
        )
        return KeyPage(keys, str(found[limit - 1][0]) if len(found) > limit else None)

    def count(self) -> int:
        """How many keys there are, those pending deletion included."""
        return self._store.count()

    def info(self, record: KeyRecord) -> KeyInfo:
        """The record as users see it: times are aware and in UTC."""
        return KeyInfo(
            key_id=record.key_id,
            spec=record.spec,
            usage=record.usage,
            state=record.state,
            origin=record.origin,
            alias=record.alias,
            created_at=datetime.fromtimestamp(record.created_at, UTC),
            description=record.description,
            version=record.version,
            deletion_at=_time(record.deletion_at),
            valid_to=_time(record.valid_to),
            rotation_days=record.rotation_days,
            rotated_at=_time(record.rotated_at),
            next_rotation_at=_time(record.next_rotation_at),
        )

    def rotation_due(self, record: KeyRecord) -> bool:
        """Whether automatic rotation is due."""
        due = record.next_rotation_at
        return due is not None and due <= self._clock()

    def importable(self, key_id: str) -> KeyRecord:
        """A key that takes material now.

        Raises:
            KeyNotFound: There is none.
            InvalidRequest: Its material was generated.
            KeyStateError: It is neither waiting for material nor enabled.
        """
        record = self.find(key_id)
        rules.require_external(record)
        rules.require_state(record, rules.IMPORTABLE, "import_key_material")
        return record

    def _missing(self, key_id: str, number: int) -> KmsError:
        record = self.find(key_id)
        if number > record.version:
            return rules.state_error(record, "", frozenset({KeyState.ENABLED}))
        return IntegrityError(
            f"version {number} of the key is missing",
            hint="Restore the registry from a backup, and find out who can write it",
            key=key_id,
        )

    def _load(self, key_id: str, counter: int) -> _HeldKey:
        record = self._store.key(key_id) if rules.looks_like_id(key_id) else None
        if record is None:
            raise rules.not_found(key_id)
        held = _HeldKey(counter, record, rules.next_change(record))
        _make_room(self._keys, CACHED_KEYS)
        self._keys[key_id] = held
        return held


def _make_room(cache: dict[str, _HeldKey] | dict[tuple[str, int], _HeldVersion], most: int) -> None:
    # Who uses more keys than fit reads each from the store now and then, whatever is thrown out.
    if len(cache) >= most:
        cache.clear()


def _place(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidRequest("the cursor is none", hint="Pass on what the page before returned")
    return int(cursor)


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
