"""The life of keys: written in the registry, and mirrored on the token in the right order."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmscore.algorithms import KeyState
from kmscore.errors import AccessDenied, InternalError, KeyNotFound, Unavailable
from kmscore.registry import Material, RegisteredKeys
from kmscore_pkcs11._ground import OnToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from kmscore.registry import SqliteStore
    from kmscore.registry.model import KeyRecord, VersionRecord
    from kmscore.spi import KeyInfo, NewKey
    from kmscore_pkcs11._importing import Importer
    from kmscore_pkcs11._keys import TokenKeys


class KeysOnToken(OnToken, RegisteredKeys):
    """What changes a key."""

    _clock: Callable[[], float]
    _store: SqliteStore
    _keys: TokenKeys
    _importer: Importer
    _undestroyed: str = ""

    def make_material(self, record: KeyRecord, number: int) -> Material:
        """A new key on the token, and its identity."""
        return self._keys.make(record, number)

    def create_key(self, new: NewKey) -> KeyInfo:
        """Make a key on the token, try it, and enter it in the registry."""
        self._sweep()
        with self._token.changing:
            return super().create_key(new)

    def enable_key(self, key_id: str) -> None:
        """DISABLED to ENABLED: in the registry first, then on the token."""
        with self._token.changing:
            super().enable_key(key_id)
            self._mirror(key_id)

    def disable_key(self, key_id: str) -> None:
        """ENABLED to DISABLED: on the token first, so that it holds in every process at once."""
        self._switch_off(key_id, KeyState.DISABLED, self.registry.disable)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """DISABLED to PENDING_DELETION; the token has the key switched off already."""
        self._sweep()
        return super().schedule_key_deletion(key_id, days)

    def rotate_key(self, key_id: str) -> None:
        """Make a new version now; on the token, the older ones only decrypt from then on."""
        with self._token.changing:
            super().rotate_key(key_id)
            self._mirror(key_id)

    def archive_key(self, key_id: str) -> None:
        """Keep the key for decryption only, on the token first."""
        self._switch_off(key_id, KeyState.ARCHIVED, self.registry.archive)

    def restore_key(self, key_id: str) -> None:
        """ARCHIVED to ENABLED."""
        with self._token.changing:
            super().restore_key(key_id)
            self._mirror(key_id)

    # --- Inside ------------------------------------------------------------------------------

    def _rotate_if_due(self, key_id: str) -> KeyRecord:
        with self._token.changing:
            record = self.registry.rotate(key_id, self.make_material, only_if_due=True)
            self._mirror(key_id)
        return record

    def _switch_off(self, key_id: str, state: KeyState, write: Any) -> None:
        with self._token.changing:
            record = self.registry.find(key_id)
            if record.state in (KeyState.ENABLED, KeyState.DISABLED):
                with suppress(KeyNotFound):
                    # What is not there cannot be used either.
                    self._keys.mirror(record, self._store.versions(record.key_id), state)
            try:
                write(key_id)
            finally:
                with suppress(KeyNotFound):
                    self._mirror(key_id)

    def _mirror(self, key_id: str) -> None:
        """Give the key's objects the flags of its state, until that is its state afterwards, too.

        Another process may change the state meanwhile, and set the flags before we do.
        """
        while True:
            record = self.registry.find(key_id)
            self._keys.mirror(record, self._store.versions(record.key_id), record.state)
            if self.registry.find(key_id) == record:
                return

    def _destroy(self, record: KeyRecord, versions: list[VersionRecord]) -> None:
        self._keys.destroy(record, versions)
        if record.deletion_at is not None and record.deletion_at <= self._clock():
            self._importer.forget_job(record.key_id)

    def _sweep(self) -> None:
        """Destroy what is due; it counts as gone anyway, so a token that keeps it stops nobody."""
        now = int(self._clock())
        if any(self._store.due(now)):
            try:
                with self._token.changing:
                    self._importer.forget_old_jobs(now)
                    self.registry.sweep()
            except (AccessDenied, InternalError, Unavailable) as error:
                self._undestroyed = str(error)
            else:
                self._undestroyed = ""
