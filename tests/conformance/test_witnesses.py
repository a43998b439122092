"""The witnesses: each says yes to what is right, no to what is not, and what it cannot judge."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kmscore_conformance.owner import PADDINGS
from kmscore_conformance.witness import all_witnesses

from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm
from kmscore.signing import Digest, Message, hash_message
from kmscore.sm2 import load_engine, message_digest

S, E = SigningAlgorithm, EncryptionAlgorithm
DATA = b"what was signed"
SHA = hashes.SHA256()


@pytest.fixture(scope="module")
def signers():
    """For each scheme a public key, and what signs with its private half."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    p256, p384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    sm2 = load_engine().private_key(load_engine().generate())
    pss, v15 = padding.PSS(padding.MGF1(SHA), 32), padding.PKCS1v15()

    def public(key):
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def of_sm2(data):
        return sm2.sign(message_digest(data, b"1234567812345678", sm2.public_key))

    return {
        S.RSA_PSS_SHA_256: (public(rsa_key), lambda data: rsa_key.sign(data, pss, SHA)),
        S.RSA_PKCS1_SHA_256: (public(rsa_key), lambda data: rsa_key.sign(data, v15, SHA)),
        S.ECDSA_SHA_256: (public(p256), lambda data: p256.sign(data, ec.ECDSA(SHA))),
        S.ECDSA_SHA_384: (public(p384), lambda data: p384.sign(data, ec.ECDSA(hashes.SHA384()))),
        S.ED25519: (public(edwards), edwards.sign),
        S.SM2DSA: (sm2.public_key, of_sm2),
    }


@pytest.fixture(params=all_witnesses(), ids=lambda witness: witness.name)
def witness(request):
    """Each in turn."""
    return request.param


@pytest.mark.parametrize("scheme", S)
def test_signatures_are_judged(witness, signers, scheme):
    """Of messages and digests; altered, of another message, malformed."""
    if witness.lacks(scheme):
        assert scheme is S.SM2DSA or witness.name == "gmssl"
        return
    public, sign = signers[scheme]
    signature = sign(DATA)
    assert witness.verify(public, scheme, Message(DATA), signature)
    altered = signature[:-1] + bytes([signature[-1] ^ 1])
    for data, wrong in (
        (DATA + b".", signature),
        (DATA, altered),
        (DATA, signature[:-1]),
        (DATA, b""),
        (DATA, b"\0" * len(signature)),
    ):
        assert not witness.verify(public, scheme, Message(data), wrong)
    if scheme.digest is not None:
        digest = hash_message(Message(DATA), scheme, public)
        assert witness.verify(public, scheme, digest, signature)
        other = Digest(bytes(scheme.digest.size), scheme.digest)
        assert not witness.verify(public, scheme, other, signature)


def test_a_salt_of_another_length_is_wrong_to_every_witness(witness):
    """They judge our PSS, and not any PSS."""
    if witness.lacks(S.RSA_PSS_SHA_256):
        assert witness.name == "gmssl"
        return
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(DATA, padding.PSS(padding.MGF1(SHA), 20), SHA)
    assert not witness.verify(public, S.RSA_PSS_SHA_256, Message(DATA), signature)


def test_user_ids_of_sm2_are_told_apart(witness, signers):
    """Also by the command, to which the id is an option."""
    if witness.lacks(S.SM2DSA):
        assert witness.name == "cryptography"
        return
    public, sign = signers[S.SM2DSA]
    assert not witness.verify(public, S.SM2DSA, Message(DATA, b"ALICE"), sign(DATA))


@pytest.mark.parametrize("scheme", E)
def test_what_is_encrypted_can_be_decrypted(witness, scheme):
    """With the private key, by others."""
    if witness.lacks(scheme):
        assert scheme is E.SM2 or witness.name == "gmssl"
        return
    secret = b"\0secret of more than thirty-two bytes\0"
    if scheme is E.SM2:
        sm2 = load_engine().private_key(load_engine().generate())
        assert sm2.decrypt(witness.encrypt(sm2.public_key, scheme, secret)) == secret
        return
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    sealed = witness.encrypt(public, scheme, secret)
    assert key.decrypt(sealed, PADDINGS[scheme]) == secret


def test_every_witness_says_its_version(witness):
    """The report shows it."""
    assert any(character.isdigit() for character in witness.version)


def test_a_missing_command_is_told(witness, monkeypatch):
    """Laws that need it are then not run, and say so."""
    from kmscore_conformance.witness import openssl

    if witness.name != "openssl":
        return
    monkeypatch.setenv("PATH", "/nowhere")
    openssl._version.cache_clear()
    try:
        assert witness.lacks(S.ED25519) == "the openssl command is missing"
    finally:
        monkeypatch.undo()
        openssl._version.cache_clear()
