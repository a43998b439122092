"""The interface between the registry's rules and a database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager

from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord


class Writer(ABC):
    """A write transaction: all of it happens, durably, or nothing."""

    @abstractmethod
    def key(self, key_id: str) -> KeyRecord | None:
        """The key as this transaction sees it, locked against other writers."""

    @abstractmethod
    def insert_key(self, record: KeyRecord) -> None:
        """Add a key.

        Raises:
            AlreadyExists: The alias is taken.
        """

    @abstractmethod
    def update_key(self, record: KeyRecord) -> None:
        """Replace a key's row.

        Raises:
            AlreadyExists: The alias is taken.
        """

    @abstractmethod
    def delete_key(self, key_id: str) -> None:
        """Remove a key with all its versions and its import job."""

    @abstractmethod
    def insert_version(self, version: VersionRecord) -> None:
        """Add a version."""

    @abstractmethod
    def versions(self, key_id: str) -> list[VersionRecord]:
        """All versions of a key, the oldest first, as this transaction sees them."""

    @abstractmethod
    def delete_versions(self, key_id: str) -> None:
        """Remove all versions of a key."""

    @abstractmethod
    def job(self, key_id: str) -> ImportJob | None:
        """The newest import job of a key."""

    @abstractmethod
    def put_job(self, job: ImportJob) -> None:
        """Write the import job of a key, replacing an older one."""

    @abstractmethod
    def delete_job(self, key_id: str) -> None:
        """Remove the import job of a key, if there is one."""

    @abstractmethod
    def meta(self, name: str) -> bytes | None:
        """A named value as this transaction sees it."""

    @abstractmethod
    def put_meta(self, name: str, value: bytes) -> None:
        """Write a named value of the provider's own, such as a root key's salt."""


class Store(ABC):
    """A database of keys, shared by threads and processes."""

    @abstractmethod
    def change_counter(self) -> int:
        """A number that differs after anybody, in any process, has committed a change.

        Called before every use of a key, so it takes microseconds.
        """

    @abstractmethod
    def key(self, key_id: str) -> KeyRecord | None:
        """A key by its id.

        Raises:
            IntegrityError: Its row was altered by something else than this registry.
        """

    @abstractmethod
    def key_id_of_alias(self, alias: str) -> str | None:
        """The id of the key with that alias."""

    @abstractmethod
    def keys(self, limit: int, after: int) -> list[tuple[int, KeyRecord]]:
        """Up to ``limit`` keys in the order of their creation, each with its place in it.

        Args:
            limit: How many, from 1.
            after: The place of the last key seen, which may be gone by now; 0 for the first ones.
        """

    @abstractmethod
    def version(self, key_id: str, number: int) -> VersionRecord | None:
        """One version of a key."""

    @abstractmethod
    def versions(self, key_id: str) -> list[VersionRecord]:
        """All versions of a key, the oldest first."""

    @abstractmethod
    def jobs(self) -> Iterator[ImportJob]:
        """All import jobs."""

    @abstractmethod
    def job(self, key_id: str) -> ImportJob | None:
        """The newest import job of a key."""

    @abstractmethod
    def meta(self, name: str) -> bytes | None:
        """A named value of the provider's own."""

    @abstractmethod
    def due(self, now: int) -> tuple[list[str], list[str]]:
        """Ids of keys with something to destroy, and of keys whose import job is too old."""

    @abstractmethod
    def count(self) -> int:
        """How many keys there are, those pending deletion included."""

    @abstractmethod
    def write(self) -> AbstractContextManager[Writer]:
        """Begin a write transaction; commits on leaving, durably, or rolls back on an error.

        Raises:
            Unavailable: Another process holds the database for too long, or the disk is full.
            IntegrityError: The file is no database of this kind, or damaged.
        """

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""
