"""The command line, run in this process with a keystore of its own."""

import io
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from kmscore.cli import main

ROOT_KEY = "ab" * 32
KMSCORE = Path(sys.executable).with_name("kmscore")


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self):
        """The output as text, without the last line break."""
        return self.out.decode().rstrip("\n")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory with a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOT_KEY", ROOT_KEY)
    monkeypatch.delenv("KMSCORE_CONFIG", raising=False)
    (tmp_path / "kms.toml").write_text(
        """\
default = "dev"

[providers.dev]
type = "software"
path = "keystore.db"
root_key = { env = "ROOT_KEY" }

[providers.other]
type = "software"
path = "other.db"
root_key = { env = "ROOT_KEY" }

[audit]
path = "audit.jsonl"
"""
    )
    return tmp_path


@pytest.fixture
def cli(home, monkeypatch, capsysbinary):
    """Runs a command, as in ``cli("encrypt", "--key", "orders", stdin=b"secret")``."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        assert b"Traceback" not in err
        return Result(code, out, err.decode())

    return run


@pytest.fixture
def process(home):
    """Runs a command in a process of its own."""

    def run(*arguments, stdin=b"", **options):
        done = subprocess.run(
            [KMSCORE, *arguments], input=stdin, capture_output=True, check=False, **options
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture
def openssl(home):
    """The other side: runs the openssl command; returns its exit code."""

    def run(line):
        return subprocess.run(
            ["openssl", *line.split()], cwd=home, capture_output=True, check=False
        ).returncode

    return run


@pytest.fixture
def key(cli):
    """A symmetric key named orders."""
    return cli("keys", "create", "--alias", "orders").text
