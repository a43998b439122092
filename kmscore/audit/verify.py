"""The verifier of audit logs: reads a whole file, and tells what is wrong with it, line by line."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from fcntl import LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from kmscore.audit.record import (
    KEYED,
    MAX_LINE,
    NO_PREVIOUS,
    Record,
    Seal,
    parse_line,
    wrong_beginning,
)
from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmscore.plugin import Secret

MAX_FINDINGS: Final = 100
"""Findings that are kept of each kind; a file that is no log at all would have millions."""


class Finding(NamedTuple):
    """Something about a line, counted from 1; line 0 is the file as a whole."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the verifier found.

    Attributes:
        records: Intact records, those that are no events included.
        head: Hash of the last intact record, or empty. Noted elsewhere, it is what proves later
            that nothing was cut off.
        log_id: Id that the log was given when it began, or empty.
        previous: Hash of the last record of the log before this one, or empty: it was rotated.
        problems: Signs of tampering or damage; at most `MAX_FINDINGS`, and one that says how many
            more there are.
        warnings: What the log itself tells of a crash or a full disk.
        lacks_key: It is sealed under a key, and none was given: nothing was checked.
    """

    records: int
    head: str
    log_id: str
    previous: str
    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    lacks_key: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def verify_log(
    path: Path | str,
    *,
    key: Secret | None = None,
    expected_head: str | None = None,
    expected_records: int | None = None,
) -> AuditReport:
    """Check every record of an audit log and the chain between them.

    It may be in use meanwhile: what is checked is what it held at the beginning. Memory does not
    grow with the file.

    Args:
        path: The file.
        key: The key that it is sealed under, if any.
        expected_head: A head noted earlier: one of the records must have it.
        expected_records: A number of records noted earlier: there must be as many, or more.

    Returns:
        What was found; the content of the file never raises.

    Raises:
        ConfigError: The file cannot be read, or the key cannot.
    """
    check = _Check(Seal(key), expected_head)
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"the audit log {path} is no regular file")
        with path.open("rb") as file:
            for number, line in _lines(file):
                if not check.line(number, line):
                    break
    except OSError as error:
        raise ConfigError(f"the audit log {path} cannot be read: {error.strerror}") from error
    return check.report(expected_records)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; of one that is too long only as much as shows that it is."""
    # Nobody is in the middle of a line while we hold the lock.
    flock(file, LOCK_SH)
    left = os.fstat(file.fileno()).st_size
    flock(file, LOCK_UN)
    number = 0
    while line := file.readline(min(left, MAX_LINE + 1)):
        number += 1
        left -= len(line)
        yield number, line
        while left and not line.endswith(b"\n"):
            line = file.readline(min(left, MAX_LINE))
            left -= len(line)


class _Findings:
    """Keeps the first findings, and counts the rest."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._more = 0

    def add(self, line: int, text: str) -> None:
        if len(self._kept) < MAX_FINDINGS:
            self._kept.append(Finding(line, text))
        else:
            self._more += 1

    def all(self) -> tuple[Finding, ...]:
        if self._more:
            return (*self._kept, Finding(0, f"and {self._more} more"))
        return tuple(self._kept)


class _Check:
    """Goes through a log once, line by line.

    After a problem it goes on from what it finds, so that one changed byte is one problem.
    """

    def __init__(self, seal: Seal, expected_head: str | None) -> None:
        self._seal = seal
        self._expected_head = expected_head
        self._problems = _Findings()
        self._warnings = _Findings()
        self._records = 0
        self._head = ""
        self._log_id = ""
        self._previous = ""
        self._lacks_key = False
        self._seq = 0  # number of the next record
        self._prev: tuple[str, ...] = ()  # what it may follow
        self._unread: tuple[int, bytes] | None = None  # a line that is no record

    def line(self, number: int, line: bytes) -> bool:
        """Check the next line; False when the rest makes no sense."""
        record = parse_line(line, self._seal)
        if number == 1 and not self._begins(record):
            return False
        if record is None:
            self._settle_unread(None)
            self._unread = (number, line)
            return True
        unread = self._unread is not None
        explained = self._settle_unread(record)
        if not record.intact:
            self._problems.add(number, "was changed: its hash does not fit its content")
            self._seq += 1
        else:
            if wrong := self._wrong_place(record, after_unread=unread and not explained):
                self._problems.add(number, wrong)
            if record.fields.get("note") == "torn" and not explained:
                self._problems.add(number, "tells of an unfinished line that is not before it")
            self._seq = record.seq + 1
            self._count(number, record)
        self._prev = (record.stated, record.computed)
        return True

    def report(self, expected_records: int | None) -> AuditReport:
        """What was found, now that all lines were seen."""
        self._settle_unread(None)
        if not self._prev and not self._problems.all():
            self._problems.add(0, "the file is empty: an audit log has a first record")
        if self._expected_head:
            self._problems.add(0, f"no record has the expected head {self._expected_head}")
        if expected_records is not None and self._records < expected_records:
            self._problems.add(
                0, f"{self._records} records, of {expected_records} that are expected"
            )
        return AuditReport(
            self._records,
            self._head,
            self._log_id,
            self._previous,
            self._problems.all(),
            self._warnings.all(),
            self._lacks_key,
        )

    def _begins(self, record: Record | None) -> bool:
        if record is None:
            self._problems.add(1, "is not the beginning of an audit log")
            return False
        if wrong := wrong_beginning(record.fields, self._seal):
            self._problems.add(1, wrong)
            self._lacks_key = record.fields.get("algorithm") == KEYED and not self._seal.key_id
            return False
        self._log_id = str(record.fields.get("log_id", ""))
        self._previous = "" if record.prev == NO_PREVIOUS else record.prev
        self._prev = (record.prev,)
        return True

    def _count(self, number: int, record: Record) -> None:
        self._records += 1
        self._head = record.stated
        if record.stated == self._expected_head:
            self._expected_head = None
        if record.fields.get("note") == "missed":
            events = record.fields.get("events")
            self._warnings.add(number, f"events before it that could not be recorded: {events}")

    def _wrong_place(self, record: Record, *, after_unread: bool) -> str:
        """Why a record does not belong here; empty when it does."""
        missing = record.seq - self._seq
        if record.prev in self._prev and missing == 0:
            return ""
        if after_unread and missing == 1:
            return ""  # the line before it was a record once, and is a problem already
        if missing > 0:
            return f"records missing before it: {missing}"
        if missing < 0:
            return f"is record {record.seq}, and stands where {self._seq} should be"
        return "does not follow the record before it"

    def _settle_unread(self, following: Record | None) -> bool:
        """Judge a line that is no record; whether the record after it explains it."""
        if self._unread is None:
            return False
        number, line = self._unread
        self._unread = None
        if following is not None and _explains(following, line):
            text = f"is unfinished ({len(line) - 1} bytes): a crash, noted when it was found"
            self._warnings.add(number, text)
            return True
        if len(line) > MAX_LINE:
            self._problems.add(number, "is longer than any record")
        elif line.endswith(b"\n"):
            self._problems.add(number, "is no record")
        else:
            text = "is unfinished: a crash that nobody has noted yet, or its end was cut off"
            self._problems.add(number, text)
        return False


def _explains(record: Record, line: bytes) -> bool:
    """Whether a record says that the line before it is what a crash left."""
    torn = line.removesuffix(b"\n")
    return (
        record.fields.get("note") == "torn"
        and record.fields.get("bytes") == len(torn)
        and record.fields.get("sha256") == hashlib.sha256(torn).hexdigest()
    )
