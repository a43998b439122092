"""Tries the laws on the animals, and says which of them caught which."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore_conformance.law import all_laws
from kmscore_conformance.outcome import FINDINGS
from kmscore_conformance.profile import Profile
from kmscore_conformance.runner import run_laws
from kmscore_conformance.scope import Over
from kmscore_conformance.session import Session

if TYPE_CHECKING:
    from kmscore_conformance.broken.animal import Animal
    from kmscore_conformance.outcome import Result

PROFILE: Final = Profile("zoo", 6, 2, 3, 10, 5, 4, 4, every_size=False, shrink=False)
SEED: Final = 1


class Catch(NamedTuple):
    """What became of an animal.

    Attributes:
        animal: The animal.
        laws: Ids of the laws that found something, in the order of the suite.
        missed: Laws that should have, and did not.
        strange: Laws that did, and are about something else.
        results: Everything.
    """

    animal: Animal
    laws: tuple[str, ...]
    missed: tuple[str, ...]
    strange: tuple[str, ...]
    results: tuple[Result, ...]


def laws_for_animals() -> tuple[str, ...]:
    """Every law that is about one provider; those about kmscore itself have nothing to find."""
    return tuple(law.id for law in all_laws() if law.scope.over in (Over.PROVIDER, Over.WITNESS))


def catch(animal: Animal, ids: Iterable[str] | None = None) -> Catch:
    """Try laws on an animal.

    Args:
        animal: The animal.
        ids: The laws; by default `laws_for_animals`.
    """
    with tempfile.TemporaryDirectory(prefix="kmscore-zoo-") as folder:
        subject = animal.subject(Path(folder))
        with Session([subject], profile=PROFILE, seed=SEED) as session:
            results = tuple(run_laws(session, ids or laws_for_animals()))
    found = tuple(dict.fromkeys(r.law for r in results if r.outcome in FINDINGS))
    return Catch(
        animal,
        found,
        tuple(law for law in animal.caught_by if law not in found),
        tuple(law for law in found if not animal.expects(law)),
        results,
    )
