"""A keystore that somebody else wrote into: noticed, whatever was changed."""

import sqlite3

import pytest

import kmscore
from kmscore.errors import (
    IntegrityError,
)
from kmscore.plugin import Secret

COLUMNS = [
    ("keys", "spec", "SM4"),
    ("keys", "usage", "SIGN_VERIFY"),
    ("keys", "origin", "GENERATED"),
    ("keys", "state", "ENABLED"),
    ("keys", "created_at", 1),
    ("keys", "alias", "other"),
    ("keys", "description", "other"),
    ("keys", "version", 2),
    ("keys", "deletion_at", 9_999_999_999),
    ("keys", "valid_to", 9_999_999_999),
    ("keys", "rotation_days", 7),
    ("keys", "rotated_at", 1),
    ("keys", "next_rotation_at", 9_999_999_999),
    ("keys", "fingerprint", bytes(32)),
    ("keys", "mac", bytes(32)),
    ("versions", "created_at", 1),
    ("versions", "material", bytes(60)),
    ("versions", "public_key", b"other"),
    ("versions", "mac", bytes(32)),
]


@pytest.mark.parametrize(("table", "column", "value"), COLUMNS)
def test_a_changed_column_is_noticed(connect, kms, owner, edit, table, column, value):
    """Whichever it is, by who opens the keystore next: an error that names key and keystore."""
    key = owner.key(kms, "AES_256", b"m" * 32)
    sealed = key.encrypt(b"x")
    if column == "state":
        key.disable()
    kms.close()
    edit(f"UPDATE {table} SET {column} = ?", value)  # noqa: S608 - names from above
    again = connect()
    with pytest.raises(IntegrityError, match="was altered") as failed:
        again.decrypt(sealed)
    assert failed.value.key == key.key_id
    assert "keystore.db" in failed.value.message


def test_a_changed_row_is_noticed_by_who_has_the_keystore_open(kms, edit):
    """At the next call, although everything is in memory."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    edit("UPDATE keys SET description = 'other'")
    with pytest.raises(IntegrityError, match="was altered"):
        key.decrypt(sealed)


@pytest.mark.parametrize("column", ["wrapping", "token_digest", "private_key", "expires_at", "mac"])
def test_a_changed_import_job_is_noticed(kms, edit, owner, column):
    """Nobody plants a wrapping key or a token of his own."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters()
    value = {"wrapping": "RSAES_OAEP_SHA_1", "expires_at": 9_999_999_999}.get(column, bytes(32))
    edit(f"UPDATE jobs SET {column} = ?", value)  # noqa: S608 - names from above
    with pytest.raises(IntegrityError, match="was altered"):
        key.import_material(owner.wrap(parameters, b"m" * 32), parameters.token)


def test_the_seal_binds_material_to_its_key(kms):
    """Without the row's code too: under another key, number, spec, usage or origin it stays shut.

    So a seal is of no use anywhere else, even to who could write rows with a good code.
    """
    key = kms.create_key("AES_256")
    store = kms.provider._keystore
    record = store.registry.find(key.key_id)
    version = store.registry.version(key.key_id, 1)
    assert len(store.open(record, version)) == 32
    other = kms.create_key("AES_256").key_id
    wrong = [
        (record._replace(key_id=other), version),
        (record._replace(spec="SM4"), version),
        (record._replace(usage="SIGN_VERIFY"), version),
        (record._replace(origin="EXTERNAL"), version),
        (record, version._replace(number=2)),
        (record, version._replace(material=version.material[:-1])),
        (record, version._replace(material=b"")),
    ]
    for another_record, another_version in wrong:
        with pytest.raises(IntegrityError, match="was altered"):
            store.open(another_record, another_version)
    with pytest.raises(IntegrityError, match="was altered"):
        store.open_wrapping_key(key.key_id, version.material)


@pytest.mark.parametrize("place", [0, 1, 16, 17, 28, 29, 60, 76])
def test_a_changed_master_key_is_noticed(connect, kms, edit, query, place):
    """In every part of its row: kind, salt, nonce, ciphertext and tag."""
    [(sealed,)] = query("SELECT value FROM meta")
    changed = bytearray(sealed)
    changed[place] ^= 0x80
    edit("UPDATE meta SET value = ?", bytes(changed))
    with pytest.raises(IntegrityError):
        connect()


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01" * 76, b"\x01" * 78])
def test_a_master_key_of_another_length_is_noticed(connect, kms, edit, value):
    """Whatever stands there instead."""
    edit("UPDATE meta SET value = ?", value)
    with pytest.raises(IntegrityError, match="was altered"):
        connect()


def test_a_master_key_that_is_gone(connect, kms, edit):
    """Keys without one are a damaged keystore, not a new one; and nothing replaces it."""
    kms.create_key("AES_256")
    edit("DELETE FROM meta")
    with pytest.raises(IntegrityError, match="is gone"):
        connect()
    with pytest.raises(IntegrityError, match="is gone"):
        kms.provider.rewrap_root(Secret("new", lambda: b"n" * 32), passphrase=False)


def test_a_keystore_of_somebody_else(connect, kms, tmp_path, path):
    """A whole row taken over from another keystore has no good code here."""
    sealed = kms.create_key("AES_256", alias="k").encrypt(b"x")
    kms.close()
    foreign = tmp_path / "foreign.db"
    table = {"type": "software", "path": str(foreign), "root_key": lambda: b"r" * 32}
    with kmscore.connect(config={"providers": {"other": table}}) as other:
        other.create_key("AES_256")
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("ATTACH ? AS other", (str(foreign),))
    database.execute("INSERT INTO keys SELECT * FROM other.keys WHERE true ON CONFLICT DO NOTHING")
    database.execute("UPDATE keys SET mac = (SELECT mac FROM other.keys)")
    database.close()
    with pytest.raises(IntegrityError, match="was altered"):
        connect().decrypt(sealed)
