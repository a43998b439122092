"""Data keys: made, brought, kept, and told to one recipient alone."""

import sqlite3

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kmscore.sm2 import load_engine
from tests.server.actions.conftest import NOON, Parameters, b64, unb64

DAY = 86400
CT = "InvalidParameterValue.InvalidCiphertext"


@pytest.fixture
def key(server):
    """A symmetric key."""
    return server.key()


@pytest.fixture
def hosted(server, key):
    """A hosted data key's id."""
    return host(server, key)


def host(server, key, name="orders", **parameters):
    """A new hosted data key's id."""
    request = {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": name, **parameters}
    return server("GenerateDataKey", KeyId=key, **request)["DataKeyId"]


def state_of(server, data_key):
    """``KeyState`` of a data key."""
    return server("DescribeDataKey", DataKeyId=data_key)["DataKeyMetadata"]["KeyState"]


# --- GenerateDataKey -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ({"KeySpec": "AES_128"}, 16),
        ({"KeySpec": "AES_256"}, 32),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": "1024"}, 1024),
        ({"KeySpec": "AES_128", "NumberOfBytes": 64}, 64),
    ],
)
def test_data_keys_have_the_length_that_was_asked_for(server, key, wanted, size):
    """Where both are given, the number counts."""
    made = server("GenerateDataKey", KeyId=key, **wanted)
    assert len(unb64(made["Plaintext"])) == size
    opened = server("Decrypt", CiphertextBlob=made["CiphertextBlob"])
    assert opened == {"KeyId": key, "Plaintext": made["Plaintext"]}
    assert "DataKeyId" not in made


def test_a_data_key_is_bound_to_its_context(server, key):
    """As everything that is encrypted."""
    made = server("GenerateDataKey", KeyId=key, KeySpec="AES_256", EncryptionContext='{"a":"1"}')
    blob = made["CiphertextBlob"]
    assert server.code("Decrypt", CiphertextBlob=blob) == CT
    opened = server("Decrypt", CiphertextBlob=blob, EncryptionContext='{"a": "1"}')
    assert opened["Plaintext"] == made["Plaintext"]


NO_DATA_KEYS: list[tuple[Parameters, str]] = [
    ({}, "MissingParameter"),
    ({"KeySpec": "AES_512"}, "InvalidParameter"),
    ({"NumberOfBytes": 0}, "InvalidParameter"),
    ({"NumberOfBytes": 1025}, "InvalidParameter"),
    ({"KeySpec": "AES_256", "IsHostedByKms": 2}, "InvalidParameter"),
    ({"KeySpec": "AES_256", "IsHostedByKms": 1}, "MissingParameter"),
    (
        {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": "-"},
        "InvalidParameterValue.InvalidDataKeyName",
    ),
    ({"KeySpec": "AES_256", "Description": "x" * 101}, "InvalidParameter"),
    (
        {"KeySpec": "AES_256", "HsmClusterId": "x"},
        "InvalidParameterValue.InvalidHsmClusterId",
    ),
    ({"KeySpec": "AES_256", "EncryptionPublicKey": "no PEM"}, "InvalidParameter"),
    ({"KeySpec": "AES_256", "EncryptionAlgorithm": "RSA"}, "InvalidParameter"),
]


def test_data_keys_that_cannot_be_are_refused(server, key):
    """And none is kept."""
    for parameters, code in NO_DATA_KEYS:
        assert server.code("GenerateDataKey", KeyId=key, **parameters) == code, parameters
    assert server("ListDataKeys")["TotalCount"] == 0


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (["DisableKey"], "ResourceUnavailable.CmkDisabled"),
        (["ArchiveKey"], "ResourceUnavailable.CmkArchived"),
        (["DisableKey", "ScheduleKeyDeletion"], "ResourceUnavailable.KeyPendingDelete"),
    ],
)
def test_only_an_enabled_key_makes_data_keys(server, key, path, code):
    """Each state has its code."""
    for action in path:
        extra = {"PendingWindowInDays": 7} if action == "ScheduleKeyDeletion" else {}
        server(action, KeyId=key, **extra)
    assert server.code("GenerateDataKey", KeyId=key, KeySpec="AES_256") == code


# --- For one recipient alone -----------------------------------------------------------------


def rsa_recipient(bits=2048):
    """A private RSA key, and the PEM of its public half."""
    private = rsa.generate_private_key(65537, bits)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, pem.decode()


SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
PADDINGS = {
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA_1), SHA_1, None),
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}


@pytest.mark.parametrize("algorithm", sorted(PADDINGS))
def test_plaintexts_are_told_to_an_rsa_key_alone(server, key, algorithm):
    """By all three paddings, in every action that has a plaintext."""
    private, pem = rsa_recipient()
    recipient = {"EncryptionPublicKey": pem, "EncryptionAlgorithm": algorithm}
    made = server("GenerateDataKey", KeyId=key, KeySpec="AES_256", **recipient)
    plain = private.decrypt(unb64(made["Plaintext"]), PADDINGS[algorithm])
    blob = made["CiphertextBlob"]
    assert unb64(server("Decrypt", CiphertextBlob=blob)["Plaintext"]) == plain
    sealed = server("Decrypt", CiphertextBlob=blob, **recipient)["Plaintext"]
    assert private.decrypt(unb64(sealed), PADDINGS[algorithm]) == plain
    data_key = host(server, key)
    sealed = server("GetDataKeyPlaintext", DataKeyId=data_key, **recipient)["Plaintext"]
    told = server("GetDataKeyPlaintext", DataKeyId=data_key)["Plaintext"]
    assert private.decrypt(unb64(sealed), PADDINGS[algorithm]) == unb64(told)


@pytest.mark.parametrize("algorithm", [None, "", "SM2", "SM2_C1C3C2_ASN1"])
def test_plaintexts_are_told_to_an_sm2_key_alone(server, key, algorithm):
    """Raw by default: C1, C3 and C2 without the 04; DER on request."""
    from kmscore import PublicKey
    from kmscore.encodings import sm2_ciphertext_convert

    engine = load_engine()
    private = engine.private_key(engine.generate())
    recipient = {"EncryptionPublicKey": PublicKey(private.public_key).pem()}
    if algorithm is not None:
        recipient["EncryptionAlgorithm"] = algorithm
    made = server("GenerateDataKey", KeyId=key, KeySpec="AES_256", **recipient)
    sealed = unb64(made["Plaintext"])
    if algorithm != "SM2_C1C3C2_ASN1":
        assert len(sealed) == 64 + 32 + 32
        sealed = sm2_ciphertext_convert(sealed, "C1C3C2_BARE", "DER")
    plain = server("Decrypt", CiphertextBlob=made["CiphertextBlob"])["Plaintext"]
    assert private.decrypt(sealed) == unb64(plain)


def test_an_empty_key_is_no_recipient(server, key):
    """As if none was given."""
    request = {"KeyId": key, "KeySpec": "AES_256", "EncryptionPublicKey": ""}
    assert len(unb64(server("GenerateDataKey", **request)["Plaintext"])) == 32


def test_the_default_algorithm_does_not_fit_an_rsa_key(server, key):
    """SM2 is the default, also for who forgets it."""
    _, pem = rsa_recipient()
    request = {"KeyId": key, "KeySpec": "AES_256", "EncryptionPublicKey": pem}
    assert server.code("GenerateDataKey", **request) == "FailedOperation.EncryptionError"


def test_what_is_too_long_for_the_recipient_fails(server, key):
    """And a data key that could not be told is not kept."""
    _, pem = rsa_recipient()
    request = {
        "EncryptionPublicKey": pem,
        "EncryptionAlgorithm": "RSAES_OAEP_SHA_256",
        "NumberOfBytes": 200,
        "IsHostedByKms": 1,
        "DataKeyName": "long",
    }
    code = server.code("GenerateDataKey", KeyId=key, **request)
    assert code == "FailedOperation.EncryptionError"
    assert server("ListDataKeys")["TotalCount"] == 0


def test_recipients_have_rsa_2048_or_sm2(server, key):
    """As the API has it."""
    _, pem = rsa_recipient(3072)
    request = {"KeyId": key, "KeySpec": "AES_256", "EncryptionPublicKey": pem}
    assert server.code("GenerateDataKey", **request) == "InvalidParameter"


# --- Hosted data keys ------------------------------------------------------------------------


def test_a_hosted_data_key_is_kept(server, key, alice):
    """With everything that was said about it."""
    request = {"KeySpec": "AES_128", "IsHostedByKms": 1, "DataKeyName": "orders"}
    made = server(
        "GenerateDataKey",
        KeyId=key,
        Description="for orders",
        Tags=[{"TagKey": "a", "TagValue": "1"}],
        **request,
    )
    assert (made["TagCode"], made["TagMsg"]) == (0, "ok")
    data_key = made["DataKeyId"]
    known = server("DescribeDataKey", DataKeyId=data_key)["DataKeyMetadata"]
    expected = {
        "DataKeyId": data_key,
        "KeyId": key,
        "KeyName": "key",
        "DataKeyName": "orders",
        "NumberOfBytes": 16,
        "CreateTime": NOON,
        "Description": "for orders",
        "KeyState": "Enabled",
        "CreatorUin": alice.uin,
        "DeletionDate": 0,
        "Origin": "TENCENT_KMS",
    }
    assert expected.items() <= known.items()
    told = server("GetDataKeyPlaintext", DataKeyId=data_key)
    assert told["Plaintext"] == made["Plaintext"]
    blob = server("GetDataKeyCiphertextBlob", DataKeyId=data_key)["CiphertextBlob"]
    assert blob == made["CiphertextBlob"]
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == made["Plaintext"]


def test_a_hosted_data_key_keeps_its_context(server, key):
    """It is needed to decrypt the ciphertext, and not to fetch the plaintext."""
    data_key = host(server, key, EncryptionContext='{"a":"1"}')
    blob = server("GetDataKeyCiphertextBlob", DataKeyId=data_key)["CiphertextBlob"]
    assert server.code("Decrypt", CiphertextBlob=blob) == CT
    opened = server("Decrypt", CiphertextBlob=blob, EncryptionContext='{"a":"1"}')["Plaintext"]
    assert server("GetDataKeyPlaintext", DataKeyId=data_key)["Plaintext"] == opened


def test_hosted_data_keys_are_never_on_disk_in_clear(server, hosted, tmp_path):
    """Raw, in base64 or in hex."""
    plain = unb64(server("GetDataKeyPlaintext", DataKeyId=hosted)["Plaintext"])
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert tmp_path / "state.db" in files
    for path in files:
        content = path.read_bytes()
        for form in (plain, b64(plain).encode(), plain.hex().encode()):
            assert form not in content


def test_the_state_is_for_its_owner_alone(server, tmp_path):
    """Mode 0600."""
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600


def test_a_data_key_in_the_state_cannot_be_given_to_another_account(server, hosted, bob, tmp_path):
    """Who can write the file moves the row, and gains nothing: the ciphertext says whose it is."""
    database = sqlite3.connect(tmp_path / "state.db")
    with database:
        database.execute("UPDATE data_keys SET uin = ?", (bob.uin,))
    database.close()
    assert server.code("GetDataKeyPlaintext", bob, DataKeyId=hosted) == CT


def test_names_of_data_keys_are_unique_in_the_account(server, key, hosted, bob):
    """Others may have the same."""
    request = {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": "orders"}
    expected = "InvalidParameterValue.DataKeyNameAlreadyExists"
    assert server.code("GenerateDataKey", KeyId=key, **request) == expected
    other = host(server, key, "other")
    renamed = {"DataKeyId": other, "DataKeyName": "orders"}
    assert server.code("UpdateDataKeyName", **renamed) == expected
    of_bob = server("CreateKey", bob, Alias="of-bob")["KeyId"]
    assert server("GenerateDataKey", bob, KeyId=of_bob, **request)["DataKeyId"]
    assert server("ListDataKeys")["TotalCount"] == 2
    assert server("ListDataKeys", bob)["TotalCount"] == 1


def test_a_quota_of_data_keys_holds_where_one_is_set(serve):
    """For those made and those brought."""
    server = serve(data_key_limit=1)
    key = server.key()
    host(server, key)
    request = {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": "second"}
    expected = "LimitExceeded.DataKeyLimitExceeded"
    assert server.code("GenerateDataKey", KeyId=key, **request) == expected
    brought = {"KeyId": key, "ImportType": 2, "ImportKeyMaterial": b64(bytes(32))}
    assert server.code("ImportDataKey", DataKeyName="second", **brought) == expected


# --- Brought ---------------------------------------------------------------------------------


def test_a_data_key_is_brought_in_clear(server, key):
    """It is encrypted at once under the key that is named."""
    plain = b64(b"d" * 24)
    request = {"ImportKeyMaterial": plain, "ImportType": 2, "KeyId": key}
    made = server("ImportDataKey", DataKeyName="mine", **request)
    known = server("DescribeDataKey", DataKeyId=made["DataKeyId"])["DataKeyMetadata"]
    assert (known["Origin"], known["NumberOfBytes"]) == ("EXTERNAL", 24)
    assert server("GetDataKeyPlaintext", DataKeyId=made["DataKeyId"])["Plaintext"] == plain


def test_a_data_key_is_brought_as_it_was_encrypted(server, key):
    """Its ciphertext says under which key; a key that is named besides must be that one."""
    made = server("GenerateDataKey", KeyId=key, KeySpec="AES_256")
    request = {"ImportKeyMaterial": made["CiphertextBlob"], "ImportType": 1}
    brought = server("ImportDataKey", DataKeyName="mine", **request)
    assert brought["KeyId"] == key
    told = server("GetDataKeyPlaintext", DataKeyId=brought["DataKeyId"])
    assert told["Plaintext"] == made["Plaintext"]
    other = server.key("other")
    code = server.code("ImportDataKey", DataKeyName="again", KeyId=other, **request)
    assert code == "InvalidParameterValue.InvalidKeyId"


NOT_BROUGHT = [
    ({"ImportType": 1, "ImportKeyMaterial": "x"}, "InvalidImportKeyMaterial"),
    ({"ImportType": 2, "ImportKeyMaterial": "x"}, "InvalidImportKeyMaterial"),
    ({"ImportType": 2, "ImportKeyMaterial": ""}, "InvalidImportKeyMaterial"),
    ({"ImportType": 2, "ImportKeyMaterial": b64(bytes(1025))}, "InvalidImportKeyMaterial"),
    ({"ImportType": 3, "ImportKeyMaterial": "x"}, "InvalidType"),
    (
        {"ImportType": 2, "ImportKeyMaterial": b64(b"d"), "DataKeyName": "?"},
        "InvalidDataKeyName",
    ),
]


def test_what_is_no_data_key_is_not_kept(server, key):
    """Each with its code."""
    for parameters, code in NOT_BROUGHT:
        request = {"KeyId": key, "DataKeyName": "mine", **parameters}
        refused = server.code("ImportDataKey", **request)
        assert refused == f"InvalidParameterValue.{code}", parameters
    assert server("ListDataKeys")["TotalCount"] == 0


def test_a_data_key_in_clear_needs_a_key(server):
    """To encrypt it."""
    request = {"ImportType": 2, "ImportKeyMaterial": b64(b"d"), "DataKeyName": "mine"}
    assert server.code("ImportDataKey", **request) == "MissingParameter"


# --- Life cycle ------------------------------------------------------------------------------


def test_a_data_key_is_disabled_and_enabled(server, hosted):
    """Disabled ones tell nothing."""
    for _ in range(2):
        server("DisableDataKey", DataKeyId=hosted)
    assert state_of(server, hosted) == "Disabled"
    code = server.code("GetDataKeyPlaintext", DataKeyId=hosted)
    assert code == "ResourceUnavailable.DataKeyDisabled"
    code = server.code("GetDataKeyCiphertextBlob", DataKeyId=hosted)
    assert code == "ResourceUnavailable.DataKeyStateNotSupport"
    for _ in range(2):
        server("EnableDataKey", DataKeyId=hosted)
    assert server("GetDataKeyPlaintext", DataKeyId=hosted)["Plaintext"]


def test_a_disabled_data_key_is_deleted_after_a_time(server, hosted, key, clock):
    """It can be kept until then, and its name is free afterwards."""
    request = {"DataKeyId": hosted, "PendingWindowInDays": 7}
    wrong_state = "ResourceUnavailable.DataKeyStateNotSupport"
    assert server.code("ScheduleDataKeyDeletion", **request) == wrong_state
    code = server.code("CancelDataKeyDeletion", DataKeyId=hosted)
    assert code == "ResourceUnavailable.DataKeyNotPendingDelete"
    server("DisableDataKey", DataKeyId=hosted)
    code = server.code("ScheduleDataKeyDeletion", DataKeyId=hosted, PendingWindowInDays=6)
    assert code == "InvalidParameter.InvalidPendingWindowInDays"
    answer = server("ScheduleDataKeyDeletion", **request)
    assert answer == {"DataKeyId": hosted, "DeletionDate": NOON + 7 * DAY}
    assert state_of(server, hosted) == "PendingDelete"
    code = server.code("GetDataKeyPlaintext", DataKeyId=hosted)
    assert code == "ResourceUnavailable.DataKeyPendingDelete"
    for action in ("EnableDataKey", "DisableDataKey"):
        assert server.code(action, DataKeyId=hosted) == wrong_state
    assert server("CancelDataKeyDeletion", DataKeyId=hosted) == {"DataKeyId": hosted}
    assert state_of(server, hosted) == "Disabled"
    server("ScheduleDataKeyDeletion", **request)
    clock.now += 7 * DAY
    code = server.code("DescribeDataKey", DataKeyId=hosted)
    assert code == "ResourceUnavailable.DataKeyNotFound"
    assert server("ListDataKeys")["TotalCount"] == 0
    assert host(server, key, "orders") != hosted


def test_several_data_keys_are_switched_at_once(server, key):
    """All or none."""
    data_keys = [host(server, key, f"name{number}") for number in range(3)]
    server("DisableDataKeys", DataKeyIds=data_keys)
    assert [state_of(server, one) for one in data_keys] == ["Disabled"] * 3
    server("ScheduleDataKeyDeletion", DataKeyId=data_keys[2], PendingWindowInDays=7)
    code = server.code("EnableDataKeys", DataKeyIds=data_keys)
    assert code == "ResourceUnavailable.DataKeyStateNotSupport"
    states = ["Disabled", "Disabled", "PendingDelete"]
    assert [state_of(server, one) for one in data_keys] == states
    server("EnableDataKeys", DataKeyIds=data_keys[:2])
    assert [state_of(server, one) for one in data_keys[:2]] == ["Enabled"] * 2
    known = server("DescribeDataKeys", DataKeyIds=data_keys[::-1])["DataKeyMetadatas"]
    assert [one["DataKeyId"] for one in known] == data_keys[::-1]


def test_names_and_descriptions_of_data_keys_change(server, hosted):
    """And are found by."""
    server("UpdateDataKeyName", DataKeyId=hosted, DataKeyName="bills")
    server("UpdateDataKeyDescription", DataKeyId=hosted, Description="for bills")
    known = server("DescribeDataKey", DataKeyId=hosted)["DataKeyMetadata"]
    assert (known["DataKeyName"], known["Description"]) == ("bills", "for bills")


ONE_DATA_KEY: list[tuple[str, Parameters]] = [
    ("CancelDataKeyDeletion", {}),
    ("DescribeDataKey", {}),
    ("DisableDataKey", {}),
    ("EnableDataKey", {}),
    ("GetDataKeyCiphertextBlob", {}),
    ("GetDataKeyPlaintext", {}),
    ("ScheduleDataKeyDeletion", {"PendingWindowInDays": 7}),
    ("UpdateDataKeyDescription", {"Description": "new"}),
    ("UpdateDataKeyName", {"DataKeyName": "new"}),
]
NOWHERE = "00000000-0000-4000-8000-000000000000"


def test_every_action_finds_data_keys_the_same_way(server, key, hosted, alice, bob):
    """Those of the account, by id, and for who may use the key that encrypts them."""
    expected = "ResourceUnavailable.DataKeyNotFound"
    for action, parameters in ONE_DATA_KEY:
        assert server.code(action, DataKeyId=NOWHERE, **parameters) == expected, action
        assert server.code(action, bob, DataKeyId=hosted, **parameters) == expected, action
        for malformed in ("orders", "", hosted.upper()):
            code = server.code(action, DataKeyId=malformed, **parameters)
            assert code == "InvalidParameterValue.InvalidDataKeyId", action
        alice.denied = {(action, "key")}
        assert server.code(action, DataKeyId=hosted, **parameters) == "UnauthorizedOperation"
        assert alice.asked[-1] == (action, key, "key")


@pytest.mark.parametrize("action", ["DescribeDataKeys", "DisableDataKeys", "EnableDataKeys"])
def test_lists_of_data_keys_are_checked_as_a_whole(server, hosted, action):
    """One that is wrong, and nothing happens to the others."""
    wrong = {
        "InvalidParameterValue.DuplicatedDataKeyId": [hosted, hosted],
        "ResourceUnavailable.DataKeyNotFound": [hosted, NOWHERE],
        "InvalidParameterValue.InvalidDataKeyId": [hosted, "?"],
        "InvalidParameterValue": [],
    }
    for code, data_keys in wrong.items():
        assert server.code(action, DataKeyIds=data_keys) == code
    assert state_of(server, hosted) == "Enabled"


def test_a_data_key_is_closed_while_its_key_is(server, key, hosted):
    """Though it is enabled itself."""
    server("DisableKey", KeyId=key)
    code = server.code("GetDataKeyPlaintext", DataKeyId=hosted)
    assert code == "ResourceUnavailable.CmkDisabled"
    assert server("DescribeDataKey", DataKeyId=hosted)
