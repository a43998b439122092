"""The tables of the state, and their rows."""

from __future__ import annotations

from typing import Final, NamedTuple

APPLICATION_ID: Final = 0x6B6D7361
"""``kmsa`` in ASCII: marks the file as ours."""

SCHEMA: Final = """
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL UNIQUE,
    uin INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
    alias TEXT NOT NULL,
    uin INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (alias, uin)
) STRICT, WITHOUT ROWID;
CREATE TABLE tags (
    resource TEXT NOT NULL,
    tag TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (resource, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE bindings (
    key_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    PRIMARY KEY (key_id, product_id, resource_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE data_keys (
    place INTEGER PRIMARY KEY,
    data_key_id TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL,
    uin INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    deletion_at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    blob TEXT NOT NULL,
    context TEXT NOT NULL,
    UNIQUE (uin, name)
) STRICT;
CREATE TABLE changes (number INTEGER NOT NULL) STRICT;
INSERT INTO changes VALUES (0);
"""


class KeyRow(NamedTuple):
    """What is kept of a key.

    Attributes:
        key_id: Its id in the API.
        provider_id: Its id in the key store; the same, unless it was seeded with a fixed id.
        uin: The account that it belongs to.
        rotated_at: When ``RotateKey`` last rotated it, in seconds since the epoch, or 0.
    """

    key_id: str
    provider_id: str
    uin: int
    rotated_at: int = 0


class DataKeyRow(NamedTuple):
    """A hosted data key.

    Attributes:
        data_key_id: A random UUID.
        key_id: The API's id of the key that encrypts it.
        uin: The account that it belongs to.
        name: Unique in the account.
        description: Free text.
        size: Its length in bytes.
        created_at: When it was made, in seconds since the epoch.
        state: ``Enabled``, ``Disabled`` or ``PendingDelete``.
        deletion_at: When it will be gone, or 0.
        origin: ``TENCENT_KMS`` or ``EXTERNAL``.
        blob: The data key, encrypted.
        context: The encryption context that it is bound to, as canonical JSON, or empty.
    """

    data_key_id: str
    key_id: str
    uin: int
    name: str
    description: str
    size: int
    created_at: int
    state: str
    deletion_at: int
    origin: str
    blob: str
    context: str
