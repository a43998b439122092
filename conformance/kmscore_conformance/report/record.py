"""The record of one run, as it is written to ``report.json`` and read back."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from kmscore import __version__
from kmscore.errors import ConfigError
from kmscore_conformance.law import all_laws
from kmscore_conformance.outcome import UNTRIED, Outcome, Result

if TYPE_CHECKING:
    from kmscore_conformance.session import Session
    from kmscore_conformance.subject import Subject

FORMAT: Final = 1
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    Attributes:
        facts: When, with what and how it was run, in plain values.
        providers: Those under test and their peers: name, role, distribution, table, calls.
        witnesses: Other implementations and their versions.
        laws: Every law: id, title, layer, and what it requires.
        results: What became of each.
        idle: Waivers that accepted nothing.
    """

    facts: Mapping[str, Any]
    providers: tuple[Mapping[str, Any], ...]
    witnesses: Mapping[str, str]
    laws: tuple[Mapping[str, str], ...]
    results: tuple[Result, ...]
    idle: tuple[str, ...]

    @classmethod
    def of(cls, session: Session, results: Iterable[Result]) -> Self:
        """The record of a run whose laws have been tried; the session may be closed by now."""
        every = tuple(results)
        now = datetime.now(UTC)
        return cls(
            facts={
                "kmscore": __version__,
                "profile": session.profile.name,
                "seed": session.seed,
                "began": session.began.strftime(_TIME),
                "seconds": round((now - session.began).total_seconds(), 1),
                "python": f"{platform.python_implementation()} {platform.python_version()}",
                "system": f"{platform.system()} {platform.machine()}",
            },
            providers=tuple(_described(session, subject) for subject in session.everybody),
            witnesses={each.name: each.version for each in session.witnesses},
            laws=tuple(
                {
                    "id": law.id,
                    "title": law.title,
                    "layer": law.layer.value,
                    "requires": law.scope.requirement,
                }
                for law in all_laws()
            ),
            results=every,
            idle=tuple(str(waiver) for waiver in session.waivers.idle(every)),
        )

    @property
    def ok(self) -> bool:
        """Whether the run passes: something was tried, no law is broken, no waiver is idle."""
        return self.tried and not self.idle and not self.counts[Outcome.FAIL]

    @property
    def tried(self) -> bool:
        """Whether any law was tried."""
        return any(each.outcome not in UNTRIED for each in self.results)

    @property
    def counts(self) -> Counter[Outcome]:
        """How often each outcome came."""
        return Counter(result.outcome for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain values, for JSON."""
        return {
            "format": FORMAT,
            "ok": self.ok,
            "counts": {outcome.value: self.counts[outcome] for outcome in Outcome},
            **self.facts,
            "providers": [dict(each) for each in self.providers],
            "witnesses": dict(self.witnesses),
            "idle_waivers": list(self.idle),
            "laws": [dict(each) for each in self.laws],
            "results": [
                {**asdict(result), "seconds": round(result.seconds, 4)} for result in self.results
            ],
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a ``report.json``.

        Raises:
            ConfigError: It cannot be read, or is none.
        """
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ConfigError(f"{path} is a report of another format: {data['format']}")
            report = cls(
                facts={
                    name: data[name]
                    for name in (
                        "kmscore",
                        "profile",
                        "seed",
                        "began",
                        "seconds",
                        "python",
                        "system",
                    )
                },
                providers=tuple(data["providers"]),
                witnesses=data["witnesses"],
                laws=tuple(data["laws"]),
                results=tuple(_result(each) for each in data["results"]),
                idle=tuple(data["idle_waivers"]),
            )
            _look_through(report)
            return report
        except OSError as error:
            raise ConfigError(f"report {path} cannot be read: {error.strerror}") from error
        except (AttributeError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is no report of the conformance suite") from error


def _look_through(report: Report) -> None:
    """Look for all that pages show; what is missing or of another kind raises something."""
    datetime.fromisoformat(report.facts["began"])
    laws = {law["id"]: [law["title"], law["layer"], law["requires"]] for law in report.laws}
    words = [*report.idle, *report.witnesses.values(), *(w for said in laws.values() for w in said)]
    for result in report.results:
        words += [*result.place, *laws[result.law], result.detail, result.waiver]
    for provider in report.providers:
        words += [provider[name] for name in ("name", "role", "type", "distribution")]
        words += [*provider["keys_left"], str(provider["calls"])]
        table = provider["capabilities"]
        words += [*table["wrapping"], *table["features"]]
        for row in table["keys"]:
            words += [row["spec"], row["usage"], *row["origins"], *row["algorithms"]]
    if "tested" not in [provider["role"] for provider in report.providers]:
        raise ValueError("nobody was tested")
    "".join(words)


def _result(data: dict[str, Any]) -> Result:
    outcome = Outcome(data.pop("outcome"))
    return Result(outcome=outcome, **data)


def _described(session: Session, subject: Subject) -> dict[str, Any]:
    table = subject.capabilities.as_dict()
    # Where somebody keeps a keystore or a module is no matter for a published page.
    table["notes"] = {
        name: value for name, value in table["notes"].items() if not value.startswith(("/", "~"))
    }
    return {
        "name": subject.name,
        "role": "tested" if subject in session.subjects else "peer",
        "type": subject.source[1].type if subject.source else type(subject.kms.provider).__name__,
        "distribution": subject.identity,
        "capabilities": table,
        "calls": subject.budget.spent,
        "keys_left": dict(subject.leftovers),
    }
