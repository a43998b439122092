"""The life of keys on a token: what the registry says, the token does."""

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from kmscore_pkcs11._templates import secret_key
from pkcs11 import Attribute, KeyType

from kmscore import KeyState, Message
from kmscore.ciphertext import parse
from kmscore.errors import (
    AlreadyExists,
    InternalError,
    KeyNotFound,
    KeyStateError,
    Unavailable,
)
from tests.pkcs11.conftest import KINDS
from tests.pkcs11.expectations import EXPECTED
from tests.pkcs11.inside import Clock, objects

AES = pytest.mark.parametrize(
    "token", [kind for kind in KINDS if EXPECTED[kind].symmetric], indirect=True
)
DAY = 86400


def test_a_key_is_destroyed_at_its_date(clocked, token):
    """Not before; at that second it is gone for users, and with the next change for the token."""
    kms, clock = clocked
    key = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    key.disable()
    assert key.schedule_deletion(7) == key.describe().created_at + timedelta(days=7)
    clock.advance(7 * DAY - 1)
    kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    assert set(objects(kms, key)) == {"1"}
    clock.advance(1)
    with pytest.raises(KeyNotFound):
        kms.key(key.key_id)
    kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    assert objects(kms, key) == {}


def test_a_key_that_the_token_keeps_stops_nobody(connect, softhsm):
    """It is gone for users, tried again later, and the doctor tells; others due are destroyed."""
    clock = Clock()
    kms = connect(softhsm, clock=clock)
    kept, other = (kms.create_key("AES_256") for _ in range(2))
    for key in (kept, other):
        key.disable()
        key.schedule_deletion(7)
    identity = kms.provider._store.version(kept.key_id, 1).material
    fixed = secret_key(identity, f"kms:{kept.key_id}:1", token=True)
    fixed |= {Attribute.DESTROYABLE: False}

    def replace(session):
        (handle,) = session.search(identity)
        session.destroy(handle)
        session.raw.generate_key(KeyType.AES, 256, capabilities=0, template=fixed)

    kms.provider._token.change("C_GenerateKey", replace)
    clock.advance(7 * DAY)
    assert kms.create_key("AES_256").encrypt(b"x")
    again = connect(softhsm, clock=clock)
    assert {kept.key_id, other.key_id}.isdisjoint(each.key_id for each in list(again.keys()))
    assert "does not allow" in again.health().details["destruction of what is due"]
    assert set(objects(again, kept)) == {"1"}
    assert objects(again, other) == {}


def test_a_deletion_can_be_cancelled(kms):
    """The key is disabled then, on the token too, until it is enabled."""
    key = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    key.disable()
    key.schedule_deletion(7)
    key.cancel_deletion()
    assert key.describe().state is KeyState.DISABLED
    assert objects(kms, key)["1"].usages == ()
    key.enable()
    assert key.public_key().verify(Message(b"x"), key.sign(Message(b"x")))


@AES
def test_an_archived_key_only_decrypts(kms):
    """The token refuses to encrypt with it, until it is restored."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    key.archive()
    assert objects(kms, key)["1"].usages == ("DECRYPT",)
    assert key.decrypt(sealed) == b"x"
    with pytest.raises(KeyStateError):
        key.encrypt(b"x")
    key.restore()
    assert objects(kms, key)["1"].usages == ("ENCRYPT", "DECRYPT")
    assert key.decrypt(key.encrypt(b"y")) == b"y"


@AES
def test_a_key_rotates_when_it_is_due(clocked):
    """At the first encryption after that time; older ciphertexts open still."""
    kms, clock = clocked
    key = kms.create_key("AES_256")
    key.set_rotation(7)
    sealed = key.encrypt(b"x")
    clock.advance(7 * DAY)
    newer = key.encrypt(b"y")
    assert key.describe().version == 2
    assert (key.decrypt(sealed), key.decrypt(newer)) == (b"x", b"y")
    assert {name: each.usages for name, each in objects(kms, key).items()} == {
        "1": ("DECRYPT",),
        "2": ("ENCRYPT", "DECRYPT"),
    }


@AES
def test_enabling_a_rotated_key_enables_each_version_for_what_it_is(kms):
    """Old versions never encrypt again."""
    key = kms.create_key("AES_256")
    key.rotate()
    key.disable()
    assert {each.usages for each in objects(kms, key).values()} == {()}
    key.enable()
    assert objects(kms, key)["1"].usages == ("DECRYPT",)


def test_a_key_that_was_not_entered_is_not_on_the_token(kms, token):
    """An alias that is taken: the pair that was made for it is destroyed again."""
    kms.create_key("RSA_2048", usage="SIGN_VERIFY", alias="taken")
    before = count(kms)
    with pytest.raises(AlreadyExists):
        kms.create_key("RSA_2048", usage="SIGN_VERIFY", alias="taken")
    assert count(kms) == before


def count(kms):
    """How many objects the token has."""
    return kms.provider._token.change(
        "C_FindObjects", lambda session: len(list(session.raw.get_objects({Attribute.TOKEN: True})))
    )


def test_a_new_key_that_fails_its_trial_is_destroyed(connect, softhsm, monkeypatch):
    """A token whose new key does not do what it should keeps nothing of it."""
    kms = connect(softhsm)
    before = count(kms)
    monkeypatch.setattr("kmscore_pkcs11._keys.signs", lambda *given: False)
    with pytest.raises(InternalError, match="halves do not fit"):
        kms.create_key("EC_P256")
    assert count(kms) == before


def test_disabling_works_while_the_object_is_missing(kms):
    """Somebody destroyed it with another tool; enabling then says so."""
    key = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    version = kms.provider._store.version(key.key_id, 1)
    kms.provider._keys.remove(version.material)
    key.disable()
    assert key.describe().state is KeyState.DISABLED
    with pytest.raises(KeyNotFound, match="no longer on the token"):
        key.enable()


def test_disabling_a_key_fails_when_the_token_cannot_be_told(connect, softhsm, monkeypatch):
    """The registry then says what is so: the key is still enabled."""
    kms = connect(softhsm)
    key = kms.create_key("AES_256")

    def fail(*_):
        raise Unavailable("the token is away")

    with monkeypatch.context() as patch:
        patch.setattr(kms.provider._keys, "mirror", fail)
        with pytest.raises(Unavailable):
            key.disable()
    assert key.describe().state is KeyState.ENABLED
    assert key.decrypt(key.encrypt(b"x")) == b"x"


def test_where_flags_cannot_be_changed_the_registry_alone_decides(connect, softhsm):
    """Doctor says so; the key is disabled all the same for who asks kmscore."""
    kms = connect(softhsm)
    kms.provider._abilities.found["USAGE_FLAGS"] = "CKR_ATTRIBUTE_READ_ONLY"
    key = kms.create_key("AES_256")
    key.disable()
    assert objects(kms, key)["1"].usages == ("ENCRYPT", "DECRYPT")
    with pytest.raises(KeyStateError):
        key.encrypt(b"x")
    told = kms.health().details["refuses disabled keys itself"]
    assert told == "no: CKR_ATTRIBUTE_READ_ONLY"
    key.enable()
    assert key.encrypt(b"x")


@AES
def test_others_go_on_encrypting_while_a_key_rotates(kms):
    """Who has looked at the registry just before gets the new version, and no error."""
    key = kms.create_key("AES_256")
    rotated = threading.Event()

    def work(number):
        sealed: deque[bytes] = deque(maxlen=100)  # NSS takes its time
        while not rotated.is_set() or not sealed:
            sealed.append(key.encrypt(b"%d" % number))
        return all(key.decrypt(each) == b"%d" % number for each in sealed)

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(work, number) for number in range(3)]
        try:
            for _ in range(6):
                key.rotate()
        finally:
            rotated.set()
        assert all(each.result() for each in done)


@AES
def test_a_key_that_rotates_between_the_look_and_the_use_encrypts_with_its_new_version(kms):
    """The token refuses the old one, and nobody who encrypts hears of it."""
    key = kms.create_key("AES_256")
    registry = kms.provider.registry
    look = registry.usable

    def look_too_early(key_id, operation):
        record = look(key_id, operation)
        registry.usable = look
        key.rotate()
        return record

    registry.usable = look_too_early
    sealed = key.encrypt(b"x")
    assert parse(sealed).key_version == 2
    assert key.decrypt(sealed) == b"x"
