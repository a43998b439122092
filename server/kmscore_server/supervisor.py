"""Several workers: forked before anything is opened, watched, replaced when they die, ended.

All take connections from one listening socket: whoever is free takes the next one, and nobody who
waits is lost when a worker dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from kmscore import errors
from kmscore.errors import KmsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DEATHS: Final = 5
"""Workers that may die within `DEATH_WINDOW` before all is given up."""
DEATH_WINDOW: Final = 60.0
MARGIN: Final = 5.0
"""Seconds after the time of grace until a worker that does not end is killed."""

_READY: Final = b"ready"


class Place(NamedTuple):
    """Where a worker stands.

    Attributes:
        number: Its number, from 0.
        parent: A descriptor that becomes readable when the parent has died; None without one.
        first: Whether it is the first of all that have been, and prepares what they need.
    """

    number: int = 0
    parent: int | None = None
    first: bool = True


class _Worker:
    """A child: its number, its process, and the pipe that it tells us through."""

    __slots__ = ("number", "pid", "pipe", "ready", "said")

    def __init__(self, number: int, pid: int, pipe: int) -> None:
        self.number = number
        self.pid = pid
        self.pipe = pipe
        self.said = b""
        self.ready = False


class Supervisor:
    """Keeps workers.

    Args:
        count: How many.
        work: What each does: takes its place, and what to call when it takes connections.
        grace: Seconds that they have to end.
        ready: Called once, when all take connections.
        ending: Called once, before they are told to end.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Place, Callable[[], None]], None],
        *,
        grace: float,
        ready: Callable[[], None],
        ending: Callable[[], None],
    ) -> None:
        self._count = count
        self._work = work
        self._grace = grace
        self._tell_ready = ready
        self._tell_ending = ending
        self._workers: dict[int, _Worker] = {}
        self._deaths: deque[float] = deque()
        self._stopping = False
        self._announced = False
        self._life_end, self._life = os.pipe()  # ends when this process does
        self._wake, self._waker = socket.socketpair()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            KmsError: What kept a worker from serving.
            Unavailable: Workers die again and again.
        """
        for end in (self._wake, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, self._notice)
        try:
            # The first one makes what is not there yet; the others find it.
            self._fork(0)
            while not self._stopping:
                self._wait(None)
                self._fill_up()
        finally:
            self._end()

    # --- The parent --------------------------------------------------------------------------

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _notice(self, *_: object) -> None:
        """A worker has died: what wakes us up is that there is a handler."""

    def _fill_up(self) -> None:
        """Fork who is missing, once the first has shown that it can be done."""
        if self._stopping or not (self._announced or self._all_ready()):
            return
        there = {worker.number for worker in self._workers.values()}
        for number in range(self._count):
            if number not in there:
                self._fork(number)
        if not self._announced and len(there) == self._count and self._all_ready():
            self._announced = True
            self._tell_ready()

    def _all_ready(self) -> bool:
        return bool(self._workers) and all(worker.ready for worker in self._workers.values())

    def _wait(self, timeout: float | None) -> None:
        """Wait for a signal, or for what a worker says; then bury the dead."""
        pipes = [worker.pipe for worker in self._workers.values() if worker.pipe >= 0]
        wake = self._wake.fileno()
        readable, _, _ = select.select([wake, *pipes], [], [], timeout)
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        for worker in self._workers.values():
            if worker.pipe in readable:
                self._listen(worker)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._bury(pid, status)

    def _listen(self, worker: _Worker) -> None:
        said = os.read(worker.pipe, 65536)
        worker.said += said
        worker.ready = worker.said == _READY
        if not said:
            os.close(worker.pipe)
            worker.pipe = -1

    def _bury(self, pid: int, status: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return
        while worker.pipe >= 0:
            self._listen(worker)
        if self._stopping:
            return
        if worker.said and worker.said != _READY:
            raise _told(worker.said)
        code = os.waitstatus_to_exitcode(status)
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        sys.stderr.write(f"kmscore serve: worker {worker.number} ended {how}\n")
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATH_WINDOW:
            self._deaths.popleft()
        if len(self._deaths) >= MOST_DEATHS or not worker.ready:
            raise Unavailable(
                f"worker {worker.number} ended {how}, the last of {len(self._deaths)} in a minute",
                hint="See above for what they said",
            )

    def _end(self) -> None:
        """End all workers, gracefully, then by force."""
        self._stopping = True
        self._tell_ending()
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + self._grace + MARGIN
        while self._workers and time.monotonic() < ends:
            self._wait(max(0.0, ends - time.monotonic()))
        for pid in list(self._workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        signal.set_wakeup_fd(-1)
        os.close(self._life)

    # --- The child ---------------------------------------------------------------------------

    def _fork(self, number: int) -> None:
        said, say = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(said)
            self._be_worker(number, say)
        os.close(say)
        self._workers[pid] = _Worker(number, pid, said)

    def _be_worker(self, number: int, say: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(each, signal.SIG_DFL)
            os.close(self._life)
            place = Place(number, self._life_end, number == 0 and not self._announced)
            self._work(place, lambda: _say(say, _READY))
            code = 0
        except KmsError as error:
            _say(say, _telling(error))
        except BaseException as error:  # noqa: BLE001 - a child never goes back to its parent's code
            sys.stderr.write(f"kmscore serve: worker {number}: {type(error).__name__}\n")
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _say(pipe: int, text: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, text)


def _telling(error: KmsError) -> bytes:
    fields: dict[str, Any] = {
        name: getattr(error, name) for name in ("message", "hint", "provider", "operation", "key")
    }
    return json.dumps({"type": type(error).__name__, **fields}).encode()


def _told(text: bytes) -> KmsError:
    fields: dict[str, str] = json.loads(text)
    kind = getattr(errors, fields.pop("type"), errors.InternalError)
    error: KmsError = kind(fields.pop("message"), **fields)
    return error
