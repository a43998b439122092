"""What lies on the token, as another application sees it."""

import pytest

from kmscore import KeyUsage
from tests.pkcs11 import cryptoki as ck
from tests.pkcs11.conftest import WITH_AES
from tests.pkcs11.other import ask

USAGES = {
    KeyUsage.ENCRYPT_DECRYPT: ["DECRYPT", "ENCRYPT"],
    KeyUsage.SIGN_VERIFY: ["SIGN"],
    KeyUsage.ASYMMETRIC_DECRYPT: ["DECRYPT"],
}


def on_token(token, key):
    """The objects of a key."""
    return [
        each for each in ask(token, "objects") if each["label"].startswith(f"kms:{key.key_id}:")
    ]


def make_all(kms):
    """A key of every kind, but not of every size."""
    return [
        kms.create_key(kind.spec, usage=kind.usage)
        for kind in kms.capabilities.keys
        if kind.spec not in ("RSA_3072", "RSA_4096", "AES_128")
    ]


def test_every_key_stays_inside_and_does_one_thing(kms, token):
    """Sensitive, not extractable, private, never to wrap other keys out; no public half is left."""
    keys = make_all(kms)
    objects = ask(token, "objects")
    for key in keys:
        (found,) = [each for each in objects if each["label"].startswith(f"kms:{key.key_id}:")]
        assert found["sensitive"]
        assert found["private"]
        assert not found["extractable"]
        assert found["class"] in (ck.SECRET_KEY, ck.PRIVATE_KEY)
        assert found["usages"] == USAGES[key.usage]
        assert len(bytes.fromhex(found["id"])) == 16


def test_a_disabled_key_is_refused_by_the_token_itself(kms, token):
    """All its flags are off, until it is enabled again; a scheduled key stays off."""
    for key in make_all(kms):
        key.disable()
        assert [each["usages"] for each in on_token(token, key)] == [[]]
        key.enable()
        assert [each["usages"] for each in on_token(token, key)] == [USAGES[key.usage]]
        key.disable()
        key.schedule_deletion(7)
        assert [each["usages"] for each in on_token(token, key)] == [[]]


@pytest.mark.parametrize("token", WITH_AES, indirect=True)
def test_an_older_version_only_decrypts(kms, token):
    """The token lets nobody encrypt with it any more."""
    key = kms.create_key("AES_256")
    key.rotate()
    usages = {each["label"].rpartition(":")[2]: each["usages"] for each in on_token(token, key)}
    assert usages == {"1": ["DECRYPT"], "2": ["DECRYPT", "ENCRYPT"]}


def test_names_and_descriptions_of_callers_are_not_on_the_token(kms, token):
    """Labels are made of the key's id: nothing that anybody else has written."""
    key = kms.create_key(
        kms.capabilities.keys[-1].spec,
        usage=kms.capabilities.keys[-1].usage,
        alias="payroll",
        description="for the payroll",
    )
    text = str(ask(token, "objects"))
    assert key.key_id in text
    assert "payroll" not in text
