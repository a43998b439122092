"""How modules answer in the corners that the provider must know, asked of the modules themselves.

Run as a program it asks one module everything and prints the answers; ``RECORDED`` has those that
the provider was built on. Every answer is a word, or the number of the CKR code.
"""

import json
import os
import sys
from collections.abc import Callable
from ctypes import c_ubyte
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.pkcs11 import cryptoki as ck
from tests.pkcs11.cryptoki import Cryptoki, Refused

CIPHER = {
    ck.CLASS: ck.SECRET_KEY,
    ck.KEY_TYPE: ck.AES,
    ck.TOKEN: False,
    ck.PRIVATE: True,
    ck.SENSITIVE: True,
    ck.EXTRACTABLE: False,
    ck.ENCRYPT: True,
    ck.DECRYPT: True,
}
PRIVATE = {ck.TOKEN: False, ck.PRIVATE: True, ck.SENSITIVE: True, ck.EXTRACTABLE: False}
SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
OAEP_SHA_1, OAEP_SHA256 = ck.oaep(ck.SHA_1, 1), ck.oaep(ck.SHA256, 2)
CBC = ck.AES_CBC_PAD, (c_ubyte * 16)()
P256, SM2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a811ccf5501822d")
ED25519 = b"\x13\x0cedwards25519"


class Pairs(NamedTuple):
    """RSA pairs by usage; making them takes most of the time."""

    session: int
    made: dict[int, tuple[rsa.RSAPublicKey, int]]


class Trial:
    """One question's surroundings: a module and a session of its own."""

    def __init__(self, api: Cryptoki, label: str, pin: str, pairs: Pairs) -> None:
        self.api = api
        self.session = api.open(label, pin)
        self._pairs = pairs

    def key(self, **more: Any) -> int:
        """An AES key that cannot leave."""
        template = {**CIPHER, ck.VALUE_LEN: 32, **{getattr(ck, k): v for k, v in more.items()}}
        return self.api.generate(self.session, ck.AES_KEY_GEN, template)

    def pair(self, usage: int) -> tuple[rsa.RSAPublicKey, int]:
        """An RSA pair that all questions share: the public key outside, the private one inside."""
        if usage not in self._pairs.made:
            self._pairs.made[usage] = self.new_pair(usage, self._pairs.session)
        return self._pairs.made[usage]

    def new_pair(self, usage: int, session: int = 0) -> tuple[rsa.RSAPublicKey, int]:
        """An RSA pair of this question's own."""
        exponent = b"\x01\x00\x01"
        public, private = self.api.generate_pair(
            session or self.session,
            ck.RSA_KEY_PAIR_GEN,
            {ck.TOKEN: False, ck.MODULUS_BITS: 2048, ck.PUBLIC_EXPONENT: exponent},
            PRIVATE | {usage: True},
        )
        modulus = int.from_bytes(self.api.get(self.session, public, 0x120))
        return rsa.RSAPublicNumbers(65537, modulus).public_key(), private

    def unwrap(self, material: bytes, **more: Any) -> int:
        """Import an AES key by OAEP with SHA-1."""
        public, private = self.pair(ck.UNWRAP)
        wrapped = public.encrypt(material, padding.OAEP(padding.MGF1(SHA_1), SHA_1, None))
        template = CIPHER | {getattr(ck, name): value for name, value in more.items()}
        return self.api.unwrap(self.session, OAEP_SHA_1, private, wrapped, template)


def gcm(trial: Trial) -> str:
    """AES-GCM with a context."""
    key = trial.key()
    sealed = trial.api.encrypt(trial.session, ck.gcm(aad=b"context"), key, b"hello")
    opened = trial.api.decrypt(trial.session, ck.gcm(aad=b"context"), key, sealed)
    return "works" if opened == b"hello" else "wrong"


def gcm_wrong_context(trial: Trial) -> str:
    """The same, opened with another context."""
    key = trial.key()
    sealed = trial.api.encrypt(trial.session, ck.gcm(aad=b"context"), key, b"hello")
    trial.api.decrypt(trial.session, ck.gcm(aad=b"other"), key, sealed)
    return "accepted"


def gcm_too_short(trial: Trial) -> str:
    """A ciphertext shorter than its tag."""
    trial.api.decrypt(trial.session, ck.gcm(), trial.key(), b"short")
    return "accepted"


def gcm_empty_iv(trial: Trial) -> str:
    """No IV at all: every message under the same one."""
    trial.api.encrypt(trial.session, ck.gcm(iv=b""), trial.key(), b"hello")
    return "accepted"


def gcm_short_tag(trial: Trial) -> str:
    """A tag of 32 bits, forged after 2**32 tries."""
    trial.api.encrypt(trial.session, ck.gcm(tag_bits=32), trial.key(), b"hello")
    return "accepted"


def _oaep(trial: Trial, digest: hashes.HashAlgorithm, mechanism: Any) -> str:
    public, private = trial.pair(ck.DECRYPT)
    sealed = public.encrypt(b"hello", padding.OAEP(padding.MGF1(digest), digest, None))
    opened = trial.api.decrypt(trial.session, mechanism, private, sealed)
    return "works" if opened == b"hello" else "wrong"


def oaep_sha_1(trial: Trial) -> str:
    """RSAES-OAEP with SHA-1."""
    return _oaep(trial, SHA_1, OAEP_SHA_1)


def oaep_sha_256(trial: Trial) -> str:
    """RSAES-OAEP with SHA-256."""
    return _oaep(trial, hashes.SHA256(), OAEP_SHA256)


def oaep_garbage(trial: Trial) -> str:
    """OAEP on random bytes."""
    _, private = trial.pair(ck.DECRYPT)
    trial.api.decrypt(trial.session, OAEP_SHA_1, private, b"\0" + os.urandom(255))
    return "accepted"


def pkcs1_garbage(trial: Trial) -> str:
    """PKCS#1 v1.5 on random bytes: by implicit rejection, some plaintext comes out."""
    _, private = trial.pair(ck.DECRYPT)
    trial.api.decrypt(trial.session, ck.RSA_PKCS, private, b"\0" + os.urandom(255))
    return "accepted"


def raw_rsa_signs(trial: Trial) -> str:
    """A key that may only decrypt, made to sign by raw RSA."""
    public, private = trial.pair(ck.DECRYPT)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"a contract")
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest.finalize()
    block = b"\0\1" + b"\xff" * (253 - len(info)) + b"\0" + info
    signature = trial.api.decrypt(trial.session, ck.RSA_X_509, private, block)
    try:
        public.verify(signature, b"a contract", padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return "wrong"
    return "signs"


def pss(trial: Trial) -> str:
    """RSASSA-PSS over a digest."""
    _, private = trial.pair(ck.SIGN)
    trial.api.sign(trial.session, ck.pss(), private, bytes(32))
    return "works"


def pss_short_digest(trial: Trial) -> str:
    """20 bytes signed as a digest of SHA-256."""
    _, private = trial.pair(ck.SIGN)
    trial.api.sign(trial.session, ck.pss(), private, bytes(20))
    return "accepted"


def _curve(trial: Trial, generation: int, parameters: bytes, mechanism: int) -> str:
    _, private = trial.api.generate_pair(
        trial.session,
        generation,
        {ck.TOKEN: False, ck.EC_PARAMS: parameters},
        PRIVATE | {ck.SIGN: True},
    )
    trial.api.sign(trial.session, mechanism, private, bytes(32))
    return "works"


def ecdsa_p256(trial: Trial) -> str:
    """ECDSA on P-256."""
    return _curve(trial, ck.EC_KEY_PAIR_GEN, P256, ck.ECDSA)


def ecdsa_on_the_sm2_curve(trial: Trial) -> str:
    """What looks like SM2 when only the curve is asked for, and is not."""
    return _curve(trial, ck.EC_KEY_PAIR_GEN, SM2, ck.ECDSA)


def ed25519(trial: Trial) -> str:
    """EdDSA on edwards25519."""
    return _curve(trial, ck.EC_EDWARDS_KEY_PAIR_GEN, ED25519, ck.EDDSA)


def unwrapped_key_is_secret(trial: Trial) -> str:
    """Whether an imported key cannot be read, as its template asks."""
    handle = trial.unwrap(bytes(range(32)))
    readable = not trial.api.get(trial.session, handle, ck.SENSITIVE)
    readable |= trial.api.get(trial.session, handle, ck.EXTRACTABLE)
    try:
        value = trial.api.get(trial.session, handle, ck.VALUE)
    except Refused:
        value = b""
    return "in clear" if value == bytes(range(32)) else "marked readable" if readable else "yes"


def unwrap_of_five_bytes(trial: Trial) -> str:
    """Something that is no AES key, imported as one."""
    trial.unwrap(b"12345")
    return "accepted"


def unwrap_with_length(trial: Trial) -> str:
    """CKA_VALUE_LEN in the template."""
    trial.unwrap(bytes(32), VALUE_LEN=32)
    return "accepted"


def wrap_of_a_key_that_must_not_leave(trial: Trial) -> str:
    """C_WrapKey of a key with CKA_EXTRACTABLE false."""
    wrapping = trial.key(WRAP=True)
    trial.api.wrap(trial.session, CBC, wrapping, trial.key())
    return "accepted"


def wrap_under_rsa_of_a_key_that_must_not_leave(trial: Trial) -> str:
    """The same under a public key, whose private half may be anywhere."""
    public = {
        ck.CLASS: ck.PUBLIC_KEY,
        ck.KEY_TYPE: 0,
        ck.TOKEN: False,
        ck.WRAP: True,
        ck.PUBLIC_EXPONENT: b"\x01\x00\x01",
        0x120: _modulus(),
    }
    wrapping = trial.api.create(trial.session, public)
    trial.api.wrap(trial.session, ck.RSA_PKCS, wrapping, trial.key())
    return "accepted"


def _modulus() -> bytes:
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    return numbers.n.to_bytes(256)


def allowed_mechanisms(trial: Trial) -> str:
    """A key that is to be used with AES-GCM only, used with AES-CBC."""
    key = trial.key(ALLOWED_MECHANISMS=[ck.AES_GCM])
    try:
        trial.api.encrypt(trial.session, CBC, key, b"hello")
    except Refused:
        return "enforced"
    return "ignored"


def use_of_a_disabled_key(trial: Trial) -> str:
    """A handle of a key whose CKA_DECRYPT has just been cleared."""
    _, private = trial.new_pair(ck.DECRYPT)
    trial.api.set(trial.session, private, {ck.DECRYPT: False})
    trial.api.decrypt(trial.session, ck.RSA_PKCS, private, bytes(256))
    return "accepted"


def use_of_a_destroyed_key(trial: Trial) -> str:
    """A handle of a key that is gone."""
    _, private = trial.new_pair(ck.DECRYPT)
    trial.api.destroy(trial.session, private)
    trial.api.decrypt(trial.session, ck.RSA_PKCS, private, bytes(256))
    return "accepted"


def second_key_with_the_same_id(trial: Trial) -> str:
    """Two keys on the token with one CKA_ID."""
    name = os.urandom(16)
    for _ in range(2):
        trial.key(TOKEN=True, ID=name)
    found = trial.api.find(trial.session, {ck.ID: name})
    for handle in found:
        trial.api.destroy(trial.session, handle)
    return "both are there" if len(found) == 2 else "the first is gone"


def search_without_login(trial: Trial) -> str:
    """A private key is looked for after the login was lost."""
    name = os.urandom(16)
    trial.key(TOKEN=True, ID=name)
    trial.api.call("Logout", trial.session)
    try:
        found = trial.api.find(trial.session, {ck.ID: name})
    finally:
        trial.api.login(trial.session, PIN)
        for handle in trial.api.find(trial.session, {ck.ID: name}):
            trial.api.destroy(trial.session, handle)
    return "found" if found else "nothing, without an error"


QUESTIONS: dict[str, Callable[[Trial], str]] = {
    each.__name__: each
    for each in (
        *(gcm, gcm_wrong_context, gcm_too_short, gcm_empty_iv, gcm_short_tag),
        *(oaep_sha_1, oaep_sha_256, oaep_garbage, pkcs1_garbage, raw_rsa_signs),
        *(pss, pss_short_digest, ecdsa_p256, ecdsa_on_the_sm2_curve, ed25519),
        *(unwrapped_key_is_secret, unwrap_of_five_bytes, unwrap_with_length),
        *(wrap_of_a_key_that_must_not_leave, wrap_under_rsa_of_a_key_that_must_not_leave),
        *(allowed_mechanisms, use_of_a_disabled_key, use_of_a_destroyed_key),
        *(second_key_with_the_same_id, search_without_login),
    )
}


def ask(api: Cryptoki, label: str, pin: str) -> dict[str, str]:
    """All questions, each in a session of its own: an error poisons a session."""
    answers = {"version": api.version()}
    keeper = api.open(label, pin)
    pairs = Pairs(keeper, {})
    for name, question in QUESTIONS.items():
        trial = Trial(api, label, pin, pairs)
        try:
            answers[name] = question(trial)
        except Refused as refusal:
            answers[name] = f"{refusal.code:#x}"
        api.code("CloseSession", trial.session)
    api.code("CloseSession", keeper)
    return answers


RECORDED = {
    "softhsm": {
        "version": "2.6",
        "gcm": "works",
        "gcm_wrong_context": "0x5",
        "gcm_too_short": "0x5",
        "gcm_empty_iv": "accepted",
        "gcm_short_tag": "accepted",
        "oaep_sha_1": "works",
        "oaep_sha_256": "0x7",
        "oaep_garbage": "0x5",
        "pkcs1_garbage": "0x5",
        "raw_rsa_signs": "signs",
        "pss": "works",
        "pss_short_digest": "0x5",
        "ecdsa_p256": "works",
        "ecdsa_on_the_sm2_curve": "works",
        "ed25519": "works",
        "unwrapped_key_is_secret": "yes",
        "unwrap_of_five_bytes": "accepted",
        "unwrap_with_length": "0x10",
        "wrap_of_a_key_that_must_not_leave": "0x70",
        "wrap_under_rsa_of_a_key_that_must_not_leave": "0x6a",
        "allowed_mechanisms": "enforced",
        "use_of_a_disabled_key": "0x68",
        "use_of_a_destroyed_key": "0x82",
        "second_key_with_the_same_id": "both are there",
        "search_without_login": "nothing, without an error",
    },
    "nss": {
        "version": "3.87",
        "gcm": "works",
        "gcm_wrong_context": "0x40",
        "gcm_too_short": "0x21",
        "gcm_empty_iv": "0x2",
        "gcm_short_tag": "accepted",
        "oaep_sha_1": "works",
        "oaep_sha_256": "works",
        "oaep_garbage": "0x40",
        "pkcs1_garbage": "accepted",
        "raw_rsa_signs": "signs",
        "pss": "works",
        "pss_short_digest": "accepted",
        "ecdsa_p256": "works",
        "ecdsa_on_the_sm2_curve": "0x130",
        "ed25519": "0x70",
        "unwrapped_key_is_secret": "yes",
        "unwrap_of_five_bytes": "0x62",
        "unwrap_with_length": "accepted",
        "wrap_of_a_key_that_must_not_leave": "accepted",
        "wrap_under_rsa_of_a_key_that_must_not_leave": "accepted",
        "allowed_mechanisms": "ignored",
        "use_of_a_disabled_key": "0x63",
        "use_of_a_destroyed_key": "0x60",
        "second_key_with_the_same_id": "the first is gone",
        "search_without_login": "nothing, without an error",
    },
    "opencryptoki": {
        "version": "3.8",
        "gcm": "0x70",
        "gcm_wrong_context": "0x70",
        "gcm_too_short": "0x70",
        "gcm_empty_iv": "0x70",
        "gcm_short_tag": "0x70",
        "oaep_sha_1": "works",
        "oaep_sha_256": "works",
        "oaep_garbage": "0x6",
        "pkcs1_garbage": "0x40",
        "raw_rsa_signs": "signs",
        "pss": "works",
        "pss_short_digest": "0x21",
        "ecdsa_p256": "0x70",
        "ecdsa_on_the_sm2_curve": "0x70",
        "ed25519": "0x70",
        "unwrapped_key_is_secret": "in clear",
        "unwrap_of_five_bytes": "0x112",
        "unwrap_with_length": "accepted",
        "wrap_of_a_key_that_must_not_leave": "0x6a",
        "wrap_under_rsa_of_a_key_that_must_not_leave": "0x6a",
        "allowed_mechanisms": "0x12",
        "use_of_a_disabled_key": "0x68",
        "use_of_a_destroyed_key": "0x60",
        "second_key_with_the_same_id": "both are there",
        "search_without_login": "nothing, without an error",
    },
}
RECORDED["p11kit"] = RECORDED["softhsm"] | {
    # p11-kit 0.24 carries no parameters of AES-GCM, and no EdDSA.
    "version": "1.1",
    **{name: "0x70" for name in QUESTIONS if name.startswith("gcm")},
    "ed25519": "0x70",
}


if __name__ == "__main__":
    MODULE, INIT_ARGS, LABEL, PIN = sys.argv[1:]
    with Cryptoki(MODULE, INIT_ARGS) as module:
        print(json.dumps(ask(module, LABEL, PIN), indent=1))  # noqa: T201 - the program's result
