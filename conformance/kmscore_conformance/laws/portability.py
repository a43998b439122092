"""The portable ciphertext: what was made here opens there, by hand and on another provider.

The format is in docs/ciphertext-format.md; providers that have one of their own say nothing here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kmscore.algorithms import TRAITS, KeySpec, Origin
from kmscore.ciphertext import SUITE_OF, associated_data, header, parse
from kmscore.context import EncryptionContext
from kmscore.errors import CiphertextInvalid
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Inapplicable, Violation
from kmscore_conformance.owner import deliver
from kmscore_conformance.scope import EXTERNAL
from kmscore_conformance.strategies import contexts, flipped, plaintexts
from kmscore_conformance.trial import Trial, refusal, require
from kmscore_conformance.vectors import load, wycheproof

if TYPE_CHECKING:
    from kmscore.capabilities import KeyKind
    from kmscore.client import Key
    from kmscore_conformance.subject import Subject

SECRET = b"carried from here to there"


def seal_by_hand(
    spec: KeySpec, material: bytes, nonce: bytes, plaintext: bytes, associated: bytes
) -> bytes:
    """GCM with a tag of 16 bytes: NIST SP 800-38D, RFC 8998."""
    block = algorithms.SM4(material) if spec is KeySpec.SM4 else algorithms.AES(material)
    encryptor = Cipher(block, modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


def open_by_hand(spec: KeySpec, material: bytes, ciphertext: bytes, context: bytes) -> bytes:
    """A portable ciphertext, opened with nothing but the material.

    Raises:
        Violation: It does not open.
    """
    parsed = parse(ciphertext)
    require(parsed.suite is SUITE_OF[spec], f"the suite is {parsed.suite!r}")
    block = algorithms.SM4(material) if spec is KeySpec.SM4 else algorithms.AES(material)
    sealed, tag = parsed.sealed[:-16], parsed.sealed[-16:]
    decryptor = Cipher(block, modes.GCM(parsed.nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(associated_data(parsed.header, context))
    try:
        return decryptor.update(sealed) + decryptor.finalize()
    except InvalidTag as error:
        raise Violation("the material that was imported does not open it") from error


def require_portable(subject: Subject, kind: KeyKind) -> Key:
    """The shared external key, where its ciphertexts are portable.

    Raises:
        Inapplicable: They are not.
    """
    key = subject.key(kind, Origin.EXTERNAL)
    try:
        parse(key.encrypt(b"x"))
    except CiphertextInvalid:
        raise Inapplicable(f"{subject.name} has a ciphertext format of its own") from None
    return key


def _of_other(trial: Trial) -> tuple[Key, Key]:
    """The same material as keys of both providers of a pair."""
    kind = trial.kind
    there = trial.other.capabilities.find(kind.spec, kind.usage)
    if there is None or Origin.EXTERNAL not in there.origins:
        raise Inapplicable(f"{trial.other.name} imports no {kind.spec} keys")
    require_portable(trial.subject, kind)
    require_portable(trial.other, there)
    return _twin(trial, trial.subject, kind), _twin(trial, trial.other, there)


def _twin(trial: Trial, subject: Subject, kind: KeyKind) -> Key:
    """The provider's key with the material that all providers of this run get."""
    twins = trial.session.twins
    if (subject.name, kind.spec) not in twins:
        key = subject.fresh(kind, Origin.EXTERNAL)
        deliver(key, trial.session.common_material(kind.spec), subject.wrapping)
        twins[subject.name, kind.spec] = key
    return twins[subject.name, kind.spec]


@law(
    "portable.made",
    "A ciphertext of an imported key opens by hand, with the material alone.",
    Layer.KNOWN_ANSWERS,
    EXTERNAL,
)
def made_here(trial: Trial) -> None:
    """Which shows that the key is the material, zeros at either end included, and no other."""
    key = require_portable(trial.subject, trial.kind)
    spec, material = trial.kind.spec, trial.material

    def check(context: dict[str, str]) -> None:
        sealed = key.encrypt(SECRET, context=context)
        aad = EncryptionContext.of(context).aad
        opened = open_by_hand(spec, material, sealed, aad)
        require(opened == SECRET, "another plaintext came out")

    trial.each(contexts(), check, dear=True)


@law(
    "portable.opened",
    "A ciphertext that was made by hand with the imported material opens.",
    Layer.KNOWN_ANSWERS,
    EXTERNAL,
)
def opened_here(trial: Trial) -> None:
    """By somebody else's GCM, under this key's name and under another's."""
    key = require_portable(trial.subject, trial.kind)
    spec, aad = trial.kind.spec, EncryptionContext.of({"表": "1"}).aad

    def check(plaintext: bytes) -> None:
        for name in (key.key_id, "made-elsewhere"):
            head = header(SUITE_OF[spec], name, 1)
            nonce = os.urandom(12)
            associated = associated_data(head, aad)
            sealed = head + nonce + seal_by_hand(spec, trial.material, nonce, plaintext, associated)
            opened = key.decrypt(sealed, context={"表": "1"})
            require(opened == plaintext, "another plaintext came out")
            refusal("no context", CiphertextInvalid, key.decrypt, sealed)
            altered = flipped(sealed, -1)
            refusal("a tag", CiphertextInvalid, key.decrypt, altered, context={"表": "1"})

    trial.each(plaintexts(trial.subject.capabilities.limits.plaintext), check, dear=True)


@law(
    "portable.vectors",
    "Frozen ciphertexts open with their material; what was altered in them does not.",
    Layer.KNOWN_ANSWERS,
    EXTERNAL,
)
def frozen(trial: Trial) -> None:
    """Version 1 stays readable for ever."""
    require_portable(trial.subject, trial.kind)
    for group in load("ciphertexts.json")["groups"]:
        if group["spec"] != trial.kind.spec:
            continue
        key = trial.fresh(Origin.EXTERNAL)
        deliver(key, bytes.fromhex(group["material"]), trial.subject.wrapping)
        for row in group["valid"]:
            opened = key.decrypt(bytes.fromhex(row["ciphertext"]), context=row["context"])
            require(opened.hex() == row["plaintext"], f"{row['comment']}: another plaintext")
        for row in group["invalid"]:
            sealed = bytes.fromhex(row["ciphertext"])
            call = key.decrypt
            refusal(row["comment"], CiphertextInvalid, call, sealed, context=row["context"])


@law(
    "portable.wycheproof",
    "Keys, nonces and messages of Wycheproof's GCM vectors, brought as ciphertexts, open.",
    Layer.KNOWN_ANSWERS,
    EXTERNAL,
)
def wycheproof_gcm(trial: Trial) -> None:
    """Its special nonces, whose counters overflow, among them (NIST SP 800-38D, 7.1)."""
    require_portable(trial.subject, trial.kind)
    spec = trial.kind.spec
    name = "sm4_gcm_test" if spec is KeySpec.SM4 else "aes_gcm_test"
    found = [
        test
        for group, test in wycheproof(name, trial.session.vectors, None)
        if group["ivSize"] == 96
        and group["tagSize"] == 128
        and group["keySize"] == TRAITS[spec].bits
        and test["result"] == "valid"
        and test["msg"]
    ]
    for test in found[:: max(1, len(found) // trial.profile.few)][: trial.profile.few]:
        material, nonce, message = (bytes.fromhex(test[part]) for part in ("key", "iv", "msg"))
        known = seal_by_hand(spec, material, nonce, message, bytes.fromhex(test["aad"]))
        require(known.hex() == test["ct"] + test["tag"], "this machine's own GCM is wrong")
        key = trial.fresh(Origin.EXTERNAL)
        deliver(key, material, trial.subject.wrapping)
        head = header(SUITE_OF[spec], "wycheproof", 1)
        associated = associated_data(head, b"")
        sealed = head + nonce + seal_by_hand(spec, material, nonce, message, associated)
        require(key.decrypt(sealed) == message, f"vector {test['tcId']}: another plaintext")


@law(
    "pair.imported-key",
    "The same material in two providers: either opens what the other encrypted.",
    Layer.INTEROPERABILITY,
    EXTERNAL.pairs(),
)
def imported_key(trial: Trial) -> None:
    """Moving from one to the other is a line of configuration."""
    one, two = _of_other(trial)
    limits = trial.subject.capabilities.limits, trial.other.capabilities.limits
    most = min(limit.plaintext for limit in limits)

    def check(plaintext: bytes) -> None:
        context = {"from": trial.subject.name, "表": "1"}
        sealed = one.encrypt(plaintext, context=context)
        require(two.decrypt(sealed, context=context) == plaintext, "another plaintext came out")

    trial.each(plaintexts(most), check, dear=True)


@law(
    "pair.imported-context",
    "And the context is bound there as it is here.",
    Layer.INTEROPERABILITY,
    EXTERNAL.pairs(),
)
def imported_context(trial: Trial) -> None:
    """Two ways of writing JSON would be two contexts."""
    one, two = _of_other(trial)

    def check(context: dict[str, str]) -> None:
        sealed = one.encrypt(SECRET, context=context)
        require(two.decrypt(sealed, context=context) == SECRET, "another plaintext came out")
        other = {**context, "another": "one"}
        refusal("another context", CiphertextInvalid, two.decrypt, sealed, context=other)
        damaged = flipped(sealed, -1)
        refusal("a changed tag", CiphertextInvalid, two.decrypt, damaged, context=context)

    trial.each(contexts(), check, dear=True)


@law(
    "pair.imported-data-key",
    "A data key of the one opens on the other, where both have the same material.",
    Layer.INTEROPERABILITY,
    EXTERNAL.pairs(),
)
def imported_data_key(trial: Trial) -> None:
    """What lies beside data at rest goes on being readable."""
    one, two = _of_other(trial)
    with one.generate_data_key(context={"a": "b"}) as made:
        opened = two.decrypt(made.ciphertext, context={"a": "b"})
        require(opened == bytes(made.plaintext), "another data key came out")
