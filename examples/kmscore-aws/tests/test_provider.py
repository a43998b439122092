"""What users of the provider do, against a server that nobody here wrote."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

import kmscore
from kmscore import Message, errors


def test_a_secret_goes_and_comes_back(kms):
    """Under its context, and no other; the ciphertext names its key."""
    key = kms.create_key("AES_256", alias="orders")
    sealed = key.encrypt(b"card number", context={"table": "orders"})
    assert kms.decrypt(sealed, context={"table": "orders"}) == b"card number"
    with pytest.raises(errors.CiphertextInvalid):
        key.decrypt(sealed, context={"table": "invoices"})
    with pytest.raises(errors.CiphertextInvalid):
        key.decrypt(b"garbage")


def test_another_key_does_not_open_it(kms):
    """Even though both are at hand."""
    one, two = kms.create_key("AES_256"), kms.create_key("AES_256")
    with pytest.raises((errors.CiphertextInvalid, errors.AccessDenied)):
        two.decrypt(one.encrypt(b"secret"))


def test_a_data_key(kms):
    """In clear once, and encrypted for later."""
    key = kms.create_key("AES_256")
    with key.generate_data_key("AES_256", context={"a": "b"}) as data_key:
        assert len(data_key.plaintext) == 32
        assert key.decrypt(data_key.ciphertext, context={"a": "b"}) == data_key.plaintext


def test_a_signature_is_checked_by_somebody_else(kms):
    """`cryptography` verifies what AWS's interface returned."""
    key = kms.create_key("EC_P256")
    signature = key.sign(Message(b"invoice"))
    public = load_der_public_key(key.public_key().der)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, b"invoice", ec.ECDSA(SHA256()))
    assert key.verify(Message(b"invoice"), signature)
    assert not key.verify(Message(b"another"), signature)


def test_the_life_of_a_key(kms):
    """Only a disabled key is scheduled; a cancelled one is disabled."""
    key = kms.create_key("AES_256", description="for a while")
    with pytest.raises(errors.KeyStateError, match="ENABLED"):
        key.schedule_deletion(7)
    key.disable()
    assert key.describe().state == "DISABLED"
    key.schedule_deletion(7)
    assert key.describe().deletion_at is not None
    with pytest.raises(errors.KeyStateError, match="PENDING_DELETION"):
        key.enable()
    key.cancel_deletion()
    assert key.describe().state == "DISABLED"
    key.enable()
    assert key.describe().state == "ENABLED"


def test_aliases(kms):
    """Unique, and they can change."""
    key = kms.create_key("AES_256", alias="first-name")
    before = list(kms.keys())
    with pytest.raises(errors.AlreadyExists, match="first-name"):
        kms.create_key("AES_256", alias="first-name")
    assert list(kms.keys()) == before
    key.set_alias("second-name")
    assert kms.key("second-name").key_id == key.key_id
    with pytest.raises(errors.KeyNotFound):
        kms.key("first-name")


def test_random_bytes(kms):
    """As many as asked for."""
    assert len(kms.generate_random(20)) == 20


def test_what_is_not_offered_is_refused_before_a_call(kms):
    """By name."""
    with pytest.raises(errors.Unsupported, match="SM2"):
        kms.create_key("SM2", usage="SIGN_VERIFY")


@pytest.mark.parametrize("url", ["http://kms.example.com", "ftp://localhost", "nonsense"])
def test_nothing_is_sent_without_tls(url):
    """Except to this machine."""
    entry = {"type": "aws", "region": "eu-central-1", "endpoint": url}
    with pytest.raises(errors.ConfigError, match="not protected by TLS"):
        kmscore.connect(config={"providers": {"aws": entry}})


def test_a_server_that_is_gone(settings, endpoint):
    """Is told as such, within the time, and `health` reports instead of raising."""
    content = settings.read_text().replace(endpoint, "http://127.0.0.1:1")
    gone = settings.with_name("gone.toml")
    gone.write_text(content + "\n[retry]\nmax_attempts = 1\n")
    with kmscore.connect("aws", config=gone) as kms:
        assert not kms.health().ok
        with pytest.raises(errors.Unavailable):
            kms.generate_random(1)


def test_secrets_are_not_shown(kms):
    """In no representation."""
    assert os.environ["AWS_TEST_SECRET"] not in repr(kms) + repr(kms.provider) + repr(kms.health())
