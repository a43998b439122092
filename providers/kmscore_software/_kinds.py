"""The kinds of key that the provider makes, as rows of its capability table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from kmscore.algorithms import TRAITS, KeySpec, KeyUsage, Origin
from kmscore.capabilities import KeyKind


class Kinds(Sequence[KeyKind]):
    """The kinds of key, worked out when they are first looked at: loading SM2 takes a moment.

    Args:
        computes: Whether this machine has the cryptography for keys of a spec.
    """

    def __init__(self, computes: Callable[[KeySpec], bool]) -> None:
        self._computes = computes
        self._known: tuple[KeyKind, ...] | None = None

    @overload
    def __getitem__(self, index: int) -> KeyKind: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KeyKind]: ...
    def __getitem__(self, index: int | slice) -> KeyKind | Sequence[KeyKind]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> tuple[KeyKind, ...]:
        if self._known is None:
            self._known = tuple(
                _kind(spec, usage)
                for spec, traits in TRAITS.items()
                if self._computes(spec)
                for usage in traits.usages
            )
        return self._known


def _kind(spec: KeySpec, usage: KeyUsage) -> KeyKind:
    if TRAITS[spec].is_symmetric:
        return KeyKind.standard(spec, usage, Origin.GENERATED, Origin.EXTERNAL)
    return KeyKind.standard(spec, usage)
