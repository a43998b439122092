"""Metrics in the text format of Prometheus, counted by all workers in memory that they share."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OUTCOMES: Final = (
    "ok",
    "ActionOffline",
    "AuthFailure",
    "FailedOperation",
    "InternalError",
    "InvalidAction",
    "InvalidParameter",
    "InvalidParameterValue",
    "InvalidRequest",
    "LimitExceeded",
    "MissingParameter",
    "NoSuchVersion",
    "RequestLimitExceeded",
    "RequestSizeLimitExceeded",
    "ResourceInUse",
    "ResourceNotFound",
    "ResourceUnavailable",
    "UnauthorizedOperation",
    "UnknownParameter",
    "UnsupportedOperation",
    "UnsupportedProtocol",
    "UnsupportedRegion",
    "dropped",
    "other",
)
"""How a request can end: the first part of its error code, of which there are few."""
NO_ACTION: Final = ""
"""The action of requests that name none that exists: names of others are not to be counted by."""

_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_OUTCOME: Final = {name: index for index, name in enumerate(OUTCOMES)}
_OTHER: Final = _OUTCOME["other"]
_PER_ACTION: Final = len(OUTCOMES) + len(_BUCKETS) + 2  # the bucket above all, and the sum
_HEADER: Final = 2  # connections that are open, connections that were accepted
_OPEN: Final = 0
_ACCEPTED: Final = 1


class Metrics:
    """Counters of some workers. Each worker counts in its own part, so that none waits.

    Args:
        actions: Every action that there is.
        workers: How many workers there are.
    """

    def __init__(self, actions: Iterable[str], workers: int = 1) -> None:
        self._names = (*sorted(actions), NO_ACTION)
        self._actions = {
            name: _HEADER + index * _PER_ACTION for index, name in enumerate(self._names)
        }
        self._size = _HEADER + len(self._names) * _PER_ACTION
        self._workers = workers
        # Anonymous memory is inherited by the workers, and shared with them.
        self._values = memoryview(mmap.mmap(-1, self._size * workers * 8)).cast("d")
        self._base = 0

    def take_part(self, worker: int) -> None:
        """Count in the part of a worker from now on; none of its connections is open yet."""
        self._base = worker * self._size
        self._values[self._base + _OPEN] = 0

    def opened(self) -> None:
        """A connection was opened."""
        self._values[self._base + _OPEN] += 1
        self._values[self._base + _ACCEPTED] += 1

    def closed(self) -> None:
        """A connection was closed."""
        self._values[self._base + _OPEN] -= 1

    def fewest_elsewhere(self) -> float:
        """Open connections of the other worker that has the fewest; infinite without another."""
        places = range(_OPEN, len(self._values), self._size)
        return min((self._values[at] for at in places if at != self._base + _OPEN), default=inf)

    def count(self, action: str, outcome: str, seconds: float) -> None:
        """A request has ended.

        Args:
            action: What was asked for.
            outcome: ``ok``, ``dropped``, or an error code.
            seconds: From its last byte to the answer.
        """
        values = self._values
        start = self._base + self._actions.get(action, self._actions[NO_ACTION])
        index = _OUTCOME.get(outcome)
        if index is None:
            index = _OUTCOME.get(outcome.partition(".")[0], _OTHER)
        values[start + index] += 1
        start += len(OUTCOMES)
        values[start + bisect_left(_BUCKETS, seconds)] += 1
        values[start + len(_BUCKETS) + 1] += seconds

    def text(self) -> str:
        """Everything, in the text format 0.0.4 of Prometheus."""
        return "\n".join(self._lines()) + "\n"

    def _sum(self, place: int) -> float:
        return sum(self._values[worker * self._size + place] for worker in range(self._workers))

    def _lines(self) -> Iterator[str]:
        yield "# HELP kmscore_server_connections Connections that are open."
        yield "# TYPE kmscore_server_connections gauge"
        yield f"kmscore_server_connections {self._sum(_OPEN):.0f}"
        yield "# HELP kmscore_server_connections_total Connections that were accepted."
        yield "# TYPE kmscore_server_connections_total counter"
        yield f"kmscore_server_connections_total {self._sum(_ACCEPTED):.0f}"
        yield "# HELP kmscore_server_requests_total Requests by action and outcome."
        yield "# TYPE kmscore_server_requests_total counter"
        used: list[tuple[str, int]] = []
        for name in self._names:
            start = self._actions[name]
            counts = [self._sum(start + index) for index in range(len(OUTCOMES))]
            if any(counts):
                used.append((name, start + len(OUTCOMES)))
            for outcome, count in zip(OUTCOMES, counts, strict=True):
                if count:
                    labels = f'action="{name}",outcome="{outcome}"'
                    yield f"kmscore_server_requests_total{{{labels}}} {count:.0f}"
        yield "# HELP kmscore_server_request_seconds Time from a request's last byte to its answer."
        yield "# TYPE kmscore_server_request_seconds histogram"
        for name, start in used:
            yield from self._histogram(name, start)

    def _histogram(self, name: str, start: int) -> Iterator[str]:
        label = f'action="{name}"'
        total = 0.0
        for index, bound in enumerate((*_BUCKETS, "+Inf")):
            total += self._sum(start + index)
            yield f'kmscore_server_request_seconds_bucket{{{label},le="{bound}"}} {total:.0f}'
        seconds = self._sum(start + len(_BUCKETS) + 1)
        yield f"kmscore_server_request_seconds_sum{{{label}}} {seconds:.6f}"
        yield f"kmscore_server_request_seconds_count{{{label}}} {total:.0f}"
