"""The package cryptography: RSA, ECDSA and Ed25519."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cryptography
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kmscore.algorithms import SigningAlgorithm
from kmscore.signing import Digest
from kmscore_conformance.owner import PADDINGS
from kmscore_conformance.witness.base import Witness

if TYPE_CHECKING:
    from kmscore.algorithms import EncryptionAlgorithm
    from kmscore.signing import Signable


class Cryptography(Witness):
    """The package cryptography, called as its documentation says."""

    name = "cryptography"

    @property
    def version(self) -> str:
        """The version of the package."""
        return cryptography.__version__

    def lacks(self, algorithm: SigningAlgorithm | EncryptionAlgorithm) -> str:
        """All of SM2."""
        return "cryptography has no SM2" if algorithm.value in ("SM2", "SM2DSA") else ""

    def verify(
        self, public_key: bytes, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """With the class of the key."""
        key = load_der_public_key(public_key)
        plain = hashes.SHA384() if algorithm is SigningAlgorithm.ECDSA_SHA_384 else hashes.SHA256()
        content = data.value if isinstance(data, Digest) else data.data
        chosen = utils.Prehashed(plain) if isinstance(data, Digest) else plain
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, content)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, content, ec.ECDSA(chosen))
            elif isinstance(key, rsa.RSAPublicKey):
                scheme = (
                    padding.PSS(padding.MGF1(plain), plain.digest_size)
                    if algorithm is SigningAlgorithm.RSA_PSS_SHA_256
                    else padding.PKCS1v15()
                )
                key.verify(signature, content, scheme, chosen)
            else:
                return False
        except InvalidSignature:
            return False
        return True

    def encrypt(self, public_key: bytes, algorithm: EncryptionAlgorithm, plaintext: bytes) -> bytes:
        """RSA encryption (RFC 8017, 7)."""
        key = load_der_public_key(public_key)
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("the key is not RSA")
        return key.encrypt(plaintext, PADDINGS[algorithm])
