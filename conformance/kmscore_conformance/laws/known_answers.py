"""Known answers: what others have published, accepted where it is valid and refused where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kmscore.algorithms import DigestAlgorithm, SigningAlgorithm
from kmscore.encodings import (
    signature_from_raw,
    signature_to_raw,
    sm2_ciphertext_convert,
    sm2_public_key,
)
from kmscore.errors import CiphertextInvalid, InvalidRequest, KmsError
from kmscore.public_key import PublicKey
from kmscore.signing import Digest, Message, hash_message
from kmscore.sm2 import Engine, load_engine
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import NotRun
from kmscore_conformance.scope import CORE
from kmscore_conformance.trial import Trial, require
from kmscore_conformance.vectors import load, wycheproof

S = SigningAlgorithm
GENERATED = "sm2_generated.json"
STANDARD = "sm2_gbt32918_5.json"


def _engine() -> Engine:
    try:
        return load_engine()
    except KmsError as error:
        raise NotRun(f"SM2 does not work on this machine: {error.message}") from error


def _keys() -> dict[str, Any]:
    _engine()
    return {row["id"]: row for row in load(GENERATED)["keys"]}


def _failures(failed: list[str]) -> None:
    shown = "; ".join(failed[:4])
    require(not failed, f"{len(failed)} vectors have another outcome: {shown}")


# --- GM/T 0003 ---------------------------------------------------------------------------------


@law(
    "known.sm2.standard",
    "The examples of GM/T 0003.5-2012 come out: Z ‖ M, signature, ciphertext, and all their forms.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm2_standard(trial: Trial) -> None:
    """Annexes A.2 and C.2; the forms are those of GM/T 0009-2012."""
    del trial
    engine, example = _engine(), load(STANDARD)
    key, sig, enc = example["key"], example["signature"], example["encryption"]
    spki = bytes.fromhex(key["spki_der"])
    require(sm2_public_key(bytes.fromhex(key["public"])[1:]) == spki, "the public key is another")
    message = Message(bytes.fromhex(sig["message"]))
    digest = hash_message(message, S.SM2DSA, spki)
    require(digest.value.hex() == sig["e"], "e is another")
    signature = bytes.fromhex(sig["signature_der"])
    require(PublicKey(spki).verify(message, signature), "the signature is wrong")
    require(signature_to_raw(signature, 32).hex() == sig["signature_raw_rs"], "r ‖ s is another")
    private = engine.private_key(bytes.fromhex(key["private"]), spki)
    sealed = bytes.fromhex(enc["ciphertext_der"])
    require(private.decrypt(sealed).hex() == enc["plaintext"], "the plaintext is another")
    for form, name in (("C1C3C2", "with_04"), ("C1C2C3", "with_04")):
        raw = bytes.fromhex(enc[f"ciphertext_{form.lower()}_{name}"])
        require(sm2_ciphertext_convert(raw, form, "DER") == sealed, f"{form} is another")
        require(sm2_ciphertext_convert(sealed, "DER", form) == raw, f"{form} is another")


@law(
    "known.sm2.signatures",
    "Right SM2 signatures are accepted: awkward keys, short integers, user ids of every length.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm2_signatures(trial: Trial) -> None:
    """Each was accepted by eleven implementations."""
    del trial
    keys, failed = _keys(), list[str]()
    for row in load(GENERATED)["signatures"]:
        public = PublicKey(bytes.fromhex(keys[row["key"]]["spki_der"]))
        message = Message(bytes.fromhex(row["message"]), bytes.fromhex(row["user_id"]))
        raw = signature_from_raw(bytes.fromhex(row["signature_raw_rs"]), 32)
        if raw.hex() != row["signature_der"] or not public.verify(message, raw):
            failed.append(row["comment"])
    _failures(failed)


@law(
    "known.sm2.invalid-signatures",
    "Wrong SM2 signatures are False: ranges, forms, ids, and e without Z.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm2_invalid_signatures(trial: Trial) -> None:
    """Each of them was accepted somewhere, or stands beside one that was."""
    del trial
    keys, failed = _keys(), list[str]()
    for row in load(GENERATED)["invalid_signatures"]:
        public = PublicKey(bytes.fromhex(keys[row["key"]]["spki_der"]))
        message = Message(bytes.fromhex(row["message"]), bytes.fromhex(row["user_id"]))
        if public.verify(message, bytes.fromhex(row["signature_der"]), S.SM2DSA) is not False:
            failed.append(row["comment"])
    _failures(failed)


@law(
    "known.sm2.ciphertexts",
    "Right SM2 ciphertexts are opened, in every form that they come in.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm2_ciphertexts(trial: Trial) -> None:
    """Plaintexts of 1 byte and more; C1, C2 and C3 that begin with zeros."""
    del trial
    engine, keys, failed = _engine(), _keys(), list[str]()
    for row in load(GENERATED)["ciphertexts"]:
        private = engine.private_key(bytes.fromhex(keys[row["key"]]["private"]))
        raw = bytes.fromhex(row["ciphertext_c1c3c2_with_04"])
        sealed = sm2_ciphertext_convert(raw, "C1C3C2", "DER")
        opened = private.decrypt(sealed).hex()
        if opened != row["plaintext"] or sealed.hex() != row["ciphertext_der"]:
            failed.append(row["comment"])
    _failures(failed)


@law(
    "known.sm2.invalid-ciphertexts",
    "Wrong SM2 ciphertexts are CiphertextInvalid: C3, points off the curve, loose DER.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm2_invalid_ciphertexts(trial: Trial) -> None:
    """Points of small order on other curves among them."""
    del trial
    engine, keys, failed = _engine(), _keys(), list[str]()
    for row in load(GENERATED)["invalid_ciphertexts"]:
        private = engine.private_key(bytes.fromhex(keys[row["key"]]["private"]))
        try:
            private.decrypt(bytes.fromhex(row["ciphertext_der"]))
        except CiphertextInvalid:
            continue
        except InvalidRequest:
            if row["ciphertext_der"] == "":
                continue
        failed.append(row["comment"])
    _failures(failed)


@law(
    "known.sm2.invalid-keys",
    "SM2 keys that are out of range, off the curve or on another one are refused.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm2_invalid_keys(trial: Trial) -> None:
    """With d = n - 1, OpenSSL 3.0 signs for ever."""
    del trial
    engine, failed = _engine(), list[str]()
    for row in load(GENERATED)["invalid_keys"]:
        try:
            if "private" in row:
                engine.private_key(bytes.fromhex(row["private"]))
            else:
                point = bytes.fromhex(row["public"])
                PublicKey(sm2_public_key(point[1:]))
        except KmsError:
            continue
        failed.append(row["comment"])
    _failures(failed)


@law(
    "known.sm3",
    "SM3 gives the published digests, at every boundary of its padding.",
    Layer.KNOWN_ANSWERS,
    CORE,
)
def sm3_digests(trial: Trial) -> None:
    """GM/T 0004-2012, annex A, and the lengths around a block."""
    del trial
    from kmscore.sm2.digest import sm3

    _failures(
        [
            row["message"][:32]
            for row in load("sm3.json")["tests"]
            if sm3(bytes.fromhex(row["message"])).hex() != row["digest"]
        ]
    )


# --- Wycheproof --------------------------------------------------------------------------------


def _verification(
    trial: Trial,
    name: str,
    scheme: SigningAlgorithm,
    convert: Callable[[bytes], bytes] = bytes,
    *,
    undecided: str = "acceptable",
) -> None:
    failed: list[str] = []
    for group, test in wycheproof(name, trial.session.vectors, trial.profile.vectors):
        # Where a standard leaves a choice, kmscore takes the strict side or has made the key
        # impossible: either is fine.
        if test["result"] == undecided:
            continue
        valid = test["result"] == "valid"
        try:
            public = PublicKey(bytes.fromhex(group["publicKeyDer"]))
            signature = convert(bytes.fromhex(test["sig"]))
        except InvalidRequest:
            outcome = False
        else:
            message = Message(bytes.fromhex(test["msg"]))
            outcome = public.verify(message, signature, scheme)
            if scheme.digest is not None:
                hashed = hash_message(message, scheme, public.der)
                again = public.verify(Digest(hashed.value, hashed.algorithm), signature, scheme)
                if again is not outcome:
                    failed.append(f"{test['tcId']} differs between message and digest")
        if outcome is not valid:
            failed.append(f"{test['tcId']} {test['comment']}")
    _failures(failed)


def _law(ident: str, title: str, check: Callable[[Trial], None]) -> None:
    law(f"known.wycheproof.{ident}", title, Layer.KNOWN_ANSWERS, CORE)(check)


for _curve, _hash, _scheme, _size in (
    ("secp256r1", DigestAlgorithm.SHA_256, S.ECDSA_SHA_256, 32),
    ("secp384r1", DigestAlgorithm.SHA_384, S.ECDSA_SHA_384, 48),
):
    _name = f"ecdsa_{_curve}_{_hash.value.lower().replace('_', '')}"
    _law(
        f"{_scheme.value.lower().replace('_', '-')}",
        f"Wycheproof's signatures on {_curve} in DER are judged as published.",
        lambda trial, name=_name, scheme=_scheme: _verification(  # type: ignore[misc]
            trial, f"{name}_test", scheme
        ),
    )
    _law(
        f"{_scheme.value.lower().replace('_', '-')}-raw",
        f"Wycheproof's signatures on {_curve} as r ‖ s, converted, are judged as published.",
        lambda trial, name=_name, scheme=_scheme, size=_size: _verification(  # type: ignore[misc]
            trial, f"{name}_p1363_test", scheme, lambda raw: signature_from_raw(raw, size)
        ),
    )

for _bits in (2048, 3072, 4096):
    _law(
        f"rsa-pss-{_bits}",
        f"Wycheproof's RSA-PSS signatures of {_bits} bits are judged as published.",
        lambda trial, bits=_bits: _verification(  # type: ignore[misc]
            trial, f"rsa_pss_{bits}_sha256_mgf1_32_test", S.RSA_PSS_SHA_256
        ),
    )
    _law(
        f"rsa-pkcs1-{_bits}",
        f"Wycheproof's RSA PKCS #1 v1.5 signatures of {_bits} bits are judged as published.",
        lambda trial, bits=_bits: _verification(  # type: ignore[misc]
            trial, f"rsa_signature_{bits}_sha256_test", S.RSA_PKCS1_SHA_256
        ),
    )

_law(
    "ed25519",
    "Wycheproof's Ed25519 signatures are judged as published.",
    lambda trial: _verification(trial, "ed25519_test", S.ED25519),
)
