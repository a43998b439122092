"""What the demonstration prints, and its count of what went wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple, TextIO

from kmscore.errors import KmsError

GREEN, RED, DIM, BOLD, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


class Check(NamedTuple):
    """Something that was looked at.

    Attributes:
        job: Number of the job.
        text: What was looked at.
        ok: Whether it is right.
    """

    job: int
    text: str
    ok: bool


class Stage:
    """Prints jobs and steps. A check that fails is shown, kept, and does not stop the rest.

    Attributes:
        checks: What was found, in its order.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = out.isatty() and not os.environ.get("NO_COLOR")
        self._encoding: str = getattr(out, "encoding", None) or "utf-8"
        self._right, self._wrong = _marks(self._encoding)
        self._job = 0
        self.checks: list[Check] = []

    @property
    def failures(self) -> int:
        """How many checks failed."""
        return sum(not check.ok for check in self.checks)

    def title(self, text: str) -> None:
        """A line on its own."""
        self._print(self._paint(BOLD, text))

    def job(self, number: int, text: str) -> None:
        """The beginning of a job."""
        self._job = number
        self._print("")
        self._print(self._paint(BOLD, f"{number}. {text}"))

    def say(self, text: str) -> None:
        """What happens."""
        self._print(f"   {self._paint(DIM, text)}")

    def check(self, text: str, ok: bool) -> None:
        """What was found, and whether it is right."""
        self.checks.append(Check(self._job, text, ok))
        colour, mark = (GREEN, self._right) if ok else (RED, self._wrong)
        self._print(f"   {self._paint(colour, mark)} {text}")

    def refused(self, text: str, error: type[KmsError], call: Callable[[], object]) -> None:
        """Something that must be refused, with the error that it must be refused with."""
        try:
            call()
        except error as refusal:
            self.check(f"{text}: refused ({type(refusal).__name__})", ok=True)
        except KmsError as other:
            name = type(other).__name__
            self.check(f"{text}: refused, but with {name} instead of {error.__name__}", ok=False)
        else:
            self.check(f"{text}: was NOT refused", ok=False)

    def impossible(self, text: str) -> None:
        """A part that the provider cannot do, by its own capability table."""
        self._print(f"   - not possible with this provider: {text}")

    @contextmanager
    def guarded(self) -> Generator[None]:
        """A job that breaks down is shown as failed; the next ones go on."""
        try:
            yield
        except KmsError as error:
            self.check(f"the job broke down: {type(error).__name__}: {error}", ok=False)

    def _print(self, text: str) -> None:
        # What the terminal cannot show is no reason to stop.
        shown = text.encode(self._encoding, "replace").decode(self._encoding)
        self._out.write(f"{shown}\n")
        self._out.flush()

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colours else text


def _marks(encoding: str) -> tuple[str, str]:
    try:
        "✓✗".encode(encoding)
    except UnicodeEncodeError:
        return "ok", "FAIL"
    return "✓", "✗"
