"""The audit log: appends events to a hash-chained file that threads and processes share.

One ``write`` per event, or for several that come together, under a lock on the file: a record
survives the death of the process at once, and a power failure as soon as the background flusher has
called fdatasync. Before it writes, an append looks whether the file ends where this process left
it, since others write to it, too.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore.audit.file import LogFile
from kmscore.audit.flusher import Flusher
from kmscore.audit.record import (
    FORMAT,
    MAX_LINE,
    NO_PREVIOUS,
    Seal,
    end_of_line,
    event_fields,
    note_fields,
    parse_line,
    read_seal,
    seal_line,
    wrong_beginning,
)
from kmscore.errors import ConfigError, IntegrityError, KmsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from logging import Logger

    from kmscore.audit.event import AuditEvent
    from kmscore.plugin import Secret

_flusher = Flusher()

_LONGEST_BEGINNING: Final = 4096
_NOT_MUCH: Final = 16384


class _Tip(NamedTuple):
    """Where the chain ends: size of the file up to there, number and hash of the last record."""

    size: int
    seq: int
    hash: str


class AuditLog:
    """Appends audit events to a file. Safe to share between threads, processes and forks.

    Args:
        path: The file; made when it is not there, with mode 0600. Its folder must exist.
        key: Key of at least 32 bytes, to seal the records with HMAC-SHA-256: who does not have it
            can forge none. Without a key they are sealed with SHA-256: who may write the file can
            then make a whole new chain, which only a head that was noted elsewhere gives away.
        fail_closed: Refuse to go on when an event cannot be recorded.
        clock: Seconds since the epoch, for records that are no events.

    Attributes:
        path: The file.
        missed: How many events could not be recorded.

    Raises:
        ConfigError: The file cannot be opened, may be read by others, is no audit log, or was
            begun under another key.
        IntegrityError: Its last record was altered.
        Unavailable: `fail_closed`, and it cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        key: Secret | None = None,
        fail_closed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()  # the working directory may change
        self.missed = 0
        self._file = LogFile(self.path, MAX_LINE)
        self._seal = Seal(key)
        self._fail_closed = fail_closed
        self._clock = clock
        self._lock = threading.Lock()
        self._syncing = threading.Lock()  # held until all of a sync is done; taken before _lock
        self._closed = False
        self._tip: _Tip | None = None  # None until the file has been read
        self._previous = NO_PREVIOUS  # last hash of the file that was moved away
        self._unrecorded = 0  # events missed since the last record
        self._sync_asked = False
        self._new_file = False  # its name is not yet on the disk
        self._sync_error: OSError | None = None
        _open_logs.add(self)
        try:
            with self._lock:
                self._extend(())
        except OSError as error:
            self._fail(error)
        else:
            self._sync_soon()

    def append(self, event: AuditEvent) -> None:
        """Record one event.

        Without `fail_closed` this never raises. What cannot be recorded is then counted, and
        logged under ``kmscore.audit``, once until it works again; the log itself will tell how
        many events it lacks.

        Raises:
            Unavailable: `fail_closed`, and the event cannot be recorded.
        """
        try:
            fields = event_fields(event)
            with self._lock:
                self._extend((fields,))
        except (OSError, KmsError) as error:
            with self._lock:
                self.missed += 1
                self._unrecorded += 1
            self._fail(error)
        else:
            self._sync_soon()

    def extend(self, events: Sequence[AuditEvent]) -> None:
        """Record several events in their order, in one write; otherwise as `append` does.

        Raises:
            Unavailable: `fail_closed`, and one of the events cannot be recorded.
        """
        if not events:
            return
        try:
            fields = [event_fields(event) for event in events]
            with self._lock:
                self._extend(fields)
        except (OSError, KmsError):
            self._append_each(events)
        else:
            self._sync_soon()

    def _append_each(self, events: Sequence[AuditEvent]) -> None:
        """Record as many events as can be recorded: one may be at fault, or too much for a disk."""
        failed: Unavailable | None = None
        for event in events:
            try:
                self.append(event)
            except Unavailable as error:
                failed = error
        if failed is not None:
            raise failed

    def flush(self) -> None:
        """Wait until every event recorded so far would survive a power failure.

        Raises:
            Unavailable: `fail_closed`, and the disk refuses.
        """
        self._sync()
        if self._fail_closed and self._sync_error is not None:
            raise self._unavailable() from self._sync_error

    def close(self) -> None:
        """Flush, and give the file back; may be called twice.

        Raises:
            Unavailable: `fail_closed`, and the disk refuses.
        """
        try:
            self.flush()
        finally:
            with self._lock:
                self._closed = True
                self._file.drop()

    def after_fork(self) -> None:
        """Go on in a forked child, with a lock and an open file of its own.

        Parent and child would otherwise share the lock on the file that both have open.
        """
        self._lock, self._syncing = threading.Lock(), threading.Lock()
        self._sync_asked = False
        self._unrecorded = 0  # the parent notes them
        self._tip = None
        self._file.drop()

    def __repr__(self) -> str:
        return f"<AuditLog '{self.path}'>"

    def _extend(self, events: Sequence[str]) -> None:
        """Find the end of the chain, whoever wrote it, and add events where some are given."""
        if self._closed:
            raise Unavailable("the audit log is closed")
        if self._fail_closed and self._sync_error is not None:
            raise self._sync_error
        try:
            while (size := self._file.lock()) is None:
                self._leave_moved_file()
            tip = self._tip
            if tip is None or tip.size != size:
                tip = self._catch_up(size)
            if not events:
                return
            if self._unrecorded:
                tip = self._note_missed(tip)
            self._add(tip, events)
        finally:
            self._file.unlock()

    def _add(self, tip: _Tip, records: Sequence[str], before: bytes = b"") -> _Tip:
        """Write records after the tip; `before` ends what an unfinished line left."""
        size, seq, digest = tip
        data = before
        for fields in records:
            seq += 1
            line, digest = seal_line(self._seal, seq, digest, fields)
            data += line
        self._file.append(data, size)
        self._tip = _Tip(size + len(data), seq, digest)
        return self._tip

    def _catch_up(self, size: int) -> _Tip:
        """Find the end of a file that does not end where this process left it."""
        tip = self._tip
        if size == 0:
            return self._begin()
        if tip is None:
            self._check_beginning()
        elif followed := self._follow(tip, size):
            self._tip = followed
            return followed
        line, torn = self._file.tail(size)
        last = parse_line(line, self._seal)
        if last is not None and last.intact and self._still_holds(tip, size):
            tip = _Tip(size, last.seq, last.stated)
        elif tip is None:
            raise IntegrityError(
                f"the last record of the audit log {self.path} was altered",
                hint="Move the file away, keep it, and look at it with: kmscore audit verify",
            )
        else:
            # Going on from what was the end makes the break visible to the verifier.
            _logger().error("the audit log %s was altered by somebody else", self.path)
            tip = tip._replace(size=size)
        self._tip = tip
        return self._keep_torn(tip, torn) if torn else tip

    def _follow(self, tip: _Tip, size: int) -> _Tip | None:
        """The end of what others have appended to a tip, the usual case: not much, and all well."""
        end = end_of_line(tip.hash)
        start = tip.size - len(end)
        if not 0 < size - start <= _NOT_MUCH:
            return None
        found = self._file.read(size - start, start)
        if not found.startswith(end):
            return None
        last = read_seal(found[found.rfind(b"\n", 0, -1) + 1 :], self._seal)
        return None if last is None else _Tip(size, *last)

    def _still_holds(self, tip: _Tip | None, size: int) -> bool:
        """Whether the last record that this process knows is still where it was."""
        if tip is None:
            return True
        end = end_of_line(tip.hash)
        return size > tip.size and self._file.read(len(end), tip.size - len(end)) == end

    def _begin(self) -> _Tip:
        """Write the first record of a file.

        One that was emptied while in use goes on with the number and hash that it had, so that
        the verifier misses what was there.
        """
        tip = _Tip(0, -1, self._previous)
        if self._tip is not None:
            _logger().error("the audit log %s was emptied by somebody else", self.path)
            tip = self._tip._replace(size=0)
        begin = note_fields(
            self._clock(),
            "begin",
            format=FORMAT,
            algorithm=self._seal.algorithm,
            key_id=self._seal.key_id,
            log_id=os.urandom(16).hex(),
        )
        tip = self._add(tip, (begin,))
        self._new_file = True
        return tip

    def _check_beginning(self) -> None:
        """Refuse a file that is no audit log, or is sealed in another way."""
        first, _, _ = self._file.read(_LONGEST_BEGINNING, 0).partition(b"\n")
        record = parse_line(first + b"\n", self._seal)
        if record is None:
            raise ConfigError(
                f"{self.path} is no audit log", hint="Name another file, or move this one away"
            )
        if wrong := wrong_beginning(record.fields, self._seal):
            raise ConfigError(
                f"the audit log {self.path} cannot be continued: {wrong}",
                hint="Move the file away to begin a new one, or configure its key",
            )
        if not record.intact:
            raise IntegrityError(
                f"the first record of the audit log {self.path} was altered",
                hint="Move the file away, keep it, and look at it with: kmscore audit verify",
            )

    def _keep_torn(self, tip: _Tip, torn: bytes) -> _Tip:
        """Record that somebody died while writing; what they left stays as evidence."""
        whole = parse_line(torn + b"\n", self._seal)
        if whole is not None and whole.intact and whole.prev == tip.hash:
            self._file.append(b"\n", tip.size)
            self._tip = _Tip(tip.size + 1, whole.seq, whole.stated)
            return self._tip
        if len(torn) > MAX_LINE:  # no record, but something else: the verifier shall say so
            self._file.append(b"\n", tip.size)
            self._tip = tip._replace(size=tip.size + 1)
            return self._tip
        digest = hashlib.sha256(torn).hexdigest()
        note = note_fields(self._clock(), "torn", bytes=len(torn), sha256=digest)
        return self._add(tip, (note,), before=b"\n")

    def _note_missed(self, tip: _Tip) -> _Tip:
        """Record how many events are missing here."""
        note = note_fields(self._clock(), "missed", events=self._unrecorded)
        tip = self._add(tip, (note,))
        _logger().warning("the audit log %s lacks %d events", self.path, self._unrecorded)
        self._unrecorded = 0
        return tip

    def _leave_moved_file(self) -> None:
        """The file was moved away: keep its last hash, with which the next one will begin."""
        if self._tip is not None:
            size = self._file.size()
            tip = self._tip if self._tip.size == size else self._catch_up(size)
            self._previous = tip.hash
            self._tip = None
        try:
            self._file.sync()
        finally:
            self._file.drop()

    def _sync_soon(self) -> None:
        if not self._sync_asked:
            self._sync_asked = True
            _flusher.soon(self._sync)

    def _sync(self) -> None:
        """Bring all that was written to the disk, without holding up who appends meanwhile."""
        try:
            with self._syncing:  # what the background has begun, `flush` must not return before
                self._bring_to_disk()
        except OSError as error:
            # The system forgets what it could not write: a later success would prove nothing.
            self._sync_error = error
            _logger().error(
                "the audit log %s may not survive a power failure: %s", self.path, error
            )

    def _bring_to_disk(self) -> None:
        with self._lock:
            self._sync_asked = False
            if not self._file.is_open:
                return
            fd = self._file.duplicate()
            new_file, self._new_file = self._new_file, False
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if new_file:
            self._file.sync_folder()

    def _fail(self, error: Exception) -> None:
        if self._fail_closed:
            raise self._unavailable() from error
        if self._unrecorded <= 1:
            _logger().error("the audit log %s cannot be written: %s", self.path, error)

    def _unavailable(self) -> Unavailable:
        return Unavailable(
            f"the audit log {self.path} cannot be written",
            hint="Nothing may happen unrecorded (fail_closed): make room, or mend the file",
        )


def _logger() -> Logger:
    """Where trouble is told; imported only then, for it takes longer than opening the log."""
    import logging

    return logging.getLogger("kmscore.audit")


_open_logs: weakref.WeakSet[AuditLog] = weakref.WeakSet()


def _flush_all() -> None:
    for log in list(_open_logs):
        with contextlib.suppress(KmsError):  # it was logged
            log.flush()


def _after_fork() -> None:
    global _flusher  # its thread stayed with the parent, and so did its jobs
    _flusher = Flusher()
    for log in list(_open_logs):
        log.after_fork()


atexit.register(_flush_all)
os.register_at_fork(after_in_child=_after_fork)
