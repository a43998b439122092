"""A software provider on a keystore of its own, with a clock that the tests set."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

import kmscore

ROOT_KEY = b"r" * 32
NOON = 1_700_000_000

SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
PADDINGS = {
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA_1), SHA_1, None),
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
}


class Clock:
    """Stands still until it is set."""

    def __init__(self):
        self.now: float = NOON

    def __call__(self):
        return self.now


class Owner:
    """Who brings key material, wrapped with somebody else's code."""

    @staticmethod
    def wrap(parameters, material):
        """The material under the wrapping key."""
        wrapping_key = load_der_public_key(parameters.public_key)
        assert isinstance(wrapping_key, rsa.RSAPublicKey)
        assert wrapping_key.key_size >= 2048
        return wrapping_key.encrypt(material, PADDINGS[parameters.wrapping])

    def send(self, key, material, *, wrapping="RSAES_OAEP_SHA_256", valid_to=None):
        """Fetch parameters, wrap, and hand in."""
        parameters = key.import_parameters(wrapping)
        wrapped = self.wrap(parameters, material)
        key.import_material(wrapped, parameters.token, valid_to=valid_to)

    def key(self, kms, spec, material, **options):
        """A new key with that material."""
        key = kms.create_key(spec, origin="EXTERNAL")
        self.send(key, material, **options)
        return key


@pytest.fixture
def clock():
    """The time that the provider sees."""
    return Clock()


@pytest.fixture
def owner():
    """Who owns key material."""
    return Owner()


@pytest.fixture
def path(tmp_path):
    """Where the keystore is."""
    return tmp_path / "keystore.db"


@pytest.fixture
def connect(path, clock):
    """Opens the keystore once more, as another process does; with options of the provider."""
    with ExitStack() as opened:

        def connect(**options):
            if not {"root_key", "passphrase"} & options.keys():
                options["root_key"] = ROOT_KEY
            for name in ("root_key", "passphrase"):
                if isinstance(options.get(name), bytes):
                    options[name] = lambda secret=options[name]: secret
            table = {"type": "software", "path": str(path), **options}
            config = {"providers": {"dev": table}, "retry": {"max_attempts": 1}}
            return opened.enter_context(kmscore.connect(config=config, clock=clock))

        yield connect


@pytest.fixture
def kms(connect):
    """An open software provider."""
    return connect()


@pytest.fixture
def files(path):
    """Reads all that lies on the disk."""

    def read():
        return b"".join(file.read_bytes() for file in sorted(path.parent.glob("keystore.db*")))

    return read


@pytest.fixture
def query(path):
    """Looks into the file behind the provider's back."""

    def query(statement):
        connection = sqlite3.connect(path)
        rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    return query


@pytest.fixture
def edit(path):
    """Changes the file behind the provider's back."""

    def edit(statement, *values):
        connection = sqlite3.connect(path, isolation_level=None)
        changed = connection.execute(statement, values).rowcount
        connection.close()
        assert changed == 1

    return edit


PREAMBLE = """
import os, signal, sys, threading
import kmscore
from kmscore.errors import *

def connect():
    table = {"type": "software", "path": sys.argv[1], "root_key": lambda: b"r" * 32}
    return kmscore.connect(config={"providers": {"dev": table}})

def say(*words):
    print(*words, flush=True)
"""


@pytest.fixture
def start(path):
    """Starts a program on the keystore in a process of its own; stops it at the end."""
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
