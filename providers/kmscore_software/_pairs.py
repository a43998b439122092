"""Key pairs ready for use: RSA, ECDSA, Ed25519 and SM2 behind one interface, parsed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric import padding as pad
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.errors import CiphertextInvalid, IntegrityError, InvalidRequest
from kmscore.public_key import PublicKey, encryption_padding
from kmscore.signing import Digest, hash_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from kmscore.signing import Signable
    from kmscore.sm2 import Engine, SM2PrivateKey, SM2PublicKey

PUBLIC_EXPONENT: Final = 65537

_CURVES: Final[dict[KeySpec, Callable[[], ec.EllipticCurve]]] = {
    KeySpec.EC_P256: ec.SECP256R1,
    KeySpec.EC_P384: ec.SECP384R1,
}
_PSS: Final = pad.PSS(pad.MGF1(SHA256()), pad.PSS.DIGEST_LENGTH)
_PKCS1: Final = pad.PKCS1v15()


class KeyPair(ABC):
    """A private key. It shows nothing of itself."""

    @abstractmethod
    def sign(self, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """Sign with a scheme that belongs to the key."""

    def decrypt(self, algorithm: EncryptionAlgorithm, ciphertext: bytes) -> bytes:
        """Decrypt with a scheme that belongs to the key.

        Raises:
            CiphertextInvalid: For every reason that lies in the ciphertext.
        """
        raise InvalidRequest(f"the key cannot decrypt {algorithm}")


class RsaPair(KeyPair):
    """An RSA key (RFC 8017)."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._size = key.key_size // 8

    def sign(self, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSASSA-PSS with a salt of 32 bytes, or RSASSA-PKCS1-v1_5, over SHA-256."""
        scheme = _PSS if algorithm is SigningAlgorithm.RSA_PSS_SHA_256 else _PKCS1
        value, digest = _input(data, SHA256())
        return self._key.sign(value, scheme, digest)

    def decrypt(self, algorithm: EncryptionAlgorithm, ciphertext: bytes) -> bytes:
        """RSAES-OAEP or RSAES-PKCS1-v1_5.

        OpenSSL rejects bad PKCS #1 v1.5 padding implicitly: the result is random bytes, so that
        nobody can tell. Who uses that scheme cannot rely on an error.
        """
        if len(ciphertext) != self._size:
            raise CiphertextInvalid
        try:
            return self._key.decrypt(ciphertext, encryption_padding(algorithm))
        except ValueError as error:
            raise CiphertextInvalid from error


class EcPair(KeyPair):
    """An ECDSA key (FIPS 186-5)."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, digest: HashAlgorithm) -> None:
        self._key = key
        self._digest = digest
        self._message = ec.ECDSA(digest)
        self._prehashed = ec.ECDSA(Prehashed(digest))

    def sign(self, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """ECDSA with the hash of the curve; DER."""
        if isinstance(data, Digest):
            return self._key.sign(data.value, self._prehashed)
        return self._key.sign(data.data, self._message)


class Ed25519Pair(KeyPair):
    """An Ed25519 key (RFC 8032)."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """EdDSA over the whole message."""
        if isinstance(data, Digest):
            raise InvalidRequest(f"{algorithm} signs whole messages, not digests")
        return self._key.sign(data.data)


class Sm2Pair(KeyPair):
    """An SM2 key (GM/T 0003-2012)."""

    def __init__(self, key: SM2PrivateKey) -> None:
        self._key = key

    def sign(self, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """SM2 over e = SM3(Z ‖ M); DER."""
        if isinstance(data, Digest):
            return self._key.sign(data.value)
        return self._key.sign(hash_message(data, algorithm, self._key.public_key).value)

    def decrypt(self, algorithm: EncryptionAlgorithm, ciphertext: bytes) -> bytes:
        """SM2 decryption of DER C1C3C2."""
        return self._key.decrypt(ciphertext)


class Verifier(Protocol):
    """A public key that checks signatures."""

    def verify(self, data: Signable, signature: bytes, algorithm: SigningAlgorithm, /) -> bool:
        """Whether a signature is right; a malformed one is not."""
        ...


class Sm2Verifier:
    """An SM2 public key, on the engine that the provider was told to use."""

    def __init__(self, key: SM2PublicKey) -> None:
        self._key = key

    def verify(self, data: Signable, signature: bytes, algorithm: SigningAlgorithm) -> bool:
        """SM2 over e = SM3(Z ‖ M); strict DER."""
        digest = data if isinstance(data, Digest) else hash_message(data, algorithm, self._key.der)
        return self._key.verify(digest.value, signature)


def generate(spec: KeySpec, engine: Callable[[], Engine]) -> tuple[bytes, bytes]:
    """A new key pair.

    Returns:
        The private key (PKCS #8 in DER, or 32 bytes for SM2), and SubjectPublicKeyInfo in DER.
    """
    if spec is KeySpec.SM2:
        sm2 = engine()
        secret = sm2.generate()
        return secret, sm2.private_key(secret).public_key
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if spec in _CURVES:
        key = ec.generate_private_key(_CURVES[spec]())
    elif spec is KeySpec.ED25519:
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(PUBLIC_EXPONENT, TRAITS[spec].bits)
    return (
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def load(spec: KeySpec, secret: bytes, public: bytes, engine: Callable[[], Engine]) -> KeyPair:
    """A private key from what `generate` returned, after it was sealed and opened again.

    Raises:
        IntegrityError: It is no key of that spec.
    """
    if spec is KeySpec.SM2:
        return Sm2Pair(engine().private_key(secret, public))
    key = _parse(secret)
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaPair(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return EcPair(key, SHA384() if spec is KeySpec.EC_P384 else SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Ed25519Pair(key)
    raise IntegrityError(f"the sealed key is no {spec} key")


def load_verifier(spec: KeySpec, public: bytes, engine: Callable[[], Engine]) -> Verifier:
    """A public key from the SubjectPublicKeyInfo that `generate` returned."""
    if spec is KeySpec.SM2:
        return Sm2Verifier(engine().public_key(public))
    return PublicKey.from_der(public)


def unwrap(private_key: bytes, wrapping: WrappingAlgorithm, wrapped: bytes) -> bytes | None:
    """Unwrap imported material; None for every reason that lies in what was sent.

    Bad PKCS #1 v1.5 padding gives random bytes of random length instead: what remains to the
    caller is the length of a key, which they have by chance once in some hundred times.
    """
    key = _parse(private_key)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise IntegrityError("the sealed wrapping key is no RSA key")
    try:
        return key.decrypt(wrapped, encryption_padding(EncryptionAlgorithm(wrapping.value)))
    except ValueError:
        return None


def _parse(secret: bytes) -> PrivateKeyTypes:
    # The seal has authenticated it; checking an RSA key costs as much as making one.
    return load_der_private_key(secret, None, unsafe_skip_rsa_key_validation=True)


def _input(data: Signable, digest: HashAlgorithm) -> tuple[bytes, HashAlgorithm | Prehashed]:
    if isinstance(data, Digest):
        return data.value, Prehashed(digest)
    return data.data, digest
