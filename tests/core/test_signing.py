"""Messages and digests: signing input says what it is."""

import hashlib
from typing import Any

import pytest

from kmscore.algorithms import DigestAlgorithm, SigningAlgorithm
from kmscore.errors import InvalidRequest
from kmscore.signing import Digest, Message, hash_message, require_digest


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [(DigestAlgorithm.SHA_256, 32), (DigestAlgorithm.SHA_384, 48), (DigestAlgorithm.SM3, 32)],
)
def test_a_digest_has_the_size_of_its_hash(algorithm, size):
    """A digest of the wrong length is refused when it is made, not when it is signed."""
    assert Digest(bytes(size), algorithm).value == bytes(size)
    for wrong in (0, 20, size - 1, size + 1):
        with pytest.raises(InvalidRequest, match=str(size)):
            Digest(bytes(wrong), algorithm)


@pytest.mark.parametrize("value", ["text", None, bytearray(32), 5])
def test_messages_and_digests_are_bytes(value):
    """Text has no bytes until somebody chooses an encoding."""
    with pytest.raises(InvalidRequest, match="Give bytes"):
        Message(value)
    with pytest.raises(InvalidRequest, match="Give bytes"):
        Digest(value)


def test_the_hash_of_a_digest_may_be_named():
    """As everywhere; what is no hash is refused."""
    assert Digest(bytes(48), "sha-384") == Digest(bytes(48), DigestAlgorithm.SHA_384)
    for wrong in ("SHA_1", None, 32, hashlib.sha256):
        no_hash: Any = wrong
        with pytest.raises(InvalidRequest, match="SHA_256, SHA_384, SM3"):
            Digest(bytes(32), no_hash)


def test_the_sm2_user_id_is_bounded():
    """GM/T 0003.2 counts the bits of the id in two bytes."""
    assert Message(b"m", sm2_user_id=bytes(8190))
    with pytest.raises(InvalidRequest, match="8190"):
        Message(b"m", sm2_user_id=bytes(8191))


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (SigningAlgorithm.RSA_PSS_SHA_256, "sha256"),
        (SigningAlgorithm.RSA_PKCS1_SHA_256, "sha256"),
        (SigningAlgorithm.ECDSA_SHA_256, "sha256"),
        (SigningAlgorithm.ECDSA_SHA_384, "sha384"),
    ],
)
def test_a_message_is_hashed_with_the_hash_of_the_scheme(algorithm, name):
    """The digest signed in place of a long message is the one everybody else computes."""
    digest = hash_message(Message(b"a long story"), algorithm, b"")
    assert digest.value == hashlib.new(name, b"a long story").digest()
    assert digest.algorithm is algorithm.digest


def test_ed25519_takes_no_digest():
    """RFC 8032 signs the message itself."""
    with pytest.raises(InvalidRequest, match="whole messages"):
        hash_message(Message(b"m"), SigningAlgorithm.ED25519, b"")
    with pytest.raises(InvalidRequest, match="whole messages"):
        require_digest(Digest(bytes(32)), SigningAlgorithm.ED25519)


def test_a_digest_of_another_hash_is_refused():
    """SHA-256 and SM3 have the same length: only the type tells them apart."""
    with pytest.raises(InvalidRequest, match="SM3"):
        require_digest(Digest(bytes(32)), SigningAlgorithm.SM2DSA)
    require_digest(Digest(bytes(32), DigestAlgorithm.SM3), SigningAlgorithm.SM2DSA)
    require_digest(Message(b"m"), SigningAlgorithm.SM2DSA)


def test_plain_bytes_are_neither():
    """Whoever passes bytes is asked what they are."""
    with pytest.raises(InvalidRequest, match="Message"):
        require_digest(b"bytes", SigningAlgorithm.ECDSA_SHA_256)  # type: ignore[arg-type]


def test_reprs_show_no_data():
    """What is signed may be confidential."""
    assert "story" not in repr(Message(b"a long story"))
    assert "\\x07" not in repr(Digest(b"\x07" * 32))
