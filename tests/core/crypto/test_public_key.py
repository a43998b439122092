"""`PublicKey`: reading, writing, encrypting and verifying with nothing but a public key."""

import copy
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import kmscore
from kmscore.algorithms import DigestAlgorithm, EncryptionAlgorithm, KeySpec, SigningAlgorithm
from kmscore.errors import InvalidRequest, KmsError, LimitExceeded, Unsupported
from kmscore.public_key import PublicKey
from kmscore.signing import Digest, Message, hash_message
from kmscore.sm2 import load_engine

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SM2 = load_engine().private_key(load_engine().generate())
MESSAGE = Message(b"message")


def public(key: Any) -> PublicKey:
    """The public key of a private key of `cryptography`."""
    return PublicKey.from_der(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


KEYS = [public(RSA), public(EC), public(ED), PublicKey.from_der(SM2.public_key)]
every_key = pytest.mark.parametrize("key", KEYS, ids=[key.spec for key in KEYS])


def oaep(algorithm: hashes.HashAlgorithm) -> padding.OAEP:
    """OAEP with one hash for everything."""
    return padding.OAEP(padding.MGF1(algorithm), algorithm, None)


class TestReadingAndWriting:
    """DER, PEM, JWK."""

    @every_key
    def test_round_trips(self, key: PublicKey) -> None:
        """PEM and DER lead back to the same key, and to the openssl command."""
        assert PublicKey.from_pem(key.pem()) == key
        assert PublicKey.load(key.pem().encode()) == key
        assert PublicKey.load(b"\n" + key.pem().encode()) == key
        assert PublicKey.load(key.der) == key
        run = subprocess.run(
            ["openssl", "pkey", "-pubin", "-pubout"],
            input=key.pem().encode(),
            capture_output=True,
            check=True,
        )
        assert run.stdout.decode() == key.pem()

    @every_key
    def test_identity(self, key: PublicKey) -> None:
        """Keys are equal by their DER, are good as dict keys, and copies are the same key."""
        assert {key: 1}[PublicKey(key.der)] == 1
        assert copy.deepcopy(key) == key
        assert pickle.loads(pickle.dumps(key)) == key  # noqa: S301 - our own bytes
        assert key != key.der
        assert repr(key) == f"<PublicKey {key.spec} {key.fingerprint[:16]}>"

    def test_fingerprint(self) -> None:
        """The fingerprint is that of the openssl command over the DER."""
        run = subprocess.run(
            ["openssl", "dgst", "-sha256", "-r"],
            input=KEYS[0].der,
            capture_output=True,
            check=True,
        )
        assert run.stdout.decode().split()[0] == KEYS[0].fingerprint

    @pytest.mark.parametrize("key", KEYS[:3], ids=[key.spec for key in KEYS[:3]])
    def test_jwk(self, key: PublicKey) -> None:
        """A JWK is JSON, and leads back to the same key."""
        assert PublicKey.from_jwk(json.loads(json.dumps(key.jwk()))) == key

    def test_sm2_has_no_jwk(self) -> None:
        """SM2 keys cannot be JWKs, and the error says why."""
        with pytest.raises(Unsupported, match="no curve name is registered"):
            KEYS[3].jwk()

    @pytest.mark.parametrize("data", [b"", b"hello", "text", b"0\x00"])
    def test_load_something_else(self, data: Any) -> None:
        """What is no key is refused, whatever it is."""
        with pytest.raises(InvalidRequest):
            PublicKey.load(data)

    def test_weak_rsa(self) -> None:
        """RSA below 2048 bits is not supported."""
        with pytest.raises(Unsupported, match="1024 bits"):
            public(rsa.generate_private_key(65537, 1024))  # noqa: S505 - it is to be refused

    def test_it_is_part_of_the_package(self) -> None:
        """`kmscore.PublicKey` is this class."""
        assert kmscore.PublicKey is PublicKey


class TestEncrypting:
    """Encrypt for the holder of the private key."""

    @pytest.mark.parametrize(
        ("algorithm", "opening", "most"),
        [
            (None, oaep(hashes.SHA256()), 190),
            ("RSAES_OAEP_SHA_256", oaep(hashes.SHA256()), 190),
            (EncryptionAlgorithm.RSAES_OAEP_SHA_1, oaep(hashes.SHA1()), 214),  # noqa: S303 - OAEP
            ("rsaes-pkcs1-v1-5", padding.PKCS1v15(), 245),
        ],
    )
    def test_rsa(self, algorithm: str | None, opening: Any, most: int) -> None:
        """The largest plaintext comes back; one byte more is refused with the maximum."""
        plaintext = bytes(most)
        assert RSA.decrypt(KEYS[0].encrypt(plaintext, algorithm), opening) == plaintext
        with pytest.raises(LimitExceeded, match=f"{most + 1} bytes") as caught:
            KEYS[0].encrypt(plaintext + b"!", algorithm)
        assert f"At most {most} " in caught.value.hint

    def test_sm2(self) -> None:
        """SM2 needs no algorithm, and takes 4096 bytes at most."""
        plaintext = bytes(4096)
        assert SM2.decrypt(KEYS[3].encrypt(plaintext)) == plaintext
        with pytest.raises(LimitExceeded, match="4097 bytes"):
            KEYS[3].encrypt(plaintext + b"!", "SM2")

    @every_key
    def test_nothing(self, key: PublicKey) -> None:
        """An empty plaintext is refused by every kind of key."""
        with pytest.raises((InvalidRequest, Unsupported)):
            key.encrypt(b"")

    @pytest.mark.parametrize(
        ("key", "algorithm", "told"),
        [
            (KEYS[1], None, r"EC_P256 does not encrypt\. .*: none"),
            (KEYS[2], "SM2", "ED25519 does not encrypt with SM2"),
            (KEYS[0], "SM2", "RSA_2048 does not encrypt with SM2.*RSAES_OAEP_SHA_256"),
            (KEYS[3], "RSAES_OAEP_SHA_256", "SM2 does not encrypt with RSAES_OAEP_SHA_256"),
        ],
    )
    def test_wrong_algorithm(self, key: PublicKey, algorithm: str | None, told: str) -> None:
        """Keys that do not encrypt say so, and the others name what they do."""
        with pytest.raises(Unsupported, match=told):
            key.encrypt(b"plaintext", algorithm)

    def test_unknown_algorithm(self) -> None:
        """A name that is no algorithm is a mistake."""
        with pytest.raises(InvalidRequest, match="unknown algorithm"):
            KEYS[0].encrypt(b"plaintext", "ROT13")


SHA256 = hashes.SHA256()
PSS = padding.PSS(padding.MGF1(SHA256), 32)
SIGNATURES = {
    SigningAlgorithm.RSA_PSS_SHA_256: (KEYS[0], RSA.sign(b"message", PSS, SHA256)),
    SigningAlgorithm.RSA_PKCS1_SHA_256: (
        KEYS[0],
        RSA.sign(b"message", padding.PKCS1v15(), SHA256),
    ),
    SigningAlgorithm.ECDSA_SHA_256: (KEYS[1], EC.sign(b"message", ec.ECDSA(SHA256))),
    SigningAlgorithm.ED25519: (KEYS[2], ED.sign(b"message")),
    SigningAlgorithm.SM2DSA: (
        KEYS[3],
        SM2.sign(hash_message(MESSAGE, SigningAlgorithm.SM2DSA, SM2.public_key).value),
    ),
}
every_algorithm = pytest.mark.parametrize("algorithm", SIGNATURES)


class TestVerifying:
    """Verify."""

    @every_algorithm
    def test_message_and_digest(self, algorithm: SigningAlgorithm) -> None:
        """A right signature is right for its message and for its digest alone."""
        key, signature = SIGNATURES[algorithm]
        assert key.verify(MESSAGE, signature, algorithm) is True
        assert key.verify(Message(b"massage"), signature, algorithm) is False
        if algorithm.digest is not None:
            digest = hash_message(MESSAGE, algorithm, key.der)
            assert key.verify(digest, signature, algorithm) is True
            other = Digest(bytes(32), digest.algorithm)
            assert key.verify(other, signature, algorithm) is False

    @every_algorithm
    def test_malformed(self, algorithm: SigningAlgorithm) -> None:
        """Malformed signatures are wrong, not errors."""
        key, signature = SIGNATURES[algorithm]
        for wrong in (b"", b"0", bytes(600), signature + b"\0", signature[:-1], bytes(64)):
            assert key.verify(MESSAGE, wrong, algorithm) is False

    def test_recommended_algorithms(self) -> None:
        """Without an algorithm it is the recommended one: PSS for RSA."""
        assert KEYS[0].verify(MESSAGE, SIGNATURES[SigningAlgorithm.RSA_PSS_SHA_256][1])
        assert not KEYS[0].verify(MESSAGE, SIGNATURES[SigningAlgorithm.RSA_PKCS1_SHA_256][1])
        for algorithm in (SigningAlgorithm.ED25519, SigningAlgorithm.SM2DSA):
            key, signature = SIGNATURES[algorithm]
            assert key.verify(MESSAGE, signature)

    def test_p384(self) -> None:
        """P-384 goes with SHA-384."""
        private = ec.generate_private_key(ec.SECP384R1())
        signature = private.sign(b"message", ec.ECDSA(hashes.SHA384()))
        key = public(private)
        assert key.spec is KeySpec.EC_P384
        assert key.verify(MESSAGE, signature)
        digest = hash_message(MESSAGE, SigningAlgorithm.ECDSA_SHA_384, b"")
        assert key.verify(digest, signature, "ecdsa_sha_384")

    @pytest.mark.parametrize("salt", [0, 20, 31, 33, 222])
    def test_pss_salt(self, salt: int) -> None:
        """A PSS salt of any length but 32 bytes is wrong."""
        signature = RSA.sign(b"message", padding.PSS(padding.MGF1(SHA256), salt), SHA256)
        assert KEYS[0].verify(MESSAGE, signature) is False

    def test_sm2_user_id(self) -> None:
        """An SM2 signature is right under its own user id alone."""
        message = Message(b"message", sm2_user_id=b"alice")
        e = hash_message(message, SigningAlgorithm.SM2DSA, SM2.public_key)
        signature = SM2.sign(e.value)
        assert KEYS[3].verify(message, signature) is True
        assert KEYS[3].verify(MESSAGE, signature) is False

    @pytest.mark.parametrize(
        ("key", "data", "algorithm", "error"),
        [
            (KEYS[0], Digest(bytes(32), DigestAlgorithm.SM3), None, InvalidRequest),
            (KEYS[2], Digest(bytes(32)), None, InvalidRequest),
            (KEYS[3], Digest(bytes(32)), None, InvalidRequest),
            (KEYS[0], b"message", None, InvalidRequest),
            (KEYS[0], MESSAGE, "ECDSA_SHA_256", Unsupported),
            (KEYS[1], MESSAGE, "ECDSA_SHA_384", Unsupported),
            (KEYS[0], MESSAGE, "RSA_PSS_SHA_1", InvalidRequest),
        ],
    )
    def test_cannot_be_checked(
        self, key: PublicKey, data: Any, algorithm: str | None, error: type[KmsError]
    ) -> None:
        """Digests of another hash and algorithms of another key are errors, not False."""
        with pytest.raises(error):
            key.verify(data, b"signature", algorithm)

    def test_signature_must_be_bytes(self) -> None:
        """A signature in hex is a mistake of the caller."""
        with pytest.raises(InvalidRequest, match="is a str"):
            KEYS[0].verify(MESSAGE, "00")  # type: ignore[arg-type]  # a caller's mistake

    def test_threads(self) -> None:
        """Fresh keys are used by several threads at once."""
        for algorithm, (key, signature) in SIGNATURES.items():
            fresh = PublicKey(key.der)
            with ThreadPoolExecutor(4) as pool:
                answers = [
                    pool.submit(fresh.verify, MESSAGE, signature, algorithm) for _ in range(8)
                ]
                assert all(answer.result() for answer in answers)


def refuse(*arguments: object) -> object:
    """What a build of `cryptography` in FIPS mode does."""
    raise UnsupportedAlgorithm("not in this mode")


def test_library_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `cryptography` refuses an algorithm, that is Unsupported and not False."""
    monkeypatch.setattr("cryptography.hazmat.primitives.serialization.load_der_public_key", refuse)
    with pytest.raises(Unsupported, match="refuses ED25519"):
        PublicKey(KEYS[2].der).verify(MESSAGE, bytes(64))
    with pytest.raises(Unsupported, match="refuses RSAES_OAEP_SHA_1"):
        PublicKey(KEYS[0].der).encrypt(b"plaintext", "RSAES_OAEP_SHA_1")


def test_reading_is_light(tmp_path: Path) -> None:
    """A key is read, checked and written without `cryptography`."""
    file = tmp_path / "key.pem"
    file.write_text(KEYS[3].pem())
    program = (
        "import sys, pathlib; from kmscore.public_key import PublicKey; "
        f"print(PublicKey.load(pathlib.Path({str(file)!r}).read_bytes()).spec); "
        "print('cryptography' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert run.stdout == "SM2\nFalse\n"
