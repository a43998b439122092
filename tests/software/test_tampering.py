"""A keystore that somebody else wrote into: noticed, whatever was changed."""

import sqlite3

import pytest

import kmscore
from kmscore import Message
from kmscore.errors import CiphertextInvalid, IntegrityError
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
    """Whichever it is, by who opens the keystore next; the other keys are not affected."""
    key = owner.key(kms, "AES_256", b"m" * 32)
    sealed = key.encrypt(b"x")
    if column == "state":
        key.disable()
    cipher, pair = kms.create_key("SM4"), kms.create_key("ED25519")
    untouched = cipher.encrypt(b"y")
    kms.close()
    which = f"UPDATE {table} SET {column} = ? WHERE key_id = ?"  # noqa: S608 - names from above
    edit(which, value, key.key_id)
    again = connect()
    assert again.decrypt(untouched) == b"y"
    assert again.key(pair.key_id).sign(Message(b"m"))
    with pytest.raises(IntegrityError, match="was altered") as failed:
        again.decrypt(sealed)
    assert failed.value.key == key.key_id
    assert "keystore.db" in failed.value.message


NAMES = {"keys": {"place", "key_id"}, "versions": {"key_id", "number"}, "jobs": {"key_id"}}


def test_no_column_is_forgotten_here(kms, query):
    """Every one of the file is changed by some test of this page, or names its row."""
    tables = {name for (name,) in query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {*NAMES, "meta"}
    changed = {(table, column) for table, column, _ in COLUMNS}
    changed |= {("jobs", column) for column in JOB_COLUMNS}
    there = {
        (table, row[1])
        for table, names in NAMES.items()
        for row in query(f"PRAGMA table_info({table})")
        if row[1] not in names
    }
    assert changed == there
    assert [row[1] for row in query("PRAGMA table_info(meta)")] == ["name", "value"]


def test_rows_that_are_given_another_name(connect, kms, path):
    """Material of one key under the id of another, and one key under the name of another."""
    one, two = kms.create_key("AES_256", alias="one"), kms.create_key("AES_256", alias="two")
    sealed, untouched = one.encrypt(b"x"), kms.create_key("AES_256").encrypt(b"y")
    kms.close()
    database = sqlite3.connect(path, isolation_level=None)
    for old, new in ((one.key_id, "0"), (two.key_id, one.key_id)):
        database.execute("UPDATE versions SET key_id = ? WHERE key_id = ?", (new, old))
        database.execute("UPDATE keys SET key_id = ? WHERE key_id = ?", (new, old))
    database.close()
    again = connect()
    with pytest.raises(IntegrityError, match="was altered"):
        again.decrypt(sealed)
    for alias in ("one", "two"):
        with pytest.raises(IntegrityError, match="was altered"):
            again.key(alias)
    with pytest.raises(IntegrityError, match="was altered"):
        list(again.keys())
    assert again.decrypt(untouched) == b"y"


def test_versions_that_are_exchanged(connect, kms, path):
    """An old version's material is not taken for the new one's."""
    key = kms.create_key("AES_256")
    sealed = [key.encrypt(b"1")]
    key.rotate()
    sealed.append(key.encrypt(b"2"))
    kms.close()
    database = sqlite3.connect(path, isolation_level=None)
    for old, new in ((1, 3), (2, 1), (3, 2)):
        database.execute("UPDATE versions SET number = ? WHERE number = ?", (new, old))
    database.close()
    again = connect()
    for each in sealed:
        with pytest.raises(IntegrityError, match="was altered"):
            again.decrypt(each)


def test_rows_that_are_removed(connect, kms, path, edit):
    """A version that the key says it has is missed; a key without its row is not there."""
    key, gone = kms.create_key("AES_256"), kms.create_key("AES_256")
    sealed, lost = key.encrypt(b"x"), gone.encrypt(b"x")
    kms.close()
    edit("DELETE FROM versions WHERE key_id = ?", key.key_id)
    edit("DELETE FROM keys WHERE key_id = ?", gone.key_id)
    again = connect()
    with pytest.raises(IntegrityError, match="is missing"):
        again.decrypt(sealed)
    with pytest.raises(CiphertextInvalid):
        again.decrypt(lost)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE keys SET description = CAST(x'ff' AS TEXT)",
        "DROP TABLE versions",
        "ALTER TABLE keys RENAME COLUMN mac TO code",
    ],
)
def test_what_no_longer_fits_the_format_is_an_alteration(connect, kms, path, change):
    """Text that is none, a table or a column that is gone: no defect of kmscore."""
    sealed = kms.create_key("AES_256").encrypt(b"x")
    kms.close()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(change)
    database.close()
    with pytest.raises(IntegrityError, match=r"keystore\.db is damaged"):
        connect().decrypt(sealed)


def test_a_changed_row_is_noticed_by_who_has_the_keystore_open(kms, edit):
    """At the next call, although everything is in memory."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    edit("UPDATE keys SET description = 'other'")
    with pytest.raises(IntegrityError, match="was altered"):
        key.decrypt(sealed)


JOB_COLUMNS = ["wrapping", "token_digest", "private_key", "expires_at", "mac"]


@pytest.mark.parametrize("column", JOB_COLUMNS)
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
