"""Wycheproof's signatures through `PublicKey`: what is wrong is False, what is right True."""

from collections.abc import Callable
from typing import Any

import pytest

from kmscore.algorithms import SigningAlgorithm
from kmscore.encodings import signature_from_raw
from kmscore.errors import InvalidRequest
from kmscore.public_key import PublicKey
from kmscore.signing import Digest, Message, hash_message

Vectors = list[tuple[dict[str, Any], dict[str, Any]]]
Wycheproof = Callable[[str], Vectors]

pytestmark = pytest.mark.vectors


def wrong(
    vectors: Vectors,
    algorithm: SigningAlgorithm,
    convert: Callable[[bytes], bytes] = bytes,
) -> list[str]:
    """The tests whose outcome is not the expected one, for the message and for its digest."""
    keys: dict[str, PublicKey] = {}
    found: list[str] = []
    for group, test in vectors:
        spki = group["publicKeyDer"]
        key = keys.setdefault(spki, PublicKey.from_der(bytes.fromhex(spki)))
        message = Message(bytes.fromhex(test["msg"]))
        signed: list[Message | Digest] = [message]
        if algorithm.digest is not None:
            signed.append(hash_message(message, algorithm, key.der))
        try:
            signature = convert(bytes.fromhex(test["sig"]))
        except InvalidRequest:
            outcome = {False}
        else:
            outcome = {key.verify(data, signature, algorithm) for data in signed}
        # The "acceptable" ones of PKCS #1 leave a NULL out, which RFC 8017 does not allow.
        if outcome != {test["result"] == "valid"}:
            found.append(f"{test['tcId']} {test['comment']}")
    return found


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_pss(wycheproof: Wycheproof, bits: int) -> None:
    """RSA-PSS with SHA-256 and a salt of 32 bytes."""
    vectors = wycheproof(f"rsa_pss_{bits}_sha256_mgf1_32_test")
    assert len(vectors) > 100
    assert wrong(vectors, SigningAlgorithm.RSA_PSS_SHA_256) == []


def test_rsa_pss_parameters(wycheproof: Wycheproof) -> None:
    """Of 150 sets of hash, mask and salt length, each rightly used, only our own is accepted."""
    accepted: list[tuple[object, ...]] = []
    for group, test in wycheproof("rsa_pss_misc_test"):
        key = PublicKey.from_der(bytes.fromhex(group["publicKeyDer"]))
        message, signature = Message(bytes.fromhex(test["msg"])), bytes.fromhex(test["sig"])
        if key.verify(message, signature, SigningAlgorithm.RSA_PSS_SHA_256):
            accepted.append((group["sha"], group["mgf"], group["mgfSha"], group["sLen"]))
    assert accepted == [("SHA-256", "MGF1", "SHA-256", 32)]


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_pkcs1(wycheproof: Wycheproof, bits: int) -> None:
    """RSASSA-PKCS1-v1_5 with SHA-256."""
    vectors = wycheproof(f"rsa_signature_{bits}_sha256_test")
    assert len(vectors) > 200
    assert wrong(vectors, SigningAlgorithm.RSA_PKCS1_SHA_256) == []


ECDSA = pytest.mark.parametrize(
    ("name", "algorithm", "size"),
    [
        ("secp256r1_sha256", SigningAlgorithm.ECDSA_SHA_256, 32),
        ("secp384r1_sha384", SigningAlgorithm.ECDSA_SHA_384, 48),
    ],
)


@ECDSA
def test_ecdsa_der(
    wycheproof: Wycheproof, name: str, algorithm: SigningAlgorithm, size: int
) -> None:
    """ECDSA with signatures in strict DER."""
    vectors = wycheproof(f"ecdsa_{name}_test")
    assert len(vectors) > 400
    assert wrong(vectors, algorithm) == []


@ECDSA
def test_ecdsa_p1363(
    wycheproof: Wycheproof, name: str, algorithm: SigningAlgorithm, size: int
) -> None:
    """ECDSA with signatures r ‖ s, converted."""
    vectors = wycheproof(f"ecdsa_{name}_p1363_test")
    assert len(vectors) > 200
    assert wrong(vectors, algorithm, lambda raw: signature_from_raw(raw, size)) == []


def test_ed25519(wycheproof: Wycheproof) -> None:
    """Ed25519, but for keys outside the prime-order group, where RFC 8032 leaves a choice."""
    decided = [each for each in wycheproof("ed25519_test") if each[1]["result"] != "acceptable"]
    assert len(decided) > 100
    assert wrong(decided, SigningAlgorithm.ED25519) == []


def test_ed25519_small_order(wycheproof: Wycheproof) -> None:
    """A key for which anybody can sign is no key."""
    small = [
        group
        for group, test in wycheproof("ed25519_test")
        if "SmallOrderPublicKey" in test["flags"]
    ]
    assert len(small) == 8
    for group in small:
        with pytest.raises(InvalidRequest, match="small order"):
            PublicKey.from_der(bytes.fromhex(group["publicKeyDer"]))


@pytest.mark.parametrize(
    "name",
    ["ed25519_test", "ecdsa_secp256r1_sha256_p1363_test", "ecdsa_secp384r1_sha384_p1363_test"],
)
def test_jwk(wycheproof: Wycheproof, name: str) -> None:
    """The vectors' keys as JWK are the same keys."""
    found = 0
    for group, test in wycheproof(name):
        if "publicKeyJwk" in group and "SmallOrderPublicKey" not in test["flags"]:
            key = PublicKey.from_jwk(group["publicKeyJwk"])
            assert key.der.hex() == group["publicKeyDer"]
            assert key.jwk().items() <= group["publicKeyJwk"].items()
            found += 1
    assert found > 10
