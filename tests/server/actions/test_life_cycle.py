"""Making, describing, enabling, deleting, archiving and naming keys."""

import re

import pytest
from kmscore_server.vocabulary import Edition

from tests.server.actions.conftest import NOON, Parameters, b64

DAY = 86400
SECRET = b64(b"secret")


@pytest.fixture
def key(server):
    """A symmetric key."""
    return server.key()


def metadata(server, key):
    """``KeyMetadata``."""
    return server("DescribeKey", KeyId=key)["KeyMetadata"]


# --- CreateKey -------------------------------------------------------------------------------

USAGES = {
    "ENCRYPT_DECRYPT",
    "ASYMMETRIC_DECRYPT_RSA_2048",
    "ASYMMETRIC_DECRYPT_SM2",
    "ASYMMETRIC_SIGN_VERIFY_SM2",
    "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
    "ASYMMETRIC_SIGN_VERIFY_RSA_3072",
    "ASYMMETRIC_SIGN_VERIFY_ECC",
    "ASYMMETRIC_SIGN_VERIFY_ECDSA384",
}


@pytest.mark.parametrize("usage", sorted(USAGES))
def test_keys_of_every_usage_are_made(server, usage):
    """Enabled at once."""
    made = server("CreateKey", Alias="key", KeyUsage=usage, Description="für Karten")
    assert made["CreateTime"] == NOON
    assert (made["KeyState"], made["KeyUsage"], made["TagCode"]) == ("Enabled", usage, 0)
    known = metadata(server, made["KeyId"])
    for name in ("KeyId", "Alias", "CreateTime", "Description", "KeyState", "KeyUsage"):
        assert known[name] == made[name]


def test_what_is_known_of_a_new_key(server, key, alice):
    """Whose it is, and that nothing of it is due."""
    known = metadata(server, key)
    assert (known["CreatorUin"], known["AccountUin"]) == (alice.uin, alice.uin)
    assert known["CreatorUinString"] == str(alice.uin)
    assert known["AccountAppId"] == alice.app_id
    assert known["ResourceId"] == f"creatorUin/{alice.uin}/{key}"
    assert (known["Origin"], known["Owner"], known["Type"]) == ("TENCENT_KMS", "user", 2)
    assert (known["DeletionDate"], known["ValidTo"], known["LastRotateTime"]) == (0, 0, 0)
    assert known["NextRotateTime"] == NOON + 31_536_000
    assert known["KeyRotationEnabled"] is False


def test_external_keys_wait_for_their_material(server):
    """Type 2 of CreateKey, which says another thing in KeyMetadata."""
    known = metadata(server, server.key(Type=2))
    assert (known["KeyState"], known["Origin"], known["Type"]) == ("PendingImport", "EXTERNAL", 2)


def test_the_edition_decides_what_symmetric_keys_are(serve, connect):
    """SM4 in the SM edition, AES-256 in the FIPS edition."""
    server = serve(edition=Edition.SM)
    key = server.key()
    assert metadata(server, key)["Type"] == 4
    assert connect().key(key).spec == "SM4"


REFUSED: list[tuple[Parameters, str]] = [
    ({"Alias": ""}, "InvalidParameterValue.InvalidAlias"),
    ({"Alias": "kms-own"}, "InvalidParameterValue.InvalidAlias"),
    ({"Alias": "-a"}, "InvalidParameterValue.InvalidAlias"),
    ({"Alias": "a" * 61}, "InvalidParameterValue.InvalidAlias"),
    ({"Alias": "schlüssel"}, "InvalidParameterValue.InvalidAlias"),
    ({"Alias": "a\n"}, "InvalidParameterValue.InvalidAlias"),
    (
        {"Alias": "11111111-2222-4333-8444-555555555555"},
        "InvalidParameterValue.InvalidAlias",
    ),
    ({"KeyUsage": "SIGN"}, "InvalidParameterValue.InvalidKeyUsage"),
    ({"Type": 3}, "InvalidParameterValue.InvalidType"),
    ({"Type": 0}, "InvalidParameterValue.InvalidType"),
    (
        {"Type": 2, "KeyUsage": "ASYMMETRIC_DECRYPT_SM2"},
        "InvalidParameterValue.InvalidType",
    ),
    ({"HsmClusterId": "cluster-1"}, "InvalidParameterValue.InvalidHsmClusterId"),
    ({"Description": "x" * 1025}, "InvalidParameter"),
    ({"Description": "ü" * 513}, "InvalidParameter"),
    ({"Description": "a\nb"}, "InvalidParameter"),
    (
        {"Tags": [{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}]},
        "InvalidParameterValue.TagKeysDuplicated",
    ),
    ({"Tags": [{"TagKey": "a"}]}, "MissingParameter"),
    ({"Tags": [{"TagKey": "a", "TagValue": "b", "More": 1}]}, "UnknownParameter"),
    ({"Tags": {"TagKey": "a", "TagValue": "b"}}, "InvalidParameter"),
    (
        {"KeyUsage": "ASYMMETRIC_SIGN_VERIFY_DILITHIUM"},
        "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion",
    ),
    (
        {"KeyUsage": "ASYMMETRIC_Encrypt_Decrypt_Kyber_AES"},
        "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion",
    ),
]


def test_keys_that_cannot_be_are_refused(server):
    """And none is made."""
    for parameters, code in REFUSED:
        assert server.code("CreateKey", **{"Alias": "key", **parameters}) == code, parameters
    assert server("ListKeys")["TotalCount"] == 0


def test_an_alias_is_given_once(server, key):
    """A second key of that name is refused."""
    code = server.code("CreateKey", Alias="key")
    assert code == "InvalidParameterValue.AliasAlreadyExists"
    assert server("ListKeys")["TotalCount"] == 1


def test_a_quota_counts_all_but_keys_pending_deletion(serve):
    """Where one is set."""
    server = serve(key_limit=2)
    first = server.key("one")
    server.key("two")
    assert server.code("CreateKey", Alias="three") == "LimitExceeded.CmkLimitExceeded"
    server("DisableKey", KeyId=first)
    server("ScheduleKeyDeletion", KeyId=first, PendingWindowInDays=7)
    server.key("three")


# --- Which key -------------------------------------------------------------------------------

ONE_KEY: list[tuple[str, Parameters]] = [
    ("ArchiveKey", {}),
    ("AsymmetricRsaDecrypt", {"Ciphertext": SECRET, "Algorithm": "RSAES_PKCS1_V1_5"}),
    ("AsymmetricSm2Decrypt", {"Ciphertext": SECRET}),
    ("BindCloudResource", {"ProductId": "cos", "ResourceId": "b"}),
    ("CancelKeyArchive", {}),
    ("CancelKeyDeletion", {}),
    ("DeleteImportedKeyMaterial", {}),
    ("DescribeKey", {}),
    ("DisableKey", {}),
    ("DisableKeyRotation", {}),
    ("EnableKey", {}),
    ("EnableKeyRotation", {}),
    ("Encrypt", {"Plaintext": SECRET}),
    ("GenerateDataKey", {"KeySpec": "AES_256"}),
    ("GetKeyRotationStatus", {}),
    (
        "GetParametersForImport",
        {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
    ),
    ("GetPublicKey", {}),
    ("ImportKeyMaterial", {"EncryptedKeyMaterial": SECRET, "ImportToken": SECRET}),
    ("RotateKey", {}),
    ("ScheduleKeyDeletion", {"PendingWindowInDays": 7}),
    ("SignByAsymmetricKey", {"Algorithm": "SM2DSA", "Message": SECRET}),
    ("UnbindCloudResource", {"ProductId": "cos", "ResourceId": "b"}),
    ("UpdateAlias", {"Alias": "new"}),
    ("UpdateKeyDescription", {"Description": "new"}),
    (
        "VerifyByAsymmetricKey",
        {"Algorithm": "SM2DSA", "Message": SECRET, "SignatureValue": SECRET},
    ),
]


def test_every_action_finds_keys_the_same_way(server, key, bob):
    """Not by alias, and not those of another account."""
    nowhere = "00000000-0000-4000-8000-000000000000"
    missing = "ResourceUnavailable.CmkNotFound"
    for action, parameters in ONE_KEY:
        assert server.code(action, KeyId=nowhere, **parameters) == missing, action
        assert server.code(action, bob, KeyId=key, **parameters) == missing, action
        for malformed in ("key", "", "x" * 300, "kms://dev/key", "a b", "é"):
            code = server.code(action, KeyId=malformed, **parameters)
            assert code == "InvalidParameterValue.InvalidKeyId", action


def test_every_action_asks_whether_the_caller_may(server, key, alice):
    """With the key's id and its alias, before anything of it is told."""
    for action, parameters in ONE_KEY:
        alice.denied = {(action, "key")}
        assert server.code(action, KeyId=key, **parameters) == "UnauthorizedOperation", action
        assert alice.asked[-1] == (action, key, "key")
    alice.denied = set()
    assert server.state_of(key) == "Enabled"


def test_who_may_nothing_learns_not_which_keys_there_are(server, alice):
    """A key that is not there is refused like one that is."""
    nowhere = "00000000-0000-4000-8000-000000000000"
    alice.denied = {("DescribeKey", nowhere)}
    assert server.code("DescribeKey", KeyId=nowhere) == "UnauthorizedOperation"


# --- States ----------------------------------------------------------------------------------


def test_a_key_is_disabled_and_enabled(server, key):
    """As often as one likes."""
    for _ in range(2):
        server("DisableKey", KeyId=key)
        assert server.state_of(key) == "Disabled"
    for _ in range(2):
        server("EnableKey", KeyId=key)
        assert server.state_of(key) == "Enabled"


def test_only_a_disabled_key_is_scheduled_for_deletion(server, key, clock):
    """And cancelling leaves it disabled."""
    code = server.code("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert code == "ResourceUnavailable.CmkShouldBeDisabled"
    server("DisableKey", KeyId=key)
    answer = server("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays="7")
    assert answer == {"KeyId": key, "DeletionDate": NOON + 7 * DAY}
    assert metadata(server, key)["DeletionDate"] == NOON + 7 * DAY
    assert server.state_of(key) == "PendingDelete"
    assert server("CancelKeyDeletion", KeyId=key) == {"KeyId": key}
    assert server.state_of(key) == "Disabled"
    assert metadata(server, key)["DeletionDate"] == 0
    server("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=30)
    clock.now += 30 * DAY
    assert server.code("DescribeKey", KeyId=key) == "ResourceUnavailable.CmkNotFound"


def test_the_waiting_time_is_7_to_30_days(server, key):
    """With a code of its own."""
    server("DisableKey", KeyId=key)
    for days in (0, 6, 31, -7):
        code = server.code("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=days)
        assert code == "InvalidParameter.InvalidPendingWindowInDays"
    assert server.state_of(key) == "Disabled"


def test_what_is_not_pending_cannot_be_cancelled(server, key):
    """Enabled or disabled."""
    expected = "ResourceUnavailable.CmkNotPendingDelete"
    assert server.code("CancelKeyDeletion", KeyId=key) == expected
    server("DisableKey", KeyId=key)
    assert server.code("CancelKeyDeletion", KeyId=key) == expected


FORBIDDEN: list[tuple[str, Parameters]] = [
    ("EnableKey", {}),
    ("DisableKey", {}),
    ("ArchiveKey", {}),
    ("CancelKeyArchive", {}),
    ("UpdateAlias", {"Alias": "new"}),
    ("UpdateKeyDescription", {"Description": "new"}),
    ("EnableKeyRotation", {}),
    ("RotateKey", {}),
    ("BindCloudResource", {"ProductId": "cos", "ResourceId": "b"}),
    ("ScheduleKeyDeletion", {"PendingWindowInDays": 7}),
]


def test_a_key_pending_deletion_is_left_alone(server, key):
    """Nothing but cancelling is allowed."""
    server("DisableKey", KeyId=key)
    server("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    before = metadata(server, key)
    for action, parameters in FORBIDDEN:
        code = server.code(action, KeyId=key, **parameters)
        assert code == "ResourceUnavailable.CmkStateNotSupport", action
    assert metadata(server, key) == before


def test_an_archived_key_comes_back_enabled(server, key):
    """From the archive only."""
    expected = "ResourceUnavailable.CmkStateNotSupport"
    assert server.code("CancelKeyArchive", KeyId=key) == expected
    server("ArchiveKey", KeyId=key)
    assert server.state_of(key) == "Archived"
    assert server.code("EnableKey", KeyId=key) == expected
    server("CancelKeyArchive", KeyId=key)
    assert server.state_of(key) == "Enabled"


# --- Several at once -------------------------------------------------------------------------


def test_several_keys_are_switched_at_once(server):
    """Those that are as wished stay so."""
    keys = [server.key(f"key{number}") for number in range(3)]
    server("DisableKey", KeyId=keys[1])
    server("DisableKeys", KeyIds=keys)
    assert [server.state_of(key) for key in keys] == ["Disabled"] * 3
    server("EnableKeys", KeyIds=keys)
    assert [server.state_of(key) for key in keys] == ["Enabled"] * 3
    known = server("DescribeKeys", KeyIds=keys[::-1])["KeyMetadatas"]
    assert [one["KeyId"] for one in known] == keys[::-1]


@pytest.mark.parametrize("action", ["EnableKeys", "DisableKeys", "DescribeKeys"])
def test_lists_of_keys_are_checked_as_a_whole(server, key, alice, bob, action):
    """One that is wrong, and nothing happens to the others."""
    other = server.key("other")
    nowhere = "00000000-0000-4000-8000-000000000000"
    refused = {
        "InvalidParameterValue.DuplicatedKeyId": [key, other, key],
        "ResourceUnavailable.CmkNotFound": [key, nowhere],
        "InvalidParameterValue.InvalidKeyId": [key, "?"],
    }
    before = [server.state_of(key), server.state_of(other)]
    for code, keys in refused.items():
        assert server.code(action, KeyIds=keys) == code
    for wrong in ([], [1], "text", {"0": key}, [f"{number:036}" for number in range(101)]):
        assert server.code(action, KeyIds=wrong) == "InvalidParameter"
    alice.denied = {(action, "other")}
    assert server.code(action, KeyIds=[key, other]) == "UnauthorizedOperation"
    assert server.code(action, bob, KeyIds=[key]) == "ResourceUnavailable.CmkNotFound"
    assert [server.state_of(key), server.state_of(other)] == before


@pytest.mark.parametrize("action", ["EnableKeys", "DisableKeys"])
def test_one_key_in_the_wrong_state_keeps_all_as_they_are(server, key, action):
    """All or none."""
    archived = server.key("archived")
    server("ArchiveKey", KeyId=archived)
    if action == "EnableKeys":
        server("DisableKey", KeyId=key)
    before = server.state_of(key)
    code = server.code(action, KeyIds=[key, archived])
    assert code == "ResourceUnavailable.CmkStateNotSupport"
    assert server.state_of(key) == before


# --- Names -----------------------------------------------------------------------------------


def test_names_and_descriptions_change(server, key):
    """The old name is free again."""
    server("UpdateAlias", KeyId=key, Alias="new")
    server("UpdateKeyDescription", KeyId=key, Description="other words")
    assert metadata(server, key)["Alias"] == "new"
    assert metadata(server, key)["Description"] == "other words"
    other = server.key("key")
    code = server.code("UpdateAlias", KeyId=other, Alias="new")
    assert code == "InvalidParameterValue.AliasAlreadyExists"


def test_permissions_go_by_the_new_name_at_once(server, key, alice):
    """Whatever was remembered of the key."""
    alice.denied = {("Encrypt", "new")}
    server("Encrypt", KeyId=key, Plaintext=SECRET)
    server("UpdateAlias", KeyId=key, Alias="new")
    assert server.code("Encrypt", KeyId=key, Plaintext=SECRET) == "UnauthorizedOperation"


def test_a_name_that_the_caller_may_not_give_is_refused(server, key, alice):
    """Otherwise a key could be moved under permissions that are not for it."""
    alice.denied = {("UpdateAlias", "secret")}
    assert server.code("UpdateAlias", KeyId=key, Alias="secret") == "UnauthorizedOperation"
    assert metadata(server, key)["Alias"] == "key"


# --- Bindings --------------------------------------------------------------------------------


def test_a_key_that_a_cloud_resource_uses_is_not_taken_away(server, key):
    """Until it is unbound; binding twice is no error."""
    resource = {"ProductId": "cos", "ResourceId": "bucket-1"}
    for _ in range(2):
        server("BindCloudResource", KeyId=key, **resource)
    expected = "FailedOperation.CmkUsedByCloudProduct"
    assert server.code("DisableKey", KeyId=key) == expected
    assert server.code("DisableKeys", KeyIds=[key]) == expected
    assert server.code("ArchiveKey", KeyId=key) == expected
    missing = server.code("UnbindCloudResource", KeyId=key, ProductId="cos", ResourceId="other")
    assert missing == "ResourceUnavailable.CloudResourceBindingNotFound"
    server("UnbindCloudResource", KeyId=key, **resource)
    server("DisableKey", KeyId=key)
    server("BindCloudResource", KeyId=key, **resource)
    code = server.code("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert code == expected


def test_key_ids_are_those_of_the_key_store(server, key, kms):
    """So that other tools on the same key store know them."""
    assert re.fullmatch(r"[0-9a-f-]{36}", key)
    assert kms.key(key).key_id == key


def test_keys_made_elsewhere_belong_to_the_owner_of_the_server(server, kms, bob):
    """They are there at once; what the API has no word for is not."""
    key = kms.create_key("AES_256", alias="elsewhere")
    strange = kms.create_key("ED25519", alias="strange")
    assert metadata(server, key.key_id)["Alias"] == "elsewhere"
    assert server("ListKeys")["Keys"] == [{"KeyId": key.key_id}]
    assert server("ListKeys", bob)["TotalCount"] == 0
    code = server.code("DescribeKey", KeyId=strange.key_id)
    assert code == "ResourceUnavailable.CmkNotFound"
