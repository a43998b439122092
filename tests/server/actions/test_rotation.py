"""Rotation: now, by itself, and never too often."""

import pytest

from tests.server.actions.conftest import NOON, b64

DAY = 86400
SECRET = b64(b"secret")


@pytest.fixture
def key(server):
    """A symmetric key."""
    return server.key()


def metadata(server, key):
    """``KeyMetadata``."""
    return server("DescribeKey", KeyId=key)["KeyMetadata"]


def test_rotation_by_itself_is_switched_on_and_off(server, key):
    """365 days, unless said otherwise."""
    assert server("GetKeyRotationStatus", KeyId=key) == {"KeyRotationEnabled": False}
    server("EnableKeyRotation", KeyId=key)
    assert server("GetKeyRotationStatus", KeyId=key) == {"KeyRotationEnabled": True}
    assert metadata(server, key)["RotateDays"] == 365
    server("EnableKeyRotation", KeyId=key, RotateDays="7")
    known = metadata(server, key)
    assert (known["RotateDays"], known["NextRotateTime"]) == (7, NOON + 7 * DAY)
    for _ in range(2):
        server("DisableKeyRotation", KeyId=key)
    assert metadata(server, key)["KeyRotationEnabled"] is False


def test_a_key_rotates_when_it_is_due(server, key, clock):
    """And old ciphertexts are opened as before."""
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    server("EnableKeyRotation", KeyId=key, RotateDays=7)
    clock.now += 7 * DAY
    server("Encrypt", KeyId=key, Plaintext=SECRET)
    assert metadata(server, key)["LastRotateTime"] == NOON + 7 * DAY
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET


@pytest.mark.parametrize("days", [0, 6, 366, -1])
def test_the_period_is_7_to_365_days(server, key, days):
    """Anything else is a wrong value."""
    code = server.code("EnableKeyRotation", KeyId=key, RotateDays=days)
    assert code == "InvalidParameterValue"
    assert metadata(server, key)["KeyRotationEnabled"] is False


def test_a_key_is_rotated_now_and_once_a_day(server, key, clock):
    """The new version is there when the answer is."""
    assert server("RotateKey", KeyId=key)["TaskId"]
    assert metadata(server, key)["LastRotateTime"] == NOON
    code = server.code("RotateKey", KeyId=key)
    assert code == "RequestLimitExceeded.RotateRateLimited"
    clock.now += DAY
    server("RotateKey", KeyId=key)
    assert metadata(server, key)["LastRotateTime"] == NOON + DAY


def test_the_limit_can_be_lifted(serve):
    """For those who have a key store of their own."""
    server = serve(rotation_interval=0)
    key = server.key()
    for _ in range(3):
        server("RotateKey", KeyId=key)


def test_a_rotation_that_fails_does_not_count(server, key):
    """It is allowed as soon as the key can rotate."""
    server("DisableKey", KeyId=key)
    assert server.code("RotateKey", KeyId=key) == "ResourceUnavailable.CmkStateNotSupport"
    server("EnableKey", KeyId=key)
    server("RotateKey", KeyId=key)


@pytest.mark.parametrize(
    "kind", [{"Type": 2}, {"KeyUsage": "ASYMMETRIC_SIGN_VERIFY_ECC"}], ids=["external", "pair"]
)
def test_external_keys_and_pairs_do_not_rotate(server, kind):
    """Each action has its code for that."""
    key = server.key("other", **kind)
    code = server.code("EnableKeyRotation", KeyId=key)
    assert code == "UnsupportedOperation.ExternalCmkCanNotRotate"
    assert server.code("RotateKey", KeyId=key) == "UnsupportedOperation.RotateNotSupported"
    assert server("GetKeyRotationStatus", KeyId=key) == {"KeyRotationEnabled": False}
    assert server("DisableKeyRotation", KeyId=key) == {}
