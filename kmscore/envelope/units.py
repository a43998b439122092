"""Regular files in units of 1 MiB, read, enciphered and written at their places by threads.

They never wait for one another, since every unit has its place in both files; each keeps its two
buffers. The cipher and the system calls let other threads run. Of a large file, one more thread
brings to the disk what is written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from kmscore.envelope.frames import (
    FINAL_OVERHEAD,
    FINAL_PREFIX_BYTES,
    Body,
    final_size,
)
from kmscore.envelope.header import cut_off
from kmscore.errors import IntegrityError, InvalidRequest

UNIT_BYTES: Final = 1 << 20
"""Plaintext that is read, enciphered and written at a time."""

THREADS: Final = 2
"""More gain nothing: the disk and page faults are the limit, not the cipher."""

BUFFER_BYTES: Final = 1 << 24
"""Most plaintext that threads hold together: where frames are larger, one does them all."""

SYNC_UNITS: Final = 32
"""After so many units, what is written is brought to the disk while others are being done."""

Progress = Callable[[int], None]
"""Told how many bytes of plaintext were done since the last time."""

Unit = Callable[[int, memoryview, memoryview], int]
"""Does the unit of that number with a buffer for plaintext and one for frames; returns bytes."""


def seal_file(
    reader: int,
    writer: int,
    header: bytes,
    body: Body,
    size: int,
    *,
    threads: int = THREADS,
    progress: Progress | None = None,
) -> None:
    """Write a message.

    Args:
        reader: Descriptor of the plaintext, a regular file.
        writer: Descriptor of an empty regular file.
        header: The header with its tag.
        body: What seals the frames.
        size: Bytes of plaintext.
        threads: How many work side by side.
        progress: Told of bytes done.

    Raises:
        InvalidRequest: The plaintext became shorter or longer, or cannot be read.
    """
    step, width = body.frame_bytes, body.sealed_bytes
    regular = max(0, size - 1) // step
    per_unit = max(1, UNIT_BYTES // step)
    start = len(header)

    def unit(number: int, plain: memoryview, sealed: memoryview) -> int:
        first = number * per_unit
        length = min(per_unit, regular - first) * step
        read_at(reader, plain[:length], first * step)
        written = body.seal(first + 1, plain[:length], sealed)
        write_at(writer, sealed[:written], start + first * width)
        return length

    if regular:
        frames = min(per_unit, regular)
        units = -(-regular // per_unit)
        with _synced(writer, units) as due:
            _run(unit, units, frames * step, frames * width, threads, due, progress)
    rest = size - regular * step
    plain = memoryview(bytearray(rest + 1))
    if _read_up_to(reader, plain, regular * step) != rest:
        raise InvalidRequest("the file changed while it was being encrypted")
    final = body.seal_final(regular + 1, plain[:rest])
    if regular:
        write_at(writer, memoryview(header), 0)
        write_at(writer, memoryview(final), start + regular * width)
    else:
        write_at(writer, memoryview(header + final), 0)
    if progress is not None:
        progress(rest)


def open_file(
    reader: int,
    writer: int,
    start: int,
    body: Body,
    size: int,
    *,
    threads: int = THREADS,
    progress: Progress | None = None,
) -> None:
    """Write the plaintext of a message; only authenticated frames are ever written.

    Args:
        reader: Descriptor of the message, a regular file.
        writer: Descriptor of an empty regular file.
        start: Where the frames begin.
        body: What opens the frames.
        size: Bytes of the message.
        threads: How many work side by side.
        progress: Told of bytes done.

    Raises:
        IntegrityError: The message was altered, cut or extended.
    """
    step, width = body.frame_bytes, body.sealed_bytes
    regular, final = layout(size - start, body)
    # The end comes first: a gigabyte need not be opened to find that it is missing.
    frame = memoryview(bytearray(FINAL_OVERHEAD + final))
    read_at(reader, frame, start + regular * width)
    check_end(bytes(frame[:FINAL_PREFIX_BYTES]), regular, final, body)
    write_at(writer, memoryview(body.open_final(regular + 1, frame)), regular * step)
    del frame
    if progress is not None:
        progress(final)
    per_unit = max(1, UNIT_BYTES // step)

    def unit(number: int, plain: memoryview, sealed: memoryview) -> int:
        first = number * per_unit
        length = min(per_unit, regular - first) * width
        read_at(reader, sealed[:length], start + first * width)
        written = body.open(first + 1, sealed[:length], plain)
        write_at(writer, plain[:written], first * step)
        return written

    if regular:
        frames = min(per_unit, regular)
        units = -(-regular // per_unit)
        with _synced(writer, units) as due:
            _run(unit, units, frames * step, frames * width, threads, due, progress)


def layout(size: int, body: Body) -> tuple[int, int]:
    """Regular frames, and bytes of plaintext in the final one, of a body of that many bytes.

    Raises:
        IntegrityError: No whole body has that size.
    """
    rest = size - FINAL_OVERHEAD
    if rest < 0:
        raise cut_off()
    regular, final = divmod(rest, body.sealed_bytes)
    if final > body.frame_bytes:
        raise _cut_or_extended()
    return regular, final


def check_end(prefix: bytes, regular: int, final: int, body: Body) -> None:
    """Check that a message ends where its size says.

    Raises:
        IntegrityError: The final frame is not there, or not of that size.
    """
    try:
        stated = final_size(prefix, regular + 1, body.frame_bytes)
    except IntegrityError as error:
        raise _cut_or_extended() from error
    if stated != final:
        raise _cut_or_extended()


def _cut_or_extended() -> IntegrityError:
    return IntegrityError("the message is cut off, or goes on after its final frame")


def read_at(reader: int, into: memoryview, place: int) -> None:
    """Fill a buffer from a place in a file.

    Raises:
        InvalidRequest: The file is shorter now, or cannot be read.
    """
    if _read_up_to(reader, into, place) < len(into):
        raise InvalidRequest("the file became shorter while it was being read")


def _read_up_to(reader: int, into: memoryview, place: int) -> int:
    done = 0
    try:
        while done < len(into):
            count = os.preadv(reader, [into[done:]], place + done)
            if count == 0:
                break
            done += count
    except OSError as error:
        raise unreadable(error) from error
    return done


def unreadable(error: OSError) -> InvalidRequest:
    """The error for an input that was opened and cannot be read."""
    return InvalidRequest(f"the input cannot be read: {error.strerror}")


def write_at(writer: int, data: memoryview, place: int) -> None:
    """Write a buffer to a place in a file."""
    done = os.pwrite(writer, data, place)
    while done < len(data):
        done += os.pwrite(writer, data[done:], place + done)


def _run(
    unit: Unit,
    units: int,
    plain_bytes: int,
    sealed_bytes: int,
    threads: int,
    due: Callable[[], None],
    progress: Progress | None,
) -> None:
    """Do all units, every worker each n-th of them; the first failure ends the others.

    ``due`` is called whenever another `SYNC_UNITS` were done.
    """
    workers = max(1, min(threads, units, BUFFER_BYTES // plain_bytes))
    failures: list[BaseException] = []
    reporting = threading.Lock()

    def work(first: int) -> None:
        try:
            plain, sealed = bytearray(plain_bytes), bytearray(sealed_bytes)
            with memoryview(plain) as plain_view, memoryview(sealed) as sealed_view:
                for number in range(first, units, workers):
                    if failures:
                        return
                    done = unit(number, plain_view, sealed_view)
                    if number % SYNC_UNITS == SYNC_UNITS - 1:
                        due()
                    if progress is not None:
                        with reporting:
                            progress(done)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failures.append(error)

    others = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(1, workers)]
    for other in others:
        other.start()
    work(0)
    for other in others:
        _join(other, failures)
    if failures:
        raise failures[0]


@contextmanager
def _synced(writer: int, units: int) -> Generator[Callable[[], None]]:
    """Bring a large file to the disk while it is written: in the end little is left to wait for.

    Yields:
        What asks for it; it does not wait.

    Raises:
        OSError: The disk failed. The kernel says so once: whoever syncs later is not told.
    """
    if units <= SYNC_UNITS:
        yield lambda: None
        return
    due = threading.Event()
    ended = False
    failures: list[BaseException] = []

    def sync() -> None:
        while due.wait() and not ended and not failures:
            due.clear()
            try:
                os.fdatasync(writer)
            except OSError as error:
                failures.append(error)

    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    try:
        yield due.set
    finally:
        ended = True
        due.set()
        _join(thread, failures)
    if failures:
        raise failures[0]


def _join(thread: threading.Thread, failures: list[BaseException]) -> None:
    """Wait for a thread, whatever interrupts: it writes to files that are closed afterwards."""
    while True:
        try:
            thread.join()
        except BaseException as error:  # noqa: BLE001 - raised when the thread has ended
            failures.append(error)
        else:
            return
