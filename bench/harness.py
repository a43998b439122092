"""How everything is measured: in turns, round after round, and judged by ratios of one round."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

Measure = Callable[[], float]
"""Takes one measurement; returns seconds, for one call or for one process."""

SLICE: float = 0.03
"""About how many seconds of calls make one measurement."""


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: What was measured.
        goal: What it is to be, or empty for a line that only compares.
        measured: What it is.
        met: Whether the goal is met; None without a goal.
    """

    what: str
    goal: str
    measured: str
    met: bool | None = None


def calls(function: Callable[[], object]) -> Measure:
    """Measures a function: seconds per call, over as many calls as fill a slice."""
    function()
    count, taken = 1, 0.0
    while taken < SLICE / 4:
        count *= 2
        taken = _time(function, count)
    enough = max(1, int(count * SLICE / taken))
    return lambda: _time(function, enough) / enough


def process(command: Sequence[str], **environment: str) -> Measure:
    """Measures a whole process, from its start to its end, as it runs where it is installed.

    The compiler's work is done once there, whatever the variables of this shell say.
    """
    variables = os.environ | environment
    variables.pop("PYTHONDONTWRITEBYTECODE", None)

    def measure() -> float:
        began = time.perf_counter()
        subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - began

    return measure


def in_turns(cases: Mapping[str, Measure], rounds: int = 9) -> dict[str, list[float]]:
    """Measure all cases in every round, each round beginning with another one.

    What the machine does besides hits all cases alike that way. The first round warms up.
    """
    names = list(cases)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = cases[name]()
            if number:
                taken[name].append(seconds)
    return taken


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median over the rounds of these by those."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def difference(these: Sequence[float], those: Sequence[float]) -> float:
    """Median over the rounds of these less those, in seconds."""
    return statistics.median(a - b for a, b in zip(these, those, strict=True))


def median(seconds: Sequence[float]) -> float:
    """Median over the rounds."""
    return statistics.median(seconds)


def at_most(what: str, value: float, bound: float, unit: str, note: str = "") -> Row:
    """A row whose goal is an upper bound."""
    shown = f"{value:.2f}{unit}" + (f" ({note})" if note else "")
    return Row(what, f"at most {bound:g}{unit}", shown, value <= bound)


def at_least(what: str, value: float, bound: float, unit: str, note: str = "") -> Row:
    """A row whose goal is a lower bound."""
    shown = f"{value:.2f}{unit}" + (f" ({note})" if note else "")
    return Row(what, f"at least {bound:g}{unit}", shown, value >= bound)


def show(rows: Iterator[Row]) -> int:
    """Print rows as they come; returns how many goals were missed."""
    missed = 0
    for row in rows:
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        print(
            f"| {row.what:<58} | {row.goal:<15} | {row.measured:<26} | {verdict:<6} |", flush=True
        )
        missed += row.met is False
    return missed


def _time(function: Callable[[], object], count: int) -> float:
    turns = range(count)
    began = time.perf_counter()
    for _ in turns:
        function()
    return time.perf_counter() - began
