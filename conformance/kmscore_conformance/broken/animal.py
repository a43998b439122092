"""An animal of the zoo: a provider that is wrong in one way, and the laws that must say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from kmscore.errors import InvalidRequest
from kmscore_conformance.broken.sound import Sound
from kmscore_conformance.subject import Conditions, Subject

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore.spi import Provider

Kind = TypeVar("Kind", bound=type[Sound])


class Animal(NamedTuple):
    """A broken provider.

    Attributes:
        id: Its name in the table.
        defect: What is wrong, in one sentence.
        seen: Where that was seen in real products.
        caught_by: Laws that name the defect: all of them must find it.
        also: Laws that cannot be kept with this defect, though they are about something else:
            ids, or patterns such as ``sig.*``.
        kind: The class.
    """

    id: str
    defect: str
    seen: str
    caught_by: tuple[str, ...]
    also: tuple[str, ...]
    kind: type[Sound]

    def expects(self, law: str) -> bool:
        """Whether a law may find something."""
        return law in self.caught_by or any(fnmatchcase(law, pattern) for pattern in self.also)

    def subject(self, folder: Path) -> Subject:
        """The provider, ready to be tried.

        Args:
            folder: An empty folder for its keys.
        """

        def opener(conditions: Conditions) -> Provider:
            return self.kind.open(folder / "keys.db", conditions)

        return Subject(self.id, opener)


_MODULES: Final = (
    "ciphertexts",
    "data_keys",
    "errors",
    "tables",
    "signatures",
    "sm2_signatures",
    "verification",
    "decryption",
    "lives",
    "names",
    "imports",
    "senders",
    "threads",
)
_ANIMALS: Final[dict[str, Animal]] = {}


def animal(
    ident: str, defect: str, seen: str, *, caught_by: str, also: str = ""
) -> Callable[[Kind], Kind]:
    """Register a class as an animal; ids of laws are separated by spaces."""

    def register(kind: Kind) -> Kind:
        if ident in _ANIMALS:
            raise ValueError(f"there is an animal {ident!r} already")
        laws, others = tuple(caught_by.split()), tuple(also.split())
        _ANIMALS[ident] = Animal(ident, defect, seen, laws, others, kind)
        return kind

    return register


def all_animals() -> tuple[Animal, ...]:
    """Every animal, theme by theme."""
    for module in _MODULES:
        import_module(f"kmscore_conformance.broken.{module}")
    return tuple(_ANIMALS.values())


def animals_named(names: Iterable[str]) -> tuple[Animal, ...]:
    """These animals, or all of them when none is named.

    Raises:
        InvalidRequest: There is no such animal.
    """
    animals = {each.id: each for each in all_animals()}
    wanted = tuple(names) or tuple(animals)
    for name in wanted:
        if name not in animals:
            raise InvalidRequest(
                f"there is no animal {name!r}", hint="See docs/zoo.md for those that there are"
            )
    return tuple(animals[name] for name in wanted)
