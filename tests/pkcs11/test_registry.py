"""The registry belongs to one token and one host; who writes into it without a PIN is found out."""

import sqlite3
from pathlib import Path

import pytest
from kmscore_pkcs11 import _guard
from kmscore_pkcs11._abilities import Abilities
from pkcs11.exceptions import DeviceMemory, HostMemory

import kmscore
from kmscore.errors import ConfigError, IntegrityError
from tests.pkcs11 import tokens


def test_a_registry_of_another_token_is_refused(connect, softhsm, path):
    """By its serial number, and by the key that only the first token has."""
    connect(softhsm).close()
    other = tokens.add_softhsm(softhsm, "other")
    done = other.run(
        "import sys, kmscore\n"
        "from tests.pkcs11.tokens import Token\n"
        "path, module, label, pin = sys.argv[1:]\n"
        "data = dict(type='pkcs11', module=module, token=label, path=path,\n"
        "            pin=lambda: pin.encode())\n"
        "try: kmscore.connect('hsm', config={'providers': {'hsm': data}})\n"
        "except kmscore.KmsError as error: print(type(error).__name__, error.message)\n",
        *(path, other.module, other.label, other.pin),
    )
    assert done.startswith("ConfigError")
    assert "belongs to another token" in done


def test_a_registry_of_another_host_is_refused_until_it_is_taken_over(
    connect, softhsm, path, monkeypatch
):
    """Two registries of one token would disagree."""
    connect(softhsm).close()
    monkeypatch.setattr(_guard, "_host", lambda: b"h" * 32)
    with pytest.raises(ConfigError, match="another host"):
        connect(softhsm)
    connect(softhsm, take_over=True).close()
    connect(softhsm).close()


def altered(path, statement, *values):
    """Change the file as somebody else would."""
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement, values).rowcount
    connection.close()


def test_a_name_cannot_be_given_to_another_key(connect, softhsm, path):
    """Nor a state changed, by somebody who writes the file but has no PIN."""
    kms = connect(softhsm)
    good, bad = kms.create_key("AES_256", alias="good"), kms.create_key("AES_256")
    kms.close()
    altered(
        path,
        "UPDATE versions SET material = (SELECT material FROM versions WHERE key_id = ?) "
        "WHERE key_id = ?",
        *(bad.key_id, good.key_id),
    )
    with pytest.raises(IntegrityError):
        connect(softhsm).key("good").encrypt(b"x")


def test_the_protection_cannot_be_taken_away(connect, softhsm, path):
    """A registry that says its token has no HMAC is not believed."""
    connect(softhsm).close()
    altered(path, "UPDATE meta SET value = ? WHERE name = 'guard'", b"\x02" + bytes(32))
    with pytest.raises(IntegrityError, match="no HMAC"):
        connect(softhsm)


def test_the_registry_is_private(connect, softhsm, path):
    """Mode 0600, and another file is not opened as one."""
    connect(softhsm).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others than its owner"):
        connect(softhsm)


def test_without_a_path_the_registry_is_the_users(softhsm, tmp_path, monkeypatch):
    """In the data folder, under the provider's name."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    config = softhsm.config(tmp_path / "unused.db")
    del config["providers"]["hsm"]["path"]
    kmscore.connect("hsm", config=config).close()
    assert Path(tmp_path, "kmscore/pkcs11-hsm.db").stat().st_mode & 0o777 == 0o600


def test_the_token_is_tried_once(connect, softhsm, path, monkeypatch):
    """What was found is remembered, for this module, library, model and set of mechanisms."""
    first = connect(softhsm).capabilities
    monkeypatch.setattr("kmscore_pkcs11._knowledge.probe", None)
    assert connect(softhsm).capabilities == first


@pytest.mark.parametrize("answer", [HostMemory, DeviceMemory])
def test_what_a_full_token_refuses_is_tried_again(softhsm, path, monkeypatch, answer):
    """No room is no answer to the question what it can do."""

    def full(*_arguments, **_options):
        raise answer

    with monkeypatch.context() as patch:
        patch.setattr("kmscore_pkcs11._trials.generate_pair", full)
        with kmscore.connect("hsm", config=softhsm.config(path)) as kms:
            assert "RSA_2048" not in {kind.spec for kind in kms.capabilities.keys}
    with kmscore.connect("hsm", config=softhsm.config(path)) as kms:
        assert "RSA_2048" in {kind.spec for kind in kms.capabilities.keys}


def test_another_set_of_mechanisms_is_tried_anew(connect, softhsm, path, monkeypatch):
    """As after an upgrade: what the token lost is lost, whatever the registry remembers."""
    connect(softhsm).close()
    less = {"ED25519": "CKR_MECHANISM_INVALID"}
    monkeypatch.setattr("kmscore_pkcs11._token.Token.mechanisms", lambda token: [1, 2, 3])
    monkeypatch.setattr("kmscore_pkcs11._knowledge.probe", lambda *_: Abilities(less))
    assert not connect(softhsm).capabilities.keys
