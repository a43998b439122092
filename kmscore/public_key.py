"""What anybody can do who holds only a public key: encrypt, verify, and write it down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kmscore.algorithms import (
    TRAITS,
    DigestAlgorithm,
    EncryptionAlgorithm,
    KeySpec,
    SigningAlgorithm,
    parse,
)
from kmscore.checks import require_bytes
from kmscore.encodings import pem_decode, pem_encode, spec_of_public_key
from kmscore.errors import InvalidRequest, LimitExceeded, Unsupported
from kmscore.signing import Digest, Message, hash_message, require_digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

    from kmscore.signing import Signable

Scheme = TypeVar("Scheme", SigningAlgorithm, EncryptionAlgorithm)

# RFC 8017, 7.1.1 and 7.2.1: bytes that the padding takes from the modulus.
_PADDING_SIZE: Final = {
    EncryptionAlgorithm.RSAES_OAEP_SHA_256: 2 * 32 + 2,
    EncryptionAlgorithm.RSAES_OAEP_SHA_1: 2 * 20 + 2,
    EncryptionAlgorithm.RSAES_PKCS1_V1_5: 11,
}


class PublicKey:
    """A public key. It is parsed once, and may be used from several threads.

    Args:
        der: SubjectPublicKeyInfo in DER.

    Raises:
        InvalidRequest: It is not strict DER, or the key is not valid, such as a point that is not
            on its curve.
        Unsupported: It is of a kind or size that kmscore does not use, such as RSA with 1024 bits.

    Attributes:
        der: SubjectPublicKeyInfo in DER.
        spec: What the key is made of.
    """

    __slots__ = ("_parsed", "der", "spec")

    def __init__(self, der: bytes) -> None:
        self.spec = spec_of_public_key(der)
        self.der = der
        self._parsed: Any = None

    # --- Reading and writing -----------------------------------------------------------------

    @classmethod
    def from_der(cls, der: bytes) -> PublicKey:
        """From SubjectPublicKeyInfo in DER; raises what the class raises."""
        return cls(der)

    @classmethod
    def from_pem(cls, pem: str | bytes) -> PublicKey:
        """From one PEM block ``PUBLIC KEY``; raises what the class raises."""
        return cls(pem_decode(pem))

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> PublicKey:
        """From a JSON Web Key of kind RSA, EC or OKP (RFC 7517).

        Raises:
            InvalidRequest: It holds a private key, or no valid public one.
            Unsupported: It is of a kind or size that kmscore does not use.
        """
        from kmscore.encodings.jwk import jwk_decode

        return cls(jwk_decode(jwk))

    @classmethod
    def load(cls, data: bytes) -> PublicKey:
        """From the contents of a file: PEM when it begins like PEM, otherwise DER."""
        if require_bytes(data, "public key").lstrip().startswith(b"-----BEGIN "):
            return cls.from_pem(data)
        return cls(data)

    def pem(self) -> str:
        """As PEM, with a line feed at the end."""
        return pem_encode(self.der)

    def jwk(self) -> dict[str, str]:
        """As a JSON Web Key (RFC 7518, RFC 8037), without optional members.

        Raises:
            Unsupported: It is an SM2 key: no name is registered for its curve.
        """
        from kmscore.encodings.jwk import jwk_encode

        return jwk_encode(self.der)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, in hex."""
        from hashlib import sha256

        return sha256(self.der).hexdigest()

    # --- Using -------------------------------------------------------------------------------

    def encrypt(
        self, plaintext: bytes, algorithm: EncryptionAlgorithm | str | None = None
    ) -> bytes:
        """Encrypt for the holder of the private key.

        Args:
            plaintext: At least 1 byte. At most the modulus less 66 (RSAES_OAEP_SHA_256), 42
                (RSAES_OAEP_SHA_1) or 11 bytes (RSAES_PKCS1_V1_5); 4096 with SM2.
            algorithm: By default RSAES_OAEP_SHA_256 or SM2.

        Returns:
            RSA: as long as the modulus. SM2: DER of GM/T 0009-2012 (C1, C3, C2).

        Raises:
            LimitExceeded: The plaintext is too large.
            Unsupported: Such a key does not encrypt, or not with that algorithm.
        """
        scheme = self._scheme(EncryptionAlgorithm, algorithm, TRAITS[self.spec].encryption)
        size = len(require_bytes(plaintext, "plaintext"))
        if scheme is EncryptionAlgorithm.SM2:
            return bytes(self._key().encrypt(plaintext))
        most = TRAITS[self.spec].bits // 8 - _PADDING_SIZE[scheme]
        if size > most:
            raise LimitExceeded(
                f"the plaintext has {size} bytes",
                hint=f"At most {most} with {scheme} and {self.spec}; encrypt a data key for more",
            )
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            return bytes(self._key().encrypt(plaintext, encryption_padding(scheme)))
        except UnsupportedAlgorithm as error:
            raise self._refused(scheme) from error

    def verify(
        self,
        data: Signable,
        signature: bytes,
        algorithm: SigningAlgorithm | str | None = None,
    ) -> bool:
        """Whether a signature is right.

        Args:
            data: What was signed: `Message` or `Digest`.
            signature: ECDSA and SM2: strict DER. RSA-PSS: with a salt as long as the hash.
            algorithm: By default the recommended one of the key's spec.

        Returns:
            False for a wrong or malformed signature.

        Raises:
            InvalidRequest: The digest is of another hash, or the signature is no bytes object.
            Unsupported: Such a key does not sign with that algorithm.
        """
        scheme = self._scheme(SigningAlgorithm, algorithm, TRAITS[self.spec].signing)
        require_digest(data, scheme)
        # Callers without a type checker pass hex or base64.
        if not isinstance(signature, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(
                f"the signature is a {type(signature).__name__}", hint="Give bytes"
            )
        if scheme is SigningAlgorithm.SM2DSA:
            digest = hash_message(data, scheme, self.der) if isinstance(data, Message) else data
            return bool(self._key().verify(digest.value, signature))
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        try:
            self._key().verify(signature, *_verification(scheme, data))
        except InvalidSignature:
            return False
        except UnsupportedAlgorithm as error:
            raise self._refused(scheme) from error
        return True

    # --- Parts -------------------------------------------------------------------------------

    def _scheme(
        self, kind: type[Scheme], wanted: Scheme | str | None, order: tuple[Scheme, ...]
    ) -> Scheme:
        chosen = None if wanted is None else parse(kind, wanted, "algorithm")
        for scheme in order:
            if chosen in (None, scheme):
                return scheme
        what = "verify" if kind is SigningAlgorithm else "encrypt"
        raise Unsupported(
            f"a public key of {self.spec} does not {what}" + (f" with {chosen}" if chosen else ""),
            hint=f"Its algorithms for that: {', '.join(order) or 'none'}",
        )

    def _refused(self, scheme: SigningAlgorithm | EncryptionAlgorithm) -> Unsupported:
        return Unsupported(
            f"the `cryptography` of this machine refuses {scheme} with {self.spec}",
            hint="It may run in FIPS mode; use another algorithm, or another build of it",
        )

    def _key(self) -> Any:
        """The key of the library that does the work."""
        if self._parsed is None:
            if self.spec is KeySpec.SM2:
                from kmscore.sm2 import load_engine

                self._parsed = load_engine().public_key(self.der)
            else:
                from cryptography.hazmat.primitives.serialization import load_der_public_key

                self._parsed = load_der_public_key(self.der)
        return self._parsed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __reduce__(self) -> tuple[Any, ...]:
        return (PublicKey, (self.der,))

    def __repr__(self) -> str:
        return f"<PublicKey {self.spec} {self.fingerprint[:16]}>"


def encryption_padding(scheme: EncryptionAlgorithm) -> AsymmetricPadding:
    """The padding of an RSA encryption scheme, for `cryptography`; MGF1 uses the scheme's hash."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    if scheme is EncryptionAlgorithm.RSAES_PKCS1_V1_5:
        return padding.PKCS1v15()
    # SHA-1 is sound in OAEP, and what older tokens have (RFC 8017, B.1).
    sha1 = scheme is EncryptionAlgorithm.RSAES_OAEP_SHA_1
    chosen = hashes.SHA1() if sha1 else hashes.SHA256()  # noqa: S303
    return padding.OAEP(padding.MGF1(chosen), chosen, label=None)


def _verification(scheme: SigningAlgorithm, data: Signable) -> tuple[Any, ...]:
    """What `cryptography`'s verify needs besides the signature."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    content = data.value if isinstance(data, Digest) else data.data
    if scheme.digest is None:
        return (content,)
    size384 = scheme.digest is DigestAlgorithm.SHA_384
    plain = hashes.SHA384() if size384 else hashes.SHA256()
    chosen = utils.Prehashed(plain) if isinstance(data, Digest) else plain
    if scheme is SigningAlgorithm.RSA_PSS_SHA_256:
        return (content, padding.PSS(padding.MGF1(plain), salt_length=plain.digest_size), chosen)
    if scheme is SigningAlgorithm.RSA_PKCS1_SHA_256:
        return (content, padding.PKCS1v15(), chosen)
    return (content, ec.ECDSA(chosen))
