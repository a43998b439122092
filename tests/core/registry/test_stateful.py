"""The registry against a small model of what a key's life should be, in any order of steps.

Two registries have the same file open, as two processes would; every step goes through one of
them, and both must then agree with the model, before anybody sweeps and after.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from kmscore import errors
from kmscore.algorithms import KeySpec, KeyUsage, Origin, WrappingAlgorithm
from kmscore.registry import Material, Purpose, Registry, SqliteStore
from kmscore.spi import NewKey

DAY = 86400


class Refused(Exception):
    """The model says no; carries the class of the error to expect."""


@dataclass
class Key:
    """What the model knows of a key."""

    state: str
    external: bool
    symmetric: bool
    material: list[int]
    alias: str | None = None
    known: bytes = b""
    ends: float = float("inf")
    expires: float = float("inf")
    token: bytes | None = None
    token_ends: float = 0
    period: int | None = None
    due: float = float("inf")

    def forget(self) -> None:
        """The material is gone."""
        self.material = []
        self.expires = float("inf")
        if self.state != "PENDING_DELETION":
            self.state = "PENDING_IMPORT"


class Model:
    """Keys by id, and the time."""

    def __init__(self) -> None:
        self.now = 1_700_000_000
        self.keys: dict[str, Key] = {}

    def settle(self) -> None:
        """What time brings."""
        for key_id, key in list(self.keys.items()):
            if key.state == "PENDING_DELETION" and key.ends <= self.now:
                del self.keys[key_id]
            elif key.expires <= self.now:
                key.forget()

    def key(self, key_id: str) -> Key:
        """A key that is there."""
        if key_id not in self.keys:
            raise Refused(errors.KeyNotFound)
        return self.keys[key_id]

    def move(self, key_id: str, steps: dict[str, str]) -> Key:
        """From a state to the next."""
        key = self.key(key_id)
        if key.state not in steps:
            raise Refused(errors.KeyStateError)
        key.state = steps[key.state]
        return key

    def taken(self, alias: str | None, by: str = "") -> bool:
        """Whether another key has the name."""
        return alias is not None and any(
            key.alias == alias for key_id, key in self.keys.items() if key_id != by
        )


SAME = {name: name for name in ("ENABLED", "DISABLED", "ARCHIVED", "PENDING_IMPORT")}
MOVES: dict[str, dict[str, str]] = {
    "enable": {"ENABLED": "ENABLED", "DISABLED": "ENABLED"},
    "disable": {"ENABLED": "DISABLED", "DISABLED": "DISABLED"},
    "archive": {"ENABLED": "ARCHIVED", "DISABLED": "ARCHIVED"},
    "restore": {"ARCHIVED": "ENABLED"},
}
TAKES_MATERIAL = {"ENABLED": "ENABLED", "PENDING_IMPORT": "PENDING_IMPORT"}
ALIASES = st.sampled_from(["a", "b", "c", None])
TOKENS = st.sampled_from([b"1", b"2", b"3"])
PRINTS = st.sampled_from([b"x", b"x", b"x", b"y"])


def make(record, number):
    """Material that says whose it is."""
    return Material(f"{record.key_id} {number}".encode())


class Life(RuleBasedStateMachine):
    """Steps in the life of a few keys."""

    ids: Bundle[Any] = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.folder = tempfile.TemporaryDirectory()
        self.both = [self.open(), self.open()]

    def open(self) -> Registry:
        """A registry on the file."""
        return Registry(
            SqliteStore(Path(self.folder.name) / "keys.db"), clock=lambda: self.model.now
        )

    def teardown(self) -> None:
        """Close the file."""
        for registry in self.both:
            registry.close()
        self.folder.cleanup()

    def step(self, who: int, expected: Callable[[], Any], real: Callable[[Registry], Any]) -> Any:
        """One step: the registry does what the model says, or refuses as the model does."""
        self.model.settle()
        refusal = None
        try:
            expected()
        except Refused as refused:
            refusal = refused.args[0]
        if refusal is None:
            return real(self.both[who])
        with pytest.raises(errors.KmsError) as failed:
            real(self.both[who])
        assert failed.type is refusal
        return None

    # --- Steps -------------------------------------------------------------------------------

    @rule(
        target=ids,
        who=st.integers(0, 1),
        alias=ALIASES,
        external=st.booleans(),
        spec=st.sampled_from([KeySpec.SM4, KeySpec.AES_256, KeySpec.SM2]),
    )
    def create(self, who, alias, external, spec):
        """A key is made, or its name is taken."""
        symmetric = spec is not KeySpec.SM2
        origin = Origin.EXTERNAL if external else Origin.GENERATED

        def expected():
            if external and not symmetric:
                raise Refused(errors.Unsupported)
            if self.model.taken(alias):
                raise Refused(errors.AlreadyExists)

        new = NewKey(spec, KeyUsage.ENCRYPT_DECRYPT, origin, alias)
        record = self.step(who, expected, lambda registry: registry.create(new, make))
        if record is None:
            return "00000000-0000-4000-8000-000000000000"
        state = "PENDING_IMPORT" if external else "ENABLED"
        material = [] if external else [1]
        self.model.keys[record.key_id] = Key(state, external, symmetric, material, alias)
        return record.key_id

    @rule(who=st.integers(0, 1), key_id=ids, move=st.sampled_from(sorted(MOVES)))
    def move(self, who, key_id, move):
        """A key changes its state."""
        self.step(
            who,
            lambda: self.model.move(key_id, MOVES[move]),
            lambda registry: getattr(registry, move)(key_id),
        )

    @rule(who=st.integers(0, 1), key_id=ids, days=st.sampled_from([6, 7, 8, 30, 31]))
    def schedule(self, who, key_id, days):
        """A key is to be destroyed."""

        def expected():
            if not 7 <= days <= 30:
                raise Refused(errors.InvalidRequest)
            key = self.model.move(key_id, {"DISABLED": "PENDING_DELETION"})
            key.ends = self.model.now + days * DAY

        at = self.step(who, expected, lambda registry: registry.schedule_deletion(key_id, days))
        assert at in (None, self.model.now + days * DAY)

    @rule(who=st.integers(0, 1), key_id=ids)
    def cancel(self, who, key_id):
        """A key is to live on."""

        def expected():
            key = self.model.move(key_id, {"PENDING_DELETION": "DISABLED"})
            key.ends = float("inf")
            if not key.material:
                key.state = "PENDING_IMPORT"

        self.step(who, expected, lambda registry: registry.cancel_deletion(key_id))

    @rule(who=st.integers(0, 1), key_id=ids, alias=st.sampled_from(["a", "b", "c"]))
    def rename(self, who, key_id, alias):
        """A key gets another name."""

        def expected():
            if self.model.taken(alias, by=key_id):
                raise Refused(errors.AlreadyExists)
            self.model.move(key_id, SAME).alias = alias

        self.step(who, expected, lambda registry: registry.set_alias(key_id, alias))

    @rule(who=st.integers(0, 1), key_id=ids, days=st.sampled_from([7, 365, None]))
    def plan(self, who, key_id, days):
        """A key shall rotate by itself, or no more."""

        def expected():
            key = self.model.key(key_id)
            if key.external or not key.symmetric:
                raise Refused(errors.Unsupported)
            self.model.move(key_id, {"ENABLED": "ENABLED"})
            key.period = days
            key.due = self.model.now + days * DAY if days else float("inf")

        self.step(who, expected, lambda registry: registry.set_rotation(key_id, days))

    @rule(who=st.integers(0, 1), key_id=ids, only_if_due=st.booleans())
    def rotate(self, who, key_id, only_if_due):
        """A key gets a new version."""

        def expected():
            key = self.model.key(key_id)
            if key.external or not key.symmetric:
                raise Refused(errors.Unsupported)
            self.model.move(key_id, {"ENABLED": "ENABLED"})
            if not only_if_due or key.due <= self.model.now:
                key.material.append(len(key.material) + 1)
                key.due = self.model.now + key.period * DAY if key.period else float("inf")

        def real(registry):
            return registry.rotate(key_id, make, only_if_due=only_if_due)

        self.step(who, expected, real)

    @rule(who=st.integers(0, 1), key_id=ids, token=TOKENS)
    def ask(self, who, key_id, token):
        """New import parameters."""

        def expected():
            key = self.model.key(key_id)
            if not key.external:
                raise Refused(errors.InvalidRequest)
            self.model.move(key_id, TAKES_MATERIAL)
            key.token, key.token_ends = token, self.model.now + DAY

        wrapping = WrappingAlgorithm.RSAES_OAEP_SHA_256
        self.step(
            who, expected, lambda registry: registry.open_import(key_id, wrapping, token, b"k")
        )

    @rule(
        who=st.integers(0, 1),
        key_id=ids,
        token=TOKENS,
        fingerprint=PRINTS,
        life=st.sampled_from([None, None, 0, 3600, 2 * DAY, 10 * DAY]),
    )
    def send(self, who, key_id, token, fingerprint, life):
        """Material arrives."""
        until = None if life is None else self.model.now + life

        def expected():
            if life == 0:
                raise Refused(errors.InvalidRequest)
            key = self.model.key(key_id)
            if not key.external:
                raise Refused(errors.InvalidRequest)
            self.model.move(key_id, TAKES_MATERIAL)
            if key.token != token or key.token_ends <= self.model.now:
                raise Refused(errors.ImportTokenExpired)
            if key.known not in (b"", fingerprint):
                raise Refused(errors.MaterialMismatch)
            key.state, key.material, key.known = "ENABLED", [1], fingerprint
            key.expires = float("inf") if until is None else until

        def real(registry):
            return registry.finish_import(key_id, token, fingerprint, until, make)

        self.step(who, expected, real)

    @rule(who=st.integers(0, 1), key_id=ids)
    def delete_material(self, who, key_id):
        """Material is deleted."""

        def expected():
            key = self.model.key(key_id)
            if not key.external:
                raise Refused(errors.InvalidRequest)
            allowed = {name: name for name in ("ENABLED", "DISABLED", "PENDING_IMPORT")}
            self.model.move(key_id, allowed).forget()

        self.step(who, expected, lambda registry: registry.delete_material(key_id))

    @rule(seconds=st.sampled_from([1, 3599, 3600, DAY - 1, DAY, 2 * DAY, 7 * DAY, 30 * DAY]))
    def wait(self, seconds):
        """Time goes by."""
        self.model.now += seconds

    @rule(who=st.integers(0, 1))
    def sweep(self, who):
        """Somebody cleans up: nobody sees a difference."""
        self.both[who].sweep()
        self.model.settle()
        assert self.both[who].count() == len(self.model.keys)

    @rule(who=st.integers(0, 1))
    def reopen(self, who):
        """A process ends, and another one begins."""
        self.both[who].close()
        self.both[who] = self.open()

    @rule(key_id=consumes(ids))
    def leave_alone(self, key_id):
        """A key that no further step concerns."""

    # --- What must hold ----------------------------------------------------------------------

    @invariant()
    def both_agree_with_the_model(self):
        """Listing, records, versions and permitted uses are what the model says."""
        self.model.settle()
        for registry in self.both:
            listed = {info.key_id for info in registry.page(1000, None).keys}
            assert listed == set(self.model.keys)
            for key_id, key in self.model.keys.items():
                self.agrees(registry, key_id, key)

    def agrees(self, registry: Registry, key_id: str, key: Key) -> None:
        """One key, in one registry."""
        record = registry.find(key_id)
        assert (record.state, record.alias) == (key.state, key.alias)
        assert record.version == len(key.material)
        assert record.fingerprint == key.known
        assert (record.valid_to or float("inf")) == key.expires
        assert (record.deletion_at or float("inf")) == key.ends
        assert (record.next_rotation_at or float("inf")) == key.due
        assert registry.rotation_due(record) == (key.due <= self.model.now)
        if key.alias:
            assert registry.find(key.alias) == record
        for number in key.material:
            assert registry.version(key_id, number).material == f"{key_id} {number}".encode()
        for purpose in Purpose:
            allowed = key.state == "ENABLED" or (purpose.name, key.state) == ("DECRYPT", "ARCHIVED")
            if allowed:
                assert registry.usable(key_id, purpose) == record
            else:
                with pytest.raises(errors.KeyStateError) as refused:
                    registry.usable(key_id, purpose)
                assert refused.value.state == key.state


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
