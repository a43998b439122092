"""The key registry: the rules of a key's life, for providers that keep keys themselves."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from kmscore.algorithms import TRAITS, KeyState, Origin, WrappingAlgorithm
from kmscore.checks import require_days
from kmscore.errors import IntegrityError, InvalidRequest, MaterialMismatch, Unsupported
from kmscore.registry import rules
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord
from kmscore.registry.rules import Purpose
from kmscore.registry.store import Store, Writer
from kmscore.spi import KeyInfo, KeyPage, NewKey

CACHED_KEYS: Final = 10_000
"""How many records are kept in memory, about 1 KiB each."""


class Material(NamedTuple):
    """What a provider hands to the registry for a new version.

    Attributes:
        sealed: Opaque to the registry.
        public_key: SubjectPublicKeyInfo in DER, or empty for symmetric keys.
    """

    sealed: bytes
    public_key: bytes = b""


MakeMaterial = Callable[[KeyRecord, int], Material]
"""Given the key and the number of its new version, makes and seals the material."""

Destroy = Callable[[KeyRecord, list[VersionRecord]], None]
"""Called in the transaction that removes versions, for material that lives elsewhere."""


class Registry:
    """Keys, their states and versions. Safe to use from several threads and processes.

    Every method that changes something has changed it durably when it returns. What the clock
    brings (material expires, a waiting time ends) holds at that second, and is cleaned up later
    by `sweep`.

    Args:
        store: The database.
        clock: Seconds since the epoch.
        destroy: Told of versions that are removed.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        destroy: Destroy | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._destroy = destroy
        self._lock = threading.Lock()
        self._seen = -1
        self._cache: dict[str, tuple[KeyRecord, float]] = {}

    # --- Reading -----------------------------------------------------------------------------

    def find(self, ref: str) -> KeyRecord:
        """A key by its id or alias, as it stands now.

        Raises:
            KeyNotFound: There is none.
        """
        key_id = ref
        if not rules.looks_like_id(ref):
            key_id = self._store.key_id_of_alias(ref) or ""
        record = self._store.key(key_id) if key_id else None
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
        """
        counter = self._store.change_counter()
        if counter != self._seen:
            with self._lock:
                self._cache.clear()
                self._seen = counter
        held = self._cache.get(key_id)
        if held is None:
            held = self._load(key_id, counter)
        record, until = held
        now = self._clock()
        if now >= until:
            record = rules.as_of(record, now)
        if record.state not in purpose.states:
            raise rules.state_error(record, purpose.verb)
        return record

    def version(self, key_id: str, number: int) -> VersionRecord:
        """One version of a key.

        Raises:
            IntegrityError: It is not there, though the key says so.
        """
        version = self._store.version(key_id, number)
        if version is None:
            raise IntegrityError(f"version {number} of the key is missing", key=key_id)
        return version

    def has_version(self, key_id: str, number: int) -> bool:
        """Whether the key has that version; numbers in ciphertexts may be anything."""
        return 0 < number < 2**31 and self._store.version(key_id, number) is not None

    def page(self, limit: int, cursor: str | None) -> KeyPage:
        """Keys in the order of their creation; the cursor is the id of the last one seen."""
        records = self._store.keys(limit + 1, cursor)
        now = self._clock()
        shown = records[:limit]
        infos = tuple(
            self.info(rules.as_of(record, now))
            for record in shown
            if not rules.is_gone(record, now)
        )
        return KeyPage(infos, shown[-1].key_id if len(records) > limit else None)

    def count(self) -> int:
        """How many keys there are, those pending deletion included."""
        return self._store.count()

    def info(self, record: KeyRecord) -> KeyInfo:
        """The record as users see it."""
        return KeyInfo(
            key_id=record.key_id,
            spec=record.spec,
            usage=record.usage,
            state=record.state,
            origin=record.origin,
            alias=record.alias,
            created_at=_time(record.created_at),
            description=record.description,
            version=record.version,
            deletion_at=_optional_time(record.deletion_at),
            valid_to=_optional_time(record.valid_to),
            rotation_days=record.rotation_days,
            rotated_at=_optional_time(record.rotated_at),
            next_rotation_at=_optional_time(record.next_rotation_at),
        )

    # --- Life cycle --------------------------------------------------------------------------

    def create(self, new: NewKey, make: MakeMaterial) -> KeyRecord:
        """Add a key.

        Args:
            new: What it shall be.
            make: Makes the material of a GENERATED key; not called for an EXTERNAL one.

        Raises:
            InvalidRequest: Alias or description are not allowed.
            AlreadyExists: The alias is taken.
            Unsupported: An asymmetric key cannot be EXTERNAL.
        """
        import uuid

        generated = new.origin is Origin.GENERATED
        if not generated and not TRAITS[new.spec].is_symmetric:
            raise Unsupported(f"material of {new.spec} keys cannot be imported")
        record = KeyRecord(
            key_id=str(uuid.uuid4()),
            spec=new.spec,
            usage=new.usage,
            origin=new.origin,
            state=KeyState.ENABLED if generated else KeyState.PENDING_IMPORT,
            created_at=int(self._clock()),
            alias=None if new.alias is None else rules.require_alias(new.alias),
            description=rules.require_description(new.description),
            version=1 if generated else 0,
        )
        # Making a key can take long: other writers do not wait for that.
        version = self._version(record, 1, make) if generated else None
        try:
            with self._store.write() as writer:
                writer.insert_key(record)
                if version is not None:
                    writer.insert_version(version)
        except BaseException:
            if version is not None:
                self._removed(record, [version])
            raise
        return record

    def enable(self, key_id: str) -> None:
        """DISABLED to ENABLED; an enabled key stays so."""
        self._move(key_id, {KeyState.DISABLED, KeyState.ENABLED}, KeyState.ENABLED, "enable_key")

    def disable(self, key_id: str) -> None:
        """ENABLED to DISABLED; a disabled key stays so."""
        self._move(key_id, {KeyState.ENABLED, KeyState.DISABLED}, KeyState.DISABLED, "disable_key")

    def archive(self, key_id: str) -> None:
        """ENABLED or DISABLED to ARCHIVED."""
        states = {KeyState.ENABLED, KeyState.DISABLED, KeyState.ARCHIVED}
        self._move(key_id, states, KeyState.ARCHIVED, "archive_key")

    def restore(self, key_id: str) -> None:
        """ARCHIVED to ENABLED."""
        self._move(key_id, {KeyState.ARCHIVED}, KeyState.ENABLED, "restore_key")

    def schedule_deletion(self, key_id: str, days: int) -> int:
        """DISABLED to PENDING_DELETION.

        Args:
            key_id: The key.
            days: 7 to 30.

        Returns:
            When the key will be gone, in seconds since the epoch.
        """
        require_days(days, rules.DELETION_DAYS, "waiting time")
        at = int(self._clock()) + days * rules.DAY
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_state(record, frozenset({KeyState.DISABLED}), "schedule_key_deletion")
            writer.update_key(record._replace(state=KeyState.PENDING_DELETION, deletion_at=at))
        return at

    def cancel_deletion(self, key_id: str) -> None:
        """PENDING_DELETION to DISABLED."""
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            allowed = frozenset({KeyState.PENDING_DELETION})
            rules.require_state(record, allowed, "cancel_key_deletion")
            state = KeyState.DISABLED if record.version else KeyState.PENDING_IMPORT
            writer.update_key(record._replace(state=state, deletion_at=None))

    def set_alias(self, key_id: str, alias: str) -> None:
        """Give the key another name; not while it is pending deletion."""
        name = rules.require_alias(alias)
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_editable(record, "set_alias")
            writer.update_key(record._replace(alias=name))

    def set_description(self, key_id: str, description: str) -> None:
        """Replace the free text; not while the key is pending deletion."""
        text = rules.require_description(description)
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_editable(record, "set_description")
            writer.update_key(record._replace(description=text))

    # --- Rotation ----------------------------------------------------------------------------

    def rotate(self, key_id: str, make: MakeMaterial, *, only_if_due: bool = False) -> KeyRecord:
        """Make a new version; the old ones stay.

        Args:
            key_id: An enabled symmetric key that was generated here.
            make: Makes the material.
            only_if_due: Leave the key alone when another process has just rotated it.

        Raises:
            Unsupported: Such keys do not rotate.
            KeyStateError: The key is not enabled.
        """
        now = int(self._clock())
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_rotatable(record)
            rules.require_state(record, frozenset({KeyState.ENABLED}), "rotate_key")
            if only_if_due and not self.rotation_due(record):
                return record
            days = record.rotation_days
            rotated = record._replace(
                version=record.version + 1,
                rotated_at=now,
                next_rotation_at=now + days * rules.DAY if days else None,
            )
            version = self._version(rotated, rotated.version, make)
            writer.insert_version(version)
            writer.update_key(rotated)
        return rotated

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Rotate every ``days`` days (7 to 365) from now, or with None no more."""
        if days is not None:
            require_days(days, rules.ROTATION_DAYS, "rotation period")
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_rotatable(record)
            rules.require_state(record, frozenset({KeyState.ENABLED}), "set_rotation")
            due = int(self._clock()) + days * rules.DAY if days else None
            writer.update_key(record._replace(rotation_days=days, next_rotation_at=due))

    def rotation_due(self, record: KeyRecord) -> bool:
        """Whether automatic rotation is due."""
        due = record.next_rotation_at
        return due is not None and due <= self._clock()

    # --- Import ------------------------------------------------------------------------------

    def importable(self, key_id: str) -> KeyRecord:
        """A key that takes material now.

        Raises:
            InvalidRequest: Its material was generated.
            KeyStateError: It is neither waiting for material nor enabled.
        """
        record = self.find(key_id)
        rules.require_external(record)
        rules.require_importable(record)
        return record

    def open_import(
        self, key_id: str, wrapping: WrappingAlgorithm, token: bytes, private_key: bytes
    ) -> ImportJob:
        """Keep new import parameters for 24 hours; older ones of the key become invalid.

        Args:
            key_id: A key of origin EXTERNAL that waits for material or is enabled.
            wrapping: How the material will be wrapped.
            token: Comes back with the material; only its hash is kept.
            private_key: The wrapping key, opaque to the registry.
        """
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_external(record)
            rules.require_importable(record)
            job = ImportJob(
                key_id,
                wrapping,
                _digest(token),
                private_key,
                int(self._clock()) + rules.IMPORT_LIFETIME,
            )
            writer.put_job(job)
        return job

    def check_import(self, key_id: str, token: bytes) -> ImportJob:
        """The import job that a token belongs to.

        Raises:
            ImportTokenExpired: It is unknown, too old, or not the newest.
            KeyStateError: The key takes no material now.
        """
        self.importable(key_id)
        return self._valid_job(self._store.job(key_id), key_id, token)

    def finish_import(
        self,
        key_id: str,
        token: bytes,
        fingerprint: bytes,
        valid_to: int | None,
        make: MakeMaterial,
    ) -> KeyRecord:
        """Give the key its material, and enable it.

        Args:
            key_id: The key.
            token: The token of its newest import parameters.
            fingerprint: What the material is known by, the same for the same material.
            valid_to: When it expires, in seconds since the epoch, or None.
            make: Seals the material; not called when the key still holds it.

        Raises:
            ImportTokenExpired: As in `check_import`.
            MaterialMismatch: The key once held other material.
            InvalidRequest: The expiry is not in the future.
        """
        if valid_to is not None and valid_to <= self._clock():
            raise InvalidRequest(
                "the material would have expired already", hint="Give a time in the future"
            )
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_external(record)
            rules.require_importable(record)
            self._valid_job(writer.job(key_id), key_id, token)
            if record.fingerprint and not hmac.compare_digest(record.fingerprint, fingerprint):
                raise MaterialMismatch(
                    "the key once held other material",
                    hint="Import the identical material, or create another key",
                    key=key_id,
                )
            if not record.version:
                writer.insert_version(self._version(record, 1, make))
            imported = record._replace(
                state=KeyState.ENABLED,
                version=1,
                valid_to=valid_to,
                fingerprint=fingerprint,
            )
            writer.update_key(imported)
        return imported

    def delete_material(self, key_id: str) -> None:
        """Forget imported material; the key waits for the same again."""
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_external(record)
            allowed = frozenset({KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_IMPORT})
            rules.require_state(record, allowed, "delete_key_material")
            self._forget(writer, record)

    # --- Keeping house -----------------------------------------------------------------------

    def sweep(self) -> None:
        """Destroy what is due: expired material, keys at their end, import jobs too old."""
        now = int(self._clock())
        keys, jobs = self._store.due(now)
        for key_id in keys:
            with self._store.write() as writer:
                record = writer.key(key_id)
                if record is None:
                    continue
                if rules.is_gone(record, now):
                    self._removed(record, writer.versions(key_id))
                    writer.delete_key(key_id)
                elif rules.has_expired(record, now):
                    self._forget(writer, record)
        for key_id in jobs:
            with self._store.write() as writer:
                job = writer.job(key_id)
                if job is not None and job.expires_at <= now:
                    writer.delete_job(key_id)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    # --- Inside ------------------------------------------------------------------------------

    def _load(self, key_id: str, counter: int) -> tuple[KeyRecord, float]:
        record = self._store.key(key_id)
        if record is None:
            raise rules.not_found(key_id)
        held = (record, rules.next_change(record))
        with self._lock:
            # Somebody may have committed since the counter was read: then the record may be old.
            if self._seen == counter:
                if len(self._cache) >= CACHED_KEYS:
                    self._cache.clear()
                self._cache[key_id] = held
        return held

    def _current(self, writer: Writer, key_id: str) -> KeyRecord:
        record = writer.key(key_id)
        if record is None:
            raise rules.not_found(key_id)
        now = self._clock()
        if rules.has_expired(record, now) and not rules.is_gone(record, now):
            self._forget(writer, record)
        return rules.as_of(record, now)

    def _move(self, key_id: str, allowed: set[KeyState], goal: KeyState, verb: str) -> None:
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_state(record, frozenset(allowed), verb)
            if record.state is not goal:
                writer.update_key(record._replace(state=goal))

    def _version(self, record: KeyRecord, number: int, make: MakeMaterial) -> VersionRecord:
        material = make(record, number)
        return VersionRecord(
            record.key_id, number, int(self._clock()), material.sealed, material.public_key
        )

    def _valid_job(self, job: ImportJob | None, key_id: str, token: bytes) -> ImportJob:
        digest = _digest(token)
        if (
            job is None
            or not hmac.compare_digest(job.token_digest, digest)
            or job.expires_at <= self._clock()
        ):
            raise rules.token_expired(key_id)
        return job

    def _forget(self, writer: Writer, record: KeyRecord) -> None:
        self._removed(record, writer.versions(record.key_id))
        writer.delete_versions(record.key_id)
        writer.update_key(rules.without_material(record))

    def _removed(self, record: KeyRecord, versions: list[VersionRecord]) -> None:
        if self._destroy is not None and versions:
            self._destroy(record, versions)


def _digest(token: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(token).digest()


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_time(seconds: int | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
