"""Secrets that another provider's key has encrypted: a keystore that opens when its HSM does."""

import os

import pytest
from kmscore_software._provider import SoftwareProvider

import kmscore
from kmscore.audit import verify_log
from kmscore.cli import main
from kmscore.errors import (
    ConfigError,
    IntegrityError,
    KeyNotFound,
    KeyStateError,
)
from kmscore.plugin import Secret

CONFIG = """
default = "dev"
[providers.dev]
type = "software"
path = "dev.db"
root_key = { kms = "kms://keeper/keystore-root", file = "root.sealed" }
[providers.keeper]
type = "software"
path = "keeper.db"
root_key = { file = "keeper.key" }
[audit]
path = "audit.jsonl"
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A keystore whose root key a second provider keeps, in a working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keeper.key").touch(0o600)
    (tmp_path / "keeper.key").write_bytes(os.urandom(32))
    (tmp_path / "kms.toml").write_text(CONFIG)
    with kmscore.connect("keeper") as keeper:
        key = keeper.create_key("AES_256", alias="keystore-root")
        (tmp_path / "root.sealed").write_bytes(key.encrypt(os.urandom(32)))
    return tmp_path


def test_the_keystore_opens_when_the_keeper_opens_its_root_key(house):
    """Nobody names the keeper: that it is asked is in the configuration, and in the audit log."""
    with kmscore.connect() as kms:
        sealed = kms.create_key(alias="orders").encrypt(b"x")
        shown = kms.health().details["root_key"]
        assert shown == f"file {house / 'root.sealed'} under kms://keeper/keystore-root"
    with kmscore.connect() as kms:
        assert kms.key("orders").decrypt(sealed) == b"x"
    log = (house / "audit.jsonl").read_text()
    assert log.count('"provider":"keeper","operation":"decrypt"') == 2
    assert verify_log(house / "audit.jsonl").ok


def test_a_key_pair_keeps_a_secret_too(house):
    """Anybody who has its public key can seal a new root key for it."""
    with kmscore.connect("keeper") as keeper:
        keeper.key("keystore-root").set_alias("old")
        pair = keeper.create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT", alias="keystore-root")
        sealed = pair.public_key().encrypt(b"ab" * 32 + b"\n")
    (house / "root.sealed").write_bytes(sealed)
    with kmscore.connect() as kms:
        kms.create_key(alias="orders")
    plain = {"type": "software", "path": "dev.db", "root_key": lambda: bytes([0xAB]) * 32}
    with kmscore.connect(config={"providers": {"dev": plain}}) as kms:
        assert kms.key("orders").describe().alias == "orders"


def test_a_keeper_that_does_not_answer_leaves_it_closed(house):
    """Each reason by its own error, and no keystore is made."""
    with kmscore.connect("keeper") as keeper:
        keeper.key("keystore-root").disable()
        with pytest.raises(KeyStateError, match="keeper decrypt"):
            kmscore.connect()
        keeper.key("keystore-root").enable()
        keeper.key("keystore-root").set_alias("renamed")
        with pytest.raises(KeyNotFound, match="keeper describe_key keystore-root"):
            kmscore.connect()
        other = keeper.create_key(alias="keystore-root")
        with pytest.raises(ConfigError, match="no ciphertext that kms://keeper/keystore-root"):
            kmscore.connect()
        (house / "root.sealed").write_bytes(other.encrypt(b"too short"))
        with pytest.raises(ConfigError, match="is not 32 bytes"):
            kmscore.connect()
    (house / "root.sealed").unlink()
    with pytest.raises(ConfigError, match="sealed cannot be read"):
        kmscore.connect()
    (house / "keeper.key").write_bytes(os.urandom(32))
    (house / "root.sealed").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="does not open"):
        kmscore.connect()
    assert not (house / "dev.db").exists()


def test_a_keeper_that_is_not_configured(house, capsys):
    """With the nearest name; checking the configuration is enough to find it."""
    text = CONFIG.replace("kms://keeper/", "kms://keper/")
    (house / "kms.toml").write_text(text)
    with pytest.raises(ConfigError, match="has no provider 'keper'") as failed:
        kmscore.connect()
    assert "keeper" in failed.value.hint
    assert main(["config", "check"]) == 3
    assert "has no provider 'keper'" in capsys.readouterr().err


def test_providers_that_keep_each_others_secrets(house):
    """Neither would ever open."""
    file = '{ file = "keeper.key" }'
    text = CONFIG.replace(file, '{ kms = "kms://dev/keystore-root", file = "root.sealed" }')
    (house / "kms.toml").write_text(text)
    with pytest.raises(ConfigError, match="'dev' keeps the secret that it needs itself"):
        kmscore.connect()
    (house / "kms.toml").write_text(CONFIG.replace("kms://keeper/", "kms://dev/"))
    with pytest.raises(ConfigError, match="needs itself"):
        kmscore.connect()


def test_the_key_of_the_audit_log_is_not_kept_by_a_provider(house):
    """It would be asked before the log is open, unrecorded."""
    key = 'key = { kms = "kms://keeper/keystore-root", file = "root.sealed" }'
    (house / "kms.toml").write_text(CONFIG + key)
    with pytest.raises(ConfigError, match="key cannot be kept by a provider"):
        kmscore.connect()


def test_another_root_key_for_a_keystore_that_a_provider_opens(house):
    """Who moves away from the keeper needs it once more."""
    with kmscore.connect() as kms:
        sealed = kms.create_key(alias="orders").encrypt(b"x")
        assert isinstance(kms.provider, SoftwareProvider)
        kms.provider.rewrap_root(Secret("code", lambda: b"n" * 32), passphrase=False)
    with pytest.raises(IntegrityError):
        kmscore.connect()
    plain = {"type": "software", "path": "dev.db", "root_key": lambda: b"n" * 32}
    with kmscore.connect(config={"providers": {"dev": plain}}) as kms:
        assert kms.decrypt(sealed) == b"x"
