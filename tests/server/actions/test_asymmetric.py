"""Key pairs, held against OpenSSL by way of `cryptography`, and against the SM2 of kmscore."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from kmscore import PublicKey
from kmscore.encodings import pem_decode
from kmscore.signing import DEFAULT_SM2_USER_ID
from kmscore.sm2 import load_engine, message_digest
from tests.server.actions.conftest import b64, outsider, unb64

MESSAGE = b"pay 100"
USAGE = "InvalidParameterValue.InvalidKeyUsage"
SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
PADDINGS = {
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA_1), SHA_1, None),
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}
SIGNING = {
    "ASYMMETRIC_SIGN_VERIFY_SM2": ["SM2DSA"],
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048": ["RSA_PSS_SHA_256", "RSA_PKCS1_SHA_256"],
    "ASYMMETRIC_SIGN_VERIFY_RSA_3072": ["RSA_PSS_SHA_256", "RSA_PKCS1_SHA_256"],
    "ASYMMETRIC_SIGN_VERIFY_ECC": ["ECC_P256_R1"],
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384": ["ECDSA384_SHA384"],
}
PAIRS = [(usage, algorithm) for usage, names in SIGNING.items() for algorithm in names]


def public_der(server, key):
    """The public half."""
    return unb64(server("GetPublicKey", KeyId=key)["PublicKey"])


def digest_of(algorithm, der, message=MESSAGE):
    """What DIGEST wants of a message."""
    if algorithm == "SM2DSA":
        return message_digest(message, DEFAULT_SM2_USER_ID, der)
    if algorithm == "ECDSA384_SHA384":
        return hashlib.sha384(message).digest()
    return hashlib.sha256(message).digest()


def outsider_accepts(algorithm, der, signature, message=MESSAGE):
    """Whether somebody else's code finds the signature right; PSS with a salt of 32 bytes."""
    if algorithm == "SM2DSA":
        return load_engine().public_key(der).verify(digest_of(algorithm, der, message), signature)
    key = outsider(der)
    sha256 = hashes.SHA256()
    arguments = {
        "RSA_PSS_SHA_256": (padding.PSS(padding.MGF1(sha256), 32), sha256),
        "RSA_PKCS1_SHA_256": (padding.PKCS1v15(), sha256),
        "ECC_P256_R1": (ec.ECDSA(sha256),),
        "ECDSA384_SHA384": (ec.ECDSA(hashes.SHA384()),),
    }[algorithm]
    try:
        key.verify(signature, message, *arguments)
    except InvalidSignature:
        return False
    return True


def test_public_keys_come_as_der_and_as_pem(server):
    """Both of the same key; the PEM has lines of 64 characters and ends with a line feed."""
    key = server.key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_RSA_2048")
    answer = server("GetPublicKey", KeyId=key)
    assert answer["KeyId"] == key
    pem = answer["PublicKeyPem"]
    assert pem_decode(pem) == unb64(answer["PublicKey"])
    lines = pem.split("\n")
    assert (lines[0], lines[-2:]) == (
        "-----BEGIN PUBLIC KEY-----",
        ["-----END PUBLIC KEY-----", ""],
    )
    assert {len(line) for line in lines[1:-3]} == {64}


@pytest.mark.parametrize(("usage", "algorithm"), PAIRS)
def test_signatures_of_messages_and_digests_are_right(server, usage, algorithm):
    """To others and to the server itself; changed by one bit they are wrong."""
    key = server.key(KeyUsage=usage)
    der = public_der(server, key)
    for kind, content in (("RAW", MESSAGE), ("DIGEST", digest_of(algorithm, der))):
        request = {
            "KeyId": key,
            "Algorithm": algorithm,
            "Message": b64(content),
            "MessageType": kind,
        }
        signature = unb64(server("SignByAsymmetricKey", **request)["Signature"])
        assert outsider_accepts(algorithm, der, signature)
        good = server("VerifyByAsymmetricKey", SignatureValue=b64(signature), **request)
        assert good == {"SignatureValid": True}
        bad = bytes([*signature[:-1], signature[-1] ^ 1])
        for wrong in (bad, b"", b"x", signature + b"x"):
            answer = server("VerifyByAsymmetricKey", SignatureValue=b64(wrong), **request)
            assert answer == {"SignatureValid": False}


def test_messages_are_raw_unless_said_otherwise(server):
    """Also those of 32 bytes."""
    key = server.key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")
    message = bytes(32)
    request = {"KeyId": key, "Algorithm": "ECC_P256_R1", "Message": b64(message)}
    signature = unb64(server("SignByAsymmetricKey", **request)["Signature"])
    assert outsider_accepts("ECC_P256_R1", public_der(server, key), signature, message)
    prehashed = utils.Prehashed(hashes.SHA256())
    with pytest.raises(InvalidSignature):
        outsider(public_der(server, key)).verify(signature, message, ec.ECDSA(prehashed))


UNSIGNABLE = [
    {"MessageType": "DIGEST", "Message": b64(bytes(31))},
    {"MessageType": "DIGEST", "Message": b64(bytes(48))},
    {"MessageType": "DIGEST", "Message": ""},
    {"MessageType": "raw"},
    {"Message": b64(bytes(4097))},
    {"Message": "no base64"},
    {"Algorithm": "SM2DSA"},
    {"Algorithm": "ECDSA_SHA_256"},
]


def test_what_cannot_be_signed_is_refused(server):
    """Digests have exactly 32 bytes, messages at most 4096, and algorithms belong to the key."""
    key = server.key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")
    for parameters in UNSIGNABLE:
        request = {"KeyId": key, "Algorithm": "ECC_P256_R1", "Message": b64(MESSAGE)}
        request |= parameters
        code = server.code("SignByAsymmetricKey", **request)
        assert code == "InvalidParameter", parameters
        code = server.code("VerifyByAsymmetricKey", SignatureValue=b64(b"x"), **request)
        assert code == "InvalidParameterValue", parameters


def test_the_longest_message_is_signed(server):
    """4096 bytes."""
    key = server.key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")
    message = bytes(4096)
    request = {"KeyId": key, "Algorithm": "ECC_P256_R1", "Message": b64(message)}
    signature = unb64(server("SignByAsymmetricKey", **request)["Signature"])
    assert outsider_accepts("ECC_P256_R1", public_der(server, key), signature, message)


@pytest.mark.parametrize("algorithm", sorted(PADDINGS))
def test_what_was_encrypted_for_an_rsa_key_is_decrypted(server, algorithm):
    """By all three paddings; anything else fails the same way."""
    key = server.key(KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    public = outsider(public_der(server, key))
    ciphertext = public.encrypt(MESSAGE, PADDINGS[algorithm])
    request = {"KeyId": key, "Algorithm": algorithm}
    answer = server("AsymmetricRsaDecrypt", Ciphertext=b64(ciphertext), **request)
    assert answer == {"KeyId": key, "Plaintext": b64(MESSAGE)}
    for wrong in (b"x", bytes(255), ciphertext[:-1], ciphertext + b"x", b"\xff" * 256):
        code = server.code("AsymmetricRsaDecrypt", Ciphertext=b64(wrong), **request)
        assert code == "FailedOperation.DecryptError"


def test_what_was_encrypted_for_an_sm2_key_is_decrypted(server):
    """In DER, up to 256 bytes of it."""
    key = server.key(KeyUsage="ASYMMETRIC_DECRYPT_SM2")
    public = PublicKey(public_der(server, key))
    for size in (1, 100, 140):
        sealed = public.encrypt(bytes(size))
        answer = server("AsymmetricSm2Decrypt", KeyId=key, Ciphertext=b64(sealed))
        assert unb64(answer["Plaintext"]) == bytes(size)
    for wrong in (sealed[:-1], sealed[:-1] + b"x", b"x"):
        code = server.code("AsymmetricSm2Decrypt", KeyId=key, Ciphertext=b64(wrong))
        assert code == "FailedOperation.DecryptError"
    too_long = b64(public.encrypt(bytes(160)))
    assert server.code("AsymmetricSm2Decrypt", KeyId=key, Ciphertext=too_long) == "InvalidParameter"


def test_keys_do_what_they_are_for_alone(server):
    """Every mistake is told as such."""
    symmetric = server.key("symmetric")
    signing = server.key("signing", KeyUsage="ASYMMETRIC_SIGN_VERIFY_SM2")
    rsa = server.key("rsa", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    sm2 = server.key("sm2", KeyUsage="ASYMMETRIC_DECRYPT_SM2")
    some = b64(bytes(100))
    assert server.code("GetPublicKey", KeyId=symmetric) == USAGE
    for key in (symmetric, signing, sm2):
        request = {"KeyId": key, "Ciphertext": some, "Algorithm": "RSAES_PKCS1_V1_5"}
        assert server.code("AsymmetricRsaDecrypt", **request) == USAGE
    for key in (symmetric, signing, rsa):
        assert server.code("AsymmetricSm2Decrypt", KeyId=key, Ciphertext=some) == USAGE
    for key in (symmetric, rsa, sm2):
        request = {"KeyId": key, "Algorithm": "SM2DSA", "Message": some}
        assert server.code("SignByAsymmetricKey", **request) == USAGE
    for key in (signing, rsa, sm2):
        assert server.code("Encrypt", KeyId=key, Plaintext=some) == USAGE
        assert server.code("GenerateDataKey", KeyId=key, KeySpec="AES_128") == USAGE


def test_only_enabled_pairs_do_anything(server):
    """Others do not support it in their state."""
    key = server.key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")
    pair = server.key("pair", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    server("DisableKeys", KeyIds=[key, pair])
    expected = "ResourceUnavailable.CmkStateNotSupport"
    request = {"KeyId": key, "Algorithm": "ECC_P256_R1", "Message": b64(MESSAGE)}
    assert server.code("SignByAsymmetricKey", **request) == expected
    verify = {"SignatureValue": b64(b"x"), **request}
    assert server.code("VerifyByAsymmetricKey", **verify) == expected
    assert server.code("GetPublicKey", KeyId=key) == expected
    request = {"KeyId": pair, "Ciphertext": b64(bytes(256)), "Algorithm": "RSAES_PKCS1_V1_5"}
    assert server.code("AsymmetricRsaDecrypt", **request) == expected
