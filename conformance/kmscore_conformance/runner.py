"""Runs laws: every law on every case of every provider and pair; nothing is left out in silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from kmscore.errors import KmsError
from kmscore_conformance.law import Law, choose
from kmscore_conformance.outcome import (
    CORE,
    BudgetSpent,
    Inapplicable,
    NotRun,
    Outcome,
    Result,
    Undeclared,
    Violation,
)
from kmscore_conformance.scope import NOTHING, Case, Over, is_small
from kmscore_conformance.trial import Trial

if TYPE_CHECKING:
    from kmscore_conformance.session import Session
    from kmscore_conformance.subject import Subject
    from kmscore_conformance.witness import Witness

_DETAIL: Final = 600


class Item(NamedTuple):
    """One law on one case: what is run, or why it is not.

    Attributes:
        law: The law.
        case: The case.
        provider: The provider under test; None for laws about kmscore itself.
        other: The second of a pair.
        witness: The other implementation.
        outcome: What is known without running it, or None.
        detail: Why.
    """

    law: Law
    case: Case
    provider: Subject | None = None
    other: Subject | None = None
    witness: Witness | None = None
    outcome: Outcome | None = None
    detail: str = ""

    @property
    def provider_name(self) -> str:
        """As in results."""
        return self.provider.name if self.provider else CORE

    @property
    def peer_name(self) -> str:
        """As in results."""
        if self.other is not None:
            return self.other.name
        return self.witness.name if self.witness else ""

    @property
    def label(self) -> str:
        """How a test runner names it."""
        names = self.provider_name
        if self.peer_name:
            names += f">{self.peer_name}"
        return f"{self.law.id}[{names}{' ' + self.case.label if self.case.label else ''}]"

    def result(
        self, outcome: Outcome, detail: str = "", *, seconds: float = 0.0, calls: int = 0
    ) -> Result:
        """What became of it; arguments as in `Result`."""
        return Result(
            law=self.law.id,
            case=self.case.label,
            provider=self.provider_name,
            peer=self.peer_name,
            outcome=outcome,
            detail=detail,
            seconds=seconds,
            calls=calls,
        )


def plan(session: Session, ids: Iterable[str] | None = None) -> Iterator[Item]:
    """All that a run consists of, what does not apply included.

    Args:
        session: The run.
        ids: Ids of laws, ``sig.*`` for several; None for all.

    Raises:
        InvalidRequest: An id names no law.
    """
    for law in choose(ids):
        over = law.scope.over
        if over is Over.CORE:
            yield Item(law, NOTHING)
        elif over is Over.PAIR:
            yield from _pairs(session, law)
        else:
            for subject in session.subjects:
                yield from _cases(session, law, subject)


def _cases(session: Session, law: Law, subject: Subject) -> Iterator[Item]:
    for item in _plain_cases(session, law, subject):
        if law.scope.over is not Over.WITNESS or item.outcome is Outcome.NOT_APPLICABLE:
            yield item
            continue
        for witness in session.witnesses:
            reason = witness.lacks(item.case.algorithm) if item.case.algorithm else ""
            if reason and item.outcome is None:
                missing = "missing" in reason or "without SM2" in reason
                outcome = Outcome.NOT_RUN if missing else Outcome.NOT_APPLICABLE
                yield item._replace(witness=witness, outcome=outcome, detail=reason)
            else:
                yield item._replace(witness=witness)


def _pairs(session: Session, law: Law) -> Iterator[Item]:
    if not session.pairs:
        for subject in session.subjects:
            detail = "no peer was named"
            yield Item(law, NOTHING, subject, outcome=Outcome.NOT_APPLICABLE, detail=detail)
    for one, two in session.pairs:
        for item in _plain_cases(session, law, one):
            yield item._replace(other=two)


def _plain_cases(session: Session, law: Law, subject: Subject) -> Iterator[Item]:
    scope = law.scope
    reason = scope.lacks(subject.capabilities, subject.kms.provider)
    if not reason and scope.configured and subject.source is None:
        reason = "the provider was opened in code, without a configuration"
    if reason:
        yield Item(law, NOTHING, subject, outcome=Outcome.NOT_APPLICABLE, detail=reason)
        return
    for case in scope.find(subject.capabilities):
        item = Item(law, case, subject)
        if (
            case.kind is not None
            and not session.profile.every_size
            and not is_small(case.kind, subject.capabilities)
        ):
            detail = f"profile {session.profile.name} takes the smallest key of each family"
            item = item._replace(outcome=Outcome.NOT_RUN, detail=detail)
        yield item


def run_item(session: Session, item: Item) -> Result:
    """Run one law on one case; nothing that it raises gets out but an interruption."""
    spent = _spent(item)
    began = time.perf_counter()
    outcome, detail = item.outcome, item.detail
    if outcome is None:
        outcome, detail = _judge(session, item)
    result = item.result(
        outcome, detail, seconds=time.perf_counter() - began, calls=_spent(item) - spent
    )
    return session.waivers.apply(result)


def run_laws(
    session: Session,
    ids: Iterable[str] | None = None,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Run laws.

    Args:
        session: The run; it stays open.
        ids: Ids of laws, ``sig.*`` for several; None for all.
        on_result: Told of each result as it comes.

    Raises:
        InvalidRequest: An id names no law.
    """
    results: list[Result] = []
    for item in plan(session, ids):
        results.append(run_item(session, item))
        if on_result is not None:
            on_result(results[-1])
    return results


def _judge(session: Session, item: Item) -> tuple[Outcome, str]:
    trial = Trial(session, item.case, item.provider, item.other, item.witness)
    refused = _refused(item)
    try:
        item.law.check(trial)
    except Inapplicable as reason:
        return Outcome.NOT_APPLICABLE, str(reason)
    except (NotRun, BudgetSpent) as reason:
        return Outcome.NOT_RUN, str(reason)
    except Undeclared as finding:
        return Outcome.UNDECLARED, str(finding)
    except Exception as error:  # noqa: BLE001 - whatever a provider under test raises is its result
        if _refused(item) > refused:
            return Outcome.NOT_RUN, "the budget of calls was spent before it was done"
        return Outcome.FAIL, describe(error)
    finally:
        for subject in (item.provider, item.other):
            if subject is not None:
                subject.line.fail()
    return Outcome.PASS, ""


def describe(error: BaseException) -> str:
    """An error in one paragraph: what, where, and the example that showed it."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _short("; ".join(dict.fromkeys(describe(each) for each in group.exceptions)))
    text = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
    if isinstance(error, KmsError) and error.__cause__ is not None:
        text += f" (from {type(error.__cause__).__name__})"
    notes = [" ".join(note.split()) for note in getattr(error, "__notes__", ())]
    return _short(" ".join([text, *notes]))


def _short(text: str) -> str:
    return text if len(text) <= _DETAIL else f"{text[: _DETAIL - 3]}..."


def _refused(item: Item) -> int:
    return sum(each.budget.refused for each in (item.provider, item.other) if each is not None)


def _spent(item: Item) -> int:
    return sum(each.budget.spent for each in (item.provider, item.other) if each is not None)
