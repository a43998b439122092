"""What a law is about: the rows of a provider's own table that it applies to, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, NamedTuple

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind
from kmscore.spi import KeyImporter, KeyManager


class Over(Enum):
    """Whom a law is tried on."""

    PROVIDER = "every provider"
    PAIR = "every ordered pair of providers"
    WITNESS = "every provider with every other implementation"
    CORE = "kmscore itself"


class Case(NamedTuple):
    """One row that a law is tried on; the parts that it does not need are None."""

    kind: KeyKind | None = None
    algorithm: SigningAlgorithm | EncryptionAlgorithm | None = None
    wrapping: WrappingAlgorithm | None = None

    @property
    def label(self) -> str:
        """How results name it."""
        parts: list[str] = []
        if self.kind is not None:
            parts.append(self.kind.spec.value)
            if self.algorithm is None and len(TRAITS[self.kind.spec].usages) > 1:
                parts.append(self.kind.usage.value)
        if self.algorithm is not None and self.algorithm.value not in parts:
            parts.append(self.algorithm.value)
        if self.wrapping is not None:
            parts.append(self.wrapping.value)
        return " ".join(parts)


NOTHING: Final = Case()
Finder = Callable[[Capabilities], Iterable[Case]]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a law applies to.

    Attributes:
        needs: What the table must have, as a noun: ``symmetric keys``.
        find: The cases in a table.
        over: Whom the law is tried on.
        features: Features that the table must list.
        interfaces: Abstract classes that the provider must inherit.
        clock: Whether the law moves the provider's clock.
        reopens: Whether the law opens the provider once more.
        configured: Whether the law needs the provider's type and configuration.
    """

    needs: str
    find: Finder
    over: Over = Over.PROVIDER
    features: frozenset[Feature] = frozenset()
    interfaces: tuple[type[Any], ...] = ()
    clock: bool = False
    reopens: bool = False
    configured: bool = False

    def having(self, *features: Feature) -> Scope:
        """The same, where the table lists these features."""
        return replace(self, features=self.features | set(features))

    def with_clock(self) -> Scope:
        """The same, where the provider's clock can be moved."""
        return replace(self, clock=True, reopens=True)

    def reopening(self) -> Scope:
        """The same, where the provider can be opened once more."""
        return replace(self, reopens=True)

    def smallest(self) -> Scope:
        """The same, with the smallest key of each family: laws that make keys of their own."""

        def find(capabilities: Capabilities) -> Iterator[Case]:
            for case in self.find(capabilities):
                if case.kind is None or is_small(case.kind, capabilities):
                    yield case

        return replace(self, find=find)

    def pairs(self) -> Scope:
        """The same, for every ordered pair of providers; the cases are those of the first."""
        return replace(self, over=Over.PAIR)

    def witnessed(self) -> Scope:
        """The same, with every implementation that is somebody else's."""
        return replace(self, over=Over.WITNESS)

    def lacks(self, capabilities: Capabilities, provider: object) -> str:
        """Why the law does not apply to a provider, or an empty string."""
        for feature in sorted(self.features):
            if feature not in capabilities.features:
                return f"the table does not list {feature}"
        for interface in self.interfaces:
            if not isinstance(provider, interface):
                return f"the provider is no {interface.__name__}"
        if next(iter(self.find(capabilities)), None) is None:
            return f"the table has no {self.needs}"
        return ""

    @property
    def requirement(self) -> str:
        """All that the law requires, for documentation."""
        parts = [self.needs] if self.needs else []
        parts += [feature.value for feature in sorted(self.features)]
        if self.clock:
            parts.append("a clock that can be set")
        elif self.reopens:
            parts.append("a provider that can be opened again")
        if self.configured:
            parts.append("a configuration")
        return ", ".join(parts) or "nothing"


def _kinds(capabilities: Capabilities, usage: KeyUsage, origin: Origin) -> Iterator[KeyKind]:
    for kind in capabilities.keys:
        if kind.usage is usage and origin in kind.origins:
            yield kind


def _symmetric(capabilities: Capabilities) -> Iterator[Case]:
    for kind in _kinds(capabilities, KeyUsage.ENCRYPT_DECRYPT, Origin.GENERATED):
        yield Case(kind)


def _external(capabilities: Capabilities) -> Iterator[Case]:
    for kind in _kinds(capabilities, KeyUsage.ENCRYPT_DECRYPT, Origin.EXTERNAL):
        yield Case(kind)


def _wrapped(capabilities: Capabilities) -> Iterator[Case]:
    for case in _external(capabilities):
        for wrapping in sorted(capabilities.wrapping):
            yield Case(case.kind, None, wrapping)


def _generated(capabilities: Capabilities) -> Iterator[Case]:
    for kind in capabilities.keys:
        if Origin.GENERATED in kind.origins:
            yield Case(kind)


def _with_algorithms(usage: KeyUsage, chosen: Iterable[str] | None) -> Finder:
    wanted = None if chosen is None else frozenset(chosen)

    def find(capabilities: Capabilities) -> Iterator[Case]:
        for kind in _kinds(capabilities, usage, Origin.GENERATED):
            for algorithm in sorted(kind.algorithms):
                if wanted is None or algorithm in wanted:
                    yield Case(kind, algorithm)

    return find


def _first(find: Finder) -> Finder:
    def first(capabilities: Capabilities) -> Iterator[Case]:
        for case in find(capabilities):
            yield case
            return

    return first


def _first_kind(find: Finder) -> Finder:
    def first(capabilities: Capabilities) -> Iterator[Case]:
        kind: KeyKind | None = None
        for case in find(capabilities):
            kind = kind or case.kind
            if case.kind == kind:
                yield case

    return first


ANY: Final = Scope("", lambda _: (NOTHING,))
"""Every provider, whatever its table says."""

CORE: Final = Scope("", lambda _: (NOTHING,), Over.CORE)
"""kmscore itself: what users of every provider rely on."""

MANAGED: Final = Scope("", lambda _: (NOTHING,), interfaces=(KeyManager,))
"""Providers that manage keys."""

SYMMETRIC: Final = Scope("symmetric keys", _symmetric)
"""Every kind of symmetric key that the provider makes."""

ONE_SYMMETRIC: Final = replace(SYMMETRIC, find=_first(_symmetric))
"""The first of them, for laws that are the same for all and cost much."""

EVERY_KIND: Final = Scope("keys", _generated)
"""Every kind of key that the provider makes."""

EXTERNAL: Final = Scope("external symmetric keys", _external, interfaces=(KeyImporter,))
"""Every kind of symmetric key whose material can be imported."""

ONE_EXTERNAL: Final = replace(EXTERNAL, find=_first(_external))
"""The first of them."""

WRAPPED: Final = Scope(
    "external symmetric keys and a wrapping algorithm", _wrapped, interfaces=(KeyImporter,)
)
"""Every such kind with every way to wrap its material."""


ONE_WRAPPED: Final = replace(WRAPPED, find=_first_kind(_wrapped))
"""The first such kind with every way to wrap its material: wrapping keys are dear to make."""


def signing(*algorithms: SigningAlgorithm) -> Scope:
    """Signing keys with each of their schemes, or with these alone."""
    what = " or ".join(algorithms)
    return Scope(
        f"{what} signatures" if what else "signing keys",
        _with_algorithms(KeyUsage.SIGN_VERIFY, algorithms or None),
    )


def deciphering(*algorithms: EncryptionAlgorithm) -> Scope:
    """Key pairs for decryption with each of their schemes, or with these alone."""
    what = " or ".join(algorithms)
    return Scope(
        f"{what} decryption" if what else "key pairs for decryption",
        _with_algorithms(KeyUsage.ASYMMETRIC_DECRYPT, algorithms or None),
    )


HASHED: Final = tuple(scheme for scheme in SigningAlgorithm if scheme.digest is not None)
"""Signature schemes that can be given a digest."""


def is_small(kind: KeyKind, capabilities: Capabilities) -> bool:
    """Whether it is the provider's smallest key of its family: short profiles try no other."""
    family, bits = TRAITS[kind.spec].family, TRAITS[kind.spec].bits
    return not any(
        TRAITS[other.spec].family == family and TRAITS[other.spec].bits < bits
        for other in capabilities.keys
        if other.usage is kind.usage
    )
