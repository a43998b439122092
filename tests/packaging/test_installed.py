"""The wheel at work in a place of its own, without extras and far from the source."""

import json
import re
import sys

import pytest


@pytest.fixture
def place(tmp_path):
    """A folder with a root key and a configuration."""
    (tmp_path / "root.key").write_text("07" * 32)
    (tmp_path / "root.key").chmod(0o600)
    (tmp_path / "kms.toml").write_text(
        '[providers.dev]\ntype = "software"\npath = "keystore.db"\n'
        'root_key = { file = "root.key" }\n'
    )
    return tmp_path


def test_the_command_says_its_version(installed, tmp_path, pyproject):
    """The script that the wheel installs runs from anywhere."""
    ran = installed.run(installed.kmscore, "--version", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.decode() == f"kmscore {pyproject['project']['version']}\n"


def test_a_secret_goes_in_and_comes_out(installed, place):
    """Create a key, encrypt and decrypt, each in a process of its own."""
    made = installed.run(installed.kmscore, "keys", "create", "--alias", "a", cwd=place)
    assert made.returncode == 0, made.stderr
    sealed = installed.run(installed.kmscore, "encrypt", "--key", "a", cwd=place, data=b"secret")
    assert sealed.returncode == 0, sealed.stderr
    assert b"secret" not in sealed.stdout
    opened = installed.run(installed.kmscore, "decrypt", cwd=place, data=sealed.stdout)
    assert (opened.returncode, opened.stdout) == (0, b"secret")


def test_every_kind_of_key_works_without_extras(installed, place):
    """The base installation has the whole software provider."""
    program = (
        "import kmscore\n"
        "with kmscore.connect('dev') as kms:\n"
        "    for kind in kms.capabilities.keys:\n"
        "        key = kms.create_key(kind.spec, usage=kind.usage)\n"
        "        if kind.usage == 'SIGN_VERIFY':\n"
        "            m = kmscore.Message(b'x')\n"
        "            assert key.public_key().verify(m, key.sign(m))\n"
        "        elif kind.usage == 'ENCRYPT_DECRYPT':\n"
        "            assert key.decrypt(key.encrypt(b'x')) == b'x'\n"
        "        else:\n"
        "            assert key.decrypt(key.public_key().encrypt(b'x')) == b'x'\n"
        "        print(kind.spec)\n"
    )
    ran = installed.run(installed.python, "-W", "error", "-c", program, cwd=place)
    assert ran.returncode == 0, ran.stderr.decode()
    assert set(ran.stdout.decode().split()) >= {"AES_128", "SM4", "RSA_4096", "ED25519", "SM2"}


def test_the_providers_are_found_by_their_entry_points(installed, place, pyproject):
    """Installed from a wheel as in the source tree."""
    ran = installed.run(installed.kmscore, "--json", "providers", cwd=place)
    assert ran.returncode == 0, ran.stderr
    for name in pyproject["project"]["entry-points"]["kmscore"]:
        assert name in json.dumps(json.loads(ran.stdout))


def test_what_needs_an_extra_says_which(installed, place):
    """An error that names the extra, and no traceback."""
    text = (place / "kms.toml").read_text()
    (place / "kms.toml").write_text(f'{text}sm2_engine = "gmssl"\nallow_insecure = true\n')
    ran = installed.run(installed.kmscore, "keys", "list", cwd=place)
    assert ran.returncode != 0
    assert b"kmscore[sm]" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_programs_of_users_are_checked_against_our_types(installed, tmp_path):
    """Installed from the wheel, the package tells mypy its types."""
    (tmp_path / "program.py").write_text(
        "from typing import assert_type\n"
        "import kmscore\n"
        "with kmscore.connect() as kms:\n"
        "    assert_type(kms.create_key().encrypt(b'x'), bytes)\n"
        "    kms.create_key().encrypt('x')\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache"]
    ran = installed.run(*mypy, "--python-executable", installed.python, "program.py", cwd=tmp_path)
    found = re.findall(r"^program.py:(\d+): error: .*\[(.*)\]$", ran.stdout.decode(), re.MULTILINE)
    assert found == [("5", "arg-type")]
