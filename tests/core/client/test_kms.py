"""The open provider: keys, listings, retries, and one kind of error for everything."""

import pytest

from kmscore.capabilities import Capabilities
from kmscore.client import Kms, connect
from kmscore.errors import (
    CiphertextInvalid,
    InternalError,
    InvalidRequest,
    KeyNotFound,
    Throttled,
    Timeout,
    Unavailable,
    Unsupported,
)
from kmscore.gate import Gate
from kmscore.retry import Retrier, RetryPolicy
from kmscore.spi import Health, Provider


def test_a_key_is_found_by_id_alias_and_uri(kms):
    """Three ways to name it, one key."""
    made = kms.create_key("AES_256", alias="orders")
    for reference in (made.key_id, "orders", "kms://test/orders", f"kms://test/{made.key_id}"):
        assert kms.key(reference).key_id == made.key_id


def test_a_key_of_another_provider_is_not_looked_for_here(kms, recorder):
    """The URI says where it is."""
    for reference, hint in (
        ("kms://other/orders", "'other'"),
        ("kms://test", "kms://provider/key"),
    ):
        with pytest.raises(InvalidRequest, match="names no key of provider 'test'") as caught:
            kms.key(reference)
        assert hint in caught.value.hint
    assert not recorder.calls


def test_an_unknown_key_is_not_found(kms):
    """The error names the key as the caller did."""
    with pytest.raises(KeyNotFound) as caught:
        kms.key("nobody")
    assert (caught.value.provider, caught.value.key) == ("test", "nobody")


def test_a_spec_with_one_use_needs_no_usage(kms):
    """An AES key encrypts, an EC key signs; RSA can do either."""
    assert kms.create_key("EC_P256").usage == "SIGN_VERIFY"
    with pytest.raises(InvalidRequest, match="needs a usage") as caught:
        kms.create_key("RSA_2048")
    assert "SIGN_VERIFY or ASYMMETRIC_DECRYPT" in caught.value.hint


@pytest.mark.parametrize(
    "asked",
    [
        {"spec": "SM4"},
        {"spec": "EC_P256", "origin": "EXTERNAL"},
        {"spec": "RSA_2048", "usage": "ASYMMETRIC_DECRYPT"},
    ],
)
def test_keys_that_the_provider_does_not_make_are_refused(kms, recorder, asked):
    """By the capability table, before any call."""
    with pytest.raises(Unsupported):
        kms.create_key(**asked)
    assert not recorder.calls


def test_all_keys_are_listed_across_pages(kms, recorder):
    """The provider gives two at a time."""
    made = [kms.create_key("AES_256").key_id for _ in range(5)]
    assert [info.key_id for info in kms.keys()] == made  # noqa: SIM118 - not a dict
    assert [call[2] for call in recorder.calls if call[0] == "list_keys"] == [None, "2", "4"]


def test_throttling_ends_in_one_success(kms, recorder, sleeps):
    """The caller sees nothing of it but the time."""
    key = kms.create_key("AES_256")
    recorder.failures = [Throttled("slow down"), Unavailable("gone"), Timeout("late")]
    assert key.encrypt(b"x") == b"sealed:x"
    assert len(sleeps) == 3
    assert [call[0] for call in recorder.calls].count("encrypt") == 4


@pytest.mark.parametrize("error", [Throttled("t"), Unavailable("u"), Timeout("t")])
def test_creating_and_rotating_are_sent_once(kms, recorder, sleeps, error):
    """A second try could make a second key, or a second version."""
    key = kms.create_key("AES_256")
    recorder.calls.clear()
    for call in (lambda: kms.create_key("AES_256"), key.rotate):
        recorder.failures = [error]
        with pytest.raises(type(error)):
            call()
    assert [call[0] for call in recorder.calls] == ["create_key", "rotate_key"]
    assert not sleeps


def test_a_lost_answer_to_a_change_is_not_sent_again(kms, recorder):
    """Whether the deletion was scheduled is not known; Throttled says that it was not."""
    key = kms.create_key("AES_256")
    recorder.failures = [Timeout("late")]
    with pytest.raises(Timeout):
        key.schedule_deletion(7)
    recorder.failures = [Throttled("slow down")]
    assert key.schedule_deletion(7)


def test_errors_say_where_they_happened(kms, recorder):
    """Provider, operation and key are filled in by the client."""
    key = kms.create_key("AES_256")
    recorder.failures = [CiphertextInvalid()]
    with pytest.raises(CiphertextInvalid) as caught:
        key.decrypt(b"sealed:x")
    error = caught.value
    assert (error.provider, error.operation, error.key) == ("test", "decrypt", key.key_id)


def test_a_foreign_exception_becomes_an_internal_error_without_its_text(kms, recorder):
    """Its text may hold a secret; it stays in the chain for --debug."""
    key = kms.create_key("AES_256")
    recorder.failures = [RuntimeError("password=hunter2")]
    with pytest.raises(InternalError) as caught:
        key.encrypt(b"x")
    assert "hunter2" not in str(caught.value)
    assert "RuntimeError" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_ciphertext_names_its_key(kms):
    """Kms.decrypt needs no key."""
    assert kms.decrypt(b"sealed:secret") == b"secret"
    with pytest.raises(InvalidRequest, match="empty"):
        kms.decrypt(b"")


def test_re_encryption_works_for_providers_without_their_own(kms, recorder):
    """The SPI's default decrypts and encrypts, with either context."""
    kms.create_key("AES_256", alias="new")
    assert (
        kms.re_encrypt(b"sealed:x", "new", source_context={"a": "1"}, context={"b": "2"})
        == b"sealed:x"
    )
    contexts = [call[3].json for call in recorder.calls if call[0] in ("decrypt", "encrypt")]
    assert contexts == ['{"a":"1"}', '{"b":"2"}']


class Bare(Provider):
    """A provider that only says who it is."""

    def capabilities(self):
        return Capabilities(keys=())

    def health(self):
        return Health(ok=True, message="bare")

    def close(self):
        pass


def test_interfaces_that_a_provider_lacks_are_unsupported():
    """Each is optional but the first."""
    with Kms(Bare(), Gate("bare", Retrier(RetryPolicy()))) as kms:
        assert kms.health().message == "bare"
        for call in (lambda: kms.key("k"), lambda: kms.decrypt(b"c"), lambda: next(kms.keys())):
            with pytest.raises(Unsupported, match="'bare' does not offer"):
                call()
        with pytest.raises(Unsupported, match="RandomSource"):
            kms.generate_random(8)


@pytest.mark.parametrize("length", [0, -1, 1025, "8", True, 8.0])
def test_random_bytes_come_1_to_1024_at_a_time(kms, length):
    """Checked here."""
    with pytest.raises(InvalidRequest):
        kms.generate_random(length)


def test_leaving_the_block_closes_the_provider(recorder):
    """And closing again does no harm; what comes later is refused, and does not reach it."""
    with Kms(recorder, Gate("test", Retrier(RetryPolicy()))) as kms:
        key = kms.create_key("AES_256")
    kms.close()
    assert recorder.closed == 2
    calls = list(recorder.calls)
    for use in (key.describe, lambda: key.encrypt(b"x"), lambda: list(kms.keys())):
        with pytest.raises(InvalidRequest, match="the provider was closed"):
            use()
    assert recorder.calls == calls


def test_connecting_to_a_key_is_refused():
    """A provider is opened, then its key is asked for."""
    with pytest.raises(InvalidRequest, match="names a key"):
        connect("kms://dev/orders", config={"providers": {"dev": {"type": "software"}}})
