"""Animals that take key material which they should not take, or lose what they took."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from kmscore.algorithms import TRAITS, WrappingAlgorithm
from kmscore.errors import ImportMaterialInvalid, ImportTokenExpired, InvalidRequest, KeyStateError
from kmscore.spi import ImportParameters
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import IMPORTED, Clock, parsed, unpadded
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore.registry.model import ImportJob, KeyRecord


class _Importer(Sound):
    """Keys that can be brought."""

    kinds = IMPORTED


@animal(
    "token-never-expires",
    "An import token is good for ever.",
    "Emulators with a clock of their own.",
    caught_by="import.token-expired",
)
class TokenNeverExpires(_Importer):
    """Renews it on arrival."""

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """As if it were new."""
        self._renew(key_id, token)
        super().import_key_material(key_id, wrapped, token, valid_to)

    def _renew(self, key_id: str, token: bytes) -> None:
        job = next((j for j in self.store.jobs() if j.key_id == key_id), None)
        if job is not None and job.token_digest == hashlib.sha256(token).digest():
            self.registry.open_import(key_id, job.wrapping, token, job.private_key)


@animal(
    "old-token-accepted",
    "When newer parameters were issued, the older token is good as well.",
    "Tokens that are checked by their signature alone.",
    caught_by="import.old-token",
    also="import.token-expired",
)
class OldTokenAccepted(_Importer):
    """Keeps them all."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self._given: dict[bytes, tuple[str, WrappingAlgorithm, bytes]] = {}

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """And remembers."""
        made = super().get_import_parameters(key_id, wrapping)
        (job,) = [j for j in self.store.jobs() if j.key_id == made.key_id]
        self._given[made.token] = (made.key_id, wrapping, job.private_key)
        return made

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Any of them."""
        kept = self._given.get(token)
        if kept is not None and kept[0] == key_id:
            with suppress(KeyStateError, InvalidRequest):
                self.registry.open_import(key_id, kept[1], token, kept[2])
        super().import_key_material(key_id, wrapped, token, valid_to)


@animal(
    "foreign-token-accepted",
    "The token is not looked at.",
    "Test doubles.",
    caught_by="import.foreign-token import.old-token",
    also="import.token-expired",
)
class ForeignTokenAccepted(_Importer):
    """Any bytes will do."""

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """With a token of its own."""
        job = next((j for j in self.store.jobs() if j.key_id == key_id), None)
        if job is not None:
            with suppress(KeyStateError, InvalidRequest):
                self.registry.open_import(key_id, job.wrapping, token, job.private_key)
        super().import_key_material(key_id, wrapped, token, valid_to)


@animal(
    "token-used-up",
    "A token is good for one import.",
    "Services that delete the wrapping key after use.",
    caught_by="import.token-again",
    also="import.* fault.import-replayed",
)
class TokenUsedUp(_Importer):
    """Once."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self._used: set[bytes] = set()

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """And never again."""
        if token in self._used:
            raise ImportTokenExpired("the token was used")
        super().import_key_material(key_id, wrapped, token, valid_to)
        self._used.add(token)


@animal(
    "other-material-accepted",
    "A key takes other material than it once had.",
    "Emulators, and databases that update.",
    caught_by="import.other-material",
    also="import.zeros",
)
class OtherMaterialAccepted(_Importer):
    """Has no memory."""

    def fingerprint(self, material: bytes) -> bytes:
        """The same for all."""
        return bytes(32)


@animal(
    "material-stripped",
    "Zeros at the beginning of imported material are lost.",
    "lstrip, somewhere on the way.",
    caught_by="import.zeros",
    also="portable.made portable.opened portable.vectors",
)
class MaterialStripped(_Importer):
    """Pads at the other end."""

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """As long as it was."""
        material = super().unwrapped(record, job, wrapped)
        return material.lstrip(b"\0").ljust(len(material), b"\0")


@animal(
    "material-of-any-length",
    "Material of any length is accepted, and hashed to the right one.",
    "SoftHSM imports 5 bytes as an AES key.",
    caught_by="import.wrong-size",
)
class MaterialOfAnyLength(_Importer):
    """Makes it fit."""

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """By hashing."""
        material = unpadded(parsed(job.private_key), job.wrapping, wrapped)
        if material is None:
            raise ImportMaterialInvalid("it does not unwrap")
        if len(material) == TRAITS[record.spec].bits // 8:
            return material
        return hashlib.sha256(material).digest()


@animal(
    "garbage-imported",
    "What does not unwrap becomes a random key.",
    "NSS accepts one in a hundred garbage wraps of PKCS #1 v1.5.",
    caught_by="import.wrong-wrapping",
    also="import.wrong-size import.foreign-wrapping-key",
)
class GarbageImported(_Importer):
    """Implicit rejection, in the wrong place."""

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """Something."""
        try:
            return super().unwrapped(record, job, wrapped)
        except ImportMaterialInvalid:
            return os.urandom(TRAITS[record.spec].bits // 8)


@animal(
    "material-never-expires",
    "The end of imported material is stored, and nothing happens then.",
    "Jobs that run at night.",
    caught_by="import.expiry",
)
class MaterialNeverExpires(_Importer):
    """Has all the time in the world."""

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Without an end."""
        if valid_to is not None and valid_to.timestamp() <= self.clock():
            raise InvalidRequest("the end is past")
        super().import_key_material(key_id, wrapped, token, None)


@animal(
    "expired-on-arrival",
    "Material whose end is past is accepted.",
    "Comparisons that were forgotten.",
    caught_by="import.expiry-past",
)
class ExpiredOnArrival(_Importer):
    """Keeps it for good."""

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """As if no end had been given."""
        if valid_to is not None and valid_to.timestamp() <= self.clock():
            valid_to = None
        super().import_key_material(key_id, wrapped, token, valid_to)


@animal(
    "deleted-material-kept",
    "Deleted material goes on working.",
    "Caches of unwrapped keys.",
    caught_by="import.same-material",
    also="import.other-material",
)
class DeletedMaterialKept(_Importer):
    """Says that it was deleted."""

    def delete_key_material(self, key_id: str) -> None:
        """And does nothing."""
        self.registry.find(key_id)


@animal(
    "disabled-takes-material",
    "A disabled key takes material, and is enabled by it.",
    "A state that is set, not checked.",
    caught_by="import.disabled",
)
class DisabledTakesMaterial(_Importer):
    """Back to work."""

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Enabled first."""
        if self.registry.find(key_id).state == "DISABLED":
            self.registry.enable(key_id)
        super().import_key_material(key_id, wrapped, token, valid_to)


@animal(
    "foreign-wrapping-key-accepted",
    "Material under another key's wrapping key is taken.",
    "Services that try every private key that they have.",
    caught_by="import.foreign-wrapping-key",
)
class ForeignWrappingKeyAccepted(_Importer):
    """Looks around."""

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """With any of them."""
        for each in (job, *self.store.jobs()):
            with suppress(ImportMaterialInvalid):
                return super().unwrapped(record, each, wrapped)
        raise ImportMaterialInvalid("it does not unwrap")


@animal(
    "material-mixed-up",
    "All imported keys have the material of the first one.",
    "Buffers that are shared.",
    caught_by="import.two-keys",
    also="*",
)
class MaterialMixedUp(_Importer):
    """One place for all."""

    _first: bytes = b""

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """The first that ever came."""
        self._first = self._first or super().unwrapped(record, job, wrapped)
        return self._first


@animal(
    "parameters-for-a-week",
    "Import parameters are said to be good for a week.",
    "Documentation that is older than the service.",
    caught_by="import.parameters",
)
class ParametersForAWeek(_Importer):
    """Promises more than it keeps."""

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """Seven days."""
        from datetime import timedelta

        made = super().get_import_parameters(key_id, wrapping)
        return made._replace(valid_to=made.valid_to + timedelta(days=6))


@animal(
    "wrapping-unannounced",
    "Material wrapped with PKCS #1 v1.5 is taken, and the table does not say so.",
    "Choices that were left in for old clients.",
    caught_by="table.undeclared-wrapping",
)
class WrappingUnannounced(_Importer):
    """Takes any."""

    def require_wrapping(self, wrapping: WrappingAlgorithm) -> None:
        """All of them."""
