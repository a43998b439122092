"""What a registry and the place where its keys are do not agree on."""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import NamedTuple


class FindingKind(StrEnum):
    """In which way they do not agree."""

    UNREGISTERED = "UNREGISTERED"
    """There is an object that the registry does not know."""
    MISSING = "MISSING"
    """The registry knows an object that is not there."""
    AMBIGUOUS = "AMBIGUOUS"
    """There are several where one should be."""
    DIVERGENT = "DIVERGENT"
    """It is there, and allows something else than the registry."""


class Finding(NamedTuple):
    """One object on which they do not agree.

    Attributes:
        kind: In which way.
        what: What was found, for people.
        advice: What to do about it, for people.
        key_id: The key that it belongs to, or says it does; empty for none.
        version: Which version of the key; 0 for none.
        object_id: How the object is found with other tools.
    """

    kind: FindingKind
    what: str
    advice: str
    key_id: str = ""
    version: int = 0
    object_id: str = ""


class Reconciliation(NamedTuple):
    """What a comparison of both sides found.

    Attributes:
        findings: What they do not agree on.
        agreed: How many versions of keys are as they should be.
        others: How many objects belong to somebody else.
    """

    findings: tuple[Finding, ...]
    agreed: int
    others: int


class Reconcilable(ABC):
    """A provider whose keys lie somewhere else than their registry."""

    @abstractmethod
    def reconcile(self) -> Reconciliation:
        """Compare both sides, and change nothing on either."""
