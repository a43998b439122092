"""Several reports as one: who was tested, how each layer went, and who understands whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kmscore.errors import InvalidRequest
from kmscore_conformance.outcome import CORE, UNTRIED, Outcome, Result

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of some results together.

    Attributes:
        counts: How often each outcome came.
    """

    counts: Counter[Outcome]

    @classmethod
    def of(cls, results: Sequence[Result]) -> Cell:
        """The cell of these results."""
        return cls(Counter(result.outcome for result in results))

    @property
    def tried(self) -> int:
        """How many were tried: all but what does not apply and what was left out."""
        return self.counts.total() - sum(self.counts[outcome] for outcome in UNTRIED)

    @property
    def worst(self) -> Outcome | None:
        """The outcome that the cell shows; None when there is nothing to show."""
        for outcome in (
            Outcome.FAIL,
            Outcome.UNDECLARED,
            Outcome.WAIVED,
            Outcome.PASS,
            Outcome.NOT_RUN,
            Outcome.NOT_APPLICABLE,
        ):
            if self.counts[outcome]:
                return outcome
        return None


class Finding(NamedTuple):
    """Results of one law that have the same outcome on one provider or pair.

    Attributes:
        result: The first of them.
        cases: The cases of all.
    """

    result: Result
    cases: tuple[str, ...]


class Accepted(NamedTuple):
    """Results of one provider that were waived for one reason.

    Attributes:
        provider: The provider.
        waiver: List, reason and link.
        laws: Ids of the laws.
        cases: Their cases.
        results: How many results.
    """

    provider: str
    waiver: str
    laws: tuple[str, ...]
    cases: tuple[str, ...]
    results: int


class Matrix:
    """Reports, merged; where two have the same result, the later one that was run holds.

    Raises:
        InvalidRequest: Two reports call providers of different types by one name.

    Attributes:
        reports: The reports, the oldest first.
        results: All results.
        laws: All laws by id.
        providers: Providers by name, as the reports describe them.
        witnesses: Other implementations and their versions.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = tuple(sorted(reports, key=lambda each: each.facts["began"]))
        merged: dict[tuple[str, str, str, str], Result] = {}
        self.laws: dict[str, Mapping[str, str]] = {}
        self.providers: dict[str, Mapping[str, Any]] = {}
        self.witnesses: dict[str, str] = {}
        for report in self.reports:
            for result in report.results:
                if result.outcome is not Outcome.NOT_RUN or result.place not in merged:
                    merged[result.place] = result
            self.laws |= {law["id"]: law for law in report.laws}
            self.witnesses |= report.witnesses
            for provider in report.providers:
                known = self.providers.get(provider["name"])
                if known is not None and known["type"] != provider["type"]:
                    raise InvalidRequest(
                        f"{provider['name']!r} is {known['type']} in one report, and "
                        f"{provider['type']} in another",
                        hint="Give them different names in kms.toml, and run again",
                    )
                if known is None or provider["role"] == "tested":
                    self.providers[provider["name"]] = provider
        self.results = tuple(merged.values())

    @property
    def ok(self) -> bool:
        """Whether something was tried, nothing fails as it is now, and no waiver is idle."""
        failed = any(each.outcome is Outcome.FAIL for each in self.results)
        idle = any(report.idle for report in self.reports)
        return bool(self.tried) and not failed and not idle

    def laws_with(self, outcome: Outcome) -> frozenset[str]:
        """Ids of laws that have this outcome in some case."""
        return frozenset(each.law for each in self.results if each.outcome is outcome)

    @property
    def tried(self) -> frozenset[str]:
        """Ids of laws of which a case was tried."""
        return frozenset(each.law for each in self.results if each.outcome not in UNTRIED)

    @property
    def kept(self) -> frozenset[str]:
        """Ids of laws that were tried, and kept wherever they were."""
        other = self.laws_with(Outcome.FAIL) | self.laws_with(Outcome.WAIVED)
        return self.laws_with(Outcome.PASS) - other

    @property
    def left_out(self) -> frozenset[str]:
        """Ids of laws that may apply to one of the providers, and of which no case was tried."""
        seen: dict[tuple[str, str], set[Outcome]] = {}
        for each in self.results:
            seen.setdefault((each.law, each.provider), set()).add(each.outcome)
        return frozenset(
            law
            for law in self.laws
            for name in ((CORE,) if (law, CORE) in seen else self.tested)
            if not (outcomes := seen.get((law, name), set()))
            or (outcomes <= UNTRIED and Outcome.NOT_RUN in outcomes)
        )

    @property
    def tested(self) -> tuple[str, ...]:
        """Names of the providers that were under test."""
        return tuple(
            name for name, provider in self.providers.items() if provider["role"] == "tested"
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers in the suite's order."""
        return tuple(dict.fromkeys(law["layer"] for law in self.laws.values()))

    def layer(self, layer: str, provider: str) -> Cell:
        """How a provider does in a layer."""
        return Cell.of(
            [
                each
                for each in self.results
                if each.provider == provider and self.laws[each.law]["layer"] == layer
            ]
        )

    def pair(self, provider: str, peer: str) -> Cell:
        """How an ordered pair does."""
        return Cell.of(
            [each for each in self.results if (each.provider, each.peer) == (provider, peer)]
        )

    def law(self, ident: str, provider: str) -> tuple[Result, ...]:
        """All results of a law for a provider."""
        return tuple(
            each for each in self.results if each.law == ident and each.provider == provider
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the worst first, cases of one law together."""
        together: dict[tuple[str, ...], list[Result]] = {}
        for outcome in (Outcome.FAIL, Outcome.UNDECLARED):
            for each in self.results:
                if each.outcome is outcome:
                    place = (outcome, each.law, each.provider, each.peer)
                    together.setdefault(place, []).append(each)
        return tuple(
            Finding(group[0], tuple(each.case for each in group if each.case))
            for group in together.values()
        )

    @property
    def waived(self) -> tuple[Accepted, ...]:
        """What was accepted, results of one provider and one reason together."""
        together: dict[tuple[str, str], list[Result]] = {}
        for each in self.results:
            if each.outcome is Outcome.WAIVED:
                together.setdefault((each.provider, each.waiver), []).append(each)
        return tuple(
            Accepted(
                provider,
                waiver,
                tuple(dict.fromkeys(each.law for each in group)),
                tuple(dict.fromkeys(each.case for each in group if each.case)),
                len(group),
            )
            for (provider, waiver), group in together.items()
        )
