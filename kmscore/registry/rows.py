"""Rows of the registry's tables: how records become columns, and how a changed row is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin, WrappingAlgorithm
from kmscore.errors import IntegrityError
from kmscore.hashing import compare_digest
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord

Authenticator = Callable[[bytes], bytes]
"""Computes the message authentication code of a row."""

Row = tuple[Any, ...]

# Names and order of the fields are part of the file's format: rows are authenticated in them.
KEY_COLUMNS: Final = KeyRecord._fields
VERSION_COLUMNS: Final = VersionRecord._fields
JOB_COLUMNS: Final = ImportJob._fields

_NONE: Final = b"n" + bytes(4)


class Rows:
    """Turns records into rows and back. A row's last column is its authentication code.

    Args:
        where: The database, for errors, such as ``keystore /srv/keys.db``.

    Attributes:
        authenticate: Computes the codes; None where rows are not protected.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self.authenticate: Authenticator | None = None

    def of_key(self, record: KeyRecord) -> Row:
        """The row of a key."""
        return self._sealed("keys", record)

    def of_version(self, version: VersionRecord) -> Row:
        """The row of a version."""
        return self._sealed("versions", version)

    def of_job(self, job: ImportJob) -> Row:
        """The row of an import job."""
        return self._sealed("jobs", job)

    def key(self, row: Row) -> KeyRecord:
        """The key of a row.

        Raises:
            IntegrityError: The row was altered.
        """
        self._check("keys", row)
        try:
            return KeyRecord(
                row[0],
                KeySpec(row[1]),
                KeyUsage(row[2]),
                Origin(row[3]),
                KeyState(row[4]),
                *row[5:-1],
            )
        except ValueError as error:
            raise self._altered(row) from error

    def version(self, row: Row) -> VersionRecord:
        """The version of a row.

        Raises:
            IntegrityError: The row was altered.
        """
        self._check("versions", row)
        return VersionRecord(*row[:-1])

    def job(self, row: Row) -> ImportJob:
        """The import job of a row.

        Raises:
            IntegrityError: The row was altered.
        """
        self._check("jobs", row)
        try:
            return ImportJob(row[0], WrappingAlgorithm(row[1]), *row[2:-1])
        except ValueError as error:
            raise self._altered(row) from error

    def _sealed(self, table: str, values: Row) -> Row:
        # SQLite takes exact types only; members of the vocabulary are a kind of str, and a slice
        # of one is a plain str.
        plain = tuple([value[:] if isinstance(value, str) else value for value in values])
        code = self.authenticate(_canonical(table, plain)) if self.authenticate else b""
        return (*plain, code)

    def _check(self, table: str, row: Row) -> None:
        if self.authenticate is None:
            return
        code = self.authenticate(_canonical(table, row[:-1]))
        if not compare_digest(code, bytes(row[-1])):
            raise self._altered(row)

    def _altered(self, row: Row) -> IntegrityError:
        return IntegrityError(
            f"the entry of key {row[0]} in {self._where} was altered",
            hint="Restore the keystore from a backup, and find out who can write it",
            key=str(row[0]),
        )


def _canonical(table: str, values: Iterable[Any]) -> bytes:
    """One unambiguous byte string for a row: every column with its type and length."""
    parts = [table.encode()]
    for value in values:
        if value is None:
            parts.append(_NONE)
            continue
        if isinstance(value, str):
            kind, data = b"s", value.encode()
        elif isinstance(value, int):
            kind, data = b"i", b"%d" % value
        else:
            kind, data = b"b", bytes(value)
        parts.append(kind + len(data).to_bytes(4) + data)
    return b"\x00".join(parts)
