"""A small provider that is right: every animal derives from it, and is wrong in one place.

Its keys lie in the registry without a seal, so that an animal can do anything to them: it is for
the suite alone.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind, Limits
from kmscore.ciphertext import SUITE_OF, Parsed, associated_data, header, parse
from kmscore.errors import CiphertextInvalid, ImportMaterialInvalid, KeyNotFound, Unsupported
from kmscore.public_key import PublicKey, encryption_padding
from kmscore.registry import Material, Purpose, RegisteredKeys, Registry, SqliteStore
from kmscore.signing import Digest, hash_message
from kmscore.sm2 import load_engine
from kmscore.spi import (
    Asymmetric,
    DataKey,
    Decrypted,
    Health,
    ImportParameters,
    KeyImporter,
    KeyInfo,
    NewKey,
    Provider,
    RandomSource,
    Signer,
    Symmetric,
)
from kmscore_conformance.broken.materials import (
    GENERATED,
    PKCS1,
    PSS,
    Clock,
    parsed,
    pkcs8,
    rsa_key,
    signed,
    spki,
    unpadded,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from kmscore.context import EncryptionContext
    from kmscore.registry.model import ImportJob, KeyRecord
    from kmscore.signing import Message, Signable
    from kmscore.sm2 import SM2PrivateKey
    from kmscore_conformance.subject import Conditions


class Sound(Provider, RandomSource, RegisteredKeys, Symmetric, Asymmetric, Signer, KeyImporter):
    """The provider.

    Args:
        path: A file for the keys.
        clock: Seconds since the epoch.
    """

    kinds: ClassVar[tuple[KeyKind, ...]] = GENERATED
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)
    limits: ClassVar[Limits] = Limits()

    def __init__(self, path: Path, clock: Clock) -> None:
        self.clock = clock
        self.store = SqliteStore(path)
        self.registry = Registry(self.store, clock=clock)

    @classmethod
    def open(cls, path: Path, conditions: Conditions) -> Provider | Self:
        """The provider as the suite opens it."""
        return cls(path, conditions.clock)

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """As the class says."""
        imports = any(Origin.EXTERNAL in kind.origins for kind in self.kinds)
        wrapping = (WrappingAlgorithm.RSAES_OAEP_SHA_256,) if imports else ()
        return Capabilities(self.kinds, frozenset(wrapping), self.features, self.limits)

    def health(self) -> Health:
        """Well."""
        return Health(ok=True, message="the keys are there")

    def close(self) -> None:
        """Close the file."""
        self.registry.close()

    def generate_random(self, length: int) -> bytes:
        """From the operating system."""
        return os.urandom(length)

    # --- Keys --------------------------------------------------------------------------------

    def create_key(self, new: NewKey) -> KeyInfo:
        """Of the kinds that the class lists."""
        kind = Capabilities(self.kinds).find(new.spec, new.usage)
        if kind is None or new.origin not in kind.origins:
            raise Unsupported(f"there are no {new.origin} {new.spec} keys for {new.usage} here")
        return super().create_key(new)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """In the portable format."""
        record = self.usable(key_id, Purpose.ENCRYPT)
        if self.registry.rotation_due(record):
            record = self.registry.rotate(key_id, self.make_material, only_if_due=True)
        head, nonce = header(SUITE_OF[record.spec], record.key_id, record.version), self.nonce()
        aad = self.aad(head, context)
        return head + nonce + self.cipher(record, record.version).encrypt(nonce, plaintext, aad)

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Of any version."""
        taken = parse(ciphertext)
        if key_id is None:
            try:
                record = self.usable(taken.key_id, Purpose.DECRYPT)
            except KeyNotFound as error:
                raise CiphertextInvalid from error
        else:
            record = self.usable(key_id, Purpose.DECRYPT)
        return Decrypted(record.key_id, self.opened(record, taken, context))

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """The plaintext, or CiphertextInvalid."""
        if SUITE_OF[record.spec] is not taken.suite or taken.key_version > record.version:
            raise CiphertextInvalid
        aad = self.aad(taken.header, context)
        try:
            cipher = self.cipher(record, taken.key_version)
            return cipher.decrypt(taken.nonce, taken.sealed, aad)
        except InvalidTag as error:
            raise CiphertextInvalid from error

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """From the operating system."""
        plaintext = os.urandom(length)
        return DataKey(key_id, bytearray(plaintext), self.encrypt(key_id, plaintext, context))

    # --- Key pairs ---------------------------------------------------------------------------

    def public_key(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo in DER."""
        record = self.usable(key_id, Purpose.PUBLIC_KEY)
        return self.registry.version(record.key_id, record.version).public_key

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSA or SM2."""
        record = self.usable(key_id, Purpose.ASYMMETRIC_DECRYPT)
        if record.spec is KeySpec.SM2:
            return self.open_sm2(self.secret(record), ciphertext)
        return self.open_rsa(self.rsa(record), algorithm, ciphertext)

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """SM2 decryption of DER C1C3C2."""
        return load_engine().private_key(secret).decrypt(ciphertext)

    def open_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSAES-OAEP or RSAES-PKCS1-v1_5."""
        try:
            return key.decrypt(ciphertext, encryption_padding(algorithm))
        except ValueError as error:
            raise CiphertextInvalid from error

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSA, ECDSA, Ed25519 or SM2."""
        record = self.usable(key_id, Purpose.SIGN)
        if record.spec is KeySpec.SM2:
            key = load_engine().private_key(self.secret(record))
            return self.sign_sm2(key, data)
        key_pair = parsed(self.secret(record))
        if isinstance(key_pair, rsa.RSAPrivateKey):
            return self.sign_rsa(key_pair, algorithm, data)
        if isinstance(key_pair, ec.EllipticCurvePrivateKey):
            return self.sign_ecdsa(key_pair, data)
        return cast("bytes", key_pair.sign(cast("Message", data).data))

    def sign_sm2(self, key: SM2PrivateKey, data: Signable) -> bytes:
        """Over e = SM3(Z ‖ M)."""
        if not isinstance(data, Digest):
            data = hash_message(data, SigningAlgorithm.SM2DSA, key.public_key)
        return key.sign(data.value)

    def sign_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: SigningAlgorithm, data: Signable
    ) -> bytes:
        """RSASSA-PSS with a salt of 32 bytes, or RSASSA-PKCS1-v1_5."""
        scheme = PSS if algorithm is SigningAlgorithm.RSA_PSS_SHA_256 else PKCS1
        return key.sign(*signed(data, scheme))

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """With SHA-256; DER."""
        if isinstance(data, Digest):
            return key.sign(data.value, ec.ECDSA(Prehashed(SHA256())))
        return key.sign(data.data, ec.ECDSA(SHA256()))

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """With the public half."""
        record = self.usable(key_id, Purpose.VERIFY)
        public = PublicKey.from_der(self.registry.version(record.key_id, record.version).public_key)
        return self.accepts(public, algorithm, data, signature)

    def accepts(
        self, public: PublicKey, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Whether the signature is right."""
        return public.verify(data, signature, algorithm)

    # --- Import ------------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A new RSA-2048 key, and a random token."""
        self.require_wrapping(wrapping)
        record = self.registry.importable(key_id)
        key = self.wrapping_key()
        token = os.urandom(32)
        job = self.registry.open_import(record.key_id, wrapping, token, pkcs8(key))
        until = datetime.fromtimestamp(job.expires_at, UTC)
        return ImportParameters(record.key_id, wrapping, spki(key), token, until)

    def wrapping_key(self) -> rsa.RSAPrivateKey:
        """Another one each time."""
        return rsa_key()

    def require_wrapping(self, wrapping: WrappingAlgorithm) -> None:
        """Refuse what the table does not list."""
        if wrapping not in self.capabilities().wrapping:
            raise Unsupported(f"{wrapping} is not unwrapped here")

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Unwrap it, and keep it."""
        record = self.registry.importable(key_id)
        job = self.registry.check_import(record.key_id, token)
        material = self.unwrapped(record, job, wrapped)
        end = None if valid_to is None else int(valid_to.timestamp())
        self.registry.finish_import(
            record.key_id,
            token,
            self.fingerprint(material),
            end,
            lambda _key, _number: Material(material),
        )

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """The material, as long as its spec says."""
        material = unpadded(parsed(job.private_key), job.wrapping, wrapped)
        if material is None or len(material) != TRAITS[record.spec].bits // 8:
            raise ImportMaterialInvalid("it does not unwrap")
        return material

    def fingerprint(self, material: bytes) -> bytes:
        """What material is known by."""
        import hashlib

        return hashlib.sha256(material).digest()

    def delete_key_material(self, key_id: str) -> None:
        """Forget it."""
        self.registry.delete_material(key_id)

    # --- Inside ------------------------------------------------------------------------------

    def make_material(self, record: KeyRecord, number: int) -> Material:
        """The material of a new version."""
        traits = TRAITS[record.spec]
        if traits.is_symmetric:
            return Material(os.urandom(traits.bits // 8))
        if record.spec is KeySpec.SM2:
            secret = load_engine().generate()
            return Material(secret, load_engine().private_key(secret).public_key)
        key: Any
        if record.spec is KeySpec.EC_P256:
            key = ec.generate_private_key(ec.SECP256R1())
        elif record.spec is KeySpec.ED25519:
            key = ed25519.Ed25519PrivateKey.generate()
        else:
            key = rsa_key()
        return Material(pkcs8(key), spki(key))

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """The key, if its state allows the use."""
        return self.registry.usable(key_id, purpose)

    def secret(self, record: KeyRecord) -> bytes:
        """The private key of the current version."""
        return self.registry.version(record.key_id, record.version).material

    def rsa(self, record: KeyRecord) -> rsa.RSAPrivateKey:
        """The private RSA key."""
        return cast("rsa.RSAPrivateKey", parsed(self.secret(record)))

    def cipher(self, record: KeyRecord, number: int) -> AESGCM:
        """AES-GCM with a version's material."""
        return AESGCM(self.registry.version(record.key_id, number).material)

    def nonce(self) -> bytes:
        """12 bytes from the operating system."""
        return os.urandom(12)

    def aad(self, head: bytes, context: EncryptionContext) -> bytes:
        """Header and context."""
        return associated_data(head, context.aad)
