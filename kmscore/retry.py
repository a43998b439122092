"""Retry with full jitter: when a call is sent again, how long is waited, and when it is given up.

Providers never retry. The core does, in one place, by the error's class: see `Replay`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar, cast

from kmscore.errors import ConfigError, KmsError, Throttled, Timeout, Unavailable

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")

MAX_VALUE: Final = 1_000_000_000
"""The most of everything in a policy, whether attempts or seconds."""

# Doubling more often reaches no larger delay, and would overflow a float.
_MAX_DOUBLINGS: Final = 62


class Replay(Enum):
    """Whether a call may be sent again after it has failed."""

    SAFE = (Throttled, Unavailable, Timeout)
    """Done twice is as good as done once: all reads, encrypt, decrypt, sign, enable."""
    UNSAFE = (Throttled, Unavailable)
    """Only when it was certainly not done: a lost answer may mean that it was."""
    NEVER = ()
    """Sent once, whatever happens: creating and rotating keys."""

    def allows(self, error: KmsError) -> bool:
        """Whether a call that failed with this error may be sent again."""
        return error.retryable and isinstance(error, self.value)


class _Bounds(NamedTuple):
    # A dataclass would take longer to make than most modules to load.
    max_attempts: int
    initial_delay: float
    max_delay: float
    deadline: float


class RetryPolicy(_Bounds):
    """How often and how long; the table ``[retry]`` of the configuration.

    Attributes:
        max_attempts: How often a call is sent at most, the first time included.
        initial_delay: Upper bound of the first wait, in seconds; it doubles with every attempt.
        max_delay: Upper bound of every wait, in seconds.
        deadline: Seconds from the first failure after which nothing is sent again.

    Raises:
        ConfigError: A value is no number, negative or above `MAX_VALUE`, or `max_attempts` is
            below 1.
    """

    __slots__ = ()

    def __new__(
        cls,
        max_attempts: int = 6,
        initial_delay: float = 0.1,
        max_delay: float = 5.0,
        deadline: float = 30.0,
    ) -> Self:
        """Check the values; attributes of the class, in their order."""
        policy = super().__new__(cls, max_attempts, initial_delay, max_delay, deadline)
        for name, value in policy._asdict().items():
            # Callers without a type checker pass anything at all.
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{name} of the retry policy is no number")
            # Compared, not converted: a whole number may be too large for a float.
            if not 0 <= value <= MAX_VALUE:
                raise ConfigError(
                    f"{name} of the retry policy is out of range",
                    hint=f"Use a number from 0 to {MAX_VALUE}",
                )
            if name == "max_attempts" and (isinstance(value, float) or value < 1):
                raise ConfigError(
                    f"max_attempts of the retry policy is {value}",
                    hint="It is a whole number and counts the first attempt: 1 means no retries",
                )
        return policy


class Wait(NamedTuple):
    """A wait that is about to begin, for who shows or logs it.

    Attributes:
        attempt: Number of the attempt that has failed, from 1.
        delay: How long is waited now, in seconds.
        error: What it failed with.
    """

    attempt: int
    delay: float
    error: KmsError


def _draw(low: float, high: float) -> float:
    """Draw from the operating system's generator, which forked processes do not share."""
    import random

    return random.SystemRandom().uniform(low, high)


class Retrier:
    """Carries on after a first failure, by a policy. Safe to share between threads.

    The wait before attempt n+1 is drawn evenly from 0 to min(max_delay, initial_delay · 2ⁿ⁻¹):
    "full jitter", which spreads out clients that were turned away together. Where the provider
    says how long to wait (`Throttled.retry_after`), it is at least that.

    Args:
        policy: How often and how long.
        sleep: Waits for a number of seconds.
        monotonic: Seconds that never run backwards.
        uniform: Draws evenly between two numbers.
        on_wait: Told before every wait.
    """

    __slots__ = ("_monotonic", "_on_wait", "_policy", "_sleep", "_uniform")

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = _draw,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> None:
        self._policy = policy
        self._sleep = sleep
        self._monotonic = monotonic
        self._uniform = uniform
        self._on_wait = on_wait

    def resume(self, error: KmsError, call: Callable[[], Result], replay: Replay) -> Result:
        """Go on after a first attempt that failed, or raise its error.

        Never sleeps past the deadline: when the next wait would, the last error is raised at once.

        Args:
            error: What the first attempt failed with. The deadline counts from now.
            call: Sends it again.
            replay: Whether it may be sent again.

        Returns:
            What the first successful attempt returned.

        Raises:
            KmsError: The error of the last attempt, itself; when attempts or time were used up,
                its hint says how many and how long.
        """
        if not replay.allows(error):
            raise error
        # Costly to import, and most processes never retry.
        from tenacity import Retrying, retry_if_exception

        began = self._monotonic()
        first = [error]

        def attempt() -> Result:
            if first:
                raise first.pop()
            return call()

        def may_repeat(failure: BaseException) -> bool:
            return isinstance(failure, KmsError) and replay.allows(failure)

        def stop(state: RetryCallState) -> bool:
            spent = self._monotonic() - began
            return (
                state.attempt_number >= self._policy.max_attempts
                or spent + state.upcoming_sleep > self._policy.deadline
            )

        def give_up(state: RetryCallState) -> None:
            failure = _failure(state)
            attempts = state.attempt_number
            spent = self._monotonic() - began
            text = f"Gave up after {attempts} attempt{'s'[: attempts > 1]} in {spent:.1f} s"
            failure.hint = f"{failure.hint}. {text}" if failure.hint else text
            raise failure

        def tell(state: RetryCallState) -> None:
            if self._on_wait is not None:
                self._on_wait(Wait(state.attempt_number, state.upcoming_sleep, _failure(state)))

        retrying = Retrying(
            sleep=self._sleep,
            retry=retry_if_exception(may_repeat),
            wait=self._delay,
            stop=stop,
            before_sleep=tell,
            retry_error_callback=give_up,
        )
        return retrying(attempt)

    def _delay(self, state: RetryCallState) -> float:
        """Seconds to wait after a failed attempt."""
        doublings = min(state.attempt_number - 1, _MAX_DOUBLINGS)
        bound = min(self._policy.max_delay, self._policy.initial_delay * 2**doublings)
        drawn = self._uniform(0.0, bound)
        failure = _failure(state)
        if isinstance(failure, Throttled) and failure.retry_after is not None:
            return max(drawn, failure.retry_after)
        return drawn


def _failure(state: RetryCallState) -> KmsError:
    """What an attempt failed with; asked only after one that may be repeated."""
    return cast("KmsError", state.outcome and state.outcome.exception())
