"""The line to a provider: it counts calls, keeps to a budget, and fails when it is told to.

It is a provider itself, and stands between the core's gate and the provider under test. Providers
that do their own retries, as those of the zoo, can be built on top of it instead: see `Conditions`.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple, cast

from kmscore.errors import Throttled, Timeout, Unavailable
from kmscore.spi import INTERFACES, KeyInfo, Provider
from kmscore_conformance.outcome import BudgetSpent

TIDYING: Final = 4
"""Calls that may be needed to delete a key: look, restore, disable, schedule."""

UNCOUNTED: Final = frozenset({"capabilities", "health", "close"})


class Fault(Enum):
    """What happens to a call on its way."""

    THROTTLED = "turned away: too many requests"
    UNAVAILABLE = "dropped before it arrived"
    LOST_REPLY = "carried out, but the reply was lost"
    NO_REPLY = "never arrived, and nobody said so"


class Budget:
    """Calls that a run may still make to one provider, those that tidy up among them.

    Args:
        most: How many, or None for any number.

    Attributes:
        spent: How many were made.
        refused: How many were not, since there was none left.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.spent = 0
        self.refused = 0
        self._set_aside = 0
        self._lock = threading.Lock()

    def take(self, later: int = 0) -> None:
        """Count one call.

        Args:
            later: Calls that it will cost to tidy up; they are set aside until `release`.

        Raises:
            BudgetSpent: There are not as many left.
        """
        with self._lock:
            needed = self.spent + self._set_aside + 1 + later
            if self.most is not None and needed > self.most:
                self.refused += 1
                raise BudgetSpent(f"the budget of {self.most} calls is spent")
            self.spent += 1
            self._set_aside += later

    def release(self) -> None:
        """Hand out what was set aside: the tidying begins."""
        with self._lock:
            self._set_aside = 0


class Effect(NamedTuple):
    """A call that reached the provider, and came back well."""

    operation: str
    arguments: tuple[Any, ...]


class Line:
    """A line to one provider.

    Attributes:
        attempts: How often each operation was sent.
        effects: What was carried out, in its order, while `recording`.
        created: Ids of all keys that were made through it.
        is_used: Whether it was put before a provider.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.attempts: Counter[str] = Counter()
        self.effects: list[Effect] = []
        self.created: list[str] = []
        self.is_used = False
        self.recording = False
        self._faults: deque[tuple[Fault, float | None]] = deque()
        self._only: frozenset[str] | None = None
        self._lock = threading.Lock()

    def fail(
        self,
        *faults: Fault,
        retry_after: float | None = None,
        only: frozenset[str] | None = None,
    ) -> None:
        """Let these faults befall the next calls, one each; without any, end all of that.

        Args:
            faults: What befalls them.
            retry_after: Seconds that a throttled call is told to wait.
            only: The operations that are meant; None means any.
        """
        with self._lock:
            self._faults = deque((fault, retry_after) for fault in faults)
            self._only = only
            self.attempts.clear()
            self.effects.clear()
            self.recording = bool(faults)

    def wrap(self, provider: Provider) -> Provider:
        """The provider as it is seen through the line."""
        self.is_used = True
        interfaces = tuple(kind for kind in INTERFACES if isinstance(provider, kind))
        names = {
            name
            for kind in interfaces
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }

        def other(_self: object, name: str) -> Any:
            return getattr(provider, name)

        def shown(_self: object) -> str:
            return repr(provider)

        body: dict[str, Any] = {name: self._forward(provider, name) for name in names}
        body |= {"__getattr__": other, "__repr__": shown}
        return cast("Provider", type(type(provider).__name__, interfaces, body)())

    def _forward(self, provider: Provider, name: str) -> Callable[..., Any]:
        call = getattr(provider, name)

        def uncounted(_self: object, *arguments: Any) -> Any:
            return call(*arguments)

        def forward(_self: object, *arguments: Any) -> Any:
            return self._carry(name, call, arguments)

        return uncounted if name in UNCOUNTED else forward

    def _carry(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.budget.take(TIDYING if name == "create_key" else 0)
        with self._lock:
            self.attempts[name] += 1
            meant = self._only is None or name in self._only
            fault, retry_after = self._faults.popleft() if self._faults and meant else (None, None)
        if fault is Fault.THROTTLED:
            raise Throttled("too many requests", retry_after=retry_after)
        if fault is Fault.UNAVAILABLE:
            raise Unavailable("the connection was refused")
        if fault is Fault.NO_REPLY:
            raise Timeout("no answer in time")
        result = call(*arguments)
        with self._lock:
            if name == "create_key" and isinstance(result, KeyInfo):
                self.created.append(result.key_id)
            if self.recording:
                self.effects.append(Effect(name, arguments))
        if fault is Fault.LOST_REPLY:
            raise Timeout("no answer in time")
        return result
