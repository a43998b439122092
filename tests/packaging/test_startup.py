"""What is loaded for a command, by name: nothing heavy stands in the way of a local operation.

The interpreter runs without the site module, so that nothing of the tests' own environment is
loaded before; its path is that of the tests, where every extra can be imported.
"""

import os
import subprocess
import sys

import pytest

SDKS = {"tencentcloud", "pkcs11", "gmssl", "requests", "urllib3", "http.client", "ssl"}
TESTING = {"hypothesis", "pytest", "coverage"}
EXTRAS = SDKS | TESTING | {"rich"}
SLOW = EXTRAS | {"asyncio", "email", "importlib.metadata", "platformdirs", "tenacity"}
NEEDLESS = SLOW | {
    "base64",
    "dataclasses",
    "glob",
    "hashlib",
    "hmac",
    "json",
    "logging",
    "subprocess",
    "tempfile",
}
"""What one command on one file has no use for."""


@pytest.fixture
def loaded(tmp_path):
    """Runs a program in a folder with a kms.toml; gives the modules that it ends with."""
    (tmp_path / "root.key").write_text("07" * 32)
    (tmp_path / "root.key").chmod(0o600)
    (tmp_path / "kms.toml").write_text(
        '[providers.dev]\ntype = "software"\npath = "keystore.db"\n'
        'root_key = { file = "root.key" }\n'
    )

    def run(program: str) -> set[str]:
        path = [entry for entry in sys.path if entry]
        preamble = (
            f"import sys, atexit; sys.path[:] = {path!r}\n"
            "atexit.register(lambda: sys.stderr.write(chr(10).join(sys.modules)))\n"
        )
        done = subprocess.run(
            [sys.executable, "-S", "-c", preamble + program],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if "KMSCORE" not in name},
            input="secret",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return set(done.stderr.split("\n"))

    return run


def command(*arguments: str) -> str:
    """A program that runs the command line."""
    return f"from kmscore.cli import main\nsys.exit(main({list(arguments)!r}))"


def test_what_is_looked_for_could_be_loaded(loaded):
    """Otherwise the tests below would prove nothing."""
    assert loaded("".join(f"import {name}\n" for name in sorted(NEEDLESS))) >= NEEDLESS


def test_importing_kmscore_loads_none_of_its_dependencies(loaded):
    """Nor any module of the core: names are fetched when they are first used."""
    names = loaded("import kmscore")
    heavy = {"cryptography", "click", "sqlite3", "pluggy", "json", "dataclasses", "pathlib"}
    assert names & (SLOW | heavy) == set()
    assert {name for name in names if name.startswith("kmscore")} == {"kmscore"}


def test_hashes_of_what_is_short_load_no_second_openssl(loaded):
    """`cryptography` has one already."""
    assert loaded("import kmscore.hashing") & {"hashlib", "hmac", "_hashlib"} == set()


def test_the_version_is_told_without_the_command_line(loaded):
    """``kmscore --version`` is what scripts ask for in a loop."""
    assert loaded(command("--version")) & (SLOW | {"click", "cryptography", "pluggy"}) == set()


def test_a_local_encryption_loads_nothing_heavy(loaded):
    """From the command line, with a configuration that was found in the working directory."""
    loaded(command("keys", "create", "--alias", "a"))
    assert loaded(command("encrypt", "--key", "a", "-o", "out.kms")) & NEEDLESS == set()
    assert loaded(command("decrypt", "-i", "out.kms", "-o", "out")) & NEEDLESS == set()


def test_an_envelope_loads_nothing_heavy(loaded):
    """Nor the parts of envelope encryption that files do not need."""
    loaded(command("keys", "create", "--alias", "a"))
    loaded(command("envelope", "encrypt", "--key", "a", "-o", "first.kms"))
    unused = {f"kmscore.envelope.{name}" for name in ("pieces", "reader", "trailer", "whole")}
    ways = (
        ("encrypt", "--key", "a", "-i", "first.kms", "-o", "out.kms"),
        ("decrypt", "-i", "out.kms", "-o", "out"),
        ("rewrap", "--key", "a", "-i", "first.kms"),
    )
    for way in ways:
        assert loaded(command("envelope", *way)) & (NEEDLESS | unused) == set()


def test_a_local_encryption_in_code_loads_nothing_heavy(loaded):
    """The same through `kmscore.connect`, signing included."""
    names = loaded(
        "import kmscore\n"
        "with kmscore.connect('dev', config='kms.toml') as kms:\n"
        "    key = kms.create_key('AES_256')\n"
        "    key.decrypt(key.encrypt(b'x'))\n"
        "    kms.create_key('EC_P256').sign(kmscore.Message(b'x'))\n"
    )
    assert names & SLOW == set()
    assert names & {"click", "kmscore.cli"} == set()


def test_other_providers_are_not_imported(loaded):
    """A plugin that is installed but not configured costs nothing, and breaks nothing."""
    names = loaded("import kmscore\nkmscore.connect('dev', config='kms.toml').close()")
    assert {name for name in names if name.startswith("kmscore_")} >= {"kmscore_software"}
    providers = {name.split(".")[0] for name in names if name.startswith("kmscore_")}
    assert providers == {"kmscore_software"}
