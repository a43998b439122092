"""A registry on a file, with a clock that the tests set, and other processes that use the file."""

import subprocess
import sys

import pytest

from kmscore.algorithms import KeySpec, KeyUsage, Origin, WrappingAlgorithm
from kmscore.registry import Material, Registry, SqliteStore, sqlite_connections
from kmscore.registry.model import ImportJob, KeyRecord
from kmscore.spi import NewKey

NOON = 1_700_000_000


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now: float = NOON

    def __call__(self) -> float:
        return self.now


class Keys:
    """Who makes keys, and brings the material of external ones."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @staticmethod
    def new(**fields) -> NewKey:
        """A key to be made: AES-256, unless said otherwise."""
        return NewKey(**{"spec": KeySpec.AES_256, "usage": KeyUsage.ENCRYPT_DECRYPT, **fields})

    @staticmethod
    def make(record: KeyRecord, number: int) -> Material:
        """Material that says whose it is."""
        return Material(f"sealed {record.key_id} {number}".encode(), b"public")

    @staticmethod
    def fail(record: KeyRecord, number: int) -> Material:
        """For keys whose material must not be made."""
        raise AssertionError("material was made")

    def create(self, **fields) -> str:
        """A generated key."""
        return self.registry.create(self.new(**fields), self.make).key_id

    def external(self, **fields) -> str:
        """An external key that waits for its material."""
        return self.registry.create(self.new(origin=Origin.EXTERNAL, **fields), self.fail).key_id

    def ask(self, key_id: str, token: bytes = b"token") -> ImportJob:
        """New import parameters."""
        return self.registry.open_import(
            key_id, WrappingAlgorithm.RSAES_OAEP_SHA_256, token, b"wrapping key"
        )

    def send(
        self,
        key_id: str,
        *,
        token: bytes = b"token",
        fingerprint: bytes = b"print",
        valid_to: int | None = None,
    ) -> KeyRecord:
        """The material."""
        return self.registry.finish_import(key_id, token, fingerprint, valid_to, self.make)

    def imported(self, *, valid_to: int | None = None, **fields) -> str:
        """An external key with material."""
        key_id = self.external(**fields)
        self.ask(key_id)
        self.send(key_id, valid_to=valid_to)
        return key_id


@pytest.fixture
def clock():
    """The time that the registry sees."""
    return Clock()


@pytest.fixture
def path(tmp_path):
    """Where the keystore is."""
    return tmp_path / "keystore.db"


@pytest.fixture
def destroyed():
    """What the provider was told to destroy: key ids and version numbers."""
    told: list[tuple[str, int]] = []
    return told


@pytest.fixture
def registry(path, clock, destroyed):
    """A registry on a new file."""

    def destroy(record, versions):
        destroyed.extend((record.key_id, version.number) for version in versions)

    registry = Registry(SqliteStore(path), clock=clock, destroy=destroy)
    yield registry
    registry.close()


@pytest.fixture
def other(registry, path, clock):
    """The same registry, as another process has it open."""
    other = Registry(SqliteStore(path), clock=clock)
    yield other
    other.close()


@pytest.fixture
def keys(registry):
    """Who makes keys in the registry."""
    return Keys(registry)


@pytest.fixture
def key_id(keys):
    """A symmetric key that was generated."""
    return keys.create()


BY_ASKING = """
from kmscore.registry import sqlite_connections
sqlite_connections.open_index = lambda database: None
"""


@pytest.fixture
def asking(monkeypatch):
    """Makes SQLite's WAL index unreadable, so that SQLite is asked whether something changed."""
    monkeypatch.setattr(sqlite_connections, "open_index", lambda database: None)


PREAMBLE = """
import os, signal, sys, threading
from pathlib import Path
from kmscore.algorithms import *
from kmscore.errors import *
from kmscore.registry import Material, Purpose, Registry, SqliteStore
from kmscore.spi import NewKey

NEW = NewKey(KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT)
PATH = Path(sys.argv[1])

def make(record, number):
    return Material(b"sealed " * 20)

def say(*words):
    print(*words, flush=True)
"""


@pytest.fixture
def start(path):
    """Starts a program on the keystore's file in a process of its own; stops it at the end."""
    started = []

    def start(program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PREAMBLE + program, path, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    """Runs such a program to its end; gives the words that it said."""

    def run(program, *arguments):
        said, complaints = start(program, *arguments).communicate(timeout=60)
        assert complaints == ""
        return said.split()

    return run
