"""Key pairs and kinds of keys that animals are made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, cast

from cryptography.hazmat.primitives.asymmetric import padding as pad
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from kmscore.algorithms import EncryptionAlgorithm, KeySpec, KeyUsage, Origin, WrappingAlgorithm
from kmscore.capabilities import KeyKind
from kmscore.public_key import encryption_padding
from kmscore.signing import Digest

if TYPE_CHECKING:
    from kmscore.signing import Signable

GENERATED: Final = (KeyKind.standard(KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT),)
IMPORTED: Final = (
    KeyKind.standard(KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT, Origin.GENERATED, Origin.EXTERNAL),
)
RSA: Final = (KeyKind.standard(KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY),)
ECDSA: Final = (KeyKind.standard(KeySpec.EC_P256, KeyUsage.SIGN_VERIFY),)
ED25519: Final = (KeyKind.standard(KeySpec.ED25519, KeyUsage.SIGN_VERIFY),)
SM2_SIGNING: Final = (KeyKind.standard(KeySpec.SM2, KeyUsage.SIGN_VERIFY),)
RSA_DECRYPTION: Final = (KeyKind.standard(KeySpec.RSA_2048, KeyUsage.ASYMMETRIC_DECRYPT),)
SM2_DECRYPTION: Final = (KeyKind.standard(KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT),)

RSA_KEYS: Final = 16

Clock = Callable[[], float]

PKCS1: Final = pad.PKCS1v15()
PSS: Final = pad.PSS(pad.MGF1(SHA256()), pad.PSS.DIGEST_LENGTH)


def signed(data: Signable, scheme: Any) -> tuple[bytes, Any, Any]:
    """Arguments for ``sign`` of an RSA key."""
    if isinstance(data, Digest):
        return data.value, scheme, Prehashed(SHA256())
    return data.data, scheme, SHA256()


@cache
def _rsa_keys() -> Iterator[rsa.RSAPrivateKey]:
    return cycle([rsa.generate_private_key(65537, 2048) for _ in range(RSA_KEYS)])


def rsa_key() -> rsa.RSAPrivateKey:
    """An RSA-2048 key: making one takes long, so that there are a few, and each has its turn."""
    return next(_rsa_keys())


def parsed(pkcs8: bytes) -> Any:
    """A private key of our own, which need not be checked again."""
    return load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)


def unpadded(key: rsa.RSAPrivateKey, wrapping: WrappingAlgorithm, wrapped: bytes) -> bytes | None:
    """What was wrapped, of whatever length, or None."""
    try:
        return key.decrypt(wrapped, encryption_padding(EncryptionAlgorithm(wrapping.value)))
    except ValueError:
        return None


def pkcs8(key: Any) -> bytes:
    """A private key in DER."""
    return cast("bytes", key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def spki(key: Any) -> bytes:
    """Its public half in DER."""
    return cast(
        "bytes",
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
