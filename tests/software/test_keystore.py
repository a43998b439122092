"""The sealed keystore: a file for its owner alone, with nothing secret in clear, and its health."""

import os
import sqlite3
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from kmscore_software._keystore import Keystore
from kmscore_software._root import derive

import kmscore
from kmscore.algorithms import TRAITS, KeyUsage, Origin, WrappingAlgorithm
from kmscore.capabilities import Feature
from kmscore.errors import (
    ConfigError,
    IntegrityError,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unavailable,
    Unsupported,
)

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
            derive(bytes(32)),
            vars(provider),
            vars(store),
        ]
    )
    for secret in ("correct horse", "material of its owner", str(version.material)[2:-1]):
        assert secret not in shown


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


@pytest.mark.parametrize("notice", ["use", "list", "create"])
def test_what_has_come_to_its_end_is_erased_while_the_keystore_is_open(
    kms, owner, clock, query, notice
):
    """A process may run for months; and a clock that jumps back brings nothing to life again."""
    own, old = kms.create_key("AES_256", origin="EXTERNAL"), kms.create_key("AES_256")
    parameters = own.import_parameters()
    until = datetime.fromtimestamp(clock.now + 60, UTC)
    own.import_material(owner.wrap(parameters, b"m" * 32), parameters.token, valid_to=until)
    sealed = own.encrypt(b"x")
    old.disable()
    old.schedule_deletion(7)
    before, clock.now = clock.now, clock.now + 8 * 86400
    if notice == "use":
        with pytest.raises(KeyStateError):
            own.decrypt(sealed)
    elif notice == "list":
        (left,) = kms.keys()
        assert left.key_id == own.key_id
    else:
        kms.create_key("AES_256", origin="EXTERNAL")
    assert query("SELECT * FROM versions") == []
    clock.now = before
    with pytest.raises(KeyStateError):
        own.decrypt(sealed)
    with pytest.raises(KeyNotFound):
        old.describe()


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


def test_what_the_provider_can_do(kms):
    """Every kind of key in every use that it has, and every feature."""
    table = kms.capabilities
    assert {(kind.spec, kind.usage) for kind in table.keys} == {
        (spec, usage) for spec, traits in TRAITS.items() for usage in traits.usages
    }
    assert len(table.keys) == table.keys.index(table.keys[-1]) + 1
    assert table.features == frozenset(Feature)
    assert table.wrapping == frozenset(WrappingAlgorithm)
    for kind in table.keys:
        symmetric = kind.usage is KeyUsage.ENCRYPT_DECRYPT
        assert (Origin.EXTERNAL in kind.origins) is symmetric


def test_names_and_second_thoughts(kms):
    """Alias, description and a deletion that is called off are the provider's to keep."""
    key = kms.create_key("ED25519", alias="first")
    key.set_alias("second")
    key.set_description("signs invoices")
    key.disable()
    key.schedule_deletion(7)
    key.cancel_deletion()
    info = kms.key("second").describe()
    assert (info.description, info.state, info.deletion_at) == ("signs invoices", "DISABLED", None)


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
