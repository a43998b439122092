"""Authenticated rows: what somebody else wrote into the file is noticed when it is read."""

import hmac
import sqlite3
from typing import Any

import pytest

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin, WrappingAlgorithm
from kmscore.errors import IntegrityError
from kmscore.registry import Purpose, Registry, SqliteStore
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord
from kmscore.registry.rows import JOB_COLUMNS, KEY_COLUMNS, VERSION_COLUMNS, Rows


def authenticate(row):
    """The code of a row."""
    return hmac.digest(b"a key of the provider", row, "sha256")


@pytest.fixture
def registry(registry):
    """A registry whose rows are protected."""
    registry._store.protect(authenticate)
    return registry


@pytest.fixture
def edit(path):
    """Changes the file behind the registry's back."""

    def edit(statement, *values):
        connection = sqlite3.connect(path, isolation_level=None)
        changed = connection.execute(statement, values).rowcount
        connection.close()
        assert changed == 1

    return edit


@pytest.fixture
def put(edit):
    """Puts something else into a column of a table with one row."""

    def put(table, column):
        edit(f"UPDATE {table} SET {column} = ?", CHANGED[column])  # noqa: S608 - column names

    return put


@pytest.fixture
def key(registry, keys, clock):
    """An external key that has a value in every column, a version and an import job."""
    key_id = keys.imported(alias="db", description="text", valid_to=clock.now + 60)
    with registry._store.write() as writer:
        writer.update_key(
            writer.key(key_id)._replace(rotation_days=7, rotated_at=1, next_rotation_at=2)
        )
    return key_id


CHANGED = {
    "spec": "AES_128",
    "usage": "SIGN_VERIFY",
    "origin": "GENERATED",
    "state": "DISABLED",
    "alias": None,
    "description": "other",
    "fingerprint": b"other",
    "material": b"other",
    "public_key": b"other",
    "wrapping": "RSAES_PKCS1_V1_5",
    "token_digest": bytes(32),
    "private_key": b"other",
    "mac": bytes(32),
    **dict.fromkeys(
        ("created_at", "version", "deletion_at", "valid_to", "expires_at"), 9_999_999_999
    ),
    **dict.fromkeys(("rotation_days", "rotated_at", "next_rotation_at"), None),
}


@pytest.mark.parametrize("column", [*KEY_COLUMNS[1:], "mac"])
def test_every_column_of_a_key_is_covered(registry, key, put, column):
    """Whichever is changed: an error that names the key, for every way to read it."""
    registry.usable(key, Purpose.ENCRYPT)
    put("keys", column)
    for use in (
        lambda: registry.find(key),
        lambda: registry.usable(key, Purpose.ENCRYPT),
        lambda: registry.disable(key),
        lambda: registry.page(10, None),
    ):
        with pytest.raises(IntegrityError, match="was altered") as failed:
            use()
        assert failed.value.key == key
        assert "backup" in failed.value.hint


def test_a_forgotten_value_is_noticed(registry, key, edit):
    """A key that shall never expire, or whose name is gone, is an altered key."""
    edit("UPDATE keys SET valid_to = NULL")
    with pytest.raises(IntegrityError):
        registry.find(key)


def test_versions_cannot_change_places(registry, keys, edit):
    """Neither between keys nor within one."""
    first, second = keys.create(), keys.create()
    registry.rotate(first, keys.make)
    edit("DELETE FROM versions WHERE key_id = ?", second)
    edit("UPDATE versions SET key_id = ? WHERE key_id = ? AND number = 1", second, first)
    edit("UPDATE versions SET number = 1 WHERE key_id = ?", first)
    for key_id in (first, second):
        with pytest.raises(IntegrityError, match="was altered"):
            registry.version(key_id, 1)


@pytest.mark.parametrize("column", [*VERSION_COLUMNS[2:], "mac"])
def test_every_column_of_a_version_is_covered(registry, key, put, column):
    """Material and public key cannot be exchanged."""
    put("versions", column)
    with pytest.raises(IntegrityError, match="was altered") as failed:
        registry.version(key, 1)
    assert failed.value.key == key


@pytest.mark.parametrize("column", [*JOB_COLUMNS[1:], "mac"])
def test_every_column_of_an_import_job_is_covered(registry, key, put, column):
    """Nobody plants a wrapping key of their own, or makes a token last."""
    put("jobs", column)
    with pytest.raises(IntegrityError, match="was altered"):
        registry.check_import(key, b"token")
    with pytest.raises(IntegrityError, match="was altered"):
        registry.finish_import(key, b"token", b"print", None, None)


def test_a_moved_alias_is_noticed(registry, keys, key, edit):
    """A name that is given to another key leads to an error, not to that key."""
    other = keys.create()
    edit("UPDATE keys SET alias = NULL WHERE key_id = ?", key)
    edit("UPDATE keys SET alias = 'db' WHERE key_id = ?", other)
    with pytest.raises(IntegrityError):
        registry.find("db")


def test_another_authenticator_opens_nothing(registry, key, path):
    """Rows of a registry under another key are all altered rows."""
    store = SqliteStore(path)
    store.protect(lambda row: hmac.digest(b"another", row, "sha256"))
    with pytest.raises(IntegrityError):
        store.key(key)
    store.close()


def test_without_protection_rows_still_have_to_make_sense(path, keys, clock, edit):
    """A word that is not in the vocabulary is an altered row too."""
    store = SqliteStore(path)
    plain = Registry(store, clock=clock)
    keys.registry = plain
    key_id = keys.external()
    keys.ask(key_id)
    edit("UPDATE jobs SET wrapping = 'ROT13'")
    with pytest.raises(IntegrityError):
        plain.check_import(key_id, b"token")
    edit("UPDATE keys SET state = 'FINE'")
    with pytest.raises(IntegrityError):
        plain.find(key_id)
    plain.close()


def encodings(*records):
    """The bytes that are authenticated for records."""
    rows = Rows("test")
    rows.authenticate = lambda row: row
    writers: dict[type, Any] = {
        KeyRecord: rows.of_key,
        VersionRecord: rows.of_version,
        ImportJob: rows.of_job,
    }
    return [writers[type(record)](record)[-1] for record in records]


def test_different_rows_never_have_the_same_encoding():
    """Values cannot run into each other, change their type, or move to another table."""
    key = KeyRecord(
        "id", KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT, Origin.EXTERNAL, KeyState.ENABLED, 1
    )
    variants = [
        key,
        key._replace(alias=""),
        key._replace(alias="1"),
        key._replace(alias="ab", description="c"),
        key._replace(alias="a", description="bc"),
        key._replace(version=1),
        key._replace(version=11),
        key._replace(created_at=11),
        key._replace(deletion_at=5),
        key._replace(valid_to=5),
        key._replace(fingerprint=b"1"),
        VersionRecord("id", 1, 2, b"ab", b"c"),
        VersionRecord("id", 1, 2, b"a", b"bc"),
        VersionRecord("id", 12, 2, b"a", b"bc"),
        ImportJob("id", WrappingAlgorithm.RSAES_OAEP_SHA_1, b"ab", b"c", 1),
        ImportJob("id", WrappingAlgorithm.RSAES_OAEP_SHA_1, b"a", b"bc", 1),
    ]
    assert len(set(encodings(*variants))) == len(variants)


def test_the_encoding_of_rows_does_not_change():
    """Keystores of today are opened by every later version: format 1, byte by byte."""
    job = ImportJob("id", WrappingAlgorithm.RSAES_OAEP_SHA_1, b"\x00", b"", 77)
    version = VersionRecord("id", 1, 2, b"m", b"p")
    assert encodings(job)[0] == (
        b"jobs\x00s\x00\x00\x00\x02id\x00s\x00\x00\x00\x10RSAES_OAEP_SHA_1"
        b"\x00b\x00\x00\x00\x01\x00\x00b\x00\x00\x00\x00\x00i\x00\x00\x00\x0277"
    )
    assert encodings(version)[0] == (
        b"versions\x00s\x00\x00\x00\x02id\x00i\x00\x00\x00\x011\x00i\x00\x00\x00\x012"
        b"\x00b\x00\x00\x00\x01m\x00b\x00\x00\x00\x01p"
    )
    columns = (
        "key_id spec usage origin state created_at alias description version deletion_at valid_to "
        "rotation_days rotated_at next_rotation_at fingerprint"
    )
    assert list(KEY_COLUMNS) == columns.split()
