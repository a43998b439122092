"""The capability table and the provider agree: what is listed works, and nothing else does."""

from datetime import UTC, datetime

import pytest

from kmscore import Message
from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyState,
    KeyUsage,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Feature
from kmscore.ciphertext import parse
from kmscore.errors import InvalidRequest, KeyUsageMismatch, LimitExceeded, Unsupported

KINDS = pytest.mark.parametrize(
    ("spec", "usage"), [(spec, usage) for spec, traits in TRAITS.items() for usage in traits.usages]
)
MESSAGE = Message(b"m")


@KINDS
def test_every_kind_of_key_works_and_survives_a_restart(kms, connect, spec, usage):
    """Every algorithm of its row; what one process makes, the next one takes, and back."""
    row = kms.capabilities.find(spec, usage)
    made = kms.create_key(spec, usage=usage)
    again = connect().key(made.key_id)
    assert (again.spec, again.usage, again.origin) == (spec, usage, "GENERATED")
    assert again.describe() == made.describe()
    assert made.describe().state is KeyState.ENABLED
    assert bool(row.algorithms) is (usage is not KeyUsage.ENCRYPT_DECRYPT)
    for one, other in ((made, again), (again, made)):
        if usage is KeyUsage.ENCRYPT_DECRYPT:
            assert other.decrypt(one.encrypt(b"x")) == b"x"
        for algorithm in row.algorithms:
            if usage is KeyUsage.SIGN_VERIFY:
                signature = one.sign(MESSAGE, algorithm=algorithm)
                assert other.verify(MESSAGE, signature, algorithm=algorithm)
                assert other.public_key().verify(MESSAGE, signature, algorithm)
            else:
                sealed = one.public_key().encrypt(b"x", algorithm)
                assert other.decrypt(sealed, algorithm=algorithm) == b"x"


@pytest.mark.parametrize(
    ("spec", "usage"),
    [
        (KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT),
        (KeySpec.RSA_2048, KeyUsage.ASYMMETRIC_DECRYPT),
        (KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY),
        (KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT),
        (KeySpec.SM2, KeyUsage.SIGN_VERIFY),
        (KeySpec.EC_P256, KeyUsage.SIGN_VERIFY),
        (KeySpec.ED25519, KeyUsage.SIGN_VERIFY),
    ],
)
def test_a_key_does_nothing_that_its_row_does_not_list(kms, spec, usage):
    """Neither another purpose, nor an algorithm of another kind of key."""
    row = kms.capabilities.find(spec, usage)
    key = kms.create_key(spec, usage=usage)
    others = {
        KeyUsage.ENCRYPT_DECRYPT: (lambda: key.encrypt(b"x"), key.generate_data_key),
        KeyUsage.SIGN_VERIFY: (lambda: key.sign(MESSAGE), lambda: key.verify(MESSAGE, b"s")),
    }
    for purpose, uses in others.items():
        for use in uses if purpose is not usage else ():
            with pytest.raises(KeyUsageMismatch):
                use()
    if usage is KeyUsage.SIGN_VERIFY:
        for signing in set(SigningAlgorithm) - row.algorithms:
            with pytest.raises(Unsupported):
                key.sign(MESSAGE, algorithm=signing)
    if usage is KeyUsage.ASYMMETRIC_DECRYPT:
        for encryption in set(EncryptionAlgorithm) - row.algorithms:
            with pytest.raises(Unsupported):
                key.decrypt(b"x" * 256, algorithm=encryption)


def test_the_limits_of_the_table(kms):
    """The largest there may be of everything, and one more."""
    limits = kms.capabilities.limits
    key = kms.create_key("AES_256")
    assert key.decrypt(key.encrypt(bytes(limits.plaintext))) == bytes(limits.plaintext)
    assert len(key.generate_data_key(length=limits.data_key).plaintext) == limits.data_key
    assert len(kms.generate_random(limits.random)) == limits.random
    for use in (
        lambda: key.encrypt(bytes(limits.plaintext + 1)),
        lambda: key.encrypt(b""),
        lambda: key.generate_data_key(length=limits.data_key + 1),
        lambda: key.generate_data_key(length=0),
        lambda: kms.generate_random(limits.random + 1),
    ):
        with pytest.raises(InvalidRequest):
            use()
    with pytest.raises(LimitExceeded):
        key.encrypt(bytes(limits.plaintext + 1))
    assert limits.message is None
    signer = kms.create_key("EC_P256")
    long = Message(bytes(100_000))
    assert signer.public_key().verify(long, signer.sign(long))


def aliases(kms, owner, clock):
    """A key is found by its name, also by a new one."""
    key = kms.create_key("AES_128", alias="first")
    key.set_alias("second")
    assert kms.key("second").key_id == key.key_id


def archive(kms, owner, clock):
    """A key is put away, and comes back."""
    key = kms.create_key("AES_128")
    key.archive()
    assert key.describe().state is KeyState.ARCHIVED
    key.restore()
    assert key.describe().state is KeyState.ENABLED


def data_keys(kms, owner, clock):
    """A data key is what its ciphertext holds."""
    key = kms.create_key("SM4")
    with key.generate_data_key() as data_key:
        assert key.decrypt(data_key.ciphertext) == bytes(data_key.plaintext)


def deletion(kms, owner, clock):
    """A key is there until its day, and no longer."""
    key = kms.create_key("AES_128", alias="k")
    key.disable()
    key.schedule_deletion(7)
    assert kms.key("k").describe().state is KeyState.PENDING_DELETION
    clock.now += 7 * 86400
    assert list(kms.keys()) == []


def material_expiry(kms, owner, clock):
    """Imported material goes at the time that its owner said."""
    until = datetime.fromtimestamp(clock.now + 60, UTC)
    key = owner.key(kms, "AES_128", bytes(16), valid_to=until)
    assert key.describe().state is KeyState.ENABLED
    clock.now += 60
    assert key.describe().state is KeyState.PENDING_IMPORT


def random(kms, owner, clock):
    """Random bytes, as many as asked for."""
    assert len(kms.generate_random(17)) == 17


def re_encrypt(kms, owner, clock):
    """A ciphertext comes under another key and another context."""
    old, new = kms.create_key("AES_128"), kms.create_key("SM4")
    sealed = kms.re_encrypt(
        old.encrypt(b"x", context={"a": "1"}), new, source_context={"a": "1"}, context={"b": "2"}
    )
    assert new.decrypt(sealed, context={"b": "2"}) == b"x"


def rotation(kms, owner, clock):
    """A key gets another version."""
    key = kms.create_key("AES_128")
    key.rotate()
    assert key.describe().version == 2


def rotation_schedule(kms, owner, clock):
    """A key gets another version by itself, as long as it shall."""
    key = kms.create_key("AES_128")
    key.set_rotation(7)
    clock.now += 7 * 86400
    assert parse(key.encrypt(b"x")).key_version == 2
    key.set_rotation(None)
    clock.now += 7 * 86400
    assert parse(key.encrypt(b"x")).key_version == 2


SHOWN = {
    Feature.ALIASES: aliases,
    Feature.ARCHIVE: archive,
    Feature.DATA_KEYS: data_keys,
    Feature.DELETION: deletion,
    Feature.MATERIAL_EXPIRY: material_expiry,
    Feature.RANDOM: random,
    Feature.RE_ENCRYPT: re_encrypt,
    Feature.ROTATION: rotation,
    Feature.ROTATION_SCHEDULE: rotation_schedule,
}


@pytest.mark.parametrize("feature", Feature)
def test_every_feature_of_the_table(kms, owner, clock, feature):
    """Is there and works; a feature that nobody shows fails here."""
    assert feature in kms.capabilities.features
    SHOWN[feature](kms, owner, clock)


@pytest.mark.parametrize("wrapping", WrappingAlgorithm)
def test_every_wrapping_of_the_table(kms, owner, wrapping):
    """Is there and unwraps."""
    assert wrapping in kms.capabilities.wrapping
    key = owner.key(kms, "AES_256", b"m" * 32, wrapping=wrapping)
    assert key.decrypt(key.encrypt(b"x")) == b"x"
