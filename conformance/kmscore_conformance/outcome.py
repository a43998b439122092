"""What became of a law: the outcomes, and the exceptions by which a law speaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CORE: Final = "core"
"""The provider's name in results of laws about kmscore itself."""


class Outcome(StrEnum):
    """What became of a law on one case of one provider, or one ordered pair."""

    PASS = "PASS"  # noqa: S105 - an outcome
    FAIL = "FAIL"
    """A declared capability that does not keep the law."""
    UNDECLARED = "UNDECLARED"
    """A capability that works, and that the provider's table does not have.

    It fails no run: the core refuses what is not in the table, and the provider relies on that.
    """
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """The table does not have what the law is about; the detail says what that is."""
    NOT_RUN = "NOT_RUN"
    """Left out by the profile, its budget of calls, or for want of a tool; the detail says so."""
    WAIVED = "WAIVED"
    """FAIL or UNDECLARED, and accepted in the waivers file."""


FINDINGS: Final = frozenset({Outcome.FAIL, Outcome.UNDECLARED})
"""Outcomes that are shown first, and that can be waived. FAIL fails the run."""


UNTRIED: Final = frozenset({Outcome.NOT_APPLICABLE, Outcome.NOT_RUN})
"""Outcomes of what was not tried."""


class Violation(AssertionError):
    """A law is broken; the message says in one sentence what was seen."""


class Undeclared(Exception):
    """Something works that the table does not have; the message says what."""


class Inapplicable(Exception):
    """What the law is about turns out not to be there; the message says what is missing."""


class NotRun(Exception):
    """The law could not be tried; the message says why."""


class BudgetSpent(BaseException):
    """The profile allows no more calls. Not an `Exception`: nothing on its way may swallow it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a law on one case.

    Attributes:
        law: Id of the law.
        case: Which of the law's cases, such as ``EC_P256 ECDSA_SHA_256``; empty when it has one.
        provider: Name of the provider under test; ``core`` for laws about kmscore itself.
        peer: The other one of an ordered pair: a provider, or somebody else's code; or empty.
        outcome: What became of it.
        detail: One sentence on everything but PASS.
        seconds: How long it took.
        calls: How many calls reached the provider.
        waiver: Reason and link of the waiver that accepted it, or empty.
    """

    law: str
    case: str
    provider: str
    peer: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0
    calls: int = 0
    waiver: str = ""

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What identifies it in a run."""
        return (self.law, self.case, self.provider, self.peer)
