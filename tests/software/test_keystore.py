"""The sealed keystore: what opens it, what is noticed, and what is never on the disk in clear."""

import base64
import os
import sqlite3

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from kmscore_software._keystore import Keystore

import kmscore
from kmscore import Message
from kmscore.errors import (
    ConfigError,
    IntegrityError,
    KmsError,
    Unavailable,
    Unsupported,
)
from kmscore.plugin import Secret


def rows(path, query):
    """What is in the file."""
    database = sqlite3.connect(path)
    found = database.execute(query).fetchall()
    database.close()
    return found


# --- The root key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        bytes(range(32)),
        bytes(range(32)).hex().encode(),
        bytes(range(32)).hex().upper().encode() + b"\n",
        base64.b64encode(bytes(range(32))),
        b" " + base64.b64encode(bytes(range(32))) + b"\r\n",
    ],
)
def test_forms_of_a_root_key(connect, form):
    """Raw, 64 hex digits, or base64: all open what any of them made."""
    sealed = connect(root_key=bytes(range(32))).create_key("AES_256", alias="k").encrypt(b"x")
    assert connect(root_key=form).key("k").decrypt(sealed) == b"x"


@pytest.mark.parametrize(
    "form",
    [
        b"short",
        bytes(31),
        bytes(33),
        b"g" * 64,
        b"ab" * 31 + b" c",
        "ü".encode() * 32,
        b"0" * 63,
        base64.b64encode(bytes(31)),
        base64.urlsafe_b64encode(b"\xff" * 32),
    ],
)
def test_no_root_key(connect, path, form):
    """Said with how to make one, without showing it; and no keystore is made."""
    with pytest.raises(ConfigError, match="not 32 bytes") as failed:
        connect(root_key=form)
    assert "openssl rand" in failed.value.hint
    assert repr(form)[2:-1] not in str(failed.value)
    assert not path.exists()


def test_a_secret_that_cannot_be_read_leaves_no_file(connect, path):
    """The next try finds things as the first one did."""

    def missing():
        raise ConfigError("the variable is not set")

    with pytest.raises(ConfigError, match="not set"):
        connect(root_key=missing)
    assert not path.exists()


@pytest.mark.parametrize("options", [{}, {"root_key": b"r" * 32, "passphrase": b"p" * 32}])
def test_exactly_one_secret(path, options):
    """Neither none nor two of them."""
    table = {name: (lambda value=value: value) for name, value in options.items()}
    with pytest.raises(ConfigError, match="either root_key or passphrase"):
        kmscore.connect(
            config={"providers": {"dev": {"type": "software", "path": str(path), **table}}}
        )
    assert not path.exists()


def test_another_root_key(connect, kms, files):
    """Refused by name of its source; nothing is changed, and the right one opens it still."""
    sealed = kms.create_key("AES_256", alias="k").encrypt(b"x")
    before = files()
    with pytest.raises(IntegrityError, match="does not open") as failed:
        connect(root_key=b"q" * 32)
    assert "nothing was changed" in failed.value.hint
    assert files() == before
    assert connect().key("k").decrypt(sealed) == b"x"


def test_a_passphrase(connect):
    """Stretched by scrypt; another one does not open the keystore, nor does a root key."""
    sealed = connect(passphrase=b"correct horse").create_key("SM4", alias="k").encrypt(b"x")
    assert connect(passphrase=b"correct horse").key("k").decrypt(sealed) == b"x"
    with pytest.raises(IntegrityError, match="does not open"):
        connect(passphrase=b"correct house")
    with pytest.raises(ConfigError, match="has a passphrase, but root_key was given"):
        connect(root_key=b"r" * 32)


def test_a_passphrase_for_a_keystore_with_a_root_key(connect, kms):
    """Said as what it is, not as a wrong secret."""
    with pytest.raises(ConfigError, match="has a root key, but passphrase was given"):
        connect(passphrase=b"correct horse")


def test_a_short_passphrase(connect, path):
    """Fewer than 8 bytes are none."""
    with pytest.raises(ConfigError, match="too short"):
        connect(passphrase=b"1234567")
    assert not path.exists()


def test_equal_passphrases_make_different_keystores(connect, path):
    """The salt is random: nobody prepares a table of guesses."""
    connect(passphrase=b"correct horse")
    [(first,)] = rows(path, "SELECT value FROM meta")
    path.unlink()
    connect(passphrase=b"correct horse")
    [(second,)] = rows(path, "SELECT value FROM meta")
    assert first[1:17] != second[1:17]


# --- Another root key ------------------------------------------------------------------------


def test_another_root_key_from_now_on(connect, kms):
    """The old one opens it no more; who has it open goes on, and so do all keys."""
    key = kms.create_key("AES_256", alias="k")
    sealed = key.encrypt(b"x")
    other = connect()
    kms.provider.rewrap_root(Secret("new", lambda: b"n" * 32), passphrase=False)
    with pytest.raises(IntegrityError, match="does not open"):
        connect()
    for each in (kms, other, connect(root_key=b"n" * 32)):
        assert each.key("k").decrypt(sealed) == b"x"
        assert each.create_key("ED25519").sign(Message(b"m"))
    kms.provider.rewrap_root(Secret("phrase", lambda: b"correct horse"), passphrase=True)
    assert connect(passphrase=b"correct horse").key("k").decrypt(sealed) == b"x"
    assert kms.health().details["root_key"] == "phrase"


def test_what_the_old_root_key_opened_is_overwritten(kms, path, files):
    """Neither the file nor its log keeps the master key under the root key that was given up."""
    [(old,)] = rows(path, "SELECT value FROM meta")
    assert old in files()
    kms.provider.rewrap_root(Secret("new", lambda: b"n" * 32), passphrase=False)
    assert old not in files()


def test_who_no_longer_has_the_right_root_key_cannot_change_it(connect, kms):
    """A process from before the change must not undo it."""
    other = connect()
    kms.provider.rewrap_root(Secret("new", lambda: b"n" * 32), passphrase=False)
    with pytest.raises(IntegrityError, match="does not open"):
        other.provider.rewrap_root(Secret("mine", lambda: b"o" * 32), passphrase=False)
    assert connect(root_key=b"n" * 32)


@pytest.mark.parametrize(("secret", "passphrase"), [(b"short", False), (b"short", True)])
def test_a_new_root_key_that_is_none(connect, kms, secret, passphrase):
    """Refused, and the old one still holds."""
    with pytest.raises(ConfigError):
        kms.provider.rewrap_root(Secret("new", lambda: secret), passphrase=passphrase)
    assert connect()


# --- Nothing in clear ------------------------------------------------------------------------


def test_nothing_secret_is_on_the_disk_in_clear(kms, owner, files, monkeypatch):
    """No material, no wrapping key, no token, no root key, in the file or in its log."""
    secrets = [b"r" * 32]
    seal, wrap = Keystore.seal, Keystore.seal_wrapping_key

    def noting(self, record, number, secret, public=b""):
        secrets.append(secret)
        return seal(self, record, number, secret, public)

    def noting_wrapping(self, key_id, secret):
        secrets.append(secret)
        return wrap(self, key_id, secret)

    monkeypatch.setattr(Keystore, "seal", noting)
    monkeypatch.setattr(Keystore, "seal_wrapping_key", noting_wrapping)
    for spec, usage in (("AES_256", None), ("SM4", None), ("EC_P256", None), ("ED25519", None)):
        kms.create_key(spec, usage=usage)
    for spec in ("RSA_2048", "SM2"):
        kms.create_key(spec, usage="SIGN_VERIFY")
    external = kms.create_key("AES_256", origin="EXTERNAL")
    secrets.append(external.import_parameters().token)
    owner.send(external, b"material of its owner, 32 bytes!")
    assert b"material of its owner, 32 bytes!" in secrets
    numbers = []
    for secret in secrets:
        if len(secret) > 64:
            numbers += private_numbers(secret)
    on_disk = files()
    assert len(secrets) == 11
    assert len(numbers) == 2 * 4 + 3 + 2
    for secret in [*secrets, *numbers]:
        assert secret not in on_disk


def private_numbers(der):
    """The integers of a private key that must not be seen."""
    key = load_der_private_key(der, None)
    if hasattr(key, "private_bytes_raw"):
        return [key.private_bytes_raw()]
    values = key.private_numbers()
    names = ("d", "p", "q", "dmp1") if hasattr(values, "dmp1") else ("private_value",)
    found = [getattr(values, name) for name in names]
    return [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in found]


def test_nothing_shows_a_secret_when_it_is_printed(connect, owner):
    """Neither the provider nor anything that it holds."""
    kms = connect(passphrase=b"correct horse")
    provider = kms.provider
    key = owner.key(kms, "AES_256", b"material of its owner, 32 bytes!")
    key.encrypt(b"x")
    store = provider._keystore
    record = store.registry.find(key.key_id)
    version = store.registry.version(key.key_id, 1)
    shown = repr(
        [
            provider,
            provider._root,
            provider._root.read(),
            provider._ciphers,
            provider._ciphers.get(key.key_id, 1),
            store,
            store.seal(record, 1, b"material of its owner, 32 bytes!"),
            record,
            version,
            vars(provider),
            vars(store),
        ]
    )
    for secret in ("correct horse", "material of its owner", str(version.material)[2:-1]):
        assert secret not in shown


# --- Tampering -------------------------------------------------------------------------------

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
def test_a_changed_master_key_is_noticed(connect, kms, edit, path, place):
    """In every part of its row: kind, salt, nonce, ciphertext and tag."""
    [(sealed,)] = rows(path, "SELECT value FROM meta")
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


# --- The file --------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone(kms, path):
    """So are the log and the index beside it, whatever the umask."""
    kms.create_key("AES_256")
    found = sorted(path.parent.glob("keystore.db*"))
    assert len(found) == 3
    assert {file.stat().st_mode & 0o777 for file in found} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o601])
def test_a_file_that_others_may_use_is_refused(connect, kms, path, mode):
    """With the command that mends it."""
    kms.close()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others") as failed:
        connect()
    assert "chmod 600" in failed.value.hint
    path.chmod(0o600)
    assert connect()


def test_a_folder_that_is_not_there(path, connect):
    """Is not made by guess."""
    path.parent.rmdir()
    with pytest.raises(ConfigError, match="keystore"):
        connect()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look" * 50, b"ab" * 32]
)
def test_a_file_of_another_kind(connect, path, content):
    """Is left as it is, such as a root key whose path was put in the wrong place."""
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IntegrityError):
        connect()
    assert path.read_bytes() == content


def test_a_full_disk(kms):
    """Nothing is half-made, what is there goes on working, and so does everything with room."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    writer = kms.provider._keystore._store._file.writer()
    writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0]}")
    made = [key]
    with pytest.raises(Unavailable, match="full"):
        made.extend(kms.create_key("AES_256") for _ in range(1000))
    assert len(list(kms.keys())) == len(made)
    assert made[-1].encrypt(b"x")
    assert key.decrypt(sealed) == b"x"
    assert key.decrypt(key.encrypt(b"y")) == b"y"
    writer.execute("PRAGMA max_page_count = 100000")
    assert kms.create_key("AES_256").encrypt(b"x")


def test_erasing_what_is_due_can_wait(kms, owner, clock, connect, path):
    """A keystore that another process is writing opens, and what has expired is refused."""
    from kmscore.registry import sqlite_file

    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters()
    key.import_material(owner.wrap(parameters, b"m" * 32), parameters.token)
    clock.now += 86400
    busy = sqlite3.connect(path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_file, "BUSY_SECONDS", 0.01)
        again = connect()
    busy.execute("ROLLBACK")
    busy.close()
    assert again.key(key.key_id).decrypt(key.encrypt(b"x")) == b"x"


def test_an_altered_row_that_is_due(kms, clock, connect, edit):
    """Nothing is erased on the word of a row that nobody wrote."""
    key = kms.create_key("AES_256")
    edit("UPDATE keys SET state = 'PENDING_DELETION', deletion_at = 1")
    with pytest.raises(IntegrityError, match="was altered"):
        connect()
    with pytest.raises(IntegrityError):
        key.describe()


# --- Health ----------------------------------------------------------------------------------


def test_health(kms, path):
    """What there is, and where the root key comes from; never what it is."""
    kms.create_key("AES_256")
    health = kms.health()
    assert health.ok
    assert health.details["keystore"] == str(path)
    assert health.details["mode"] == "0600"
    assert health.details["keys"] == "1"
    assert health.details["root_key"] == "code"
    assert health.details["sm2_engine"].startswith("OpenSSL ")
    assert "rrr" not in repr(health)


def test_health_of_a_file_that_was_removed(kms, path):
    """Reported, not raised: what is written from now on would be lost."""
    path.unlink()
    health = kms.health()
    assert not health.ok
    assert "no longer where it was" in health.message


def test_health_of_a_closed_keystore(kms):
    """Reported too."""
    kms.provider.close()
    assert not kms.provider.health().ok


def test_health_without_sm2(connect, monkeypatch):
    """A machine without it has everything else."""
    monkeypatch.setattr("kmscore.sm2.load_engine", no_engine)
    kms = connect()
    assert kms.health().ok
    assert kms.health().details["sm2_engine"] == "none (no libcrypto here)"
    assert {kind.spec.value for kind in kms.capabilities.keys} == set(OTHERS)
    with pytest.raises(Unsupported, match="SM2"):
        kms.create_key("SM2", usage="SIGN_VERIFY")
    assert kms.create_key("AES_256").encrypt(b"x")


OTHERS = ["AES_128", "AES_256", "SM4"]
OTHERS += ["RSA_2048", "RSA_3072", "RSA_4096", "EC_P256", "EC_P384", "ED25519"]


def no_engine(name="openssl", *, allow_insecure=False):
    """What a machine without SM2 answers."""
    raise Unsupported("no libcrypto here")


def test_closing_twice(kms):
    """Is no mistake; using it afterwards is one, and says so."""
    key = kms.create_key("AES_256")
    kms.close()
    kms.close()
    with pytest.raises(KmsError, match="closed"):
        key.encrypt(b"x")


def test_a_root_key_from_a_file(tmp_path, path):
    """As configurations have it: the reference is shown, the secret is not."""
    secret = tmp_path / "root.key"
    secret.write_text(os.urandom(32).hex() + "\n")
    secret.chmod(0o600)
    table = {"type": "software", "path": str(path), "root_key": {"file": str(secret)}}
    with kmscore.connect(config={"providers": {"dev": table}}) as kms:
        assert kms.health().details["root_key"] == f"file {secret}"
