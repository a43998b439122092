"""Known answers through the very objects that the provider encrypts and decrypts with."""

import json
from pathlib import Path

import pytest
from kmscore_software._pairs import RsaPair, load
from kmscore_software._symmetric import WrongTag, symmetric_key

from kmscore.algorithms import EncryptionAlgorithm, KeySpec
from kmscore.errors import CiphertextInvalid

pytestmark = pytest.mark.vectors

GM = Path(__file__).parents[2] / "conformance/kmscore_conformance/vectors"
SPECS = {128: KeySpec.AES_128, 256: KeySpec.AES_256}


def engine():
    """For specs that need none."""
    raise AssertionError("SM2 was not asked for")


def test_aes_gcm(wycheproof):
    """Wycheproof, with the nonces and tags that the format has: 96 and 128 bits."""
    done = {"valid": 0, "invalid": 0}
    for group, test in wycheproof("aes_gcm_test"):
        if group["keySize"] not in SPECS or (group["ivSize"], group["tagSize"]) != (96, 128):
            continue
        names = ("key", "iv", "aad", "msg", "ct", "tag")
        key, nonce, aad, message, body, tag = (bytes.fromhex(test[name]) for name in names)
        cipher = symmetric_key(SPECS[group["keySize"]], key)
        done[test["result"]] += 1
        if test["result"] == "valid":
            assert cipher.decrypt(nonce, body + tag, aad) == message, test
            assert cipher.encrypt(nonce, message, aad) == body + tag, test
        else:
            with pytest.raises(WrongTag):
                cipher.decrypt(nonce, body + tag, aad)
    assert done["valid"] > 70
    assert done["invalid"] > 40


def test_sm4_gcm():
    """RFC 8998, appendix A.1; and every changed bit of tag, ciphertext and data is noticed."""
    [test] = json.loads((GM / "sm4.json").read_text())["gcm"]
    names = ("key", "iv", "aad", "plaintext", "ciphertext", "tag")
    key, nonce, aad, message, body, tag = (bytes.fromhex(test[name]) for name in names)
    cipher = symmetric_key(KeySpec.SM4, key)
    assert cipher.encrypt(nonce, message, aad) == body + tag
    assert cipher.decrypt(nonce, body + tag, aad) == message
    for place in range(len(body + tag)):
        changed = bytearray(body + tag)
        changed[place] ^= 1
        with pytest.raises(WrongTag):
            cipher.decrypt(nonce, bytes(changed), aad)
    for other in (aad[:-1], aad + b"\0", b""):
        with pytest.raises(WrongTag):
            cipher.decrypt(nonce, body + tag, other)


def rsa_pair(group, bits):
    """The group's private key, as the provider has it."""
    pair = load(KeySpec(f"RSA_{bits}"), bytes.fromhex(group["privateKeyPkcs8"]), b"", engine)
    assert isinstance(pair, RsaPair)
    return pair


def answers(vectors, bits, algorithm):
    """How often each outcome was the expected one, and the tests where it was not."""
    right: dict[str, int] = {}
    wrong = []
    pairs: dict[str, RsaPair] = {}
    for group, test in vectors:
        pair = pairs.setdefault(group["privateKeyPkcs8"], rsa_pair(group, bits))
        message = bytes.fromhex(test["msg"])
        try:
            outcome = pair.decrypt(algorithm, bytes.fromhex(test["ct"])) == message
        except CiphertextInvalid:
            outcome = False
        # A label is not among what kmscore binds: such ciphertexts are somebody else's.
        if outcome is (test["result"] != "invalid" and not test.get("label")):
            right[test["result"]] = right.get(test["result"], 0) + 1
        else:
            wrong.append((test["tcId"], test["comment"]))
    return right, wrong


@pytest.mark.parametrize(
    ("bits", "digest", "algorithm"),
    [
        (2048, "sha256", EncryptionAlgorithm.RSAES_OAEP_SHA_256),
        (3072, "sha256", EncryptionAlgorithm.RSAES_OAEP_SHA_256),
        (4096, "sha256", EncryptionAlgorithm.RSAES_OAEP_SHA_256),
        (2048, "sha1", EncryptionAlgorithm.RSAES_OAEP_SHA_1),
    ],
)
def test_rsa_oaep(wycheproof, bits, digest, algorithm):
    """Wycheproof: what is valid opens to the message, what is not is one error."""
    vectors = wycheproof(f"rsa_oaep_{bits}_{digest}_mgf1{digest}_test")
    right, wrong = answers(vectors, bits, algorithm)
    assert wrong == []
    assert right["valid"] > 10
    assert right["invalid"] > 10


def test_rsa_oaep_with_two_hashes(wycheproof):
    """Another hash in the mask than in the padding is another scheme, and stays closed."""
    schemes = EncryptionAlgorithm.RSAES_OAEP_SHA_256, EncryptionAlgorithm.RSAES_OAEP_SHA_1
    vectors = wycheproof("rsa_oaep_2048_sha256_mgf1sha1_test")
    assert len(vectors) > 10
    for group, test in vectors:
        for algorithm in schemes:
            with pytest.raises(CiphertextInvalid):
                rsa_pair(group, 2048).decrypt(algorithm, bytes.fromhex(test["ct"]))


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_pkcs1(wycheproof, bits):
    """Wycheproof: bad padding never opens to the message; random bytes are what may come."""
    vectors = wycheproof(f"rsa_pkcs1_{bits}_test")
    right, wrong = answers(vectors, bits, EncryptionAlgorithm.RSAES_PKCS1_V1_5)
    assert wrong == []
    assert right["valid"] > 10
    assert right["invalid"] > 10
