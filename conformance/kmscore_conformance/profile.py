"""Profiles: how much of everything a run does, as data."""

from __future__ import annotations

from typing import Final, NamedTuple

from kmscore.errors import InvalidRequest


class Profile(NamedTuple):
    """How much a run does.

    Attributes:
        name: Its name on the command line.
        examples: Examples of a property whose calls are cheap.
        few: Examples of a property whose calls are dear: key pairs, and commands to start.
        machines: Runs of a life-cycle machine.
        steps: Steps of each such run.
        vectors: Most vectors that are taken from one file; None takes all.
        threads: Threads of the laws on concurrency.
        rounds: What each of them does.
        every_size: Whether every key size has its turn, or only the smallest of each family.
        shrink: Whether a counterexample is made smaller before it is reported.
        max_calls: Most calls to one provider in the run, or None.
    """

    name: str
    examples: int
    few: int
    machines: int
    steps: int
    vectors: int | None
    threads: int
    rounds: int
    every_size: bool = True
    shrink: bool = True
    max_calls: int | None = None


PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile("quick", 8, 2, 3, 12, 10, 4, 4, every_size=False),
        Profile("ci", 40, 5, 6, 16, None, 8, 10),
        Profile("deep", 1000, 50, 100, 50, None, 16, 50),
        Profile("cloud", 4, 2, 2, 8, 5, 2, 3, every_size=False, shrink=False, max_calls=5000),
    )
}
"""Quick while you write, ci on every commit, deep over night, cloud where calls cost money."""


def profile_named(name: str) -> Profile:
    """The profile of that name.

    Raises:
        InvalidRequest: There is none.
    """
    found = PROFILES.get(name)
    if found is None:
        raise InvalidRequest(f"there is no profile {name!r}", hint=f"Use {', '.join(PROFILES)}")
    return found
