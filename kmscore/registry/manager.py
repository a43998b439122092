"""The life of keys for providers whose keys are in a registry: `KeyManager`, done."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime

from kmscore.registry.material import Material
from kmscore.registry.model import KeyRecord
from kmscore.registry.registry import Registry
from kmscore.spi import KeyInfo, KeyManager, KeyPage, NewKey


class RegisteredKeys(KeyManager):
    """Keys and their life cycle as the registry's rules have them.

    A provider inherits it, sets `registry`, and makes the material; it overrides what has to
    happen somewhere else, too.

    Attributes:
        registry: Where the keys are.
    """

    registry: Registry

    @abstractmethod
    def make_material(self, record: KeyRecord, number: int) -> Material:
        """Make and seal the material of a key's new version."""

    def create_key(self, new: NewKey) -> KeyInfo:
        """Make a key, durably."""
        return self.registry.info(self.registry.create(new, self.make_material))

    def describe_key(self, ref: str) -> KeyInfo:
        """A key by its id or alias."""
        return self.registry.info(self.registry.find(ref))

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Keys in the order of their creation."""
        return self.registry.page(limit, cursor)

    def enable_key(self, key_id: str) -> None:
        """DISABLED to ENABLED."""
        self.registry.enable(key_id)

    def disable_key(self, key_id: str) -> None:
        """ENABLED to DISABLED; holds at once in every process."""
        self.registry.disable(key_id)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """DISABLED to PENDING_DELETION."""
        return datetime.fromtimestamp(self.registry.schedule_deletion(key_id, days), UTC)

    def cancel_key_deletion(self, key_id: str) -> None:
        """PENDING_DELETION to DISABLED."""
        self.registry.cancel_deletion(key_id)

    def set_alias(self, key_id: str, alias: str) -> None:
        """Give the key another name."""
        self.registry.set_alias(key_id, alias)

    def set_description(self, key_id: str, description: str) -> None:
        """Replace the free text."""
        self.registry.set_description(key_id, description)

    def rotate_key(self, key_id: str) -> None:
        """Make a new version now."""
        self.registry.rotate(key_id, self.make_material)

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Rotate every ``days`` days, at the first encryption after that time."""
        self.registry.set_rotation(key_id, days)

    def archive_key(self, key_id: str) -> None:
        """Keep the key for decryption only."""
        self.registry.archive(key_id)

    def restore_key(self, key_id: str) -> None:
        """ARCHIVED to ENABLED."""
        self.registry.restore(key_id)
