"""Many threads at once: every result is right, and what is decided is decided for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import TypeVar

from kmscore.algorithms import KeyUsage, Origin
from kmscore.capabilities import Feature
from kmscore.errors import AlreadyExists, KeyStateError, KmsError
from kmscore.public_key import PublicKey
from kmscore.signing import Message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Violation
from kmscore_conformance.scope import ANY, ONE_SYMMETRIC, SYMMETRIC, signing
from kmscore_conformance.trial import Trial, require

Result = TypeVar("Result")

MOST_TURNS = 500
"""How long threads wait, by working, for another one."""


def together(trial: Trial, work: Callable[[int], Result]) -> list[Result]:
    """Let as many threads as the profile has begin the same work at the same moment."""
    count = trial.profile.threads
    barrier = Barrier(count)

    def run(number: int) -> Result:
        barrier.wait(timeout=60)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@law(
    "thread.encrypt",
    "Threads that encrypt and decrypt with one key get their own plaintexts back.",
    Layer.CONCURRENCY,
    SYMMETRIC,
)
def encrypt(trial: Trial) -> None:
    """Not their neighbour's, and no ciphertext twice."""
    key = trial.key

    def work(number: int) -> list[bytes]:
        made: list[bytes] = []
        for turn in range(trial.profile.rounds):
            plaintext = b"thread %d, turn %d" % (number, turn)
            context = {"thread": str(number)}
            sealed = key.encrypt(plaintext, context=context)
            opened = key.decrypt(sealed, context=context)
            require(opened == plaintext, "a thread got another plaintext")
            made.append(sealed)
        return made

    made = [sealed for each in together(trial, work) for sealed in each]
    require(len(set(made)) == len(made), "two ciphertexts are the same")


@law(
    "thread.sign",
    "Threads that sign with one key make right signatures of their own messages.",
    Layer.CONCURRENCY,
    signing().smallest(),
)
def sign(trial: Trial) -> None:
    """A session or a hash that two share mixes messages up."""
    key, scheme = trial.key, trial.signing
    public = PublicKey(key.public_key().der)

    def work(number: int) -> bool:
        right = True
        for turn in range(max(1, trial.profile.rounds // 2)):
            message = Message(b"thread %d, turn %d" % (number, turn))
            signature = key.sign(message, algorithm=scheme)
            right = right and public.verify(message, signature, scheme)
            right = right and key.verify(message, signature, algorithm=scheme)
        return right

    require(all(together(trial, work)), "a thread got a wrong signature")


@law(
    "thread.mixed",
    "Threads with different keys and operations do not get into each other's way.",
    Layer.CONCURRENCY,
    ANY,
)
def mixed(trial: Trial) -> None:
    """Whatever the provider has, all at once."""
    kinds = [kind for kind in trial.subject.capabilities.keys if Origin.GENERATED in kind.origins]
    by_usage = {kind.usage: kind for kind in reversed(kinds)}
    keys = [trial.subject.key(kind) for kind in by_usage.values()]
    publics = {key.key_id: key.public_key() for key in keys if not _symmetric(key.usage)}

    def work(number: int) -> bool:
        right = True
        for turn in range(trial.profile.rounds):
            key = keys[(number + turn) % len(keys)]
            data = b"%d/%d" % (number, turn)
            if _symmetric(key.usage):
                right = right and key.decrypt(key.encrypt(data)) == data
            elif key.usage is KeyUsage.SIGN_VERIFY:
                signature = key.sign(Message(data))
                right = right and publics[key.key_id].verify(Message(data), signature)
            else:
                scheme = min(by_usage[key.usage].algorithms).value
                sealed = publics[key.key_id].encrypt(data, scheme)
                right = right and key.decrypt(sealed, algorithm=scheme) == data
            right = right and key.describe().key_id == key.key_id
        return right

    if keys:
        require(all(together(trial, work)), "a thread got another's result")


def _symmetric(usage: KeyUsage) -> bool:
    return usage is KeyUsage.ENCRYPT_DECRYPT


@law(
    "thread.create",
    "Threads that create keys get keys of their own, and all of them are there.",
    Layer.CONCURRENCY,
    ONE_SYMMETRIC,
)
def create(trial: Trial) -> None:
    """No id twice, no key lost."""
    made = together(trial, lambda _: trial.fresh().key_id)
    require(len(set(made)) == len(made), "two keys have one id")
    for key_id in made:
        require(trial.kms.key(key_id).key_id == key_id, "a key is lost")


@law(
    "thread.alias",
    "Of many threads that claim an alias, one gets it, and the others AlreadyExists.",
    Layer.CONCURRENCY,
    ONE_SYMMETRIC.having(Feature.ALIASES),
)
def alias(trial: Trial) -> None:
    """Looking first and writing then is not enough."""
    name = f"kmscore-race-{os.urandom(6).hex()}"

    def work(_: int) -> str:
        try:
            return trial.subject.fresh(trial.kind, Origin.GENERATED, name).key_id
        except AlreadyExists:
            return ""

    winners = [key_id for key_id in together(trial, work) if key_id]
    require(len(winners) == 1, f"{len(winners)} threads got the alias")
    require(trial.kms.key(name).key_id == winners[0], "the alias is another key's")


@law(
    "thread.disable",
    "What begins after a key was disabled is refused, in every thread.",
    Layer.CONCURRENCY,
    ONE_SYMMETRIC,
)
def disable(trial: Trial) -> None:
    """A cached key goes on encrypting for whoever was busy."""
    key = trial.fresh()
    disabled = Event()
    count = trial.profile.threads
    barrier = Barrier(count + 1)

    def work(_: int) -> str:
        barrier.wait(timeout=60)
        for _ in range(10_000):
            late = disabled.is_set()
            try:
                key.encrypt(b"x")
            except KeyStateError:
                return ""
            except KmsError as error:
                return f"{type(error).__name__} instead of KeyStateError"
            if late:
                return "a disabled key encrypts"
        return "the key was never disabled"

    with ThreadPoolExecutor(count) as pool:
        busy = [pool.submit(work, number) for number in range(count)]
        barrier.wait(timeout=60)
        try:
            key.disable()
        finally:
            disabled.set()
        wrong = [said for said in (each.result() for each in busy) if said]
    if wrong:
        raise Violation(wrong[0])


@law(
    "thread.rotate",
    "While a key rotates, other threads go on encrypting and decrypting with it.",
    Layer.CONCURRENCY,
    ONE_SYMMETRIC.having(Feature.ROTATION),
)
def rotate(trial: Trial) -> None:
    """And every ciphertext opens, whichever version made it."""
    key = trial.fresh()
    first = key.encrypt(b"before all of it")
    rotated = Event()
    most = MOST_TURNS if trial.profile.max_calls is None else trial.profile.rounds

    def rotates() -> bool:
        try:
            for _ in range(1 + trial.profile.rounds // 3):
                key.rotate()
        finally:
            rotated.set()
        return True

    def work(number: int) -> bool:
        if number == 0:
            return rotates()
        right, turn = True, 0
        while turn < trial.profile.rounds or (not rotated.is_set() and turn < most):
            data = b"%d/%d" % (number, turn)
            right = right and key.decrypt(key.encrypt(data)) == data
            turn += 1
        return right and key.decrypt(first) == b"before all of it"

    require(all(together(trial, work)), "a ciphertext did not open")
