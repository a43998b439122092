"""Faults on the way: calls that are turned away, dropped, or carried out without a reply.

Time is not waited for: the core's retrier gets a clock and a sleep of the suite's own.
"""

from __future__ import annotations

import os
from typing import Any

from kmscore.algorithms import TRAITS, Origin
from kmscore.capabilities import Feature
from kmscore.errors import (
    CiphertextInvalid,
    KeyNotFound,
    KmsError,
    Throttled,
    Timeout,
    Unavailable,
)
from kmscore.retry import RetryPolicy
from kmscore.signing import Message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.laws.contract import UNKNOWN
from kmscore_conformance.line import Fault
from kmscore_conformance.owner import wrap
from kmscore_conformance.scope import ONE_EXTERNAL, ONE_SYMMETRIC, signing
from kmscore_conformance.trial import Trial, Waits, refusal, require

POLICY = RetryPolicy(max_attempts=5, initial_delay=0.1, max_delay=2.0, deadline=60.0)
SECRET = b"arrives once"


def _effects(trial: Trial, operation: str) -> int:
    return sum(effect.operation == operation for effect in trial.subject.line.effects)


@law(
    "fault.throttled",
    "A call that was turned away several times succeeds once, after bounded waits.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def throttled(trial: Trial) -> None:
    """Encryption is sent again, and the result is good."""
    waits, line = Waits(), trial.subject.line
    key = trial.behind_gate(waits, POLICY).key(trial.key.key_id)
    line.fail(*[Fault.THROTTLED] * 3)
    sealed = key.encrypt(SECRET)
    require(line.attempts["encrypt"] == 4, f"{line.attempts['encrypt']} attempts instead of 4")
    require(_effects(trial, "encrypt") == 1, "it was carried out more than once")
    require(len(waits.slept) == 3, f"{len(waits.slept)} waits instead of 3")
    bounds = [0.1, 0.2, 0.4]
    require(
        all(slept <= bound + 1e-9 for slept, bound in zip(waits.slept, bounds, strict=True)),
        f"the waits are {waits.slept}",
    )
    line.fail()
    require(trial.key.decrypt(sealed) == SECRET, "another plaintext came out")


@law(
    "fault.retry-after",
    "When the provider says how long to wait, it is waited at least that long.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def retry_after(trial: Trial) -> None:
    """Whoever comes back earlier is turned away again."""
    waits, line = Waits(), trial.subject.line
    key = trial.behind_gate(waits, POLICY).key(trial.key.key_id)
    line.fail(Fault.THROTTLED, retry_after=7.5)
    key.encrypt(SECRET)
    require(waits.slept == [7.5], f"the waits are {waits.slept}")


@law(
    "fault.unavailable",
    "A dropped connection is tried again, for reading, writing and signing alike.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def unavailable(trial: Trial) -> None:
    """One success, once carried out."""
    waits, line = Waits(), trial.subject.line
    kms = trial.behind_gate(waits, POLICY)
    key = kms.key(trial.key.key_id)
    sealed = trial.key.encrypt(SECRET)
    calls: dict[str, Any] = {
        "describe_key": key.describe,
        "encrypt": lambda: key.encrypt(SECRET),
        "decrypt": lambda: key.decrypt(sealed),
        "generate_data_key": key.generate_data_key,
        "enable_key": key.enable,
    }
    for operation, call in calls.items():
        line.fail(Fault.UNAVAILABLE, Fault.UNAVAILABLE)
        call()
        require(line.attempts[operation] == 3, f"{operation}: {line.attempts[operation]} attempts")
        require(_effects(trial, operation) == 1, f"{operation} was carried out more than once")


@law(
    "fault.lost-reply",
    "A lost reply to what may be repeated is repeated, and the result is good.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def lost_reply(trial: Trial) -> None:
    """Encrypting, decrypting, enabling and disabling twice are as good as once."""
    waits, line = Waits(), trial.subject.line
    fresh = trial.fresh()
    key = trial.behind_gate(waits, POLICY).key(fresh.key_id)
    line.fail(Fault.LOST_REPLY)
    sealed = key.encrypt(SECRET)
    line.fail(Fault.LOST_REPLY)
    require(key.decrypt(sealed) == SECRET, "another plaintext came out")
    for verb, state in (("disable", "DISABLED"), ("enable", "ENABLED")):
        line.fail(Fault.LOST_REPLY)
        getattr(key, verb)()
        require(line.attempts[f"{verb}_key"] == 2, f"{verb} was not repeated")
        line.fail()
        require(fresh.describe().state == state, f"after {verb}, the key is not {state}")


@law(
    "fault.signature",
    "A signature that was asked for again is right.",
    Layer.FAULTS,
    signing().smallest(),
)
def signature(trial: Trial) -> None:
    """Throttled, dropped and lost in turn."""
    waits, line = Waits(), trial.subject.line
    public = trial.key.public_key()
    key = trial.behind_gate(waits, POLICY).key(trial.key.key_id)
    line.fail(Fault.THROTTLED, Fault.UNAVAILABLE, Fault.LOST_REPLY, only=frozenset({"sign"}))
    message = Message(SECRET)
    made = key.sign(message, algorithm=trial.signing)
    require(line.attempts["sign"] == 4, f"{line.attempts['sign']} attempts instead of 4")
    require(public.verify(message, made, trial.signing), "the signature is wrong")


@law(
    "fault.create-once",
    "The creation of a key is sent once, whatever happens to it.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def create_once(trial: Trial) -> None:
    """A second try could make a second key, which nobody knows of and somebody pays for."""
    for fault, expected in (
        (Fault.THROTTLED, Throttled),
        (Fault.UNAVAILABLE, Unavailable),
        (Fault.LOST_REPLY, Timeout),
    ):
        waits, line = Waits(), trial.subject.line
        kms = trial.behind_gate(waits, POLICY)
        made = len(line.created)
        line.fail(fault)
        try:
            refusal(f"a creation that was {fault.value}", expected, kms.create_key, trial.kind.spec)
        finally:
            attempts = line.attempts["create_key"]
            require(attempts == 1, f"the creation was sent {attempts} times")
        expected_keys = 1 if fault is Fault.LOST_REPLY else 0
        require(len(line.created) - made == expected_keys, "another number of keys was made")
        require(waits.slept == [], "it was waited for nothing")


@law(
    "fault.rotate-once",
    "A rotation is sent once, whatever happens to it.",
    Layer.FAULTS,
    ONE_SYMMETRIC.having(Feature.ROTATION),
)
def rotate_once(trial: Trial) -> None:
    """Rotating twice is not rotating once."""
    fresh = trial.fresh()
    waits, line = Waits(), trial.subject.line
    key = trial.behind_gate(waits, POLICY).key(fresh.key_id)
    before = fresh.describe().version
    line.fail(Fault.LOST_REPLY)
    refusal("a rotation without a reply", Timeout, key.rotate)
    require(line.attempts["rotate_key"] == 1, "the rotation was sent again")
    line.fail()
    require(fresh.describe().version - before in (0, 1), "the key has rotated twice")


@law(
    "fault.unsafe-once",
    "What must not be done twice is sent again when it was dropped, not when its reply was lost.",
    Layer.FAULTS,
    ONE_SYMMETRIC.having(Feature.DELETION),
)
def unsafe_once(trial: Trial) -> None:
    """Scheduling a deletion: the second time it would be refused."""
    fresh = trial.fresh()
    fresh.disable()
    days = trial.subject.capabilities.limits.deletion_days[0]
    waits, line = Waits(), trial.subject.line
    key = trial.behind_gate(waits, POLICY).key(fresh.key_id)
    line.fail(Fault.UNAVAILABLE, Fault.THROTTLED)
    key.schedule_deletion(days)
    require(line.attempts["schedule_key_deletion"] == 3, "a dropped call was not sent again")
    line.fail(Fault.LOST_REPLY)
    refusal("a cancelled deletion without a reply", Timeout, key.cancel_deletion)
    require(line.attempts["cancel_key_deletion"] == 1, "it was sent again")
    line.fail()
    require(fresh.describe().state == "DISABLED", "the deletion was not cancelled")


@law(
    "fault.import-replayed",
    "An import whose reply was lost is repeated, and changes nothing the second time.",
    Layer.FAULTS,
    ONE_EXTERNAL,
)
def import_replayed(trial: Trial) -> None:
    """The same material under the same token has the same effect."""
    fresh = trial.fresh(Origin.EXTERNAL)
    material = os.urandom(TRAITS[trial.kind.spec].bits // 8)
    waits, line = Waits(), trial.subject.line
    key = trial.behind_gate(waits, POLICY).key(fresh.key_id)
    given = key.import_parameters(trial.subject.wrapping)
    line.fail(Fault.LOST_REPLY)
    key.import_material(wrap(given, material), given.token)
    require(line.attempts["import_key_material"] == 2, "the import was not repeated")
    line.fail()
    require(fresh.describe().state == "ENABLED", f"the key is {fresh.describe().state}")
    require(fresh.decrypt(fresh.encrypt(SECRET)) == SECRET, "another plaintext came out")


@law(
    "fault.given-up",
    "After the last attempt the provider's own error comes out, and says how often it was tried.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def given_up(trial: Trial) -> None:
    """Not an error of the retrier, and not a wait too many."""
    waits, line = Waits(), trial.subject.line
    key = trial.behind_gate(waits, POLICY).key(trial.key.key_id)
    line.fail(*[Fault.UNAVAILABLE] * 20)
    error = refusal("a provider that is gone", Unavailable, key.encrypt, SECRET)
    attempts = line.attempts["encrypt"]
    require(attempts == POLICY.max_attempts, f"{attempts} attempts, allowed are 5")
    require("5 attempts" in error.hint, "the error does not say how often it was tried")
    require(_effects(trial, "encrypt") == 0, "something was carried out")


@law(
    "fault.deadline",
    "Nothing is waited for beyond the deadline.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def deadline(trial: Trial) -> None:
    """Also when the provider asks for longer."""
    waits, line = Waits(), trial.subject.line
    policy = RetryPolicy(max_attempts=100, initial_delay=1.0, max_delay=10.0, deadline=20.0)
    key = trial.behind_gate(waits, policy).key(trial.key.key_id)
    line.fail(*[Fault.THROTTLED] * 100)
    refusal("endless throttling", Throttled, key.encrypt, SECRET)
    require(waits.now <= 20.0, f"it was waited for {waits.now:.0f} seconds, allowed are 20")
    line.fail(Fault.THROTTLED, retry_after=3600.0)
    refusal("a wait of an hour", Throttled, key.encrypt, SECRET)
    require(waits.now <= 20.0, "it was waited for an hour")


@law(
    "fault.final",
    "An error that will not go away is raised at once.",
    Layer.FAULTS,
    ONE_SYMMETRIC,
)
def final(trial: Trial) -> None:
    """A key that does not exist, a ciphertext that does not open: one attempt each."""
    waits, line = Waits(), trial.subject.line
    kms = trial.behind_gate(waits, POLICY)
    key = kms.key(trial.key.key_id)
    line.fail()
    line.recording = True
    for operation, expected, call in (
        ("describe_key", KeyNotFound, lambda: kms.key(UNKNOWN)),
        ("decrypt", CiphertextInvalid, lambda: key.decrypt(bytes(64))),
    ):
        error: KmsError = refusal(operation, expected, call)
        require(not error.retryable, f"{type(error).__name__} is said to be worth a retry")
        attempts = line.attempts[operation]
        require(attempts == 1, f"{operation} was sent {attempts} times")
    require(waits.slept == [], "it was waited for nothing")
