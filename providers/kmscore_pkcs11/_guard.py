"""What ties a registry to its token: a MAC key on the token, without which no row is believed.

Who can write the registry's file, but has no PIN, could otherwise give a key's name to another key
on the token, or enable what is disabled. The token's key stays inside; what it signs at each start
becomes the keys of this process.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from kmscore.errors import ConfigError, IntegrityError, KeyNotFound
from kmscore_pkcs11._objects import read_back, remove
from kmscore_pkcs11._templates import IDENTITY_BYTES, checked, secret_key

if TYPE_CHECKING:
    from kmscore.registry import SqliteStore
    from kmscore_pkcs11._sessions import Session
    from kmscore_pkcs11._token import Token

GUARD: Final = "guard"
HOST: Final = "host"
_LABEL: Final = "kms:registry"
_PURPOSE: Final = b"kmscore pkcs11 registry v1 "
_ON_TOKEN: Final = b"\x01"
_IN_FILE: Final = b"\x02"


class Guard(NamedTuple):
    """Secrets of a registry; never printed.

    Attributes:
        rows: Authenticates rows, or None where the token has no HMAC.
        fingerprints: Recognises imported material.
    """

    rows: bytes | None
    fingerprints: bytes

    def __repr__(self) -> str:
        return "<Guard>"


def open_guard(store: SqliteStore, token: Token, *, with_hmac: bool) -> Guard:
    """The registry's secrets, made when the registry is new.

    Args:
        store: The registry's database.
        token: The token.
        with_hmac: Whether the token computes HMAC-SHA-256.

    Raises:
        ConfigError: The registry belongs to another token.
    """
    stored = store.meta(GUARD)
    if stored is None:
        with store.write() as writer:
            # Another process may have been quicker.
            stored = writer.meta(GUARD)
            if stored is None:
                if with_hmac:
                    identity = os.urandom(IDENTITY_BYTES)
                    token.change("C_GenerateKey", guard_key, identity, _LABEL)
                    stored = _ON_TOKEN + identity
                else:
                    stored = _IN_FILE + os.urandom(32)
                writer.put_meta(GUARD, stored)
    if stored[:1] == _IN_FILE:
        if with_hmac:
            raise IntegrityError(
                f"registry {store.path} claims that its token has no HMAC, which is not so",
                hint="Restore the registry from a backup, and find out who can write it",
            )
        secret = stored[1:]
        return Guard(None, hmac.digest(secret, _PURPOSE + b"fingerprints", "sha256"))
    place = (ObjectClass.SECRET_KEY, stored[1:])
    try:
        secret = token.use(place, "C_Sign", hmac_sha256, _PURPOSE)
    except KeyNotFound as error:
        raise ConfigError(
            f"registry {store.path} belongs to another token",
            hint="Check which token the configuration names, or give another path",
        ) from error
    return Guard(
        hmac.digest(secret, b"rows", "sha256"), hmac.digest(secret, b"fingerprints", "sha256")
    )


def identity_of_guard(store: SqliteStore) -> bytes:
    """CKA_ID of the registry's own key on the token; empty where the token has no HMAC."""
    stored = store.meta(GUARD) or b""
    return stored[1:] if stored[:1] == _ON_TOKEN else b""


def guard_key(session: Session, identity: bytes, label: str, *, token: bool = True) -> int:
    """A new key for HMAC-SHA-256; its handle."""
    remove(session, identity)
    template = secret_key(identity, label, token=token) | {
        Attribute.ENCRYPT: False,
        Attribute.DECRYPT: False,
        Attribute.SIGN: True,
        Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
    }
    key = session.raw.generate_key(
        KeyType.GENERIC_SECRET,
        256,
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        capabilities=0,
        template=checked(template),
    )
    wrong = read_back(key, template)
    if wrong:
        key.destroy()
        raise ConfigError(f"the token makes keys with another {wrong} than it was asked for")
    return int(key.handle)


def hmac_sha256(session: Session, handle: int, data: bytes) -> bytes:
    """HMAC-SHA-256 in the token (FIPS 198-1)."""
    code: bytes = session.key(handle, KeyType.GENERIC_SECRET)._sign(data, Mechanism.SHA256_HMAC)  # noqa: SLF001
    return code


def require_one_host(store: SqliteStore, serial: str, label: str, *, take_over: bool) -> None:
    """Refuse a registry that another host uses with the same token.

    Two registries of one token would each have their own truth: disabled here, usable there.

    Args:
        store: The registry's database.
        serial: The token's serial number.
        label: The token's label.
        take_over: Make this host its host.

    Raises:
        ConfigError: It belongs to another host or token.
    """
    here = _host() + hashlib.sha256(f"{serial}\0{label}".encode()).digest()
    stored = store.meta(HOST)
    if stored is None or (take_over and stored != here):
        with store.write() as writer:
            writer.put_meta(HOST, here)
        return
    if stored[32:] != here[32:]:
        raise ConfigError(
            f"registry {store.path} belongs to another token than {label!r}",
            hint="Check which token the configuration names, or give another path",
        )
    if stored[:32] != here[:32]:
        raise ConfigError(
            f"registry {store.path} was made on another host, and a registry has one host",
            hint="If that host has given it up for good, start once with take_over = true",
        )


def _host() -> bytes:
    """This host, by its machine-id, which is not shown to others as such (machine-id(5))."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            identity = Path(path).read_bytes().strip()
        except OSError:
            continue
        if identity:
            return hmac.digest(identity, b"kmscore pkcs11 registry", "sha256")
    return hmac.digest(os.uname().nodename.encode(), b"kmscore pkcs11 registry", "sha256")
