"""Each trial of a token: one thing that it may do, checked against `cryptography`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from kmscore.algorithms import TRAITS, EncryptionAlgorithm, KeySpec, SigningAlgorithm
from kmscore.errors import KmsError
from kmscore.public_key import PublicKey
from kmscore_pkcs11 import _asymmetric, _guard
from kmscore_pkcs11._errors import is_lost, name_of
from kmscore_pkcs11._failures import FAILURES, code_of_failure
from kmscore_pkcs11._keys import decrypts, signs
from kmscore_pkcs11._objects import Pair, generate_pair
from kmscore_pkcs11._templates import (
    IDENTITY_BYTES,
    Template,
    checked,
    private_key,
    public_key,
    secret_key,
)

if TYPE_CHECKING:
    from kmscore_pkcs11._schemes import SigningScheme, Sm2Profile
    from kmscore_pkcs11._sessions import Session

LABEL: Final = "kms:probe"

Trial = Callable[["Session"], Any]


class WrongError(Exception):
    """The token does something, but not the right thing."""


def refusal(trial: Trial, session: Session) -> str:
    """An empty string when the trial succeeds, or why it fails; a lost token is no refusal."""
    try:
        trial(session)
    except FAILURES as error:
        code = code_of_failure(error)
        if is_lost(code, "C_GenerateKey"):
            raise
        return name_of(code) if code is not None else type(error).__name__
    except KmsError as error:
        return error.code or error.message
    except (WrongError, ValueError) as error:
        return str(error) or "a wrong result"
    return ""


def fails(call: Callable[[], object]) -> bool:
    """Whether the token refuses; a lost token is no refusal."""
    return refusal(lambda _: call(), None) != ""  # type: ignore[arg-type]


def temporary() -> Template:
    return secret_key(os.urandom(IDENTITY_BYTES), LABEL, token=False)


def known_key(maker: Session, kind: KeyType, size: int) -> tuple[int, bytes]:
    value = os.urandom(size)
    template = temporary() | {Attribute.KEY_TYPE: kind, Attribute.VALUE: value}
    return int(maker.raw.create_object(checked(template)).handle), value


def make_pair(
    maker: Session,
    spec: KeySpec,
    flag: Attribute,
    params: bytes = b"",
    sm2: Sm2Profile | None = None,
) -> Pair:
    identity = os.urandom(IDENTITY_BYTES)
    public = public_key(identity, LABEL, flag)
    private = private_key(identity, LABEL, flag, token=False)
    return generate_pair(maker, spec, public, private, params=params, sm2=sm2)


def gcm(mechanism: int, key: int, value: bytes | None, session: Session) -> None:
    nonce, aad, data = os.urandom(12), os.urandom(20), os.urandom(100)
    sealed = session.gcm.encrypt(key, mechanism, nonce, data, aad)
    if session.gcm.nonce != nonce:
        raise WrongError("the token makes its own nonces")
    if value is not None and sealed != AESGCM(value).encrypt(nonce, data, aad):
        raise WrongError("a wrong ciphertext")
    if session.gcm.decrypt(key, mechanism, nonce, sealed, aad) != data:
        raise WrongError("a wrong plaintext")
    if not fails(lambda: session.gcm.decrypt(key, mechanism, nonce, sealed, aad + b"x")):
        raise WrongError("a wrong tag is accepted")


def counts(mechanism: int, key: int, session: Session) -> None:
    """What can be told of GCM without knowing the key: one nonce, one key stream, and a tag."""
    nonce, one, two = os.urandom(12), os.urandom(100), os.urandom(100)
    first, second = (
        session.gcm.encrypt(key, mechanism, nonce, data, b"aad") for data in (one, two)
    )
    difference = bytes(a ^ b for a, b in zip(first[:100], second[:100], strict=True))
    if difference != bytes(a ^ b for a, b in zip(one, two, strict=True)):
        raise WrongError("no key stream of the nonce")
    if len(first) != 116 or first[100:] == second[100:]:
        raise WrongError("no tag of 128 bits")


def must_refuse(key: int, session: Session) -> None:
    nonce = os.urandom(12)
    if not fails(lambda: session.gcm.encrypt(key, Mechanism.AES_GCM, nonce, bytes(16), b"aad")):
        raise WrongError("not enforced")


def must_not_wrap(place: tuple[ObjectClass, bytes], session: Session) -> None:
    flags = dict.fromkeys((Attribute.ENCRYPT, Attribute.DECRYPT), False)
    template = checked(temporary() | flags | {Attribute.WRAP: True})
    kek = session.raw.generate_key(KeyType.AES, 256, capabilities=0, template=template)
    kind, identity = place
    (key,) = session.raw.get_objects({Attribute.CLASS: kind, Attribute.ID: identity})
    if not fails(lambda: kek.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)):
        raise WrongError("keys that are not extractable can be wrapped and taken out")


def sm4_gcm(mechanism: int, key: int, value: bytes, session: Session) -> None:
    nonce, aad, data = os.urandom(12), os.urandom(20), os.urandom(100)
    try:
        encryptor = Cipher(SM4(value), modes.GCM(nonce)).encryptor()
    except UnsupportedAlgorithm as error:
        raise WrongError("this machine has no SM4 to compare with") from error
    encryptor.authenticate_additional_data(aad)
    expected = encryptor.update(data) + encryptor.finalize() + encryptor.tag
    if session.gcm.encrypt(key, mechanism, nonce, data, aad) != expected:
        raise WrongError("the numbers of the profile are not those of SM4")


def signs_right(
    pair: Pair, algorithm: SigningAlgorithm, scheme: SigningScheme, session: Session
) -> None:
    if not signs(session, pair, algorithm, scheme):
        raise WrongError("a wrong signature")


def decrypts_right(
    pair: Pair, algorithm: EncryptionAlgorithm, sm2: Sm2Profile | None, session: Session
) -> None:
    if not decrypts(session, pair, algorithm, sm2):
        raise WrongError("a wrong plaintext")


def decrypts_raw(pair: Pair, session: Session) -> None:
    data = os.urandom(32)
    ciphertext = PublicKey(pair.public).encrypt(data, EncryptionAlgorithm.RSAES_OAEP_SHA_256)
    encoded = _asymmetric.raw(session, pair.private, ciphertext)
    if _asymmetric.unpad_oaep_sha256(encoded) != data:
        raise WrongError("a wrong plaintext")


def must_reject(pair: Pair, session: Session) -> None:
    garbage = b"\0" + os.urandom(TRAITS[KeySpec.RSA_2048].bits // 8 - 1)
    scheme = EncryptionAlgorithm.RSAES_PKCS1_V1_5
    if not fails(lambda: _asymmetric.decrypt(session, pair.private, scheme, garbage)):
        raise WrongError("bad PKCS #1 v1.5 padding gives random bytes")


def hmac_sha256(maker: Session, session: Session) -> None:
    key = _guard.guard_key(maker, os.urandom(IDENTITY_BYTES), LABEL, token=False)
    first, again, other = (
        _guard.hmac_sha256(session, key, data) for data in (b"one", b"one", b"two")
    )
    if first != again or len(first) != 32 or first == other:
        raise WrongError("a wrong code")


def random_bytes(session: Session) -> None:
    first, second = (session.raw.generate_random(256) for _ in range(2))
    if first == second or len(first) != 32:
        raise WrongError("no random bytes")
