"""What providers implement: small abstract classes, and the values exchanged with the core.

A provider class inherits `Provider` and those of the others that it can serve. The core has done
its part before it calls: arguments have the right type and size, the context is canonical, the key
is of the right usage and the capability table allows the algorithm. Providers check what only they
know (does the key exist, what is its state, is the ciphertext good) and raise errors of
`kmscore.errors`; they do not retry, log or audit.

All methods may be called from several threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.algorithms import (
    EncryptionAlgorithm,
    KeySpec,
    KeyState,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.errors import Unsupported

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from kmscore.capabilities import Capabilities
    from kmscore.context import EncryptionContext
    from kmscore.signing import Signable

SPI_VERSION: Final = 1
"""Raised when existing providers would have to change; a plugin names the one it is written for."""


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
"""An empty map that nobody can fill."""


# --- Values ----------------------------------------------------------------------------------


class KeyInfo(NamedTuple):
    """What is known of a key; times are aware and in UTC.

    Attributes:
        key_id: The provider's id.
        spec: What the key is made of.
        usage: What it is for.
        state: Where it stands in its life cycle.
        origin: Made by the provider, or imported.
        alias: Its name, unique in the provider, or None.
        description: Free text.
        created_at: When it was made.
        version: Number of the version that encrypts or signs, from 1; 0 before material is there.
        deletion_at: When a key pending deletion will be destroyed.
        valid_to: When imported material expires.
        rotation_days: Period of automatic rotation in days, or None.
        rotated_at: When it was last rotated.
        next_rotation_at: When it will rotate by itself.
        native: What the provider knows besides, for people.
    """

    key_id: str
    spec: KeySpec
    usage: KeyUsage
    state: KeyState
    origin: Origin
    alias: str | None
    created_at: datetime
    description: str = ""
    version: int = 1
    deletion_at: datetime | None = None
    valid_to: datetime | None = None
    rotation_days: int | None = None
    rotated_at: datetime | None = None
    next_rotation_at: datetime | None = None
    native: Mapping[str, str] = NOTHING


class NewKey(NamedTuple):
    """A key to be made; attributes as in `KeyInfo`."""

    spec: KeySpec
    usage: KeyUsage
    origin: Origin = Origin.GENERATED
    alias: str | None = None
    description: str = ""


class KeyPage(NamedTuple):
    """Some keys of a listing.

    Attributes:
        keys: At most as many as were asked for.
        cursor: Where the next page begins, or None when this was the last.
    """

    keys: tuple[KeyInfo, ...]
    cursor: str | None = None


class Decrypted(NamedTuple):
    """What a ciphertext held, and the id of the key that opened it."""

    key_id: str
    plaintext: bytes

    def __repr__(self) -> str:
        return f"<Decrypted by {self.key_id}>"


class DataKey:
    """A fresh key for data, in clear and encrypted under a key of the provider.

    A context manager: leaving it overwrites the plaintext. Copies that Python or a library made
    meanwhile are out of reach.

    Attributes:
        key_id: The key that encrypts it.
        plaintext: The data key.
        ciphertext: The data key under that key: what is stored beside the data.
    """

    __slots__ = ("ciphertext", "key_id", "plaintext")

    def __init__(self, key_id: str, plaintext: bytearray, ciphertext: bytes) -> None:
        self.key_id = key_id
        self.plaintext = plaintext
        self.ciphertext = ciphertext

    def __repr__(self) -> str:
        return f"<DataKey under {self.key_id}>"

    def wipe(self) -> None:
        """Overwrite the plaintext with zeros."""
        self.plaintext[:] = bytes(len(self.plaintext))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wipe()


class ImportParameters(NamedTuple):
    """What the owner of external key material needs to send it.

    Attributes:
        key_id: The key that waits for material.
        wrapping: How to wrap the material.
        public_key: The wrapping key: SubjectPublicKeyInfo in DER, RSA of 2048 bits or more.
        token: Goes back with the wrapped material.
        valid_to: Until when key and token are accepted: 24 hours, or until newer ones are issued.
    """

    key_id: str
    wrapping: WrappingAlgorithm
    public_key: bytes
    token: bytes
    valid_to: datetime

    def __repr__(self) -> str:
        return f"<ImportParameters of {self.key_id} until {self.valid_to:%F %T}>"


class Health(NamedTuple):
    """How a provider is doing.

    Attributes:
        ok: It can serve now.
        message: One sentence for people.
        details: Facts for people: library, token, endpoint, which credentials were found.
    """

    ok: bool
    message: str
    details: Mapping[str, str] = NOTHING


# --- What providers implement ----------------------------------------------------------------


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
