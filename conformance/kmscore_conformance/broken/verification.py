"""Animals that accept signatures which are wrong, or cannot say that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kmscore.encodings.signature import signature_der, signature_from_raw
from kmscore.errors import InternalError, InvalidRequest
from kmscore.signing import Digest
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import ECDSA, ED25519, RSA, SM2_SIGNING
from kmscore_conformance.broken.signatures import P256_ORDER
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    from kmscore.algorithms import SigningAlgorithm
    from kmscore.public_key import PublicKey
    from kmscore.signing import Signable

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


@animal(
    "always-true",
    "Every signature is right.",
    "goto fail.",
    caught_by="sig.other-message sig.malformed",
    also="contract.verify-answer sig.other-key sig.der-strict",
)
class AlwaysTrue(Sound):
    """Believes everything."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Yes."""
        return True


@animal(
    "malformed-is-an-error",
    "A signature that cannot be parsed is an error, not False.",
    "Most libraries, where a wrong and a malformed signature differ.",
    caught_by="sig.malformed",
    also="sig.der-strict",
)
class MalformedIsAnError(Sound):
    """Raises."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Only of two integers."""
        from kmscore.encodings.signature import signature_integers

        try:
            signature_integers(signature)
        except InvalidRequest as error:
            raise InternalError("the signature cannot be parsed") from error
        return super().accepts(public, algorithm, data, signature)


@animal(
    "wrong-is-an-error",
    "A wrong signature is an error, not False.",
    "AWS KMS and every library that raises InvalidSignature.",
    caught_by="sig.other-message contract.verify-answer",
    also="sig.other-key sig.malformed sig.der-strict",
)
class WrongIsAnError(Sound):
    """Raises."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Or an error."""
        if not super().accepts(public, algorithm, data, signature):
            raise InvalidRequest("the signature is wrong")
        return True


@animal(
    "answers-in-numbers",
    "Verification answers 1 and 0.",
    "Return codes that are passed through.",
    caught_by="contract.verify-answer",
    also="sig.other-message sig.other-key sig.malformed sig.der-strict",
)
class AnswersInNumbers(Sound):
    """Like C."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """0 is not False."""
        return int(super().accepts(public, algorithm, data, signature))  # type: ignore[return-value]


@animal(
    "loose-der",
    "DER of a signature is read generously: long lengths, leading zeros, bytes at the end.",
    "Bitcoin before BIP 66, and many since.",
    caught_by="sig.der-strict",
    also="sig.malformed",
)
class LooseDer(Sound):
    """Reads any BER."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """After writing it anew."""
        return super().accepts(public, algorithm, data, _tidied(signature))


def _tidied(signature: bytes) -> bytes:
    """The first two integers that are found in it, in strict DER."""
    found: list[int] = []
    place = signature.find(b"\x02")
    while 0 <= place < len(signature) - 1 and len(found) < 2:
        size = signature[place + 1]
        found.append(int.from_bytes(signature[place + 2 : place + 2 + size]))
        place += 2 + size
    return signature_der(*found) if len(found) == 2 and all(found) else signature


@animal(
    "raw-accepted",
    "Next to DER, r ‖ s is accepted too.",
    "Verifiers that guess the form.",
    caught_by="sig.der-strict",
)
class RawAccepted(Sound):
    """Guesses."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Either."""
        if len(signature) == 64:
            try:
                signature = signature_from_raw(signature, 32)
            except InvalidRequest:
                return False
        return super().accepts(public, algorithm, data, signature)


@animal(
    "integers-reduced",
    "r and s are taken modulo the order before they are checked.",
    "Arithmetic that is kind.",
    caught_by="sig.der-strict",
)
class IntegersReduced(Sound):
    """r + n is as good as r."""

    kinds = ECDSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Reduced first."""
        from kmscore.encodings.signature import signature_integers

        try:
            r, s = (value % P256_ORDER for value in signature_integers(signature))
        except InvalidRequest:
            return False
        return super().accepts(public, algorithm, data, signature_der(r, s)) if r and s else False


@animal(
    "sm2-loose-der",
    "Bytes after an SM2 signature are ignored.",
    "OpenSSL's SM2 before it was told otherwise.",
    caught_by="sig.malformed sig.der-strict",
)
class Sm2LooseDer(Sound):
    """Cuts what is too much."""

    kinds = SM2_SIGNING

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """As long as its header says."""
        if len(signature) > 2 and signature[1] < 0x80:
            signature = signature[: 2 + signature[1]]
        return super().accepts(public, algorithm, data, signature)


@animal(
    "ed25519-unreduced",
    "An Ed25519 signature with S beyond the order is accepted.",
    "Implementations of before RFC 8032.",
    caught_by="sig.ed25519-strict",
)
class Ed25519Unreduced(Sound):
    """Reduces S."""

    kinds = ED25519

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Modulo L."""
        if len(signature) == 64:
            s = int.from_bytes(signature[32:], "little") % ED25519_ORDER
            signature = signature[:32] + s.to_bytes(32, "little")
        return super().accepts(public, algorithm, data, signature)


@animal(
    "rsa-signature-padded",
    "Zeros before an RSA signature are ignored.",
    "Big numbers instead of octet strings.",
    caught_by="sig.malformed",
)
class RsaSignaturePadded(Sound):
    """Takes it for a number."""

    kinds = RSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Of 256 bytes, in the end."""
        short = signature.lstrip(b"\0")
        return super().accepts(public, algorithm, data, short.rjust(256, b"\0"))


@animal(
    "rsa-signature-reduced",
    "An RSA signature is taken modulo n.",
    "RFC 8017's first step, left out.",
    caught_by="sig.rsa-size",
    also="sig.malformed",
)
class RsaSignatureReduced(Sound):
    """s + n is as good as s."""

    kinds = RSA

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Reduced first."""
        key = cast("rsa.RSAPublicKey", load_der_public_key(public.der))
        modulus = key.public_numbers().n
        if 256 <= len(signature) <= 257:
            signature = (int.from_bytes(signature) % modulus).to_bytes(256)
        return super().accepts(public, algorithm, data, signature)


@animal(
    "any-key-verifies",
    "A signature is right if any key of the store made it.",
    "Trust stores that are searched.",
    caught_by="sig.other-key",
)
class AnyKeyVerifies(Sound):
    """Looks around."""

    kinds = ED25519

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Somebody's."""
        message = data.data if not isinstance(data, Digest) else data.value
        for info in self.list_keys(1000, None).keys:
            key = load_der_public_key(self.registry.version(info.key_id, 1).public_key)
            try:
                cast("ed25519.Ed25519PublicKey", key).verify(signature, message)
            except InvalidSignature:
                continue
            return True
        return False
