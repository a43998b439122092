"""The keystore: the registry on a file, with key material sealed under the master key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kmscore.errors import IntegrityError
from kmscore.hashing import hmac_sha256, keyed_hmac_sha256
from kmscore.registry import Material, Registry, SqliteStore
from kmscore_software._root import (
    Root,
    RootSecret,
    derive,
    new_master_key,
    open_master_key,
    seal_master_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kmscore.algorithms import KeySpec
    from kmscore.registry.model import KeyRecord, VersionRecord

_MASTER: Final = "master-key"
_NONCE_BYTES: Final = 12


class Keystore:
    """A registry of keys, and the seal on their material.

    Args:
        path: The file.
        root: What opens it.
        clock: Seconds since the epoch.

    Raises:
        IntegrityError: The root key is wrong, or the file was altered; nothing is changed.
        ConfigError: The file is open to others, or the root key has no usable form.
    """

    def __init__(self, path: Path, root: Root, clock: Callable[[], float]) -> None:
        self.path = path
        # A secret that cannot be read leaves no new file behind, and no other process waiting.
        secret = root.read()
        self._store = SqliteStore(path)
        try:
            keys = derive(self._master_key(secret))
        except BaseException:
            self._store.close()
            raise
        self._seal = AESGCM(keys.sealing)
        self._fingerprints = keys.fingerprints
        self._store.protect(keyed_hmac_sha256(keys.rows))
        self.registry = Registry(self._store, clock=clock)

    def rewrap_root(self, current: Root, new: Root) -> None:
        """Seal the master key under another root key, in one transaction.

        Processes that have the keystore open go on; the old root key opens it no more. Backups
        of the file still open with the old one.

        Raises:
            IntegrityError: The current root key is wrong; nothing is changed.
            ConfigError: One of them cannot be read, or has no usable form.
        """
        old_secret, new_secret = current.read(), new.read()
        with self._store.write() as writer:
            sealed = writer.meta(_MASTER)
            if sealed is None:
                raise self._lost()
            master = open_master_key(sealed, old_secret, str(self.path))
            writer.put_meta(_MASTER, seal_master_key(master, new_secret))

    def seal(self, record: KeyRecord, number: int, secret: bytes, public: bytes = b"") -> Material:
        """Seal the material of a key's version."""
        return Material(self._sealed(_version_label(record, number), secret), public)

    def open(self, record: KeyRecord, version: VersionRecord) -> bytes:
        """The material of a key's version.

        Raises:
            IntegrityError: It was altered, or belongs to another key.
        """
        return self._opened(_version_label(record, version.number), version.material, record.key_id)

    def seal_wrapping_key(self, key_id: str, secret: bytes) -> bytes:
        """Seal the private wrapping key of an import."""
        return self._sealed(_label(b"wrapping key", key_id.encode()), secret)

    def open_wrapping_key(self, key_id: str, sealed: bytes) -> bytes:
        """The private wrapping key of an import."""
        return self._opened(_label(b"wrapping key", key_id.encode()), sealed, key_id)

    def fingerprint(self, spec: KeySpec, material: bytes) -> bytes:
        """What imported material is recognised by; of no use without the master key."""
        return hmac_sha256(self._fingerprints, _label(spec.encode(), material))

    def close(self) -> None:
        """Close the file."""
        self.registry.close()

    def _master_key(self, root: RootSecret) -> bytes:
        sealed = self._store.meta(_MASTER)
        if sealed is None:
            with self._store.write() as writer:
                # Another process may have been quicker.
                sealed = writer.meta(_MASTER)
                if sealed is None:
                    if self._store.count():
                        raise self._lost()
                    master, sealed = new_master_key(root)
                    writer.put_meta(_MASTER, sealed)
                    return master
        return open_master_key(sealed, root, str(self.path))

    def _lost(self) -> IntegrityError:
        return IntegrityError(
            f"the master key in {self.path} is gone", hint="Restore the keystore from a backup"
        )

    def _sealed(self, label: bytes, secret: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, secret, label)

    def _opened(self, label: bytes, sealed: bytes, key_id: str) -> bytes:
        try:
            return self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(
                f"the material of key {key_id} in {self.path} was altered",
                hint="Restore the keystore from a backup, and find out who can write it",
                key=key_id,
            ) from error


def _version_label(record: KeyRecord, number: int) -> bytes:
    return _label(
        b"material",
        record.key_id.encode(),
        number.to_bytes(4),
        record.spec.encode(),
        record.usage.encode(),
        record.origin.encode(),
    )


def _label(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)
