"""The values that the core and providers exchange: keys, data keys, import parameters, health."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Final, NamedTuple, Self

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin, WrappingAlgorithm
from kmscore.errors import KmsError

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
"""An empty map that nobody can fill."""


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
        error: What keeps it from serving, for those who must tell kinds of trouble apart.
    """

    ok: bool
    message: str
    details: Mapping[str, str] = NOTHING
    error: KmsError | None = None
