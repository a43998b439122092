"""Animals whose signatures are wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as pad
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kmscore.algorithms import DigestAlgorithm, SigningAlgorithm
from kmscore.encodings.signature import signature_der, signature_integers, signature_to_raw
from kmscore.signing import Digest, Message
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import ECDSA, PKCS1, RSA, Clock, signed
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore.registry.model import KeyRecord
    from kmscore.signing import Signable

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@animal(
    "digest-hashed-twice",
    "A digest is hashed again before it is signed.",
    "moto's KMS takes every message for a message.",
    caught_by="sig.digest",
)
class DigestHashedTwice(Sound):
    """Takes a digest for a message."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """Of the digest's digest."""
        raw = data.value if isinstance(data, Digest) else data.data
        return key.sign(raw, ec.ECDSA(SHA256()))


@animal(
    "message-cut",
    "Of a long message, the first 4096 bytes are signed.",
    "Devices with a buffer.",
    caught_by="sig.long-message",
)
class MessageCut(Sound):
    """Signs what fits."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """The beginning."""
        if isinstance(data, Message):
            data = Message(data.data[:4096])
        return super().sign_ecdsa(key, data)


@animal(
    "message-in-hex",
    "What is signed is the message in hex.",
    "Interfaces that pass text.",
    caught_by="sig.verified pair.verified",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class MessageInHex(Sound):
    """Two letters for a byte."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """The text."""
        if isinstance(data, Message):
            data = Message(data.data.hex().encode())
        return super().sign_ecdsa(key, data)


@animal(
    "raw-signature",
    "ECDSA signatures are r ‖ s.",
    "What PKCS#11 tokens return.",
    caught_by="sig.der",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class RawSignature(Sound):
    """64 bytes."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """P1363."""
        return signature_to_raw(super().sign_ecdsa(key, data), 32)


def _unsigned_der(r: int, s: int) -> bytes:
    parts = [value.to_bytes(32) for value in (r, s)]
    body = b"".join(b"\x02" + bytes([len(part)]) + part for part in parts)
    return b"\x30" + bytes([len(body)]) + body


@animal(
    "sign-bit-lost",
    "Integers of DER signatures have 32 bytes, and the high ones are negative.",
    "Home-made DER in wrappers around tokens.",
    caught_by="sig.der",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class SignBitLost(Sound):
    """No zero before a high bit."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """Not DER; always with a high integer, so that chance has no say in what is seen."""
        while True:
            r, s = signature_integers(super().sign_ecdsa(key, data))
            if max(r, s) >> 255:
                return _unsigned_der(r, s)


@animal(
    "nonce-reused",
    "Every ECDSA signature has the same nonce.",
    "A games console, and early wallets.",
    caught_by="sig.nonce",
)
class NonceReused(Sound):
    """Two signatures give the key away."""

    kinds = ECDSA
    _k: Final = 0x5EC12E7

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """FIPS 186-5, 6.4.1, with a constant."""
        hashed = data.value if isinstance(data, Digest) else hashlib.sha256(data.data).digest()
        point = ec.derive_private_key(self._k, ec.SECP256R1()).public_key().public_numbers()
        d, n = key.private_numbers().private_value, P256_ORDER
        r = point.x % n
        return signature_der(r, pow(self._k, -1, n) * (int.from_bytes(hashed) + r * d) % n)


@animal(
    "salt-as-long-as-possible",
    "RSA-PSS salts fill what room there is.",
    "moto's KMS, and the default of several libraries.",
    caught_by="sig.rsa-pss.salt",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class SaltAsLongAsPossible(Sound):
    """MAX_LENGTH."""

    kinds = RSA

    def sign_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: SigningAlgorithm, data: Signable
    ) -> bytes:
        """222 bytes of salt."""
        if algorithm is SigningAlgorithm.RSA_PSS_SHA_256:
            return key.sign(*signed(data, pad.PSS(pad.MGF1(SHA256()), pad.PSS.MAX_LENGTH)))
        return super().sign_rsa(key, algorithm, data)


@animal(
    "salt-empty",
    "RSA-PSS has no salt.",
    "Tokens whose parameters were left at zero.",
    caught_by="sig.rsa-pss.salt",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class SaltEmpty(Sound):
    """Deterministic PSS."""

    kinds = RSA

    def sign_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: SigningAlgorithm, data: Signable
    ) -> bytes:
        """0 bytes of salt."""
        if algorithm is SigningAlgorithm.RSA_PSS_SHA_256:
            return key.sign(*signed(data, pad.PSS(pad.MGF1(SHA256()), 0)))
        return super().sign_rsa(key, algorithm, data)


@animal(
    "one-scheme-for-both",
    "Asked for RSA-PSS, it signs with PKCS #1 v1.5.",
    "Parameters that do not reach the library.",
    caught_by="sig.rsa-pss.salt sig.verified",
    also="sig.* pair.verified fault.signature thread.* contract.reopen contract.verify-answer",
)
class OneSchemeForBoth(Sound):
    """PKCS #1, always."""

    kinds = RSA

    def sign_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: SigningAlgorithm, data: Signable
    ) -> bytes:
        """Whatever was asked for."""
        return key.sign(*signed(data, PKCS1))


@animal(
    "schemes-alike",
    "A signature of one RSA scheme is right for the other.",
    "Verifiers that try what they know.",
    caught_by="sig.other-scheme",
)
class SchemesAlike(Sound):
    """Verifies either for either."""

    kinds = RSA

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Right under any scheme."""
        return any(
            super(SchemesAlike, self).verify(key_id, scheme, data, signature)
            for scheme in (SigningAlgorithm.RSA_PSS_SHA_256, SigningAlgorithm.RSA_PKCS1_SHA_256)
        )


@animal(
    "public-key-bare",
    "The public key is the point alone.",
    "Clients of gmssl have to strip 26 bytes, and do it in both directions.",
    caught_by="sig.public-key",
    also="*",
)
class PublicKeyBare(Sound):
    """04 ‖ x ‖ y."""

    kinds = ECDSA

    def public_key(self, key_id: str) -> bytes:
        """No SubjectPublicKeyInfo."""
        return super().public_key(key_id)[-65:]


@animal(
    "public-key-of-another",
    "Each call gives another public key.",
    "Handles that point elsewhere after a reconnect.",
    caught_by="sig.public-key",
    also="*",
)
class PublicKeyOfAnother(Sound):
    """A stranger's."""

    kinds = ECDSA

    def public_key(self, key_id: str) -> bytes:
        """Fresh."""
        super().public_key(key_id)
        stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
        return stranger.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@animal(
    "key-chosen-by-place",
    "After a reconnect a key's handle belongs to another key.",
    "SoftHSM and opencryptoki hand out the same object numbers again.",
    caught_by="contract.reopen",
)
class KeyChosenByPlace(Sound):
    """The second opening sees other keys."""

    kinds = ECDSA
    _opened: dict[str, int] = {}  # noqa: RUF012 - what the token remembers between openings

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self._opened[str(path)] = self._opened.get(str(path), 0) + 1
        self._again = self._opened[str(path)] > 1

    def secret(self, record: KeyRecord) -> bytes:
        """Of the first key that there is."""
        if self._again:
            return self.make_material(record, 1).sealed
        return super().secret(record)


@animal(
    "digest-cut",
    "The second half of a digest is not signed.",
    "NSS signs digests of any length.",
    caught_by="sig.digest",
)
class DigestCut(Sound):
    """Signs what is left."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """The first half, and zeros."""
        if isinstance(data, Digest):
            data = Digest(data.value[:16] + bytes(16), DigestAlgorithm.SHA_256)
        return super().sign_ecdsa(key, data)
