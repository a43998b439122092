"""What a key refuses before anything leaves the process, and what it passes on."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest

from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm, WrappingAlgorithm
from kmscore.errors import (
    InvalidRequest,
    KeyUsageMismatch,
    KmsError,
    LimitExceeded,
    Unsupported,
)
from kmscore.signing import Digest, Message


@pytest.fixture
def aes(kms, recorder):
    """A symmetric key."""
    key = kms.create_key("AES_256", alias="orders")
    recorder.calls.clear()
    return key


@pytest.fixture
def external(kms, recorder):
    """A key that waits for material."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    recorder.calls.clear()
    return key


@pytest.fixture
def p256(kms, recorder):
    """A signing key."""
    key = kms.create_key("EC_P256")
    recorder.calls.clear()
    return key


def test_4096_bytes_are_encrypted_and_4097_are_not(aes, recorder):
    """The limit of a cloud KMS, inclusive, checked here."""
    assert aes.encrypt(bytes(4096)) == b"sealed:" + bytes(4096)
    recorder.calls.clear()
    with pytest.raises(LimitExceeded, match="4097 bytes") as caught:
        aes.encrypt(bytes(4097))
    assert "envelope" in caught.value.hint
    assert not recorder.calls


@pytest.mark.parametrize("value", [b"", "text", None, 5, bytearray(b"x"), memoryview(b"x")])
def test_only_bytes_that_are_not_empty_pass(aes, external, p256, recorder, value):
    """Wrong types are named, and never reach a provider."""
    calls = [
        lambda: aes.encrypt(value),
        lambda: aes.decrypt(value),
        lambda: p256.verify(Message(b"m"), value or None),
        lambda: external.import_material(value, b"token"),
        lambda: external.import_material(b"wrapped", value),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest, match=r"empty|Give bytes"):
            call()
    assert not recorder.calls


def test_the_context_reaches_the_provider_in_canonical_form(aes, recorder):
    """Providers never canonicalise."""
    aes.encrypt(b"x", context={"b": "2", "a": "1"})
    assert recorder.calls[-1][3].aad == b'{"a":"1","b":"2"}'
    aes.decrypt(b"sealed:x", context={"b": "2", "a": "1"})
    assert recorder.calls[-1][3].aad == b'{"a":"1","b":"2"}'


def test_a_key_serves_its_usage_alone(aes, p256, recorder):
    """What a key is not for is refused by name, with what it is for."""
    refused = {
        "encrypt": lambda: p256.encrypt(b"x"),
        "decrypt": lambda: p256.decrypt(b"x"),
        "generate_data_key": lambda: p256.generate_data_key(),
        "sign": lambda: aes.sign(Message(b"x")),
        "verify": lambda: aes.verify(Message(b"x"), b"s"),
        "public_key": lambda: aes.public_key(),
    }
    for operation, call in refused.items():
        with pytest.raises(KeyUsageMismatch) as caught:
            call()
        assert caught.value.operation == operation
        assert caught.value.provider == "test"
        assert caught.value.hint
    assert not recorder.calls


def test_what_is_refused_here_says_where(kms, aes, p256):
    """Provider, operation and key, as in an error of the provider itself."""
    rsa = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    refused = {
        "encrypt": (aes, lambda: aes.encrypt(bytes(5000))),
        "decrypt": (aes, lambda: aes.decrypt(b"x", algorithm="SM2")),
        "sign": (rsa, lambda: rsa.sign(Message(b"m"), algorithm="RSA_PSS_SHA_256")),
        "get_import_parameters": (aes, lambda: aes.import_parameters()),
        "delete_key_material": (p256, lambda: p256.delete_material()),
        "rotate_key": (p256, lambda: p256.rotate()),
    }
    for operation, (key, call) in refused.items():
        with pytest.raises(KmsError) as caught:
            call()
        found = caught.value
        assert (found.provider, found.operation, found.key) == ("test", operation, key.key_id)


def test_an_algorithm_that_the_provider_lacks_is_refused(kms, recorder):
    """The capability table decides, and the error lists what there is."""
    rsa = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    recorder.calls.clear()
    with pytest.raises(Unsupported, match="RSA_PSS_SHA_256") as caught:
        rsa.sign(Message(b"m"), algorithm="RSA_PSS_SHA_256")
    assert "RSA_PKCS1_SHA_256" in caught.value.hint
    with pytest.raises(InvalidRequest, match="unknown algorithm"):
        rsa.sign(Message(b"m"), algorithm="RSA_MD5")
    assert not recorder.calls


def test_without_an_algorithm_the_first_that_the_provider_has_is_used(kms, recorder):
    """PSS is recommended, but this provider knows only PKCS #1 v1.5."""
    rsa = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    rsa.sign(Message(b"m"))
    assert recorder.calls[-1][2] is SigningAlgorithm.RSA_PKCS1_SHA_256


def test_a_message_up_to_the_limit_is_sent_raw(p256, recorder):
    """The provider hashes what fits."""
    message = Message(bytes(16))
    p256.sign(message)
    assert recorder.calls == [
        ("sign", p256.key_id, SigningAlgorithm.ECDSA_SHA_256, message),
    ]


def test_a_longer_message_is_hashed_here(p256, recorder):
    """Sign and verify send the digest that the provider would have computed."""
    message = Message(bytes(17))
    expected = Digest(hashlib.sha256(bytes(17)).digest())
    p256.sign(message)
    assert recorder.calls[-1][3] == expected
    assert p256.verify(message, b"signature") is True
    assert recorder.calls[-1][3] == expected
    assert p256.verify(message, b"another") is False


def test_ed25519_has_no_way_round_the_limit(kms, recorder):
    """There is no digest to sign instead."""
    key = kms.create_key("ED25519")
    recorder.calls.clear()
    with pytest.raises(LimitExceeded, match="17 bytes"):
        key.sign(Message(bytes(17)))
    assert not recorder.calls


@pytest.mark.parametrize(
    ("asked", "length"),
    [({}, 32), ({"spec": "AES_128"}, 16), ({"spec": "sm4"}, 16), ({"length": 1024}, 1024)],
)
def test_data_keys_come_by_spec_or_by_length(aes, recorder, asked, length):
    """AES-256 unless something else is asked for."""
    with aes.generate_data_key(**asked) as data_key:
        assert len(data_key.plaintext) == length
    assert recorder.calls[-1][2] == length


@pytest.mark.parametrize(
    "asked", [{"length": 0}, {"length": 1025}, {"length": True}, {"length": "9"}, {"spec": "SM2"}]
)
def test_impossible_data_keys_are_refused(aes, recorder, asked):
    """1 to 1024 bytes, or a symmetric spec."""
    with pytest.raises(InvalidRequest):
        aes.generate_data_key(**asked)
    assert not recorder.calls


def test_a_data_key_is_wiped_when_its_block_ends(aes):
    """The plaintext lives as long as the with block."""
    with aes.generate_data_key() as data_key:
        assert any(data_key.plaintext)
        assert "x01" not in repr(data_key)
    assert data_key.plaintext == bytes(32)


@pytest.mark.parametrize("days", [6, 31, 0, -7, 7.0, "7", True, None])
def test_deletion_waits_7_to_30_whole_days(aes, recorder, days):
    """Anything else is refused before it is sent."""
    with pytest.raises(InvalidRequest, match="7 to 30"):
        aes.schedule_deletion(days)
    assert not recorder.calls


def test_deletion_says_when(aes):
    """The answer is an aware time."""
    assert aes.schedule_deletion(7) == datetime(2026, 1, 9, tzinfo=UTC)


def test_features_that_the_provider_lacks_are_refused(aes, recorder):
    """Aliases, archive, schedules: the table is asked first."""
    refused = [
        lambda: aes.set_alias("b"),
        aes.archive,
        aes.restore,
        lambda: aes.set_rotation(30),
    ]
    for call in refused:
        with pytest.raises(Unsupported, match="does not offer"):
            call()
    assert not recorder.calls


def test_only_generated_symmetric_keys_rotate(p256, external, recorder):
    """The rule is the same everywhere, so it is checked here."""
    for key in (p256, external):
        with pytest.raises(Unsupported, match="do not rotate"):
            key.rotate()
    assert not recorder.calls


def test_material_can_only_be_imported_into_external_keys(aes, recorder):
    """A generated key has material already."""
    for call in (aes.import_parameters, aes.delete_material):
        with pytest.raises(InvalidRequest, match="generated"):
            call()
    with pytest.raises(InvalidRequest, match="generated"):
        aes.import_material(b"w", b"t")
    assert not recorder.calls


def test_a_wrapping_that_the_provider_lacks_is_refused(external, recorder):
    """With the ones that it has."""
    with pytest.raises(Unsupported, match="RSAES_OAEP_SHA_256") as caught:
        external.import_parameters()
    assert "RSAES_OAEP_SHA_1" in caught.value.hint
    assert not recorder.calls
    assert external.import_parameters("RSAES_OAEP_SHA_1").token == b"token"
    assert recorder.calls[-1][2] is WrappingAlgorithm.RSAES_OAEP_SHA_1


@pytest.mark.parametrize("valid_to", [datetime(2030, 1, 1), 1893456000, "2030-01-01"])  # noqa: DTZ001
def test_expiry_is_an_aware_time(external, recorder, valid_to):
    """A time without a zone means something else on another machine."""
    with pytest.raises(InvalidRequest, match="aware"):
        external.import_material(b"w", b"t", valid_to=valid_to)
    assert not recorder.calls


def test_expiry_needs_a_provider_that_has_it(external):
    """This one would ignore it."""
    zone = timezone(timedelta(hours=8))
    with pytest.raises(Unsupported, match="does not expire"):
        external.import_material(b"w", b"t", valid_to=datetime(2030, 1, 1, tzinfo=zone))


def test_a_symmetric_key_takes_no_algorithm(aes):
    """Its cipher is the provider's own affair."""
    with pytest.raises(InvalidRequest, match="no algorithm"):
        aes.decrypt(b"sealed:x", algorithm=EncryptionAlgorithm.SM2)


def test_the_repr_names_the_key(aes):
    """And nothing else."""
    assert repr(aes) == f"<Key {aes.key_id} AES_256 ENCRYPT_DECRYPT>"


@pytest.mark.parametrize("alias", [5, "a\nb", "\ud800"])
def test_text_that_would_harm_is_refused(kms, recorder, alias):
    """Line breaks forge log lines, lone surrogates crash C libraries."""
    with pytest.raises(InvalidRequest):
        kms.create_key("AES_256", alias=alias)
    with pytest.raises(InvalidRequest):
        kms.create_key("AES_256", description=alias)
    assert not recorder.calls
