"""A provider that records what reaches it, and fails when told to: the client is tested on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kmscore.algorithms import (
    KeySpec,
    KeyState,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind, Limits
from kmscore.client import Kms
from kmscore.errors import KeyNotFound
from kmscore.gate import Gate
from kmscore.retry import Retrier, RetryPolicy
from kmscore.spi import (
    DataKey,
    Decrypted,
    Health,
    ImportParameters,
    KeyImporter,
    KeyInfo,
    KeyManager,
    KeyPage,
    NewKey,
    Provider,
    Signer,
    Symmetric,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Recorder(Provider, KeyManager, Symmetric, Signer, KeyImporter):
    """Answers every call, after raising what `failures` holds, and writes it down in `calls`."""

    def __init__(self, **limits):
        self.calls: list[tuple] = []
        self.failures: list[BaseException] = []
        self.known: dict[str, KeyInfo] = {}
        self.closed = 0
        self.table = Capabilities(
            keys=(
                KeyKind.standard(
                    KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT, Origin.GENERATED, Origin.EXTERNAL
                ),
                KeyKind.standard(KeySpec.ED25519, KeyUsage.SIGN_VERIFY),
                KeyKind.standard(KeySpec.EC_P256, KeyUsage.SIGN_VERIFY),
                KeyKind(
                    KeySpec.RSA_2048,
                    KeyUsage.SIGN_VERIFY,
                    algorithms=frozenset({SigningAlgorithm.RSA_PKCS1_SHA_256}),
                ),
            ),
            wrapping=frozenset({WrappingAlgorithm.RSAES_OAEP_SHA_1}),
            features=frozenset({Feature.ROTATION, Feature.DELETION}),
            limits=Limits(message=16, **limits),
        )

    def _answer(self, *call):
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)

    def capabilities(self):
        return self.table

    def health(self):
        return Health(ok=True, message="fine")

    def close(self):
        self.closed += 1

    def create_key(self, new: NewKey):
        self._answer("create_key", new)
        info = KeyInfo(
            key_id=f"key-{len(self.known)}",
            spec=new.spec,
            usage=new.usage,
            state=KeyState.ENABLED,
            origin=new.origin,
            alias=new.alias,
            created_at=NOW,
        )
        self.known[info.key_id] = info
        return info

    def describe_key(self, ref):
        self._answer("describe_key", ref)
        for info in self.known.values():
            if ref in (info.key_id, info.alias):
                return info
        raise KeyNotFound("there is no such key")

    def list_keys(self, limit, cursor):
        self._answer("list_keys", limit, cursor)
        keys = list(self.known.values())
        start = int(cursor or 0)
        rest = start + 2 < len(keys)
        return KeyPage(tuple(keys[start : start + 2]), str(start + 2) if rest else None)

    def enable_key(self, key_id):
        self._answer("enable_key", key_id)

    def disable_key(self, key_id):
        self._answer("disable_key", key_id)

    def schedule_key_deletion(self, key_id, days):
        self._answer("schedule_key_deletion", key_id, days)
        return NOW + timedelta(days=days)

    def cancel_key_deletion(self, key_id):
        self._answer("cancel_key_deletion", key_id)

    def rotate_key(self, key_id):
        self._answer("rotate_key", key_id)

    def encrypt(self, key_id, plaintext, context):
        self._answer("encrypt", key_id, plaintext, context)
        return b"sealed:" + plaintext

    def decrypt(self, key_id, ciphertext, context):
        self._answer("decrypt", key_id, ciphertext, context)
        return Decrypted(key_id or "key-0", ciphertext.removeprefix(b"sealed:"))

    def generate_data_key(self, key_id, length, context):
        self._answer("generate_data_key", key_id, length, context)
        return DataKey(key_id, bytearray(b"\x01" * length), b"sealed")

    def sign(self, key_id, algorithm, data):
        self._answer("sign", key_id, algorithm, data)
        return b"signature"

    def verify(self, key_id, algorithm, data, signature):
        self._answer("verify", key_id, algorithm, data, signature)
        return signature == b"signature"

    def get_import_parameters(self, key_id, wrapping):
        self._answer("get_import_parameters", key_id, wrapping)
        return ImportParameters(key_id, wrapping, b"spki", b"token", NOW)

    def import_key_material(self, key_id, wrapped, token, valid_to):
        self._answer("import_key_material", key_id, wrapped, token, valid_to)

    def delete_key_material(self, key_id):
        self._answer("delete_key_material", key_id)


@pytest.fixture
def recorder():
    """The provider underneath."""
    return Recorder()


@pytest.fixture
def sleeps():
    """How long the client would have waited, in seconds."""
    return []


@pytest.fixture
def kms(recorder, sleeps):
    """A client over the recording provider; waiting takes no time."""
    retrier = Retrier(RetryPolicy(), sleep=sleeps.append, monotonic=lambda: sum(sleeps))
    with Kms(recorder, Gate("test", retrier)) as opened:
        yield opened
