"""The background thread that brings audit logs to the disk: one fdatasync for many records."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL: Final = 0.05
"""Seconds between a first record and its fdatasync; what is written meanwhile shares it."""


class Flusher:
    """Runs jobs a little later, in one daemon thread that starts with the first of them."""

    def __init__(self) -> None:
        self._jobs: set[Callable[[], None]] = set()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def soon(self, job: Callable[[], None]) -> None:
        """Run a job after `INTERVAL`; once, however often it is asked for until then.

        Args:
            job: Must not raise.
        """
        self._jobs.add(job)
        self._wake.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="kmscore-audit-flush", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # No more threads: the process is ending, or has too many.
                self._run_jobs()
            else:
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(INTERVAL)
            self._wake.clear()
            self._run_jobs()

    def _run_jobs(self) -> None:
        while self._jobs:
            self._jobs.pop()()
