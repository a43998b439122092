"""Rate limits: how many requests per second an account may send, by action."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


class _Bucket:
    __slots__ = ("filled_at", "left")

    def __init__(self, left: float, filled_at: float) -> None:
        self.left = left
        self.filled_at = filled_at


class Limit(NamedTuple):
    """Requests per second, and as many at once."""

    rate: float

    @property
    def burst(self) -> float:
        """Requests that may come at once."""
        return max(1.0, self.rate)


class RateLimiter:
    """A bucket of one second's requests for each account and action.

    Args:
        rates: Requests per second by action; ``*`` is for each action that is not named.
        share: The part of the limits that this process grants.
        monotonic: Seconds that never run backwards.
    """

    def __init__(
        self, rates: dict[str, float], share: float, monotonic: Callable[[], float]
    ) -> None:
        self._limits = {action: Limit(rate * share) for action, rate in rates.items()}
        self._others = self._limits.get("*")
        self._monotonic = monotonic
        self._buckets: dict[tuple[int, str], _Bucket] = {}

    def admits(self, uin: int, action: str) -> bool:
        """Count a request, unless there were too many."""
        limit = self._limits.get(action, self._others)
        if limit is None:
            return True
        now = self._monotonic()
        bucket = self._buckets.get((uin, action))
        if bucket is None:
            bucket = self._buckets[uin, action] = _Bucket(limit.burst, now)
        bucket.left = min(limit.burst, bucket.left + (now - bucket.filled_at) * limit.rate)
        bucket.filled_at = now
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True
