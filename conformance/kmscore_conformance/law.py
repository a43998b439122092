"""A law: a plain function with a stable id, registered with what it says and what it requires."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Final

from kmscore.errors import InvalidRequest

if TYPE_CHECKING:
    from kmscore_conformance.scope import Scope
    from kmscore_conformance.trial import Trial


class Layer(StrEnum):
    """The parts of the suite, in the order in which they are tried."""

    CONTRACT = "contract"
    KNOWN_ANSWERS = "known answers"
    PROPERTIES = "properties"
    INTEROPERABILITY = "interoperability"
    LIFE_CYCLE = "life cycle"
    IMPORT = "import"
    FAULTS = "faults"
    CONCURRENCY = "concurrency"
    AUDIT = "audit"
    ENVELOPE = "envelope"
    CONFIGURATION = "configuration"


Check = Callable[["Trial"], None]


@dataclass(frozen=True, slots=True)
class Law:
    """A law.

    Attributes:
        id: Stable: waivers and reports name it.
        title: What holds, in one sentence.
        layer: Where it belongs.
        scope: What it applies to.
        check: Tries it on one case; raises `Violation`, or what the provider raised.
    """

    id: str
    title: str
    layer: Layer
    scope: Scope
    check: Check


_MODULES: Final = (
    "capability_table",
    "contract",
    "secrecy",
    "known_answers",
    "symmetric",
    "signatures",
    "signature_forms",
    "decryption",
    "interoperability",
    "portability",
    "life_cycle",
    "life_machine",
    "importing",
    "import_refusals",
    "faults",
    "concurrency",
    "audit",
    "envelope",
    "configuration",
)
_LAWS: Final[dict[str, Law]] = {}
_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+")


def law(ident: str, title: str, layer: Layer, scope: Scope) -> Callable[[Check], Check]:
    """Register a function as a law; arguments as in `Law`."""

    def register(check: Check) -> Check:
        if ident in _LAWS or not _ID.fullmatch(ident):
            raise ValueError(f"{ident!r} is no new id of a law")
        _LAWS[ident] = Law(ident, title, layer, scope, check)
        return check

    return register


def all_laws() -> tuple[Law, ...]:
    """Every law, layer by layer."""
    for module in _MODULES:
        import_module(f"kmscore_conformance.laws.{module}")
    order = list(Layer)
    return tuple(sorted(_LAWS.values(), key=lambda each: order.index(each.layer)))


def choose(patterns: Iterable[str] | None) -> tuple[Law, ...]:
    """The laws of these ids, in the suite's order; ``sig.*`` stands for all that begin so.

    Raises:
        InvalidRequest: A pattern names no law.
    """
    every = all_laws()
    if patterns is None:
        return every
    chosen: set[str] = set()
    for pattern in patterns:
        stem = pattern.removesuffix("*")
        found = {
            each.id
            for each in every
            if each.id == pattern or (pattern != stem and each.id.startswith(stem))
        }
        if not found:
            names = [each.id for each in every]
            close = difflib.get_close_matches(pattern, names, n=1)
            raise InvalidRequest(
                f"there is no law {pattern!r}",
                hint=f"Did you mean {close[0]!r}?"
                if close
                else "List them with: kmscore conformance laws",
            )
        chosen |= found
    return tuple(each for each in every if each.id in chosen)
