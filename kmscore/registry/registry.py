"""The key registry: what changes a key, for providers that keep keys themselves.

A provider makes and seals material, and asks the registry for everything else::

    registry = Registry(SqliteStore(path), clock=clock)
    record = registry.create(NewKey(KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT), make)
    record = registry.usable(record.key_id, Purpose.ENCRYPT)
    version = registry.version(record.key_id, record.version)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from kmscore.algorithms import TRAITS, KeyState, Origin, WrappingAlgorithm
from kmscore.checks import require_bytes, require_days
from kmscore.errors import KmsError, MaterialMismatch, Unsupported
from kmscore.hashing import compare_digest, sha256
from kmscore.registry import rules
from kmscore.registry.lookup import Lookup
from kmscore.registry.material import Destroy, MakeMaterial
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord
from kmscore.registry.store import Store, Writer
from kmscore.spi import NewKey


class Registry(Lookup):
    """Keys, their states and versions. Safe to use from several threads and processes.

    Every method that changes something has changed it durably when it returns. What the clock
    brings (material expires, a waiting time ends) holds at that second, and is cleaned up later
    by `sweep`. Methods that take a key id raise KeyNotFound where there is no such key (any more),
    and KeyStateError where its state forbids the change.

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
        super().__init__(store, clock)
        self._destroy = destroy
        self._swept: int | None = None  # the second at which nothing was due

    # --- Life cycle --------------------------------------------------------------------------

    def create(self, new: NewKey, make: MakeMaterial) -> KeyRecord:
        """Add a key: GENERATED ones are born ENABLED, EXTERNAL ones PENDING_IMPORT.

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
            raise Unsupported(
                f"material of {new.spec} keys cannot be imported",
                hint="Let the provider generate the key",
            )
        record = KeyRecord(
            key_id=str(uuid.uuid4()),
            spec=new.spec,
            usage=new.usage,
            origin=new.origin,
            state=KeyState.ENABLED if generated else KeyState.PENDING_IMPORT,
            created_at=int(self._clock()),
            alias=None if new.alias is None else self._free_alias(new.alias),
            description=rules.require_description(new.description),
            version=1 if generated else 0,
        )
        with self._making(make) as made:
            # Making a key can take long: other writers do not wait for that.
            version = made(record, 1) if generated else None
            with self._store.write() as writer:
                writer.insert_key(record)
                if version is not None:
                    writer.insert_version(version)
        return record

    def enable(self, key_id: str) -> None:
        """DISABLED to ENABLED; an enabled key stays so."""
        self._move(key_id, rules.SWITCHABLE, KeyState.ENABLED, "enable_key")

    def disable(self, key_id: str) -> None:
        """ENABLED to DISABLED; a disabled key stays so."""
        self._move(key_id, rules.SWITCHABLE, KeyState.DISABLED, "disable_key")

    def archive(self, key_id: str) -> None:
        """ENABLED or DISABLED to ARCHIVED."""
        self._move(key_id, rules.SWITCHABLE, KeyState.ARCHIVED, "archive_key")

    def restore(self, key_id: str) -> None:
        """ARCHIVED to ENABLED."""
        self._move(key_id, frozenset({KeyState.ARCHIVED}), KeyState.ENABLED, "restore_key")

    def schedule_deletion(self, key_id: str, days: int) -> int:
        """DISABLED to PENDING_DELETION.

        Args:
            key_id: The key.
            days: 7 to 30.

        Returns:
            When the key will be gone, in seconds since the epoch.

        Raises:
            InvalidRequest: The waiting time is not allowed.
        """
        require_days(days, rules.DELETION_DAYS, "waiting time")
        at = int(self._clock()) + days * rules.DAY
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_state(record, frozenset({KeyState.DISABLED}), "schedule_key_deletion")
            writer.update_key(record._replace(state=KeyState.PENDING_DELETION, deletion_at=at))
        return at

    def cancel_deletion(self, key_id: str) -> None:
        """PENDING_DELETION to DISABLED; where material has expired meanwhile, to PENDING_IMPORT."""
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            pending = frozenset({KeyState.PENDING_DELETION})
            rules.require_state(record, pending, "cancel_key_deletion")
            state = KeyState.DISABLED if record.version else KeyState.PENDING_IMPORT
            writer.update_key(record._replace(state=state, deletion_at=None))

    def set_alias(self, key_id: str, alias: str) -> None:
        """Give the key another name; not while it is pending deletion.

        Raises:
            InvalidRequest: The alias is not allowed.
            AlreadyExists: Another key has it.
        """
        name = self._free_alias(alias, key_id)
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_state(record, rules.EDITABLE, "set_alias")
            writer.update_key(record._replace(alias=name))

    def set_description(self, key_id: str, description: str) -> None:
        """Replace the free text; not while the key is pending deletion.

        Raises:
            InvalidRequest: The text is too long, or not printable.
        """
        text = rules.require_description(description)
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_state(record, rules.EDITABLE, "set_description")
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
        """
        now = int(self._clock())
        with self._making(make) as made, self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_rotatable(record, "rotate_key")
            if only_if_due and not self.rotation_due(record):
                return record
            days = record.rotation_days
            rotated = record._replace(
                version=record.version + 1,
                rotated_at=now,
                next_rotation_at=now + days * rules.DAY if days else None,
            )
            writer.insert_version(made(rotated, rotated.version))
            writer.update_key(rotated)
        return rotated

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Rotate every ``days`` days (7 to 365) from now, or with None no more.

        Raises:
            InvalidRequest: The period is not allowed.
            Unsupported: Such keys do not rotate.
        """
        if days is not None:
            require_days(days, rules.ROTATION_DAYS, "rotation period")
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_rotatable(record, "set_rotation")
            due = int(self._clock()) + days * rules.DAY if days else None
            writer.update_key(record._replace(rotation_days=days, next_rotation_at=due))

    # --- Import ------------------------------------------------------------------------------

    def open_import(
        self, key_id: str, wrapping: WrappingAlgorithm, token: bytes, private_key: bytes
    ) -> ImportJob:
        """Keep new import parameters for 24 hours; older ones of the key become invalid.

        Args:
            key_id: A key of origin EXTERNAL that waits for material or is enabled.
            wrapping: How the material will be wrapped.
            token: Comes back with the material; only its SHA-256 is kept.
            private_key: The wrapping key, opaque to the registry.

        Raises:
            InvalidRequest: The key's material was generated.
        """
        with self._store.write() as writer:
            record = self._importable(writer, key_id)
            job = ImportJob(
                record.key_id,
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
            InvalidRequest: The key's material was generated.
            ImportTokenExpired: The token is unknown, too old, or not the newest.
        """
        record = self.importable(key_id)
        return self._valid_job(self._store.job(record.key_id), key_id, token)

    def finish_import(
        self,
        key_id: str,
        token: bytes,
        fingerprint: bytes,
        valid_to: int | None,
        make: MakeMaterial,
    ) -> KeyRecord:
        """Give the key its material, always as version 1, and enable it.

        The token stays good until it expires: the same material may be sent again with it.

        Args:
            key_id: The key.
            token: The token of its newest import parameters.
            fingerprint: What the material is known by, the same for the same material; not empty.
            valid_to: When it expires, in seconds since the epoch, or None.
            make: Seals the material; not called when the key still holds it.

        Raises:
            ImportTokenExpired: As in `check_import`.
            MaterialMismatch: The key once held other material.
            InvalidRequest: The expiry is not in the future, or after the year 9999.
        """
        require_bytes(fingerprint, "fingerprint")
        rules.require_expiry(valid_to, self._clock())
        with self._making(make) as made, self._store.write() as writer:
            record = self._importable(writer, key_id)
            self._valid_job(writer.job(key_id), key_id, token)
            if record.fingerprint and not compare_digest(record.fingerprint, fingerprint):
                raise MaterialMismatch(
                    "the key once held other material",
                    hint="Import the identical material, or create another key",
                    key=key_id,
                )
            imported = record._replace(
                state=KeyState.ENABLED, version=1, valid_to=valid_to, fingerprint=fingerprint
            )
            if not record.version:
                writer.insert_version(made(imported, 1))
            writer.update_key(imported)
        return imported

    def delete_material(self, key_id: str) -> None:
        """Forget imported material; the key waits for the same again.

        Raises:
            InvalidRequest: The key's material was generated.
        """
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_external(record)
            rules.require_state(record, rules.EMPTIABLE, "delete_key_material")
            self._forget(writer, record)

    # --- Keeping house -----------------------------------------------------------------------

    def sweep(self) -> None:
        """Destroy what is due: expired material, keys at their end, import jobs too old.

        Looks once a second when nothing is: all ends are whole seconds, and lie ahead when they
        are set. Several processes may sweep at once. What cannot be destroyed stays due, and keeps
        nothing else; the first such error is raised at the end.
        """
        now = int(self._clock())
        if now == self._swept:
            return
        keys, jobs = self._store.due(now)
        if not keys and not jobs:
            self._swept = now
        failures: list[KmsError] = []
        for key_id in keys:
            with _collecting(failures), self._store.write() as writer:
                record = writer.key(key_id)
                if record is not None and rules.is_gone(record, now):
                    self._removed(record, writer.versions(key_id))
                    writer.delete_key(key_id)
                elif record is not None and rules.has_expired(record, now):
                    self._forget(writer, record)
        for key_id in jobs:
            with self._store.write() as writer:
                job = writer.job(key_id)
                if job is not None and job.expires_at <= now:
                    writer.delete_job(key_id)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    # --- Inside ------------------------------------------------------------------------------

    def _current(self, writer: Writer, key_id: str) -> KeyRecord:
        record = writer.key(key_id) if rules.looks_like_id(key_id) else None
        if record is None:
            raise rules.not_found(key_id)
        now = self._clock()
        if rules.has_expired(record, now) and not rules.is_gone(record, now):
            self._forget(writer, record)
        return rules.as_of(record, now)

    def _importable(self, writer: Writer, key_id: str) -> KeyRecord:
        record = self._current(writer, key_id)
        rules.require_external(record)
        rules.require_state(record, rules.IMPORTABLE, "import_key_material")
        return record

    def _move(self, key_id: str, allowed: frozenset[KeyState], goal: KeyState, verb: str) -> None:
        with self._store.write() as writer:
            record = self._current(writer, key_id)
            rules.require_state(record, allowed, verb)
            if record.state is not goal:
                writer.update_key(record._replace(state=goal))

    def _free_alias(self, alias: str, key_id: str = "") -> str:
        name = rules.require_alias(alias)
        owner = self._store.key_id_of_alias(name)
        record = None if owner is None else self._store.key(owner)
        if record is not None and rules.is_gone(record, self._clock()):
            self.sweep()
        elif owner not in (None, key_id):
            raise rules.alias_taken(name)
        return name

    @contextmanager
    def _making(self, make: MakeMaterial) -> Generator[Callable[[KeyRecord, int], VersionRecord]]:
        """Versions made inside are destroyed again when they do not get into the store.

        Not after an interruption, when nobody knows whether they did.
        """
        made: list[tuple[KeyRecord, VersionRecord]] = []

        def version(record: KeyRecord, number: int) -> VersionRecord:
            sealed, public_key = make(record, number)
            new = VersionRecord(record.key_id, number, int(self._clock()), sealed, public_key)
            made.append((record, new))
            return new

        try:
            yield version
        except Exception:
            for record, lost in made:
                self._removed(record, [lost])
            raise

    def _valid_job(self, job: ImportJob | None, key_id: str, token: bytes) -> ImportJob:
        digest = _digest(token)
        if (
            job is None
            or not compare_digest(job.token_digest, digest)
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


@contextmanager
def _collecting(failures: list[KmsError]) -> Generator[None]:
    try:
        yield
    except KmsError as error:
        failures.append(error)


def _digest(token: bytes) -> bytes:
    return sha256(require_bytes(token, "import token")).digest()
