"""What the key registry stores: keys, their versions, and import jobs."""

from typing import NamedTuple

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin, WrappingAlgorithm


class KeyRecord(NamedTuple):
    """A key's metadata; times are whole seconds since the epoch.

    Attributes:
        key_id: A random UUID.
        spec: What the key is made of.
        usage: What it is for.
        origin: Made here, or imported.
        state: As last written; what holds now also depends on the clock (`rules.as_of`).
        created_at: When it was made.
        alias: Its name, unique in the registry, or None.
        description: Free text.
        version: The version that encrypts or signs, from 1; 0 while there is no material.
        deletion_at: When a key pending deletion is to be destroyed.
        valid_to: When imported material expires.
        rotation_days: Period of automatic rotation, or None.
        rotated_at: When the current version was made, where that was a rotation.
        next_rotation_at: When automatic rotation is due.
        fingerprint: What the provider knows imported material by, so that only the same returns;
            empty before the first import. Not the material, and of no use to find it.
    """

    key_id: str
    spec: KeySpec
    usage: KeyUsage
    origin: Origin
    state: KeyState
    created_at: int
    alias: str | None = None
    description: str = ""
    version: int = 0
    deletion_at: int | None = None
    valid_to: int | None = None
    rotation_days: int | None = None
    rotated_at: int | None = None
    next_rotation_at: int | None = None
    fingerprint: bytes = b""

    def __repr__(self) -> str:
        return f"<KeyRecord {self.key_id} {self.spec} {self.state}>"


class VersionRecord(NamedTuple):
    """One version of a key's material.

    Attributes:
        key_id: The key.
        number: From 1, without gaps.
        created_at: When it was made, in seconds since the epoch.
        material: Opaque to the registry: a sealed key, or the identity of an object on a token.
        public_key: SubjectPublicKeyInfo in DER, or empty for symmetric keys.
    """

    key_id: str
    number: int
    created_at: int
    material: bytes
    public_key: bytes = b""

    def __repr__(self) -> str:
        return f"<VersionRecord {self.number} of {self.key_id}>"


class ImportJob(NamedTuple):
    """The newest import parameters of a key; older ones are overwritten.

    Attributes:
        key_id: The key that waits.
        wrapping: How the material is wrapped.
        token_digest: SHA-256 of the token.
        private_key: The wrapping key, opaque to the registry: sealed, or an identity on a token.
        expires_at: Until when it is accepted, in seconds since the epoch.
    """

    key_id: str
    wrapping: WrappingAlgorithm
    token_digest: bytes
    private_key: bytes
    expires_at: int

    def __repr__(self) -> str:
        return f"<ImportJob of {self.key_id}>"
