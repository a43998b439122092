"""Every action and every class of error, through three SDKs as their vendor ships them."""

import base64
import hashlib
import inspect
import re
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import pytest
from gmssl import sm2

from tests.clients.conftest import ADMIN, READER, SECRET, TEMPORARY, TOKEN, Refused

PLAIN = b"card number"
NOWHERE = "00000000-0000-4000-8000-000000000000"
NOT_PURCHASED = "ResourceUnavailable.NotPurchased"
NO_SUCH_KEYS = "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"


def b64(data):
    """Base64."""
    return base64.b64encode(data).decode()


def unb64(text):
    """Out of base64."""
    return base64.b64decode(text, validate=True)


SECRET_TEXT = b64(PLAIN)


@pytest.fixture
def do(client):
    """Sends a request that succeeds."""
    return client


@pytest.fixture
def key(do, kind):
    """Makes keys with names of their own."""

    def key(**parameters):
        return do("CreateKey", Alias=f"{kind}-{uuid4().hex[:8]}", **parameters)["KeyId"]

    return key


def test_the_life_of_a_key(do, key, kind):
    """Made, named, disabled, deleted, kept, archived; alone and with others."""
    tags = [{"TagKey": "client", "TagValue": kind}]
    one, other = key(Description="für Karten 卡", Tags=tags), key()
    do("UpdateAlias", KeyId=one, Alias=f"{kind}-renamed")
    do("UpdateKeyDescription", KeyId=other, Description="другой")
    known = do("DescribeKey", KeyId=one)["KeyMetadata"]
    assert (known["Alias"], known["Description"]) == (f"{kind}-renamed", "für Karten 卡")
    do("DisableKeys", KeyIds=[one, other])
    states = do("DescribeKeys", KeyIds=[one, other])["KeyMetadatas"]
    assert [state["KeyState"] for state in states] == ["Disabled"] * 2
    assert states[1]["Description"] == "другой"
    do("EnableKeys", KeyIds=[one, other])
    do("DisableKey", KeyId=one)
    assert do("ScheduleKeyDeletion", KeyId=one, PendingWindowInDays=7)["DeletionDate"] > 0
    do("CancelKeyDeletion", KeyId=one)
    do("EnableKey", KeyId=one)
    do("ArchiveKey", KeyId=one)
    do("CancelKeyArchive", KeyId=one)
    listed = do("ListKeyDetail", TagFilters=[{"TagKey": "client", "TagValue": [kind]}])
    assert [found["KeyId"] for found in listed["KeyMetadatas"]] == [one]
    assert do("ListKeys", Limit=200)["TotalCount"] >= 2
    resource = {"KeyId": other, "ProductId": "cos", "ResourceId": "bucket"}
    do("BindCloudResource", **resource)
    do("UnbindCloudResource", **resource)


def test_symmetric_encryption(do, key):
    """With a context, a rotation, and another key."""
    one, other = key(), key()
    context = '{"table":"orders"}'
    sealed = do("Encrypt", KeyId=one, Plaintext=SECRET_TEXT, EncryptionContext=context)
    blob = sealed["CiphertextBlob"]
    opened = do("Decrypt", CiphertextBlob=blob, EncryptionContext='{ "table": "orders" }')
    assert unb64(opened["Plaintext"]) == PLAIN
    do("EnableKeyRotation", KeyId=one, RotateDays=30)
    assert do("GetKeyRotationStatus", KeyId=one)["KeyRotationEnabled"] is True
    do("DisableKeyRotation", KeyId=one)
    assert do("RotateKey", KeyId=one)["TaskId"]
    moved = do(
        "ReEncrypt",
        CiphertextBlob=blob,
        SourceEncryptionContext=context,
        DestinationKeyId=other,
        DestinationEncryptionContext=context,
    )
    assert (moved["KeyId"], moved["SourceKeyId"], moved["ReEncrypted"]) == (other, one, True)
    opened = do("Decrypt", CiphertextBlob=moved["CiphertextBlob"], EncryptionContext=context)
    assert (opened["KeyId"], unb64(opened["Plaintext"])) == (other, PLAIN)
    assert len(unb64(do("GenerateRandom", NumberOfBytes=32)["Plaintext"])) == 32


def test_hosted_data_keys(do, key, kind):
    """Made, brought, named, disabled, deleted, kept."""
    one = key()
    hosted = {"IsHostedByKms": 1, "DataKeyName": f"{kind}-made"}
    made = do("GenerateDataKey", KeyId=one, KeySpec="AES_256", **hosted)
    brought = do(
        "ImportDataKey",
        DataKeyName=f"{kind}-brought",
        ImportKeyMaterial=made["CiphertextBlob"],
        ImportType=1,
    )
    names = [made["DataKeyId"], brought["DataKeyId"]]
    for name in names:
        assert do("GetDataKeyPlaintext", DataKeyId=name)["Plaintext"] == made["Plaintext"]
    blob = do("GetDataKeyCiphertextBlob", DataKeyId=names[0])["CiphertextBlob"]
    assert do("Decrypt", CiphertextBlob=blob)["Plaintext"] == made["Plaintext"]
    do("UpdateDataKeyName", DataKeyId=names[1], DataKeyName=f"{kind}-renamed")
    do("UpdateDataKeyDescription", DataKeyId=names[1], Description="text")
    do("DisableDataKeys", DataKeyIds=names)
    do("EnableDataKeys", DataKeyIds=names)
    do("DisableDataKey", DataKeyId=names[0])
    do("ScheduleDataKeyDeletion", DataKeyId=names[0], PendingWindowInDays=7)
    do("CancelDataKeyDeletion", DataKeyId=names[0])
    do("EnableDataKey", DataKeyId=names[0])
    known = do("DescribeDataKeys", DataKeyIds=names)["DataKeyMetadatas"]
    assert [row["Origin"] for row in known] == ["TENCENT_KMS", "EXTERNAL"]
    known = do("DescribeDataKey", DataKeyId=names[1])["DataKeyMetadata"]
    assert known["DataKeyName"] == f"{kind}-renamed"
    assert do("ListDataKeyDetail", KeyId=one)["TotalCount"] == 2
    assert {"DataKeyId": names[0]} in do("ListDataKeys", Limit=200)["DataKeys"]


def test_rsa_with_openssl(do, key, openssl, tmp_path):
    """OpenSSL encrypts for the key, wraps material for it, and checks its signatures."""
    pair = key(KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    (tmp_path / "public.pem").write_text(do("GetPublicKey", KeyId=pair)["PublicKeyPem"])
    (tmp_path / "plain").write_bytes(PLAIN)
    encrypt = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "public.pem", "-in", "plain"]
    oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]
    request = {"KeyId": pair, "Algorithm": "RSAES_OAEP_SHA_256"}
    sealed = openssl(*encrypt, *oaep)
    assert (
        unb64(do("AsymmetricRsaDecrypt", Ciphertext=b64(sealed), **request)["Plaintext"]) == PLAIN
    )

    signing = key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_RSA_2048")
    (tmp_path / "signing.pem").write_text(do("GetPublicKey", KeyId=signing)["PublicKeyPem"])
    pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"]
    for algorithm, options in (("RSA_PSS_SHA_256", pss), ("RSA_PKCS1_SHA_256", [])):
        digest = b64(hashlib.sha256(PLAIN).digest())
        for content in (
            {"Message": SECRET_TEXT},
            {"Message": digest, "MessageType": "DIGEST"},
        ):
            request = {"KeyId": signing, "Algorithm": algorithm, **content}
            signature = do("SignByAsymmetricKey", **request)["Signature"]
            (tmp_path / "signature").write_bytes(unb64(signature))
            verify = ["dgst", "-sha256", "-verify", "signing.pem", "-signature", "signature"]
            assert openssl(*verify, *options, "plain") == b"Verified OK\n"
            good = do("VerifyByAsymmetricKey", SignatureValue=signature, **request)
            assert good["SignatureValid"] is True


def test_elliptic_curves_with_openssl(do, key, openssl, tmp_path):
    """It checks the signatures of the server, and the server checks its own."""
    pair = key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")
    (tmp_path / "public.pem").write_text(do("GetPublicKey", KeyId=pair)["PublicKeyPem"])
    (tmp_path / "plain").write_bytes(PLAIN)
    request = {"KeyId": pair, "Algorithm": "ECC_P256_R1", "Message": SECRET_TEXT}
    signature = do("SignByAsymmetricKey", **request)["Signature"]
    (tmp_path / "signature").write_bytes(unb64(signature))
    verify = ["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "plain"]
    assert openssl(*verify) == b"Verified OK\n"
    request["Message"] = b64(b"another")
    wrong = do("VerifyByAsymmetricKey", SignatureValue=signature, **request)
    assert wrong["SignatureValid"] is False


def test_sm2_with_openssl_and_gmssl(do, key, openssl, tmp_path):
    """Two strangers encrypt for the server and check its signatures; one receives a data key."""
    pair = key(KeyUsage="ASYMMETRIC_DECRYPT_SM2")
    public = do("GetPublicKey", KeyId=pair)
    (tmp_path / "public.pem").write_text(public["PublicKeyPem"])
    (tmp_path / "plain").write_bytes(PLAIN)
    sealed = openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", "public.pem", "-in", "plain")
    opened = do("AsymmetricSm2Decrypt", KeyId=pair, Ciphertext=b64(sealed))
    assert unb64(opened["Plaintext"]) == PLAIN

    signing = key(KeyUsage="ASYMMETRIC_SIGN_VERIFY_SM2")
    public = do("GetPublicKey", KeyId=signing)
    (tmp_path / "signing.pem").write_text(public["PublicKeyPem"])
    # The package wants the bare point, without the header of SubjectPublicKeyInfo and the 04.
    point = unb64(public["PublicKey"])[-64:].hex()
    stranger = sm2.CryptSM2(private_key="", public_key=point, asn1=True)
    e = bytes.fromhex(stranger._sm3_z(PLAIN))
    for content in ({"Message": SECRET_TEXT}, {"Message": b64(e), "MessageType": "DIGEST"}):
        request = {"KeyId": signing, "Algorithm": "SM2DSA", **content}
        signature = do("SignByAsymmetricKey", **request)["Signature"]
        assert stranger.verify(unb64(signature).hex(), e)
        (tmp_path / "signature").write_bytes(unb64(signature))
        verify = ["dgst", "-sm3", "-verify", "signing.pem", "-signature", "signature"]
        distid = ["-sigopt", "distid:1234567812345678"]
        assert openssl(*verify, *distid, "plain") == b"Verified OK\n"

    symmetric = key()
    openssl("genpkey", "-algorithm", "SM2", "-out", "own.pem")
    own = openssl("pkey", "-in", "own.pem", "-pubout").decode()
    request = {"KeyId": symmetric, "KeySpec": "AES_256", "EncryptionPublicKey": own}
    der = do("GenerateDataKey", EncryptionAlgorithm="SM2_C1C3C2_ASN1", **request)
    (tmp_path / "sealed").write_bytes(unb64(der["Plaintext"]))
    opened = openssl("pkeyutl", "-decrypt", "-inkey", "own.pem", "-in", "sealed")
    assert do("Decrypt", CiphertextBlob=der["CiphertextBlob"])["Plaintext"] == b64(opened)
    private = openssl("pkey", "-in", "own.pem", "-outform", "DER")
    own_key = private[private.index(b"\x04\x20") + 2 :][:32].hex()
    receiver = sm2.CryptSM2(private_key=own_key, public_key="", mode=1)
    raw = do("GenerateDataKey", EncryptionAlgorithm="SM2", **request)
    opened = receiver.decrypt(unb64(raw["Plaintext"]))
    assert do("Decrypt", CiphertextBlob=raw["CiphertextBlob"])["Plaintext"] == b64(opened)


def test_bring_your_own_key_with_openssl(do, key, openssl, refused, tmp_path):
    """Wrapped by a stranger; deleted, it returns only as it was."""
    own = key(Type=2)
    (tmp_path / "material").write_bytes(hashlib.sha256(own.encode()).digest())
    wrapping = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
    parameters = do("GetParametersForImport", KeyId=own, **wrapping)
    (tmp_path / "wrapping.der").write_bytes(unb64(parameters["PublicKey"]))
    wrap = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "wrapping.der"]
    oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]
    request = {"KeyId": own, "ImportToken": parameters["ImportToken"], "ValidTo": 0}
    request["EncryptedKeyMaterial"] = b64(openssl(*wrap, *oaep, "-in", "material"))
    do("ImportKeyMaterial", **request)
    blob = do("Encrypt", KeyId=own, Plaintext=SECRET_TEXT)["CiphertextBlob"]
    do("DeleteImportedKeyMaterial", KeyId=own)
    assert refused("Decrypt", CiphertextBlob=blob) == "ResourceUnavailable.CmkStateNotSupport"
    do("ImportKeyMaterial", **request)
    assert unb64(do("Decrypt", CiphertextBlob=blob)["Plaintext"]) == PLAIN


def test_what_the_service_has(do):
    """Algorithms, regions, status."""
    usages = {row["KeyUsage"] for row in do("ListAlgorithms")["AsymmetricSignVerifyAlgorithms"]}
    assert "ASYMMETRIC_SIGN_VERIFY_SM2" in usages
    assert do("GetRegions")["Regions"] == ["ap-guangzhou"]
    assert do("GetServiceStatus")["ServiceEnabled"] is True
    assert do("DescribeWhiteBoxServiceStatus")["ServiceEnabled"] is False


@pytest.fixture
def elsewhere(key):
    """Requests of the actions that are not served, with their codes."""
    one = key()
    sealed = {"KeyId": one, "PlainText": SECRET_TEXT}
    return {
        "PostQuantumCryptoEncrypt": (sealed, NO_SUCH_KEYS),
        "PostQuantumCryptoDecrypt": ({"CiphertextBlob": "x"}, NO_SUCH_KEYS),
        "PostQuantumCryptoSign": ({"KeyId": one, "Message": SECRET_TEXT}, NO_SUCH_KEYS),
        "PostQuantumCryptoVerify": (
            {"KeyId": one, "Message": SECRET_TEXT, "SignatureValue": SECRET_TEXT},
            NO_SUCH_KEYS,
        ),
        "CreateWhiteBoxKey": ({"Alias": "box", "Algorithm": "SM4"}, NOT_PURCHASED),
        "EncryptByWhiteBox": (sealed, NOT_PURCHASED),
        "DescribeWhiteBoxKeyDetails": ({}, NOT_PURCHASED),
        "DisableWhiteBoxKeys": ({"KeyIds": [one]}, NOT_PURCHASED),
        "EnableWhiteBoxKeys": ({"KeyIds": [one]}, NOT_PURCHASED),
        **{
            action: ({"KeyId": one}, NOT_PURCHASED)
            for action in (
                "DeleteWhiteBoxKey",
                "DescribeWhiteBoxDecryptKey",
                "DescribeWhiteBoxDeviceFingerprints",
                "DescribeWhiteBoxKey",
                "DisableWhiteBoxKey",
                "EnableWhiteBoxKey",
                "OverwriteWhiteBoxDeviceFingerprints",
            )
        },
    }


def test_what_is_not_served_answers_the_documented_error(elsewhere, refused):
    """Post-quantum and white-box keys."""
    for action, (parameters, code) in elsewhere.items():
        assert refused(action, **parameters) == code, action


def test_every_action_of_the_sdk_is_in_these_tests():
    """All 69; each test runs with each client."""
    module = import_module("tencentcloud.kms.v20190118.kms_client")
    methods = inspect.getmembers(module.KmsClient, inspect.isfunction)
    text = Path(__file__).read_text().partition("# --- Errors")[0]
    asked = set(re.findall(r'\bdo\(\s*"(\w+)"', text)) | set(
        re.findall(r'^ +"(\w+)"', text, re.MULTILINE)
    )
    assert {name for name, _ in methods if name[0].isupper()} <= asked


# --- Errors ----------------------------------------------------------------------------------


def test_requests_that_cannot_be_are_refused(refused, key):
    """One for each code that lies in the parameters."""
    one = key()
    decrypt = {"KeyId": one, "Algorithm": "RSAES_PKCS1_V1_5"}
    twice = [{"TagKey": "a", "TagValue": "1"}, {"TagKey": "a", "TagValue": "2"}]
    expected = {
        "InvalidParameter": ("GenerateRandom", {"NumberOfBytes": 0}),
        "InvalidParameter.InvalidPendingWindowInDays": (
            "ScheduleKeyDeletion",
            {"KeyId": one, "PendingWindowInDays": 6},
        ),
        "InvalidParameterValue": ("EnableKeyRotation", {"KeyId": one, "RotateDays": 6}),
        "InvalidParameterValue.InvalidAlias": ("CreateKey", {"Alias": "kms-x"}),
        "InvalidParameterValue.InvalidCiphertext": ("Decrypt", {"CiphertextBlob": "x"}),
        "InvalidParameterValue.InvalidDataKeyId": ("DescribeDataKey", {"DataKeyId": "x"}),
        "InvalidParameterValue.InvalidKeyId": ("DescribeKey", {"KeyId": "x"}),
        "InvalidParameterValue.InvalidKeyUsage": (
            "AsymmetricRsaDecrypt",
            {"Ciphertext": SECRET_TEXT, **decrypt},
        ),
        "InvalidParameterValue.InvalidPlaintext": ("Encrypt", {"KeyId": one, "Plaintext": "?"}),
        "InvalidParameterValue.InvalidType": ("CreateKey", {"Alias": "a", "Type": 9}),
        "InvalidParameterValue.DuplicatedKeyId": ("EnableKeys", {"KeyIds": [one, one]}),
        "InvalidParameterValue.TagKeysDuplicated": ("CreateKey", {"Alias": "a", "Tags": twice}),
        "MissingParameter": ("Encrypt", {"KeyId": one}),
        "ResourceUnavailable.CmkNotFound": ("DescribeKey", {"KeyId": NOWHERE}),
        "ResourceUnavailable.DataKeyNotFound": ("DescribeDataKey", {"DataKeyId": NOWHERE}),
        "ResourceUnavailable.CmkShouldBeDisabled": (
            "ScheduleKeyDeletion",
            {"KeyId": one, "PendingWindowInDays": 7},
        ),
        "ResourceUnavailable.CmkNotPendingDelete": ("CancelKeyDeletion", {"KeyId": one}),
        "UnsupportedOperation.NotExternalCmk": ("DeleteImportedKeyMaterial", {"KeyId": one}),
    }
    for code, (action, parameters) in expected.items():
        assert refused(action, **parameters) == code, action


def test_states_are_told(do, refused, key):
    """Disabled, archived, used, rotated."""
    one = key()
    do("RotateKey", KeyId=one)
    assert refused("RotateKey", KeyId=one) == "RequestLimitExceeded.RotateRateLimited"
    resource = {"KeyId": one, "ProductId": "cos", "ResourceId": "bucket"}
    do("BindCloudResource", **resource)
    assert refused("DisableKey", KeyId=one) == "FailedOperation.CmkUsedByCloudProduct"
    do("UnbindCloudResource", **resource)
    do("DisableKey", KeyId=one)
    encrypt = {"KeyId": one, "Plaintext": SECRET_TEXT}
    assert refused("Encrypt", **encrypt) == "ResourceUnavailable.CmkDisabled"
    do("EnableKey", KeyId=one)
    do("ArchiveKey", KeyId=one)
    assert refused("Encrypt", **encrypt) == "ResourceUnavailable.CmkArchived"
    pair = key(KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")
    request = {"KeyId": pair, "Ciphertext": b64(bytes(256)), "Algorithm": "RSAES_OAEP_SHA_1"}
    assert refused("AsymmetricRsaDecrypt", **request) == "FailedOperation.DecryptError"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"secretKey": "another"}, "AuthFailure.SignatureFailure"),
        ({"secretId": "AKIDnobody"}, "AuthFailure.SecretIdNotFound"),
        ({"secretId": TEMPORARY}, "AuthFailure.TokenFailure"),
        ({"secretId": TEMPORARY, "token": "wrong"}, "AuthFailure.TokenFailure"),
        ({"secretId": READER}, "UnauthorizedOperation"),
        ({"secretId": TEMPORARY, "token": TOKEN}, None),
        ({"signMethod": "HmacSHA256"}, None),
        ({"signMethod": "HmacSHA1", "secretKey": "another"}, "AuthFailure.SignatureFailure"),
    ],
)
def test_who_asks_is_checked(client, settings, code):
    """Signature, secret id, token, permission."""
    known = {"secretId": ADMIN, "secretKey": SECRET}
    if code is None:
        assert client.send("GenerateRandom", {"NumberOfBytes": 1}, known | settings)
    else:
        with pytest.raises(Refused) as caught:
            client.send("GenerateRandom", {"NumberOfBytes": 1}, known | settings)
        assert caught.value.code == code


def test_what_no_model_has_is_refused(client):
    """Another action, another parameter, another type."""
    expected = {
        "InvalidAction": ("Sing", {}),
        "UnknownParameter": ("GetRegions", {"Nobody": "knows"}),
        "InvalidParameter": ("Encrypt", {"KeyId": {"a": 1}, "Plaintext": SECRET_TEXT}),
    }
    for code, (action, parameters) in expected.items():
        with pytest.raises(Refused) as caught:
            client.raw(action, parameters)
        assert caught.value.code == code


def test_trouble_of_the_service_arrives_as_such(troubled_client):
    """Too many requests, and an error inside."""
    expected = {"GetRegions": "RequestLimitExceeded", "ListAlgorithms": "InternalError"}
    for action, code in expected.items():
        with pytest.raises(Refused) as caught:
            troubled_client(action)
        assert caught.value.code == code
