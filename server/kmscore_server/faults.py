"""Scripted faults: what a client's tests want to go wrong, and how often."""

from __future__ import annotations

import random
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    """``RequestLimitExceeded``; nothing is done."""
    ERROR = "error"
    """The code that is named; nothing is done."""
    DROP = "drop"
    """The connection ends without an answer; nothing is done."""
    LOSE = "lose"
    """It is done, and the connection ends without an answer."""
    STATUS = "status"
    """A status of HTTP that is not 200; nothing is done."""
    LATENCY = "latency"
    """It is done later."""


_FAULT: Final = re.compile(
    r"""\s*(?P<actions>\*|\w+(?:\s*,\s*\w+)*)\s*:
    \s*(?:
        (?P<kind>throttle|drop|lose)
        | latency\s+(?P<latency>\d{1,6}(?:\.\d{1,3})?)\s*(?P<unit>ms|s)
        | status\s+(?P<status>[45]\d\d)
        | (?P<code>[A-Z][A-Za-z]+(?:\.[A-Z][A-Za-z0-9]+)?)
    )
    (?:\s+(?P<percent>\d{1,3}(?:\.\d{1,3})?)\s*% | \s+(?P<times>\d{1,9})\s*times? | \s+once)?
    \s*""",
    re.VERBOSE | re.ASCII,
)


_KINDS: Final = frozenset(FaultKind) - {FaultKind.ERROR}
"""What no code is called: ``Throttle`` is meant to be ``throttle``."""


class Fault:
    """One line of the script.

    Attributes:
        actions: The actions that it befalls; ``*`` is all of them.
        kind: What goes wrong.
        code: The error code of an ERROR.
        status: The status of a STATUS.
        seconds: The delay of a LATENCY.
    """

    __slots__ = ("_left", "_share", "actions", "code", "kind", "seconds", "status")

    def __init__(self, text: str) -> None:
        match = _FAULT.fullmatch(text)
        misspelt = match is not None and (match["code"] or "").lower() in _KINDS
        if match is None or misspelt or float(match["percent"] or 0) > 100:
            raise ConfigError(
                f"{text!r} is no fault",
                hint="For example: 'Encrypt: throttle 30%', '*: drop 5%', '*: lose 2 times', "
                "'Decrypt: InternalError 5%', 'Decrypt: latency 50ms', 'Encrypt: status 503 once'",
            )
        self.actions = frozenset(re.split(r"\s*,\s*", match["actions"]))
        self._share = float(match["percent"]) / 100 if match["percent"] else 1.0
        self._left = _times(match)
        self.code = match["code"] or ""
        self.status = int(match["status"] or 0)
        self.seconds = 0.0
        if match["kind"]:
            self.kind = FaultKind(match["kind"])
        elif match["latency"]:
            self.kind = FaultKind.LATENCY
            self.seconds = float(match["latency"]) / (1000 if match["unit"] == "ms" else 1)
        elif match["status"]:
            self.kind = FaultKind.STATUS
        else:
            self.kind = FaultKind.ERROR

    def strikes(self, action: str, draw: random.Random) -> bool:
        """Whether it happens to this request."""
        if action not in self.actions and "*" not in self.actions:
            return False
        if self._left is not None:
            self._left -= 1
            return self._left >= 0
        return self._share >= 1 or draw.random() < self._share


class FaultScript:
    """All faults, in the order in which they were given.

    Args:
        texts: As in ``Encrypt: throttle 30%``.
        seed: Makes the same faults strike the same sequence of requests.

    Raises:
        ConfigError: One is not understood.
    """

    def __init__(self, texts: Iterable[str], seed: int | None = None) -> None:
        self._faults = tuple(Fault(text) for text in texts)
        self._draw = random.Random(seed)  # noqa: S311 - accidents, not secrets

    def __bool__(self) -> bool:
        return bool(self._faults)

    @property
    def actions(self) -> frozenset[str]:
        """The actions that are named, and perhaps ``*``."""
        return frozenset(name for fault in self._faults for name in fault.actions)

    def strike(self, action: str) -> Iterator[Fault]:
        """What happens to the next request: delays, and at most one other fault at the end."""
        for fault in self._faults:
            if fault.strikes(action, self._draw):
                yield fault
                if fault.kind is not FaultKind.LATENCY:
                    return


def _times(match: re.Match[str]) -> int | None:
    if match["times"]:
        return int(match["times"])
    return 1 if match[0].rstrip().endswith("once") else None
