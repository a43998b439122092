"""Key stores that can do less, or fail: the answer is a documented code, and tells no more."""

from contextlib import ExitStack

import pytest
from kmscore_server.api import ApiError, Call

from kmscore.algorithms import KeySpec, KeyUsage
from kmscore.capabilities import Capabilities, KeyKind
from kmscore.client import Kms
from kmscore.errors import (
    AccessDenied,
    AuthenticationFailed,
    IntegrityError,
    InternalError,
    Throttled,
    Timeout,
    Unavailable,
)
from kmscore.gate import Gate
from kmscore.retry import Retrier, RetryPolicy
from kmscore.spi import KeyManager, Provider, Symmetric
from tests.server.actions.conftest import b64

SECRET = b64(b"secret")


class Small(Provider, KeyManager, Symmetric):
    """A key store that encrypts, and does nothing else; its ciphertexts are its own.

    Attributes:
        fails: Raised by whatever is called next.
    """

    def __init__(self, inner):
        self.inner = inner
        self.fails = None

    def capabilities(self):
        return Capabilities(keys=(KeyKind.standard(KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT),))

    def health(self):
        return self.inner.health()

    def close(self):
        """The test closes the key store."""

    def _do(self, name, *arguments):
        if self.fails is not None:
            raise self.fails
        return getattr(self.inner, name)(*arguments)

    def create_key(self, new):
        return self._do("create_key", new)

    def describe_key(self, ref):
        return self._do("describe_key", ref)

    def list_keys(self, limit, cursor):
        return self._do("list_keys", limit, cursor)

    def enable_key(self, key_id):
        self._do("enable_key", key_id)

    def disable_key(self, key_id):
        self._do("disable_key", key_id)

    def schedule_key_deletion(self, key_id, days):
        return self._do("schedule_key_deletion", key_id, days)

    def cancel_key_deletion(self, key_id):
        self._do("cancel_key_deletion", key_id)

    def encrypt(self, key_id, plaintext, context):
        return b"own" + self._do("encrypt", key_id, plaintext, context)

    def decrypt(self, key_id, ciphertext, context):
        return self._do("decrypt", key_id, ciphertext[3:], context)

    def generate_data_key(self, key_id, length, context):
        made = self._do("generate_data_key", key_id, length, context)
        made.ciphertext = b"own" + made.ciphertext
        return made


@pytest.fixture
def small(kms):
    """The key store."""
    return Small(kms.provider)


@pytest.fixture
def server(serve, small):
    """The API over it; what fails is not tried again."""
    with ExitStack() as stack:
        retrier = Retrier(RetryPolicy(max_attempts=1))
        kms = stack.enter_context(Kms(small, Gate("small", retrier)))
        yield serve(kms)


@pytest.fixture
def key(server):
    """A symmetric key."""
    return server.key()


def test_ciphertexts_of_any_form_are_carried(server, key):
    """The format of kmscore is not a condition."""
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET
    made = server("GenerateDataKey", KeyId=key, KeySpec="AES_128")
    opened = server("Decrypt", CiphertextBlob=made["CiphertextBlob"])
    assert opened["Plaintext"] == made["Plaintext"]
    # Which version made it cannot be seen, so it is made anew.
    assert server("ReEncrypt", CiphertextBlob=blob)["ReEncrypted"] is True


def test_keys_that_the_key_store_has_not_are_not_made(server):
    """Pairs, external keys, and other usages."""
    expected = "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
    for more in ({"KeyUsage": "ASYMMETRIC_DECRYPT_SM2"}, {"Type": 2}):
        assert server.code("CreateKey", Alias="other", **more) == expected
    listed = server("ListAlgorithms")
    assert listed["SymmetricAlgorithms"] == [
        {"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": "AES_256"}
    ]
    assert listed["AsymmetricAlgorithms"] == listed["AsymmetricSignVerifyAlgorithms"] == []


def test_what_the_key_store_does_not_offer_is_unsupported(server, key):
    """By the code that the action has for it, or the general one."""
    assert server.code("RotateKey", KeyId=key) == "UnsupportedOperation.RotateNotSupported"
    code = server.code("EnableKeyRotation", KeyId=key)
    assert code == "UnsupportedOperation.ExternalCmkCanNotRotate"
    assert server.code("GenerateRandom", NumberOfBytes=1) == "UnsupportedOperation"
    assert server.code("UpdateAlias", KeyId=key, Alias="new") == "UnsupportedOperation"
    assert server.code("ArchiveKey", KeyId=key) == "UnsupportedOperation"
    server("DisableKey", KeyId=key)
    code = server.code("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert code == "UnsupportedOperation"


@pytest.mark.parametrize(
    ("failure", "codes"),
    [
        (Throttled, ("RequestLimitExceeded", "RequestLimitExceeded")),
        (Unavailable, ("ServiceUnavailable", "UnsupportedOperation.ServiceTemporaryUnavailable")),
        (Timeout, ("ServiceUnavailable", "UnsupportedOperation.ServiceTemporaryUnavailable")),
        (AccessDenied, ("InternalError", "InternalError")),
        (AuthenticationFailed, ("InternalError", "InternalError")),
        (IntegrityError, ("InternalError", "InternalError")),
        (InternalError, ("InternalError", "InternalError")),
        (RuntimeError, ("InternalError", "InternalError")),
    ],
)
def test_failures_of_the_key_store_are_told_without_details(
    server, small, key, alice, failure, codes
):
    """What only the operator can mend is an InternalError; the log says more."""
    requests = [
        ("Encrypt", {"KeyId": key, "Plaintext": SECRET}),
        ("CreateKey", {"Alias": "other"}),
    ]
    server("Encrypt", **requests[0][1])
    small.fails = failure("/srv/keystore: PIN 1234")
    for (action, parameters), code in zip(requests, codes, strict=True):
        with pytest.raises(ApiError) as caught:
            server.api.handle(Call(action, parameters, alice, "", ""))
        assert caught.value.code == code
        assert "1234" not in str(caught.value)
    small.fails = None
    assert server("ListKeys")["TotalCount"] == 1


def test_of_several_keys_all_or_none_are_switched(server, small, key, monkeypatch):
    """When the key store fails in the middle, those before are switched back."""
    other = server.key("other")
    disable = small.disable_key

    def fails_for_the_second(key_id):
        if key_id == other:
            raise Unavailable("gone")
        disable(key_id)

    monkeypatch.setattr(small, "disable_key", fails_for_the_second)
    code = server.code("DisableKeys", KeyIds=[key, other])
    assert code == "UnsupportedOperation.ServiceTemporaryUnavailable"
    assert [server.state_of(one) for one in (key, other)] == ["Enabled", "Enabled"]


def test_a_key_whose_making_was_not_answered_belongs_to_who_asked(server, small, bob, monkeypatch):
    """It may have been made; then it is in their list."""

    def loses_the_answer(new):
        small.inner.create_key(new)
        raise Timeout("no answer")

    monkeypatch.setattr(small, "create_key", loses_the_answer)
    code = server.code("CreateKey", bob, Alias="lost")
    assert code == "UnsupportedOperation.ServiceTemporaryUnavailable"
    assert server("ListKeys", bob)["TotalCount"] == 1
    assert server("ListKeys")["TotalCount"] == 0
