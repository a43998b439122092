"""OAEP with SHA-256 where the token has none: refused, unless the configuration takes the risk."""

import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from kmscore_pkcs11._asymmetric import unpad_oaep_sha256
from pkcs11 import Mechanism

from kmscore import EncryptionAlgorithm
from kmscore.errors import CiphertextInvalid, Unsupported

OAEP_256 = "RSAES_OAEP_SHA_256"
LENGTHS = (1, 32, 189, 190)
"""Up to the longest that a modulus of 2048 bits holds."""


def decrypting(kms):
    """A key pair that decrypts."""
    return kms.create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT")


def test_it_is_unsupported_by_default(connect, softhsm):
    """SoftHSM 2.6 stops at SHA-1."""
    kms = connect(softhsm)
    key = decrypting(kms)
    ciphertext = key.public_key().encrypt(b"x", OAEP_256)
    with pytest.raises(Unsupported, match=OAEP_256):
        key.decrypt(ciphertext, algorithm=OAEP_256)
    assert "RSA_X_509" not in str(kms.capabilities)


def test_the_configuration_allows_it(connect, softhsm):
    """The table and doctor say where the padding is taken off; imports never do that."""
    kms = connect(softhsm, allow_host_oaep=True)
    key = decrypting(kms)
    for length in LENGTHS:
        data = os.urandom(length)
        ciphertext = key.public_key().encrypt(data, OAEP_256)
        assert key.decrypt(ciphertext, algorithm=OAEP_256) == data
    assert kms.capabilities.notes[OAEP_256] == "padding is taken off on this machine"
    assert kms.health().details[OAEP_256].startswith("on this machine")
    assert OAEP_256 not in kms.capabilities.wrapping


def test_garbage_is_no_ciphertext(connect, softhsm):
    """Another padding, another hash, a number above the modulus, another length."""
    key = decrypting(connect(softhsm, allow_host_oaep=True))
    public = key.public_key()
    bad = [public.encrypt(b"x", other) for other in ("RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5")]
    for garbage in (*bad, b"\0" + os.urandom(255), bytes(256), b"\xff" * 256, bytes(255)):
        with pytest.raises(CiphertextInvalid):
            key.decrypt(garbage, algorithm=OAEP_256)


def test_a_key_of_before_does_no_raw_rsa(connect, softhsm):
    """What a key may do is settled when it is made, and the token keeps to it."""
    kms = connect(softhsm)
    key_id = decrypting(kms).key_id
    kms.close()
    key = connect(softhsm, allow_host_oaep=True).key(key_id)
    with pytest.raises(Unsupported):
        key.decrypt(key.public_key().encrypt(b"x", OAEP_256), algorithm=OAEP_256)
    assert key.decrypt(
        key.public_key().encrypt(b"x", "RSAES_OAEP_SHA_1"), algorithm="RSAES_OAEP_SHA_1"
    )


def test_a_token_that_has_it_does_it_itself(connect, nss):
    """The option changes nothing there."""
    kms = connect(nss, allow_host_oaep=True)
    assert kms.health().details[OAEP_256] == "yes"


@pytest.mark.parametrize("bits", [2048, 3072])
def test_the_padding_is_that_of_the_standard(bits):
    """As `cryptography` puts it on; and a change of any byte is noticed."""
    key = rsa.generate_private_key(65537, bits)
    numbers = key.private_numbers()
    modulus, size = numbers.public_numbers.n, bits // 8
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    for length in (0, 1, 32, size - 66):
        data = os.urandom(length)
        ciphertext = int.from_bytes(key.public_key().encrypt(data, oaep))
        encoded = pow(ciphertext, numbers.d, modulus).to_bytes(size)
        assert unpad_oaep_sha256(encoded) == data
        for place in range(size):
            altered = bytearray(encoded)
            altered[place] ^= 0x10
            with pytest.raises(CiphertextInvalid):
                unpad_oaep_sha256(bytes(altered))


def test_padding_without_its_marker_is_wrong():
    """Nothing but zeros after the hash of the label."""
    key = rsa.generate_private_key(65537, 2048)
    assert key.key_size == 2048
    with pytest.raises(CiphertextInvalid):
        unpad_oaep_sha256(bytes(256))


def test_raw_rsa_is_no_scheme():
    """There is no way to ask for it."""
    assert not any("X_509" in each or "RAW" in each for each in EncryptionAlgorithm)
    assert Mechanism.RSA_X_509
