"""Material that a provider makes for a version of a key, and how it is got rid of again."""

from collections.abc import Callable
from typing import NamedTuple

from kmscore.registry.model import KeyRecord, VersionRecord


class Material(NamedTuple):
    """What a provider hands to the registry for a new version.

    Attributes:
        sealed: Opaque to the registry.
        public_key: SubjectPublicKeyInfo in DER, or empty for symmetric keys.
    """

    sealed: bytes
    public_key: bytes = b""

    def __repr__(self) -> str:
        return f"<Material of {len(self.sealed)} bytes>"


MakeMaterial = Callable[[KeyRecord, int], Material]
"""Given the key and the number of its new version, makes and seals the material."""

Destroy = Callable[[KeyRecord, list[VersionRecord]], None]
"""Destroys material that lives elsewhere, such as objects on a token.

Called in the transaction that removes the versions, so it may be called again for the same ones
when that transaction fails.
"""
