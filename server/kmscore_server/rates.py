"""Rate limits: how many requests per second an account may send, by action."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

DOCUMENTED: Final = {
    "*": 100.0,
    "Encrypt": 300.0,
    "Decrypt": 300.0,
    "GenerateDataKey": 150.0,
    "GenerateRandom": 150.0,
    "AsymmetricRsaDecrypt": 200.0,
    "AsymmetricSm2Decrypt": 200.0,
    "RotateKey": 20.0,
}
"""Requests per second and account, as the public pages of the cloud service have them."""

MOST_ACCOUNTS: Final = 4096
"""Accounts that limits are kept for."""

_LITTLE: Final = 1e-6
"""A part of a request: fractions of seconds are a little off."""
_RATE: Final = re.compile(r"\s*(\*|\w{1,64})\s*:\s*(\d{1,7}(?:\.\d{1,3})?)\s*", re.ASCII)


def parse_rates(texts: Iterable[str]) -> dict[str, float]:
    """Limits by action, ``*`` for all others, from ``ACTION: NUMBER`` or ``documented``.

    Raises:
        ConfigError: One is neither.
    """
    rates: dict[str, float] = {}
    for text in texts:
        if text.strip() == "documented":
            rates |= DOCUMENTED
            continue
        match = _RATE.fullmatch(text)
        if match is None or float(match[2]) <= 0:
            raise ConfigError(
                f"{text!r} is no rate limit", hint="For example: 'Encrypt: 300', '*: 100'"
            )
        rates[match[1]] = float(match[2])
    return rates


class RateLimiter:
    """A bucket of one second's requests for each account and action, which all workers share.

    A bucket is two numbers: how many requests are missing in it, and since when. They stand in
    memory that the workers inherit, and are changed under a lock of the system, which ends with
    who holds it.

    Args:
        rates: Requests per second by action; ``*`` is for each action that is not named. As many
            may come at once, and always one.
        actions: Every action that there is.
        monotonic: Seconds that never run backwards, the same for all workers.

    Raises:
        ConfigError: There is no place for the file of that lock.
    """

    def __init__(
        self, rates: dict[str, float], actions: Iterable[str], monotonic: Callable[[], float]
    ) -> None:
        limits = {action: rates.get(action, rates.get("*")) for action in sorted(actions)}
        named = [(action, rate) for action, rate in limits.items() if rate is not None]
        self._limits = {action: (1 + 2 * i, rate) for i, (action, rate) in enumerate(named)}
        self._width = 1 + 2 * len(named)  # the account, and its buckets
        self._monotonic = monotonic
        memory = memoryview(mmap.mmap(-1, MOST_ACCOUNTS * self._width * 8))
        self._accounts = memory.cast("Q")
        self._buckets = memory.cast("d")
        self._rows: dict[int, int] = {}
        try:
            with tempfile.TemporaryFile() as file:
                self._lock = os.dup(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"rate limits need a temporary file: {error.strerror}",
                hint="Set TMPDIR to a folder for it",
            ) from error

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no file
            os.close(self._lock)

    def expect(self, uins: Iterable[int]) -> None:
        """Make room for accounts, before any of them is seen.

        Raises:
            ConfigError: There are too many.
        """
        for uin in sorted(set(uins) - self._rows.keys()):
            self._rows[uin] = self._row(uin)

    def admits(self, uin: int, action: str) -> bool:
        """Count a request, unless there were too many."""
        limit = self._limits.get(action)
        if limit is None:
            return True
        place, rate = limit
        place += self._rows[uin]
        buckets = self._buckets
        with self._locked(place):
            now = self._monotonic()
            missing = max(buckets[place] - (now - buckets[place + 1]) * rate, 0.0) + 1
            if missing > max(rate, 1.0) + _LITTLE:
                return False
            buckets[place], buckets[place + 1] = missing, now
        return True

    def _row(self, uin: int) -> int:
        """Where an account's buckets are; workers that come to know of it later find it there."""
        with self._locked(0):
            for row in range(0, len(self._accounts), self._width):
                if self._accounts[row] in (0, uin):
                    self._accounts[row] = uin
                    return row
        raise ConfigError(
            f"there are rate limits, and more than {MOST_ACCOUNTS} accounts",
            hint="Serve some of them elsewhere",
        )

    @contextmanager
    def _locked(self, place: int) -> Generator[None]:
        # Of all locks, this one belongs to a process, though the file was opened by its parent.
        fcntl.lockf(self._lock, fcntl.LOCK_EX, 1, place)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, place)
