"""The error tree: what it says, and that it survives a trip between processes."""

import pickle

import pytest

from kmscore import errors
from kmscore.errors import KeyStateError, KmsError, Throttled, Timeout, Unavailable

EVERY = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, KmsError) and value is not KmsError
]


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_is_drawn_in_the_tree(kind):
    """The picture at the top of the module is complete."""
    assert f"── {kind.__name__}" in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", EVERY)
def test_only_three_errors_say_that_a_retry_may_help(kind):
    """Nothing else goes away by itself."""
    assert kind("m").retryable is (kind in (Throttled, Unavailable, Timeout))


@pytest.mark.parametrize("kind", EVERY)
def test_an_error_survives_pickling(kind):
    """Worker processes hand their errors to their parent."""
    error = kind("what happened", hint="do this", provider="hsm", key="k", code="CKR_X")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert copy.hint == "do this"


def test_the_text_says_where_what_and_what_to_do():
    """Provider, operation, key, message, native code, request and hint, in one line."""
    error = KeyStateError(
        "the key is disabled",
        state="DISABLED",
        hint="Enable it",
        provider="cloud",
        operation="encrypt",
        key="alias/db",
        code="ResourceUnavailable.CmkDisabled",
        request_id="4f2b",
    )
    assert str(error) == (
        "cloud encrypt alias/db: the key is disabled "
        "(code ResourceUnavailable.CmkDisabled, request 4f2b). Enable it"
    )
    assert error.state == "DISABLED"


def test_where_it_happened_is_filled_in_but_never_overwritten():
    """The provider may know the key better than the caller."""
    error = Throttled("slow down", key="known", retry_after=2.5)
    assert error.at(provider="cloud", operation="sign", key="other") is error
    assert (error.provider, error.operation, error.key) == ("cloud", "sign", "known")
    assert error.retry_after == 2.5


def test_the_usual_except_clauses_work():
    """A wrong argument is a ValueError, a missing key a LookupError."""
    assert issubclass(errors.LimitExceeded, ValueError)
    assert issubclass(errors.KeyNotFound, LookupError)
