"""The key registry: the rules of a key's life, on any store, for providers that keep keys themselves.

The contract below is fixed; the bodies are this module's work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from kmscore.algorithms import KeyState, WrappingAlgorithm
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord
from kmscore.registry.store import Store
from kmscore.spi import KeyInfo, KeyPage, NewKey


class Purpose(Enum):
    """What a key is about to be used for; the value is the set of states that allow it."""

    ENCRYPT = frozenset({KeyState.ENABLED})
    DECRYPT = frozenset({KeyState.ENABLED, KeyState.ARCHIVED})
    ...


class Material(NamedTuple):
    """What a provider hands to the registry for a new version: opaque bytes, and the public half."""

    sealed: bytes
    public_key: bytes = b""


MakeMaterial = Callable[[KeyRecord, int], Material]
"""Given the key and the number of its new version, makes and seals the material."""

Destroy = Callable[[KeyRecord, list[VersionRecord]], None]
"""Called in the transaction that removes versions, for material that lives elsewhere (a token)."""


class Registry:
    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        destroy: Destroy | None = None,
    ) -> None: ...

    # reading
    def find(self, ref: str) -> KeyRecord: ...  # id or alias, state as of now; KeyNotFound
    def info(self, record: KeyRecord) -> KeyInfo: ...
    def page(self, limit: int, cursor: str | None) -> KeyPage: ...
    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord: ...  # THE hot path
    def version(
        self, key_id: str, number: int
    ) -> VersionRecord: ...  # cached; IntegrityError if absent

    # life cycle
    def create(self, new: NewKey, make: MakeMaterial | None) -> KeyRecord: ...
    def enable(self, key_id: str) -> None: ...
    def disable(self, key_id: str) -> None: ...
    def schedule_deletion(self, key_id: str, days: int) -> int: ...
    def cancel_deletion(self, key_id: str) -> None: ...
    def set_alias(self, key_id: str, alias: str) -> None: ...
    def set_description(self, key_id: str, description: str) -> None: ...
    def archive(self, key_id: str) -> None: ...
    def restore(self, key_id: str) -> None: ...
    def rotate(self, key_id: str, make: MakeMaterial) -> KeyRecord: ...
    def set_rotation(self, key_id: str, days: int | None) -> None: ...
    def rotation_due(self, record: KeyRecord) -> bool: ...

    # import
    def open_import(
        self, key_id: str, wrapping: WrappingAlgorithm, token: bytes, private_key: bytes
    ) -> ImportJob: ...
    def check_import(self, key_id: str, token: bytes) -> ImportJob: ...
    def finish_import(
        self,
        key_id: str,
        token: bytes,
        fingerprint: bytes,
        valid_to: int | None,
        make: MakeMaterial,
    ) -> KeyRecord: ...
    def delete_material(self, key_id: str) -> None: ...

    def sweep(
        self,
    ) -> (
        None
    ): ...  # destroys what is due: expired material, keys whose waiting time is over, old jobs
    def close(self) -> None: ...
