"""Keys in memory: kept ready, not too many, and not longer than they may be used."""

import os
import sys
import threading

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.serialization import load_der_private_key
from kmscore_software import _pairs
from kmscore_software._keystore import Keystore
from kmscore_software._ready import ReadyKeys

from kmscore import Message
from kmscore.errors import KeyNotFound, KeyStateError, Unsupported

DAY = 86400


@pytest.fixture
def opened(monkeypatch):
    """Counts how often sealed material is opened."""
    seen = []
    really = Keystore.open

    def noting(self, record, version):
        seen.append((record.key_id, version.number))
        return really(self, record, version)

    monkeypatch.setattr(Keystore, "open", noting)
    return seen


@pytest.mark.parametrize("spec", ["AES_256", "SM4"])
def test_material_is_unsealed_once(kms, opened, spec):
    """However often it is used, and once more for each version."""
    key = kms.create_key(spec)
    for _ in range(3):
        key.decrypt(key.encrypt(b"x"))
    assert opened == [(key.key_id, 1)]
    key.rotate()
    for _ in range(3):
        key.decrypt(key.encrypt(b"x"))
    assert opened == [(key.key_id, 1), (key.key_id, 2)]


def test_private_keys_are_parsed_once(kms, opened, monkeypatch):
    """And without the check that costs as much as making the key: the seal has vouched for it."""
    parsed = []

    def noting(*arguments, **options):
        parsed.append(options)
        return load_der_private_key(*arguments, **options)

    monkeypatch.setattr(_pairs, "load_der_private_key", noting)
    key = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    for _ in range(3):
        key.verify(Message(b"m"), key.sign(Message(b"m")))
    assert parsed == [{"unsafe_skip_rsa_key_validation": True}]
    assert opened == [(key.key_id, 1)]


def test_verification_needs_no_private_key(kms, connect, opened):
    """The public half lies beside it in the file."""
    key = kms.create_key("EC_P256")
    signature = key.sign(Message(b"m"))
    opened.clear()
    assert connect().key(key.key_id).verify(Message(b"m"), signature)
    assert opened == []


def held(kms):
    """How many keys are in memory."""
    provider = kms.provider
    return len(provider._ciphers) + len(provider._pairs) + len(provider._verifiers)


@pytest.mark.parametrize("what", ["disabled", "pending deletion", "destroyed"])
def test_a_key_that_may_not_be_used_leaves_memory(kms, connect, clock, what):
    """At the next call, also when another process saw to that."""
    cipher, pair = kms.create_key("AES_256"), kms.create_key("ED25519")
    stays = kms.create_key("AES_256")
    sealed = cipher.encrypt(b"x")
    cipher.rotate()
    cipher.encrypt(b"x")
    pair.verify(Message(b"m"), pair.sign(Message(b"m")))
    stays.encrypt(b"x")
    assert held(kms) == 5
    other = connect()
    for key in (cipher, pair):
        other.key(key.key_id).disable()
        if what != "disabled":
            other.key(key.key_id).schedule_deletion(7)
    if what == "destroyed":
        clock.now += 7 * DAY
    for use in (lambda: cipher.decrypt(sealed), lambda: pair.sign(Message(b"m"))):
        with pytest.raises((KeyStateError, KeyNotFound)):
            use()
    assert held(kms) == 1
    assert stays.encrypt(b"x")


def test_a_key_that_comes_back_is_unsealed_again(kms, opened):
    """And works as before."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    key.disable()
    with pytest.raises(KeyStateError):
        key.decrypt(sealed)
    key.enable()
    assert key.decrypt(sealed) == b"x"
    assert opened == [(key.key_id, 1)] * 2


def test_closing_drops_every_key(kms):
    """Nothing is left for a memory dump but what Python has not reused yet."""
    kms.create_key("AES_256").encrypt(b"x")
    kms.create_key("ED25519").sign(Message(b"m"))
    kms.close()
    assert held(kms) == 0


def test_more_keys_than_memory_holds(kms, monkeypatch):
    """All work, and no more than the bound are held."""
    monkeypatch.setattr(kms.provider, "_ciphers", ReadyKeys(4))
    keys = [kms.create_key("AES_128") for _ in range(10)]
    sealed = [key.encrypt(b"x") for key in keys]
    assert held(kms) == 4
    for _ in range(3):
        assert [key.decrypt(each) for key, each in zip(keys, sealed, strict=True)] == [b"x"] * 10
    assert held(kms) == 4


def test_the_oldest_makes_room():
    """And the others stay."""
    ready: ReadyKeys[str] = ReadyKeys(2)
    for key_id in "abc":
        assert ready.keep(key_id, 1, key_id.upper()) == key_id.upper()
    assert [ready.get(key_id, 1) for key_id in "abc"] == [None, "B", "C"]
    ready.keep("b", 2, "B2")
    ready.forget("b")
    assert [ready.get("b", 1), ready.get("b", 2), ready.get("c", 1)] == [None, None, "C"]
    assert repr(ready) == "<ReadyKeys 1>"


def test_many_threads_share_a_full_memory():
    """Making room, forgetting and clearing at once harms nobody."""
    ready: ReadyKeys[int] = ReadyKeys(8)
    failures: list[BaseException] = []

    def work(number):
        try:
            for turn in range(3000):
                key_id = str((turn * 7 + number) % 40)
                ready.keep(key_id, number, turn)
                ready.get(key_id, number)
                if turn % 50 == 0:
                    ready.forget(key_id)
                if turn % 500 == 0:
                    ready.clear()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert len(ready) <= 8 + len(threads)


def test_many_threads_use_the_same_keys(kms):
    """Each gets its own plaintext back, while keys rotate and are disabled beside."""
    keys = [kms.create_key("AES_256"), kms.create_key("SM4")]
    pair = kms.create_key("EC_P256")
    busy = kms.create_key("AES_256")
    failures: list[BaseException] = []

    def work():
        try:
            for _ in range(50):
                for key in keys:
                    plaintext = os.urandom(64)
                    assert key.decrypt(key.encrypt(plaintext)) == plaintext
                assert pair.verify(Message(b"m"), pair.sign(Message(b"m")))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        keys[0].rotate()
        busy.disable()
        busy.enable()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_machine_without_sm4(kms, connect, monkeypatch):
    """As where a distribution built OpenSSL without it: said in the table, and at every use."""
    key = kms.create_key("SM4")
    sealed = key.encrypt(b"x")

    def refuse(self):
        raise UnsupportedAlgorithm("cipher SM4 in GCM mode is not supported")

    monkeypatch.setattr(Cipher, "encryptor", refuse)
    other = connect()
    assert "SM4" not in {kind.spec.value for kind in other.capabilities.keys}
    with pytest.raises(Unsupported):
        other.create_key("SM4")
    with pytest.raises(Unsupported, match="no SM4") as failed:
        other.decrypt(sealed)
    assert "pip" in failed.value.hint
    aes = other.create_key("AES_128")
    assert aes.decrypt(aes.encrypt(b"x")) == b"x"
