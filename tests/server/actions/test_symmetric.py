"""Encrypt, Decrypt, ReEncrypt, GenerateRandom."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kmscore_server.api import ApiError

from tests.server.actions.conftest import b64, unb64

SECRET = b64(b"card number")


@pytest.fixture
def key(server):
    """A symmetric key."""
    return server.key()


@pytest.fixture
def blob(server, key):
    """Something encrypted."""
    return server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]


def test_what_is_encrypted_is_decrypted_without_naming_the_key(server, key, blob):
    """The ciphertext names its key."""
    assert server("Decrypt", CiphertextBlob=blob) == {"KeyId": key, "Plaintext": SECRET}


def test_blobs_need_no_escaping_anywhere(blob):
    """They go into JSON, URLs, shells and file names as they are."""
    assert re.fullmatch(r"[A-Za-z0-9_-]+", blob)


def test_blobs_differ_every_time(server, key, blob):
    """Equal secrets do not show."""
    assert server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"] != blob


@pytest.mark.parametrize("size", [1, 4096])
def test_plaintexts_of_1_to_4096_bytes_are_encrypted(server, key, size):
    """Inclusive."""
    plaintext = b64(bytes(size))
    blob = server("Encrypt", KeyId=key, Plaintext=plaintext)["CiphertextBlob"]
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == plaintext


@pytest.mark.parametrize("plaintext", ["", b64(bytes(4097)), "no base64!", "YQ", "é"])
def test_other_plaintexts_are_invalid(server, key, plaintext):
    """Empty, too long, or no base64."""
    code = server.code("Encrypt", KeyId=key, Plaintext=plaintext)
    assert code == "InvalidParameterValue.InvalidPlaintext"


def test_base64_with_line_breaks_is_read(server, key):
    """As the command base64 writes it."""
    text = b64(bytes(100))
    wrapped = text[:76] + "\n" + text[76:] + "\n"
    blob = server("Encrypt", KeyId=key, Plaintext=wrapped)["CiphertextBlob"]
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == text


# --- Context ---------------------------------------------------------------------------------


def test_contexts_that_mean_the_same_are_the_same(server, key):
    """Order, spaces and escapes of the JSON do not matter."""
    context = '{"a": "1", "b": "\\u00e9"}'
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET, EncryptionContext=context)
    again = '{"b":"é","a":"1"}'
    got = server("Decrypt", CiphertextBlob=blob["CiphertextBlob"], EncryptionContext=again)
    assert got["Plaintext"] == SECRET


@pytest.mark.parametrize("context", ["", "{}", '{"a":"2"}', '{"a":"1","b":"1"}'])
def test_another_context_is_an_invalid_ciphertext(server, key, context):
    """And nothing tells it from any other invalid one."""
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET, EncryptionContext='{"a":"1"}')
    code = server.code("Decrypt", CiphertextBlob=blob["CiphertextBlob"], EncryptionContext=context)
    assert code == "InvalidParameterValue.InvalidCiphertext"


@pytest.mark.parametrize(
    "context",
    [
        "no json",
        "[]",
        '"text"',
        '{"a":1}',
        '{"a":"1","a":"2"}',
        "[" * 4000,
        json.dumps({"a": "x" * 1024}),
        '{"a":"\\ud800"}',
    ],
)
def test_contexts_that_are_no_map_of_strings_are_refused(server, key, context):
    """Or longer than 1024 characters."""
    code = server.code("Encrypt", KeyId=key, Plaintext=SECRET, EncryptionContext=context)
    assert code == "InvalidParameter"


# --- Invalid ciphertexts ---------------------------------------------------------------------


def test_a_blob_cut_anywhere_is_invalid(server, blob):
    """From the front and from the end."""
    for place in range(len(blob)):
        for part in (blob[:place], blob[place + 1 :]):
            code = server.code("Decrypt", CiphertextBlob=part)
            assert code == "InvalidParameterValue.InvalidCiphertext"


def test_a_blob_with_any_character_changed_is_invalid(server, blob):
    """To every other character of its alphabet, so that bits without meaning show too."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, old in enumerate(blob):
        for new in alphabet[place % 8 :: 8] if place < len(blob) - 1 else alphabet:
            if new != old:
                changed = blob[:place] + new + blob[place + 1 :]
                with pytest.raises(ApiError) as caught:
                    server("Decrypt", CiphertextBlob=changed)
                assert caught.value.code == "InvalidParameterValue.InvalidCiphertext"


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.one_of(st.text(min_size=1), st.from_regex(r"[A-Za-z0-9_=+/-]{1,200}\Z")))
def test_any_other_text_is_an_invalid_ciphertext(server, text):
    """Whatever it is."""
    expected = "InvalidParameterValue.InvalidCiphertext"
    assert server.code("Decrypt", CiphertextBlob=text) == expected


def test_a_blob_of_another_account_is_invalid(server, blob, bob):
    """Even for somebody who may decrypt everything."""
    code = server.code("Decrypt", bob, CiphertextBlob=blob)
    assert code == "InvalidParameterValue.InvalidCiphertext"


def test_a_blob_in_the_name_of_another_key_is_invalid(server, blob):
    """The id that stands before the ciphertext cannot be exchanged, not for the same material."""
    import base64

    other = server.key("other")
    data = bytearray(base64.urlsafe_b64decode(blob + "=" * (-len(blob) % 4)))
    data[2:38] = other.encode()
    forged = base64.urlsafe_b64encode(bytes(data)).decode().rstrip("=")
    code = server.code("Decrypt", CiphertextBlob=forged)
    assert code == "InvalidParameterValue.InvalidCiphertext"


# --- States ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "encrypt", "decrypt"),
    [
        (["DisableKey"], "ResourceUnavailable.CmkDisabled", "ResourceUnavailable.CmkDisabled"),
        (["ArchiveKey"], "ResourceUnavailable.CmkArchived", None),
        (
            ["DisableKey", "ScheduleKeyDeletion"],
            "ResourceUnavailable.CmkStateNotSupport",
            "ResourceUnavailable.CmkStateNotSupport",
        ),
    ],
)
def test_the_state_of_the_key_decides(server, key, blob, path, encrypt, decrypt):
    """An archived key decrypts what there is, and encrypts nothing more."""
    for action in path:
        extra = {"PendingWindowInDays": 7} if action == "ScheduleKeyDeletion" else {}
        server(action, KeyId=key, **extra)
    assert server.code("Encrypt", KeyId=key, Plaintext=SECRET) == encrypt
    if decrypt:
        assert server.code("Decrypt", CiphertextBlob=blob) == decrypt
    else:
        assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET


def test_a_key_of_another_usage_does_not_encrypt(server):
    """It is said so."""
    pair = server.key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")
    code = server.code("Encrypt", KeyId=pair, Plaintext=SECRET)
    assert code == "InvalidParameterValue.InvalidKeyUsage"


def test_the_blob_of_a_destroyed_key_is_invalid(server, key, blob, clock):
    """Its id is part of a ciphertext that nobody can authenticate any more."""
    server("DisableKey", KeyId=key)
    server("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    clock.now += 8 * 86400
    code = server.code("Decrypt", CiphertextBlob=blob)
    assert code in ("InvalidParameterValue.InvalidCiphertext", "ResourceUnavailable.CmkNotFound")


# --- ReEncrypt -------------------------------------------------------------------------------


def test_re_encrypting_under_the_same_key_changes_nothing(server, key, blob):
    """Until the key has been rotated."""
    same = {"CiphertextBlob": blob, "KeyId": key, "SourceKeyId": key, "ReEncrypted": False}
    assert server("ReEncrypt", CiphertextBlob=blob) == same
    assert server("ReEncrypt", CiphertextBlob=blob, DestinationKeyId=key) == same
    server("RotateKey", KeyId=key)
    new = server("ReEncrypt", CiphertextBlob=blob)
    assert new["ReEncrypted"] is True
    assert new["CiphertextBlob"] != blob
    for either in (blob, new["CiphertextBlob"]):
        assert server("Decrypt", CiphertextBlob=either)["Plaintext"] == SECRET


def test_re_encrypting_brings_a_ciphertext_under_another_key_and_context(server, key):
    """Its old context is needed, the new one counts from then on."""
    other = server.key("other")
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET, EncryptionContext='{"a":"1"}')
    request = {
        "CiphertextBlob": blob["CiphertextBlob"],
        "DestinationKeyId": other,
        "DestinationEncryptionContext": '{"b":"2"}',
    }
    code = server.code("ReEncrypt", **request)
    assert code == "InvalidParameterValue.InvalidCiphertext"
    new = server("ReEncrypt", SourceEncryptionContext='{"a":"1"}', **request)
    assert (new["KeyId"], new["SourceKeyId"], new["ReEncrypted"]) == (other, key, True)
    got = server("Decrypt", CiphertextBlob=new["CiphertextBlob"], EncryptionContext='{"b":"2"}')
    assert got == {"KeyId": other, "Plaintext": SECRET}


def test_a_new_context_alone_is_a_reason_to_re_encrypt(server, blob):
    """Otherwise the answer would not have the context that was asked for."""
    new = server("ReEncrypt", CiphertextBlob=blob, DestinationEncryptionContext='{"b":"2"}')
    assert new["ReEncrypted"] is True


def test_a_pair_takes_no_ciphertext_over(server, blob):
    """The destination must be symmetric."""
    pair = server.key("pair", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    code = server.code("ReEncrypt", CiphertextBlob=blob, DestinationKeyId=pair)
    assert code == "InvalidParameterValue.InvalidKeyUsage"


# --- GenerateRandom --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 1024, "16"])
def test_random_bytes_have_the_length_that_was_asked_for(server, size):
    """Numbers may be strings of digits, as in the API's own samples."""
    first = server("GenerateRandom", NumberOfBytes=size)["Plaintext"]
    assert len(unb64(first)) == int(size)


def test_other_lengths_are_refused(server):
    """From 1 to 1024."""
    for size in (0, 1025, -1, 1.5, True, "x", [1]):
        assert server.code("GenerateRandom", NumberOfBytes=size) == "InvalidParameter"
