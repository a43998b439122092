"""Two providers, or a provider and somebody else's code, that have to understand each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kmscore import envelope
from kmscore.algorithms import KeyUsage, Origin
from kmscore.capabilities import Feature
from kmscore.errors import (
    CiphertextInvalid,
    KeyNotFound,
    KmsError,
)
from kmscore.signing import Message, hash_message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.laws.contract import UNKNOWN
from kmscore_conformance.outcome import Inapplicable, Violation
from kmscore_conformance.scope import ONE_SYMMETRIC, deciphering, signing
from kmscore_conformance.trial import Trial, refusal, require

if TYPE_CHECKING:
    from kmscore.client import Key
    from kmscore_conformance.subject import Subject

SECRET = b"data of two houses" * 300


@law(
    "pair.verified",
    "What the provider signs, each other implementation verifies, and nothing that was altered.",
    Layer.INTEROPERABILITY,
    signing().witnessed(),
)
def verified(trial: Trial) -> None:
    """Messages and, where the scheme has a digest, digests."""
    key, scheme, witness = trial.key, trial.signing, trial.witness
    public = key.public_key().der
    for content in (b"signed here, verified there", os.urandom(2000)):
        message = Message(content)
        signature = key.sign(message, algorithm=scheme)
        right = witness.verify(public, scheme, message, signature)
        require(right, f"{witness.name} finds the signature wrong")
        wrong = witness.verify(public, scheme, Message(content + b"."), signature)
        require(not wrong, f"{witness.name} finds it right for another message")
        if scheme.digest is not None:
            hashed = hash_message(message, scheme, public)
            right = witness.verify(public, scheme, hashed, signature)
            require(right, f"{witness.name} finds it wrong for the digest")


@law(
    "pair.encrypted",
    "What each other implementation encrypts for the public key, the provider decrypts.",
    Layer.INTEROPERABILITY,
    deciphering().witnessed(),
)
def encrypted(trial: Trial) -> None:
    """Short and long, with zeros at either end."""
    key, scheme, witness = trial.key, trial.encryption, trial.witness
    public = key.public_key().der
    for plaintext in (b"\0" + os.urandom(30) + b"\0", os.urandom(96)):
        sealed = witness.encrypt(public, scheme, plaintext)
        opened = key.decrypt(sealed, algorithm=scheme)
        require(opened == plaintext, f"another plaintext than {witness.name} encrypted came out")


@law(
    "pair.foreign-signature",
    "A signature of the one is wrong under a key of the other, and no error.",
    Layer.INTEROPERABILITY,
    signing().pairs(),
)
def foreign_signature(trial: Trial) -> None:
    """The second provider's code reads what the first one's wrote."""
    there = _same(trial, trial.other)
    message = Message(b"signed in one house")
    signature = trial.key.sign(message, algorithm=trial.signing)
    answer = there.verify(message, signature, algorithm=trial.signing)
    require(answer is False, f"the other says {answer!r}")


@law(
    "pair.foreign-ciphertext",
    "A ciphertext of the one is CiphertextInvalid for a key of the other.",
    Layer.INTEROPERABILITY,
    ONE_SYMMETRIC.pairs(),
)
def foreign_ciphertext(trial: Trial) -> None:
    """Whatever format it has."""
    there = _symmetric(trial.other)
    sealed = trial.key.encrypt(b"x")
    refusal("a foreign ciphertext", CiphertextInvalid, there.decrypt, sealed)
    refusal("the same without a key", CiphertextInvalid, trial.other.kms.decrypt, sealed)


@law(
    "pair.envelope",
    "A message written via the one, rewrapped to the other, is read via the other, and only there.",
    Layer.INTEROPERABILITY,
    ONE_SYMMETRIC.pairs(),
)
def rewrapped(trial: Trial) -> None:
    """Data moves house without its owner seeing a key."""
    here, there = trial.key, _symmetric(trial.other)
    context = {"file": "表.csv"}
    message = envelope.encrypt(SECRET, here, context=context)
    moved = envelope.rewrap(message, [here], [there], context=context)
    require(envelope.decrypt(moved, there, context=context) == SECRET, "another plaintext")
    require(envelope.decrypt(message, here, context=context) == SECRET, "the old one is gone")
    try:
        envelope.decrypt(moved, here, context=context)
    except (KeyNotFound, CiphertextInvalid):
        return
    raise Violation("the old key still opens it")


@law(
    "pair.recipients",
    "A message for keys of both is opened by either.",
    Layer.INTEROPERABILITY,
    ONE_SYMMETRIC.pairs(),
)
def recipients(trial: Trial) -> None:
    """So that one house may burn down."""
    here, there = trial.key, _symmetric(trial.other)
    message = envelope.encrypt(SECRET, here, there)
    for opener in (here, there, trial.kms, trial.other.kms):
        require(envelope.decrypt(message, opener) == SECRET, "another plaintext came out")


@law(
    "pair.errors",
    "The same failure is the same class of error on both.",
    Layer.INTEROPERABILITY,
    ONE_SYMMETRIC.pairs(),
)
def same_errors(trial: Trial) -> None:
    """Code that catches an error goes on catching it after a move."""
    here, there = dict(_failures(trial.subject)), dict(_failures(trial.other))
    for situation in here.keys() & there.keys():
        one, two = _class(here[situation]), _class(there[situation])
        if one != two:
            raise Violation(
                f"{situation}: {one or 'no error'} with {trial.subject.name}, "
                f"{two or 'no error'} with {trial.other.name}"
            )


def _class(call: Callable[[], Any]) -> str:
    try:
        call()
    except KmsError as error:
        return type(error).__name__
    return ""


def _failures(subject: Subject) -> Iterator[tuple[str, Callable[[], Any]]]:
    kms, key, features = subject.kms, _symmetric(subject), subject.capabilities.features
    off = subject.fresh(subject.capabilities.keys[_row(subject)])
    sealed = off.encrypt(b"x")
    off.disable()
    yield "an unknown key", lambda: kms.key(UNKNOWN)
    yield "a bad ciphertext", lambda: key.decrypt(b"\0" * 100)
    yield "another context", lambda: key.decrypt(key.encrypt(b"x"), context={"a": "b"})
    yield "encrypting with a disabled key", lambda: off.encrypt(b"x")
    yield "decrypting with a disabled key", lambda: off.decrypt(sealed)
    yield "decrypting with a disabled key that is not named", lambda: kms.decrypt(sealed)
    yield "a data key of a disabled key", off.generate_data_key
    yield "too large a plaintext", lambda: key.encrypt(bytes(1 << 20))
    if Feature.DELETION in features:
        yield "deleting an enabled key", lambda: key.schedule_deletion(7)
        yield "cancelling what was not scheduled", key.cancel_deletion
    if Feature.ALIASES in features:
        name = f"kmscore-same-{os.urandom(6).hex()}"
        subject.kms.create_key(key.spec, usage=key.usage, alias=name)
        yield "an alias that is taken", lambda: kms.create_key(key.spec, alias=name)


def _row(subject: Subject) -> int:
    for number, kind in enumerate(subject.capabilities.keys):
        if kind.usage is KeyUsage.ENCRYPT_DECRYPT and Origin.GENERATED in kind.origins:
            return number
    raise Inapplicable(f"{subject.name} makes no symmetric keys")


def _symmetric(subject: Subject) -> Key:
    return subject.key(subject.capabilities.keys[_row(subject)])


def _same(trial: Trial, subject: Subject) -> Key:
    for kind in subject.capabilities.keys:
        if (
            kind.spec is trial.kind.spec
            and kind.usage is trial.kind.usage
            and trial.case.algorithm in kind.algorithms
            and Origin.GENERATED in kind.origins
        ):
            return subject.key(kind)
    raise Inapplicable(f"{subject.name} has no {trial.case.label}")
