"""Animals whose keys live by other rules."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from kmscore.capabilities import Limits
from kmscore.ciphertext import Parsed, parse
from kmscore.errors import KeyNotFound, KeyStateError
from kmscore.registry import Material, Purpose
from kmscore.spi import Decrypted
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import ECDSA, Clock
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore.context import EncryptionContext
    from kmscore.registry.model import KeyRecord


class _Careless(Sound):
    """Lets keys be used in more states than it should."""

    def found(self, key_id: str) -> KeyRecord:
        """The key, whatever its state."""
        return self.registry.find(key_id)


@animal(
    "disabled-decrypts",
    "A disabled key decrypts.",
    "Services where disabling stops encryption alone.",
    caught_by="life.disabled",
    also="life.disabled-unnamed life.scheduled",
)
class DisabledDecrypts(_Careless):
    """Looks at the state when it encrypts."""

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """For decryption, any."""
        record = self.found(key_id)
        return record if purpose is Purpose.DECRYPT else super().usable(key_id, purpose)


@animal(
    "disabled-signs",
    "A disabled key signs.",
    "moto's KMS does not look at the state.",
    caught_by="life.disabled",
    also="life.scheduled",
)
class DisabledSigns(_Careless):
    """Looks at nothing."""

    kinds = ECDSA

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """For signing, any."""
        record = self.found(key_id)
        return record if purpose is Purpose.SIGN else super().usable(key_id, purpose)


@animal(
    "disabled-opens-unnamed",
    "A disabled key decrypts when it is not named.",
    "Two ways in, and one guard.",
    caught_by="life.disabled-unnamed",
)
class DisabledOpensUnnamed(_Careless):
    """The other way in."""

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """By the ciphertext's own word."""
        if key_id is None:
            taken = parse(ciphertext)
            with suppress(KeyNotFound):
                record = self.found(taken.key_id)
                if record.state == "DISABLED":
                    return Decrypted(record.key_id, self.opened(record, taken, context))
        return super().decrypt(key_id, ciphertext, context)


@animal(
    "state-remembered",
    "That a key is enabled is remembered, and disabling it shows after 20 more uses.",
    "Caches of key metadata.",
    caught_by="life.disabled",
    also="thread.disable life.disabled-unnamed life.scheduled life.archive",
)
class StateRemembered(_Careless):
    """Asks now and then."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self._known: dict[str, int] = {}

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """From memory."""
        known = self._known
        if known.get(key_id, 0) > 0:
            known[key_id] -= 1
            with suppress(KeyNotFound):
                return self.found(key_id)
        record = super().usable(key_id, purpose)
        known[key_id] = 20
        return record


@animal(
    "deleted-decrypts",
    "A key whose time has come still decrypts.",
    "Deletion that waits for a job at night.",
    caught_by="life.deleted",
)
class DeletedDecrypts(Sound):
    """Keeps a copy."""

    _kept: dict[str, tuple[KeyRecord, bytes]] = {}  # noqa: RUF012 - survives the opening

    def make_material(self, record: KeyRecord, number: int) -> Material:
        """And remembers it."""
        made = super().make_material(record, number)
        self._kept[record.key_id] = (record, made.sealed)
        return made

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """With the copy, when the key is gone."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        taken = parse(ciphertext)
        kept = self._kept.get(taken.key_id)
        if kept is not None:
            try:
                self.registry.find(taken.key_id)
            except KeyNotFound:
                aad = self.aad(taken.header, context)
                with suppress(InvalidTag):
                    plaintext = AESGCM(kept[1]).decrypt(taken.nonce, taken.sealed, aad)
                    return Decrypted(taken.key_id, plaintext)
        return super().decrypt(key_id, ciphertext, context)


@animal(
    "scheduled-from-enabled",
    "An enabled key can be scheduled for deletion.",
    "AWS KMS allows it.",
    caught_by="life.scheduled",
)
class ScheduledFromEnabled(Sound):
    """Disables it by itself."""

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """In one step."""
        with suppress(KeyStateError):
            self.registry.disable(key_id)
        return super().schedule_key_deletion(key_id, days)


@animal(
    "cancelled-is-enabled",
    "A key whose deletion was cancelled is enabled.",
    "Undo that goes too far.",
    caught_by="life.scheduled",
    also="life.deletion-time fault.unsafe-once",
)
class CancelledIsEnabled(Sound):
    """Back to work."""

    def cancel_key_deletion(self, key_id: str) -> None:
        """And enabled."""
        super().cancel_key_deletion(key_id)
        self.registry.enable(key_id)


@animal(
    "scheduled-decrypts",
    "A key that is pending deletion still decrypts.",
    "A grace period for data, not for keys.",
    caught_by="life.scheduled",
)
class ScheduledDecrypts(_Careless):
    """Until the last day."""

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """For decryption."""
        record = self.found(key_id)
        if purpose is Purpose.DECRYPT and record.state == "PENDING_DELETION":
            return record
        return super().usable(key_id, purpose)


@animal(
    "deletion-a-day-late",
    "Deletion comes a day later than was asked for.",
    "Days that are counted from midnight.",
    caught_by="life.deletion-time",
    also="life.deleted",
)
class DeletionADayLate(Sound):
    """Rounds up."""

    limits = Limits(deletion_days=(7, 29))

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """One more."""
        return super().schedule_key_deletion(key_id, days + 1)


@animal(
    "deletion-time-local",
    "The time of deletion has no time zone.",
    "datetime.fromtimestamp with one argument.",
    caught_by="life.deletion-time",
    also="life.scheduled",
)
class DeletionTimeLocal(Sound):
    """Naive."""

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """Without one."""
        return super().schedule_key_deletion(key_id, days).replace(tzinfo=None)


@animal(
    "rotation-loses-versions",
    "After a rotation, what the old version encrypted does not open.",
    "Rotation that replaces.",
    caught_by="life.rotation",
    also="life.rotation-schedule thread.rotate",
)
class RotationLosesVersions(Sound):
    """One version at a time."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """With the newest alone."""
        return super().opened(record, taken._replace(key_version=record.version), context)


@animal(
    "rotation-does-nothing",
    "Rotation is accepted, and nothing changes.",
    "Test doubles with a method for everything.",
    caught_by="life.rotation",
    also="life.rotation-limits",
)
class RotationDoesNothing(Sound):
    """Nods."""

    def rotate_key(self, key_id: str) -> None:
        """And goes on."""
        self.registry.find(key_id)


@animal(
    "rotation-of-disabled",
    "A disabled key rotates.",
    "Rotation that wakes a key up.",
    caught_by="life.rotation-limits",
)
class RotationOfDisabled(Sound):
    """Wakes it, rotates it, and lays it down again."""

    def rotate_key(self, key_id: str) -> None:
        """In any state but the last."""
        record = self.registry.find(key_id)
        if record.state == "DISABLED":
            self.registry.enable(key_id)
            super().rotate_key(key_id)
            self.registry.disable(key_id)
        else:
            super().rotate_key(key_id)


@animal(
    "rotation-never-due",
    "A key that shall rotate by itself never does.",
    "A schedule that is stored, and read by nobody.",
    caught_by="life.rotation-schedule",
)
class RotationNeverDue(Sound):
    """Writes it down."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """And forgets."""
        record = self.usable(key_id, Purpose.ENCRYPT)
        if self.registry.rotation_due(record):
            self.registry.set_rotation(key_id, None)
        return super().encrypt(key_id, plaintext, context)


@animal(
    "archived-encrypts",
    "An archived key encrypts.",
    "An archive that is a label.",
    caught_by="life.archive",
    also="life.model",
)
class ArchivedEncrypts(_Careless):
    """Does not mind."""

    def usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        """For encryption too."""
        record = self.found(key_id)
        if purpose is Purpose.ENCRYPT and record.state == "ARCHIVED":
            return record
        return super().usable(key_id, purpose)
