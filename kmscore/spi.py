"""What providers implement: small abstract classes; the values exchanged are in `kmscore.values`.

A provider class inherits `Provider` and those of the others that it can serve. The core has done
its part before it calls: arguments have the right type and size, the context is canonical, the key
is of the right usage and the capability table allows the algorithm. Providers check what only they
know (does the key exist, what is its state, is the ciphertext good) and raise errors of
`kmscore.errors`; they do not retry, log or audit.

All methods may be called from several threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm, WrappingAlgorithm
from kmscore.errors import Unsupported
from kmscore.values import (
    NOTHING,
    DataKey,
    Decrypted,
    Health,
    ImportParameters,
    KeyInfo,
    KeyPage,
    NewKey,
)

if TYPE_CHECKING:
    from kmscore.capabilities import Capabilities
    from kmscore.context import EncryptionContext
    from kmscore.signing import Signable

__all__ = [
    "INTERFACES",
    "NOTHING",
    "SPI_VERSION",
    "Asymmetric",
    "DataKey",
    "Decrypted",
    "Health",
    "ImportParameters",
    "KeyImporter",
    "KeyInfo",
    "KeyManager",
    "KeyPage",
    "NewKey",
    "Provider",
    "RandomSource",
    "Signer",
    "Symmetric",
    "last_request_id",
    "note_request_id",
]

SPI_VERSION: Final = 1
"""Raised when existing providers would have to change; a plugin names the one it is written for."""


class Provider(ABC):
    """A key store. The one class that every provider must inherit."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """The table of what it can do; the same for as long as it is open."""

    @abstractmethod
    def health(self) -> Health:
        """Whether it can serve now; answers within seconds, and reports instead of raising."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back. May be called twice; nothing else is called afterwards."""


class RandomSource(ABC):
    """A provider with a random generator of its own (`Feature.RANDOM`)."""

    @abstractmethod
    def generate_random(self, length: int) -> bytes:
        """``length`` random bytes, 1 to `Limits.random`."""


class KeyManager(ABC):
    """Keys and their life cycle.

    Rules that hold for every provider: only a disabled key is scheduled for deletion, 7 to 30
    days ahead; a cancelled deletion leaves the key disabled; asymmetric and external keys do not
    rotate; old versions go on decrypting.
    """

    @abstractmethod
    def create_key(self, new: NewKey) -> KeyInfo:
        """Make a key. GENERATED keys are born enabled, EXTERNAL ones wait for material.

        Raises:
            AlreadyExists: The alias is taken.
            LimitExceeded: No room for another key.
        """

    @abstractmethod
    def describe_key(self, ref: str) -> KeyInfo:
        """A key by its id or alias.

        Raises:
            KeyNotFound: There is none.
        """

    @abstractmethod
    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Up to ``limit`` keys, in an order that new keys do not disturb."""

    @abstractmethod
    def enable_key(self, key_id: str) -> None:
        """DISABLED to ENABLED; an enabled key stays so.

        Raises:
            KeyStateError: From any other state.
        """

    @abstractmethod
    def disable_key(self, key_id: str) -> None:
        """ENABLED to DISABLED; a disabled key stays so.

        Raises:
            KeyStateError: From any other state.
        """

    @abstractmethod
    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """DISABLED to PENDING_DELETION; returns when the key will be destroyed.

        Raises:
            KeyStateError: The key is not disabled.
        """

    @abstractmethod
    def cancel_key_deletion(self, key_id: str) -> None:
        """PENDING_DELETION to DISABLED.

        Raises:
            KeyStateError: The key is not pending deletion.
        """

    def set_alias(self, key_id: str, alias: str) -> None:
        """Give the key another name (`Feature.ALIASES`).

        Raises:
            AlreadyExists: Another key has that name.
        """
        raise Unsupported("this provider has no aliases")

    def set_description(self, key_id: str, description: str) -> None:
        """Replace the free text."""
        raise Unsupported("this provider keeps no descriptions")

    def rotate_key(self, key_id: str) -> None:
        """Make a new version now (`Feature.ROTATION`).

        Raises:
            Unsupported: Asymmetric and external keys do not rotate.
        """
        raise Unsupported("this provider does not rotate keys")

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Rotate every ``days`` days, or no more (`Feature.ROTATION_SCHEDULE`)."""
        raise Unsupported("this provider does not rotate keys by itself")

    def archive_key(self, key_id: str) -> None:
        """ENABLED or DISABLED to ARCHIVED: decrypts, encrypts no more (`Feature.ARCHIVE`)."""
        raise Unsupported("this provider has no archive")

    def restore_key(self, key_id: str) -> None:
        """ARCHIVED to ENABLED (`Feature.ARCHIVE`)."""
        raise Unsupported("this provider has no archive")


class Symmetric(ABC):
    """Encryption under a key that never leaves the provider.

    Every ciphertext is authenticated, differs from every other one, and binds key and context.
    """

    @abstractmethod
    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Encrypt 1 to `Limits.plaintext` bytes; the ciphertext names its key."""

    @abstractmethod
    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Open a ciphertext.

        Args:
            key_id: The key to use, or None to use the one that the ciphertext names. With a key
                given, a ciphertext of another key is opened only if that key's material does it,
                as when the same material was imported twice.
            ciphertext: What `encrypt` or `generate_data_key` returned; not empty.
            context: The context of the encryption.

        Raises:
            CiphertextInvalid: For every reason that lies in ciphertext or context, an unknown
                key id inside the ciphertext included.
        """

    @abstractmethod
    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """A fresh data key of 1 to `Limits.data_key` bytes."""

    def re_encrypt(
        self,
        ciphertext: bytes,
        source: EncryptionContext,
        key_id: str,
        context: EncryptionContext,
    ) -> bytes:
        """Bring a ciphertext under another key, version or context.

        The default decrypts and encrypts, so that the plaintext is in this process for a moment;
        providers that can do it inside override it.
        """
        return self.encrypt(key_id, self.decrypt(None, ciphertext, source).plaintext, context)


class Asymmetric(ABC):
    """Key pairs: the public half goes out, decryption stays inside."""

    @abstractmethod
    def public_key(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo in DER (SM2: id-ecPublicKey with the SM2 curve's OID).

        Raises:
            KeyStateError: The key is not enabled.
        """

    @abstractmethod
    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """Decrypt what was encrypted for the public key.

        Args:
            key_id: The key.
            algorithm: One that the capability table lists for it.
            ciphertext: RSA: as long as the modulus. SM2: DER of GM/T 0009-2012 (C1, C3, C2).

        Raises:
            CiphertextInvalid: For every reason that lies in the ciphertext.
        """


class Signer(ABC):
    """Signatures. ECDSA and SM2 signatures are DER; RSA-PSS salts are as long as the hash."""

    @abstractmethod
    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """Sign.

        Args:
            key_id: The key.
            algorithm: One that the capability table lists for it.
            data: A `Message` of up to `Limits.message` bytes (for SM2 always with the default
                user id), or a `Digest` of the scheme's own hash.
        """

    @abstractmethod
    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Whether the signature is right; a malformed one is wrong, not an error."""


class KeyImporter(ABC):
    """Bring your own key: material arrives wrapped, for a key of origin EXTERNAL.

    A key that once had material takes only the identical material again. Deleting or expiring
    material brings the key back to PENDING_IMPORT.
    """

    @abstractmethod
    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A wrapping key and token, valid for 24 hours; older ones of this key become invalid.

        Raises:
            InvalidRequest: The key's origin is not EXTERNAL.
        """

    @abstractmethod
    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Unwrap the material and enable the key.

        Args:
            key_id: The key.
            wrapped: The material, encrypted once under the wrapping key.
            token: The token that came with the wrapping key.
            valid_to: When the material expires, or None for never.

        Raises:
            ImportTokenExpired: The token is too old or not the newest.
            ImportMaterialInvalid: It does not unwrap, or has the wrong length.
            MaterialMismatch: The key once held other material.
            KeyStateError: The key is neither waiting for material nor enabled.
        """

    @abstractmethod
    def delete_key_material(self, key_id: str) -> None:
        """Forget the material; the key stays, PENDING_IMPORT, and ciphertexts stay closed."""


INTERFACES: Final[tuple[type[Any], ...]] = (
    Provider,
    RandomSource,
    KeyManager,
    Symmetric,
    Asymmetric,
    Signer,
    KeyImporter,
)


_request_id: Final[ContextVar[str]] = ContextVar("kmscore_request_id", default="")


def note_request_id(request_id: str) -> None:
    """For providers: the id under which the service knows the request that it has just answered.

    The audit trail records it, so that an event here and one there can be told to be the same.
    Errors carry theirs themselves.
    """
    _request_id.set(request_id)


def last_request_id() -> str:
    """What the provider noted last in this thread, or nothing."""
    return _request_id.get()
