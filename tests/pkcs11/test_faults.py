"""Tokens that are lost, shared, locked, full or meddled with: no crash, and no wrong key.

Every error is one of kmscore's, and says what can be done.
"""

import threading
import time

import pytest
from pkcs11.exceptions import DeviceMemory

import kmscore
from kmscore import Message
from kmscore.errors import (
    AuthenticationFailed,
    CiphertextInvalid,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    LimitExceeded,
    Unavailable,
)
from tests.pkcs11.conftest import WITH_AES
from tests.pkcs11.cryptoki import Cryptoki
from tests.pkcs11.other import ask

JOINABLE = [kind for kind in WITH_AES if kind != "p11kit"]


def object_of(token, key, version=1):
    """CKA_ID of a version of a key."""
    label = f"kms:{key.key_id}:{version}"
    (found,) = [each["id"] for each in ask(token, "objects") if each["label"] == label]
    return found


def signer(kms):
    """A key that signs, on any token."""
    return kms.create_key("RSA_2048", usage="SIGN_VERIFY")


# --- The connection ---------------------------------------------------------------------------


def test_a_connection_that_is_cut_comes_back(connect, unpluggable):
    """Ten times, under four threads: no call fails, no signature is wrong."""
    kms = connect(unpluggable.token)
    key = kms.create_key("EC_P256")
    public = key.public_key()
    failures, counts, done = [], [0] * 4, threading.Event()

    def work(number):
        while not done.is_set():
            message = Message(b"%d %d" % (number, counts[number]))
            try:
                if not public.verify(message, key.sign(message)):
                    failures.append("a wrong signature")
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(f"{type(error).__name__}: {error}")
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        before = sum(counts)
        assert wait_for(lambda before=before: sum(counts) > before + 20 or failures)
        assert not failures
        assert unpluggable.cut() > 0
    before = sum(counts)
    assert wait_for(lambda: sum(counts) > before + 20 or failures)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures


def wait_for(condition, seconds=60):
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)  # between two looks: leaves the threads under test their turn
    return False


def test_an_unplugged_token_is_unavailable_and_comes_back(path, unpluggable, tried):
    """At once while it is away: waiting threads would only pile up."""
    config = unpluggable.token.config(path) | {"retry": {"max_attempts": 1}}
    with kmscore.connect("hsm", config=config) as kms:
        key = kms.create_key("EC_P256")
        unpluggable.unplug()
        try:
            for _ in range(20):
                with pytest.raises(Unavailable):
                    key.sign(Message(b"x"))
            assert not kms.provider.health().ok
        finally:
            unpluggable.plug()
        signature = b""

        def comes_back():
            nonlocal signature
            try:
                signature = key.sign(Message(b"x"))
            except Unavailable:
                return False
            return True

        assert wait_for(comes_back)
        assert key.public_key().verify(Message(b"x"), signature)


# --- The same process -------------------------------------------------------------------------


@pytest.mark.parametrize("token", JOINABLE, indirect=True)
@pytest.mark.parametrize("function", ["Logout", "CloseAllSessions"])
def test_a_login_that_is_lost_is_not_a_key_that_is_lost(connect, token, function):
    """Other code of this process logs out, or closes all sessions: the next call logs in again."""
    kms = connect(token)
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"secret")
    with Cryptoki(token.module, join=True) as api:
        if function == "Logout":
            session = api.open(token.label)
            api.call("Logout", session)
            api.call("CloseSession", session)
        else:
            api.call("CloseAllSessions", api.slot(token.label))
    assert key.decrypt(sealed) == b"secret"
    assert kms.create_key("AES_256").encrypt(b"x")
    assert kms.provider.health().ok


@pytest.mark.parametrize("token", JOINABLE, indirect=True)
def test_after_a_new_start_no_handle_means_another_key(connect, token):
    """The module gives the same numbers to other keys then: ours are looked up anew."""
    kms = connect(token)
    keys = [kms.create_key("AES_256") for _ in range(4)]
    sealed = [key.encrypt(b"secret %d" % number) for number, key in enumerate(keys)]
    ask(token, "destroy", object_of(token, keys[0]))
    with Cryptoki(token.module, join=True) as api:
        api.call("CloseAllSessions", api.slot(token.label))
    with pytest.raises(KeyNotFound):
        keys[0].encrypt(b"x")
    with pytest.raises(KeyNotFound):
        keys[0].decrypt(sealed[0])
    for number, key in enumerate(keys[1:], start=1):
        assert key.decrypt(sealed[number]) == b"secret %d" % number
        assert key.decrypt(key.encrypt(b"again")) == b"again"


FORK = """
import os, sys, threading, kmscore
from kmscore import Message
kms = kmscore.connect(config=sys.argv[1])
sign = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
public = sign.public_key()
aes = kms.create_key("AES_256") if sys.argv[2] == "aes" else None
sealed = aes.encrypt(b"secret") if aes else None
done, failures = threading.Event(), []
def check():
    if aes is not None:
        assert aes.decrypt(sealed) == b"secret"
        assert aes.decrypt(aes.encrypt(b"more")) == b"more"
    assert public.verify(Message(b"m"), sign.sign(Message(b"m")))
def work():
    while not done.is_set():
        try:
            check()
        except BaseException as error:
            failures.append(repr(error))
            return
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
randoms = set()
for number in range(4):
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(there, kms.generate_random(32))
            check()
            kms.close()
            status = 0
        finally:
            os._exit(status)
    randoms.add(kms.generate_random(32))
    randoms.add(os.read(here, 32))
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status}"
done.set()
for thread in threads: thread.join()
assert not failures, failures
check()
assert len(randoms) == 8, "parent and child drew the same random bytes"
kms.close()
print("ok")
"""


def test_a_fork_in_the_middle(connect, token, tmp_path, expected):
    """Both sides go on, with logins and random bytes of their own."""
    connect(token).close()
    file = tmp_path / "kms.toml"
    file.write_text(token.toml(tmp_path / "keys.db"))
    assert token.run(FORK, file, "aes" if expected.symmetric else "none") == "ok\n"


# --- Others at the same token -----------------------------------------------------------------


def test_a_key_that_another_application_switches_off_is_refused(connect, token):
    """By the token, although the registry says that it is enabled."""
    kms = connect(token)
    key = signer(kms)
    key.sign(Message(b"x"))
    assert ask(token, "switch_off", object_of(token, key), "SIGN") == 1
    with pytest.raises(KeyStateError):
        key.sign(Message(b"x"))
    key.disable()
    key.enable()
    assert key.verify(Message(b"x"), key.sign(Message(b"x")))


def test_a_key_that_another_application_destroys_is_not_found(connect, token):
    """And stays listed, so that somebody notices."""
    kms = connect(token)
    key, other = signer(kms), signer(kms)
    key.sign(Message(b"x"))
    assert ask(token, "destroy", object_of(token, key)) == 1
    with pytest.raises(KeyNotFound):
        key.sign(Message(b"x"))
    assert other.verify(Message(b"x"), other.sign(Message(b"x")))
    assert key.key_id in {info.key_id for info in list(kms.keys())}


DISABLE = """
import sys, kmscore
with kmscore.connect(config=sys.argv[1]) as kms:
    key = kms.key(sys.argv[2])
    getattr(key, sys.argv[3])()
"""


def test_a_key_that_another_process_disables_is_refused_at_once(connect, token, tmp_path):
    """Through the registry that both share; and enabled, it works again."""
    kms = connect(token)
    key = signer(kms)
    file = tmp_path / "kms.toml"
    file.write_text(token.toml(tmp_path / "keys.db"))
    signature = key.sign(Message(b"x"))
    token.run(DISABLE, file, key.key_id, "disable")
    with pytest.raises(KeyStateError):
        key.verify(Message(b"x"), signature)  # the token has no part in it
    with pytest.raises(KeyStateError):
        key.sign(Message(b"x"))
    token.run(DISABLE, file, key.key_id, "enable")
    assert key.verify(Message(b"x"), key.sign(Message(b"x")))


def test_other_keys_come_and_go_meanwhile(connect, token, expected):
    """Another application makes and destroys keys: no search of ours fails for that."""
    kms = connect(token)
    answer = []
    other = threading.Thread(target=lambda: answer.append(ask(token, "churn", 20)))
    other.start()
    while other.is_alive():
        key = kms.create_key("AES_256") if expected.symmetric else signer(kms)
        key.disable()
        key.enable()
        key.rotate() if expected.symmetric else key.sign(Message(b"x"))
    other.join()
    assert answer == [20]


# --- The PIN and the room -----------------------------------------------------------------------


def test_a_wrong_pin_is_tried_once(connect, path, token):
    """However often it is asked for: three wrong ones lock many tokens."""
    connect(token).close()
    wrong = {"pin": lambda: b"7650123"}
    for _ in range(5):
        with pytest.raises(AuthenticationFailed) as caught:
            kmscore.connect("hsm", config=token.config(path, **wrong))
        assert "7650123" not in f"{caught.value}{caught.value.__cause__!r}"
    connect(token)
    if token.kind == "opencryptoki":
        with Cryptoki(token.module, join=True) as api:
            assert not api.token_info(api.slot(token.label)).flags & 0x60000, "nearly locked"


def test_a_locked_pin_is_told_and_not_tried(opencryptoki, connect, path):
    """Somebody else has typed three wrong ones; the security officer helps."""
    connect(opencryptoki).close()
    assert ask(opencryptoki, "lock") == 3
    with pytest.raises(AuthenticationFailed, match="locked"):
        kmscore.connect("hsm", config=opencryptoki.config(path))
    ask(opencryptoki, "unlock")
    assert connect(opencryptoki).provider.health().ok


def test_a_full_token_says_so_and_keeps_working(opencryptoki, connect):
    """Opencryptoki holds 2,048 objects; a key that finds no room leaves nothing behind."""
    kms = connect(opencryptoki)
    key = signer(kms)
    ask(opencryptoki, "fill", 3000)
    try:
        with pytest.raises(LimitExceeded):
            signer(kms)
        assert key.verify(Message(b"x"), key.sign(Message(b"x")))
        assert {info.key_id for info in list(kms.keys())} == {key.key_id}
    finally:
        ask(opencryptoki, "clear")
    assert signer(kms).sign(Message(b"x"))


def test_a_full_token_is_not_taken_for_a_lost_one(connect, softhsm, monkeypatch):
    """What others do meanwhile goes on: the library is not initialised anew."""
    kms = connect(softhsm)
    generation = kms.provider._token.module.generation

    def full(*_arguments):
        raise DeviceMemory

    monkeypatch.setattr("kmscore_pkcs11._keys.generate_secret", full)
    with pytest.raises(LimitExceeded):
        kms.create_key("AES_256")
    assert kms.provider._token.module.generation == generation


# --- What callers pass ----------------------------------------------------------------------------

HOSTILE = """
import sys, kmscore
from kmscore import Message
from kmscore.errors import KmsError
with kmscore.connect(config=sys.argv[1]) as kms:
    spec, usage = sys.argv[2:]
    key = kms.create_key(spec, usage=usage)
    for text in ("\\ud800", "a\\0b", "\\x7f", "x" * 10_000, "", b"x", 5, None, "\\u202e"):
        for call in (
            lambda: kms.create_key(spec, usage=usage, alias=text),
            lambda: kms.create_key(spec, usage=usage, description=text),
            lambda: kms.create_key(text),
            lambda: kms.key(text).describe(),
            lambda: key.set_alias(text),
            lambda: kms.decrypt(text),
            lambda: key.encrypt(b"x", context={text: "x"}),
            lambda: key.encrypt(b"x", context={"x": text}),
            lambda: key.encrypt(text),
            lambda: key.decrypt(text),
            lambda: key.sign(text),
            lambda: key.sign(Message(b"x"), algorithm=text),
            lambda: key.verify(Message(b"x"), text),
            lambda: kms.generate_random(text),
        ):
            try:
                call()
            except KmsError:
                pass
            except (TypeError, AttributeError) as error:
                print(repr(text), repr(error))
    print("alive")
"""


def test_hostile_arguments_never_reach_the_library(connect, token, tmp_path, kms):
    """Lone surrogates crash the binding: this process would be gone."""
    connect(token).close()
    file = tmp_path / "kms.toml"
    file.write_text(token.toml(tmp_path / "keys.db"))
    kind = kms.capabilities.keys[0]
    assert token.run(HOSTILE, file, kind.spec, kind.usage) == "alive\n"


@pytest.mark.parametrize("token", WITH_AES, indirect=True)
@pytest.mark.parametrize("length", [1, 11, 27, 28, 60, 4096, 5000])
def test_garbage_is_no_ciphertext(kms, length):
    """Of any length, and with a right head; the key works on."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x" * 4096)
    for garbage in (bytes(length), sealed[:length][:-1] or b"K", sealed + bytes(length)):
        with pytest.raises((CiphertextInvalid, InvalidRequest)):
            key.decrypt(garbage)
    for place in range(0, len(sealed), 97):
        altered = bytearray(sealed)
        altered[place] ^= 0x40
        with pytest.raises(CiphertextInvalid):
            key.decrypt(bytes(altered))
    assert key.decrypt(sealed) == b"x" * 4096


@pytest.mark.parametrize("token", WITH_AES, indirect=True)
def test_an_altered_ciphertext_of_an_older_version_is_no_ciphertext(kms):
    """Nor one of an archived key: both only decrypt."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"secret")
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    key.rotate()
    with pytest.raises(CiphertextInvalid):
        key.decrypt(altered)
    key.archive()
    with pytest.raises(CiphertextInvalid):
        key.decrypt(altered)
    assert key.decrypt(sealed) == b"secret"


def test_garbage_for_a_key_pair_is_no_ciphertext(kms, token):
    """With each padding; where the token answers bad PKCS #1 v1.5 at random, that is no secret."""
    key = kms.create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT")
    kind = kms.capabilities.find(key.spec, key.usage)
    for algorithm in kind.algorithms:
        for garbage in (b"\0" + b"\x5a" * 255, b"\xff" * 256, bytes(256), b"short", bytes(512)):
            try:
                opened = key.decrypt(garbage, algorithm=algorithm)
            except CiphertextInvalid:
                continue
            except KmsError as error:
                raise AssertionError(f"{algorithm}: {error!r}") from error
            assert algorithm == "RSAES_PKCS1_V1_5"
            assert token.kind == "nss"
            assert opened != b""
