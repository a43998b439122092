"""A run: the providers under test, their peers, the profile and the seed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kmscore.algorithms import TRAITS, KeySpec
from kmscore.errors import InvalidRequest
from kmscore_conformance.outcome import CORE
from kmscore_conformance.profile import Profile, profile_named
from kmscore_conformance.subject import Subject
from kmscore_conformance.waivers import Waivers
from kmscore_conformance.witness import Witness, all_witnesses

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore.client import Key
    from kmscore.config import Config


class Session:
    """A run. A context manager: leaving it schedules all keys for deletion that were made.

    Args:
        subjects: The providers under test.
        peers: Providers that they are paired with, and that are not tested themselves.
        profile: A profile, or its name.
        seed: What the examples follow from; by default a new one.
        waivers: What is accepted.
        vectors: A folder with Wycheproof's files, or None.
        max_calls: Most calls to one provider, instead of the profile's bound.

    Attributes:
        began: When it began.
        twins: Keys of all providers with the same material, by provider and spec.
    """

    def __init__(
        self,
        subjects: Iterable[Subject],
        peers: Iterable[Subject] = (),
        *,
        profile: Profile | str = "ci",
        seed: int | None = None,
        waivers: Waivers | None = None,
        vectors: Path | None = None,
        max_calls: int | None = None,
    ) -> None:
        self.subjects = tuple(subjects)
        self.peers = tuple(peers)
        self.profile = profile_named(profile) if isinstance(profile, str) else profile
        self.seed = secrets.randbelow(1 << 32) if seed is None else seed
        self.waivers = waivers or Waivers()
        self.vectors = vectors
        self.began = datetime.now(UTC)
        self.twins: dict[tuple[str, str], Key] = {}
        self._materials: dict[KeySpec, bytes] = {}
        try:
            self._check(max_calls)
        except InvalidRequest:
            self.close()
            raise
        for subject in self.everybody:
            subject.budget.most = self.profile.max_calls if max_calls is None else max_calls

    @classmethod
    def configured(
        cls,
        config: Config,
        providers: Iterable[str],
        peers: Iterable[str] = (),
        *,
        profile: Profile | str = "ci",
        seed: int | None = None,
        waivers: Waivers | None = None,
        vectors: Path | None = None,
        max_calls: int | None = None,
    ) -> Session:
        """A run on providers of a configuration; arguments as above.

        Raises:
            KmsError: One of them cannot be opened.
        """
        opened: list[Subject] = []
        names, others = list(providers), list(peers)
        if waivers is not None:
            waivers.require_providers(config.providers)
        try:
            opened += [Subject.configured(config, name) for name in [*names, *others]]
            return cls(
                opened[: len(names)],
                opened[len(names) :],
                profile=profile,
                seed=seed,
                waivers=waivers,
                vectors=vectors,
                max_calls=max_calls,
            )
        except BaseException:
            for subject in opened:
                subject.close()
            raise

    def _check(self, max_calls: int | None) -> None:
        names = [subject.name for subject in self.everybody]
        if len(set(names)) < len(names):
            raise InvalidRequest("a provider is named twice", hint="Each is tested or a peer, once")
        for name in (CORE, *(witness.name for witness in self.witnesses)):
            if name in names:
                raise InvalidRequest(
                    f"a provider is named {name!r}, as somebody else in the report",
                    hint="Give it another name in kms.toml",
                )
        if max_calls is not None and max_calls < 1:
            raise InvalidRequest(f"{max_calls} calls are too few for a run")
        if self.vectors is not None and not self.vectors.is_dir():
            raise InvalidRequest(f"there is no folder {self.vectors} with vectors")

    @property
    def everybody(self) -> tuple[Subject, ...]:
        """Providers under test and peers."""
        return self.subjects + self.peers

    @property
    def pairs(self) -> tuple[tuple[Subject, Subject], ...]:
        """Every ordered pair, one of whom at least is under test."""
        return tuple(
            (one, two)
            for one in self.everybody
            for two in self.everybody
            if one is not two and not (one in self.peers and two in self.peers)
        )

    def common_material(self, spec: KeySpec) -> bytes:
        """Material that every provider of this run gets; it begins and ends with zeros."""
        if spec not in self._materials:
            middle = os.urandom(TRAITS[spec].bits // 8 - 4)
            self._materials[spec] = b"\0\x80" + middle + b"\x80\0"
        return self._materials[spec]

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """Somebody else's code."""
        return all_witnesses()

    def close(self) -> None:
        """Schedule keys for deletion, and close all providers."""
        for subject in self.everybody:
            subject.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
