"""The root key: its forms, who is refused, and another one from now on."""

import base64
from pathlib import Path

import pytest

import kmscore
from kmscore import Message
from kmscore.errors import (
    ConfigError,
    IntegrityError,
)
from kmscore.plugin import Secret
from kmscore.registry import SqliteStore

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
        b"*" + base64.b64encode(bytes(32)),
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


def test_a_keystore_that_was_refused_is_let_go(connect, kms, path):
    """Nobody holds it open after the error, even while the error is looked at."""
    kms.close()
    with pytest.raises(IntegrityError) as failed:
        connect(root_key=b"q" * 32)
    assert failed.value
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert [link for link in links if str(link).startswith(str(path))] == []


def test_a_passphrase(connect, files):
    """Stretched by scrypt; another one opens nothing and changes nothing, nor does a root key."""
    sealed = connect(passphrase=b"correct horse").create_key("SM4", alias="k").encrypt(b"x")
    assert connect(passphrase=b"correct horse").key("k").decrypt(sealed) == b"x"
    before = files()
    with pytest.raises(IntegrityError, match="does not open"):
        connect(passphrase=b"correct house")
    assert files() == before
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


def test_two_processes_make_the_keystore_at_once(connect, monkeypatch):
    """The slower one uses the master key that the other has just made."""
    really = SqliteStore.meta
    turns = iter([connect])
    faster: list[kmscore.Kms] = []

    def slowly(self, name):
        found = really(self, name)
        faster.extend(turn() for turn in turns)
        return found

    monkeypatch.setattr(SqliteStore, "meta", slowly)
    kms = connect()
    sealed = kms.create_key("AES_256").encrypt(b"x")
    assert faster[0].decrypt(sealed) == b"x"
    assert connect().decrypt(sealed) == b"x"


def test_equal_passphrases_make_different_keystores(connect, path, query):
    """The salt is random: nobody prepares a table of guesses."""
    connect(passphrase=b"correct horse")
    [(first,)] = query("SELECT value FROM meta")
    path.unlink()
    connect(passphrase=b"correct horse")
    [(second,)] = query("SELECT value FROM meta")
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


def test_what_the_old_root_key_opened_is_overwritten(kms, query, files):
    """Neither the file nor its log keeps the master key under the root key that was given up."""
    [(old,)] = query("SELECT value FROM meta")
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
