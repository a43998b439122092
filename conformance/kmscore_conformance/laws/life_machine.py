"""The life of keys in any order of steps, against a model that shares no code with a provider."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from kmscore.algorithms import TRAITS, Origin
from kmscore.capabilities import Feature
from kmscore.errors import (
    CiphertextInvalid,
    ImportMaterialInvalid,
    ImportTokenExpired,
    KeyStateError,
    KmsError,
    MaterialMismatch,
)
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Violation
from kmscore_conformance.owner import wrap
from kmscore_conformance.scope import ONE_EXTERNAL, ONE_SYMMETRIC
from kmscore_conformance.trial import Trial, require

if TYPE_CHECKING:
    from kmscore.client import Key
    from kmscore.spi import ImportParameters


@dataclass
class Expected:
    """What the model knows of a key.

    Attributes:
        state: Its state.
        sealed: Ciphertexts and what is in them.
        material: The only material that it takes, once it took one.
        holds: Whether material is there.
        parameters: The newest import parameters.
        outdated: Older ones.
    """

    state: str = "ENABLED"
    sealed: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    material: bytes | None = None
    holds: bool = True
    parameters: ImportParameters | None = None
    outdated: list[ImportParameters] = field(default_factory=list["ImportParameters"])


class _Machine(RuleBasedStateMachine):
    """What both machines share: a step goes as the model says, and the state is the model's."""

    keys: Bundle[tuple[Key, Expected]] = Bundle("keys")
    trial: Trial

    def step(self, what: str, call: Callable[[], Any], refused: type[KmsError] | None) -> Any:
        """Take a step, which the model allows, or refuses with a class of error."""
        try:
            result = call()
        except KmsError as error:
            if refused is not None and type(error) is refused:
                return None
            expected = refused.__name__ if refused else "success"
            raise Violation(
                f"{what}: {type(error).__name__}, and the model says {expected}: {error.message}"
            ) from error
        if refused is not None:
            raise Violation(f"{what}: it is done, and the model says {refused.__name__}")
        return result

    def compare(self, key: Key, expected: Expected) -> None:
        """The provider and the model agree on the state."""
        state = key.describe().state
        require(state == expected.state, f"the key is {state}, and the model says {expected.state}")

    def can(self, *features: Feature) -> bool:
        """Whether the table lists features."""
        return set(features) <= self.trial.subject.capabilities.features

    @rule(pair=keys)
    def encrypt(self, pair: tuple[Key, Expected]) -> None:
        """Only an enabled key encrypts."""
        key, expected = pair
        refused = None if expected.state == "ENABLED" else KeyStateError
        plaintext = os.urandom(8)
        sealed = self.step("encrypt", lambda: key.encrypt(plaintext), refused)
        if sealed is not None:
            expected.sealed.append((sealed, plaintext))

    @rule(pair=keys, place=st.integers(0, 9))
    def decrypt(self, pair: tuple[Key, Expected], place: int) -> None:
        """Every ciphertext that was ever made opens while the state allows it."""
        key, expected = pair
        if not expected.sealed:
            return
        sealed, plaintext = expected.sealed[place % len(expected.sealed)]
        refused = None if expected.state in ("ENABLED", "ARCHIVED") else KeyStateError
        opened = self.step("decrypt", lambda: key.decrypt(sealed), refused)
        require(opened in (None, plaintext), "another plaintext came out")

    @rule(one=keys, two=keys)
    def confuse(self, one: tuple[Key, Expected], two: tuple[Key, Expected]) -> None:
        """A ciphertext of another key does not open."""
        (key, expected), (_, other) = one, two
        if expected is other or not other.sealed or expected.material is not None:
            return
        refused = CiphertextInvalid if expected.state in ("ENABLED", "ARCHIVED") else KeyStateError
        self.step("a foreign ciphertext", lambda: key.decrypt(other.sealed[-1][0]), refused)

    @rule(pair=keys)
    def enable(self, pair: tuple[Key, Expected]) -> None:
        """From DISABLED."""
        self._switch(pair, "enable", "ENABLED")

    @rule(pair=keys)
    def disable(self, pair: tuple[Key, Expected]) -> None:
        """From ENABLED."""
        self._switch(pair, "disable", "DISABLED")

    def _switch(self, pair: tuple[Key, Expected], verb: str, goal: str) -> None:
        key, expected = pair
        allowed = expected.state in ("ENABLED", "DISABLED")
        self.step(verb, getattr(key, verb), None if allowed else KeyStateError)
        if allowed:
            expected.state = goal
        self.compare(key, expected)

    @rule(pair=keys)
    def schedule(self, pair: tuple[Key, Expected]) -> None:
        """From DISABLED."""
        key, expected = pair
        if not self.can(Feature.DELETION):
            return
        days = self.trial.subject.capabilities.limits.deletion_days[0]
        allowed = expected.state == "DISABLED"
        refused = None if allowed else KeyStateError
        self.step("schedule_deletion", lambda: key.schedule_deletion(days), refused)
        if allowed:
            expected.state = "PENDING_DELETION"
        self.compare(key, expected)

    @rule(pair=keys)
    def cancel(self, pair: tuple[Key, Expected]) -> None:
        """Back to DISABLED."""
        key, expected = pair
        if not self.can(Feature.DELETION):
            return
        allowed = expected.state == "PENDING_DELETION"
        self.step("cancel_deletion", key.cancel_deletion, None if allowed else KeyStateError)
        if allowed:
            expected.state = "DISABLED"
        self.compare(key, expected)


@law(
    "life.model",
    "In any order of steps, a key does what a model of its life says.",
    Layer.LIFE_CYCLE,
    ONE_SYMMETRIC,
)
def life(trial: Trial) -> None:
    """Enable, disable, schedule, cancel, rotate, archive, restore; encrypt and decrypt between."""

    class Life(_Machine):
        """Generated keys."""

        @initialize(target=_Machine.keys)
        def first(self) -> tuple[Key, Expected]:
            """There is a key."""
            return trial.fresh(), Expected()

        @rule(target=_Machine.keys)
        def create(self) -> tuple[Key, Expected]:
            """There is another."""
            return trial.fresh(), Expected()

        @rule(pair=_Machine.keys)
        def rotate(self, pair: tuple[Key, Expected]) -> None:
            """Only an enabled key rotates."""
            key, expected = pair
            if self.can(Feature.ROTATION):
                refused = None if expected.state == "ENABLED" else KeyStateError
                self.step("rotate", key.rotate, refused)

        @rule(pair=_Machine.keys)
        def archive(self, pair: tuple[Key, Expected]) -> None:
            """From ENABLED or DISABLED."""
            key, expected = pair
            if self.can(Feature.ARCHIVE):
                allowed = expected.state in ("ENABLED", "DISABLED")
                self.step("archive", key.archive, None if allowed else KeyStateError)
                if allowed:
                    expected.state = "ARCHIVED"
                self.compare(key, expected)

        @rule(pair=_Machine.keys)
        def restore(self, pair: tuple[Key, Expected]) -> None:
            """From ARCHIVED."""
            key, expected = pair
            if self.can(Feature.ARCHIVE):
                allowed = expected.state == "ARCHIVED"
                self.step("restore", key.restore, None if allowed else KeyStateError)
                if allowed:
                    expected.state = "ENABLED"
                self.compare(key, expected)

    Life.trial = trial
    trial.machine(Life)


@law(
    "import.model",
    "In any order of steps, a key with imported material does what a model of its life says.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def brought(trial: Trial) -> None:
    """Parameters, right and wrong material, old tokens, deletion of material, all the rest."""
    size = TRAITS[trial.kind.spec].bits // 8

    class Import(_Machine):
        """External keys."""

        @initialize(target=_Machine.keys)
        def first(self) -> tuple[Key, Expected]:
            """There is a key without material."""
            return trial.fresh(Origin.EXTERNAL), Expected("PENDING_IMPORT", holds=False)

        @rule(pair=_Machine.keys)
        def parameters(self, pair: tuple[Key, Expected]) -> None:
            """Newer parameters make the older ones void."""
            key, expected = pair
            if expected.state not in ("PENDING_IMPORT", "ENABLED"):
                return
            if expected.parameters is not None:
                expected.outdated.append(expected.parameters)
            expected.parameters = key.import_parameters(trial.subject.wrapping)

        @rule(pair=_Machine.keys, same=st.sampled_from([True, True, False]))
        def deliver(self, pair: tuple[Key, Expected], same: bool) -> None:
            """The first material is any; later ones are the first again, or refused."""
            key, expected = pair
            if expected.parameters is None or expected.state not in ("PENDING_IMPORT", "ENABLED"):
                return
            material = expected.material if same and expected.material else os.urandom(size)
            refused = None
            if expected.material is not None and material != expected.material:
                refused = MaterialMismatch
            self._send(key, expected.parameters, material, refused)
            if refused is None:
                expected.material, expected.holds, expected.state = material, True, "ENABLED"
            self.compare(key, expected)

        @rule(pair=_Machine.keys)
        def deliver_late(self, pair: tuple[Key, Expected]) -> None:
            """An old token is refused."""
            key, expected = pair
            if expected.outdated and expected.state in ("PENDING_IMPORT", "ENABLED"):
                material = expected.material or os.urandom(size)
                self._send(key, expected.outdated[-1], material, ImportTokenExpired)
                self.compare(key, expected)

        @rule(pair=_Machine.keys)
        def deliver_short(self, pair: tuple[Key, Expected]) -> None:
            """Material of another length is refused."""
            key, expected = pair
            if expected.parameters and expected.state in ("PENDING_IMPORT", "ENABLED"):
                short = os.urandom(size - 1)
                self._send(key, expected.parameters, short, ImportMaterialInvalid)
                self.compare(key, expected)

        @rule(pair=_Machine.keys)
        def forget(self, pair: tuple[Key, Expected]) -> None:
            """The material goes, the key stays."""
            key, expected = pair
            if expected.state in ("ENABLED", "DISABLED"):
                key.delete_material()
                expected.state, expected.holds = "PENDING_IMPORT", False
                self.compare(key, expected)

        def _send(
            self,
            key: Key,
            parameters: ImportParameters,
            material: bytes,
            refused: type[KmsError] | None,
        ) -> None:
            wrapped = wrap(parameters, material)
            self.step("import", lambda: key.import_material(wrapped, parameters.token), refused)

    Import.trial = trial
    trial.machine(Import)
