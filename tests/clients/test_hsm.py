"""A key service of one's own: the same API, with the keys in a token."""

import base64
import hashlib

import pytest

from tests.clients.conftest import PythonSdk, Refused, Running
from tests.pkcs11 import tokens

SECRET = base64.b64encode(b"card number").decode()


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """The SDK for Python, on a server over SoftHSM."""
    token = tokens.make_softhsm(tmp_path_factory.mktemp("token"))
    folder = tmp_path_factory.mktemp("hsm")
    config = token.toml(folder / "keys.db")
    running = Running(folder, config=config, environment=token.environment)
    yield PythonSdk(running)
    running.end()


def test_symmetric_keys_in_a_token(sdk):
    """They encrypt, make data keys, are disabled, rotate and are listed."""
    key = sdk("CreateKey", Alias="orders")["KeyId"]
    blob = sdk("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    assert sdk("Decrypt", CiphertextBlob=blob) == {"KeyId": key, "Plaintext": SECRET}
    made = sdk("GenerateDataKey", KeyId=key, KeySpec="AES_256", IsHostedByKms=1, DataKeyName="kept")
    told = sdk("GetDataKeyPlaintext", DataKeyId=made["DataKeyId"])
    assert told["Plaintext"] == made["Plaintext"]
    sdk("RotateKey", KeyId=key)
    again = sdk("ReEncrypt", CiphertextBlob=blob)
    assert again["ReEncrypted"] is True
    sdk("DisableKey", KeyId=key)
    with pytest.raises(Refused, match="CmkDisabled"):
        sdk("Decrypt", CiphertextBlob=blob)
    assert {"KeyId": key} in sdk("ListKeys", Limit=200)["Keys"]


def test_signatures_of_a_token(sdk, openssl, tmp_path):
    """OpenSSL finds them right."""
    key = sdk("CreateKey", Alias="signing", KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")["KeyId"]
    (tmp_path / "public.pem").write_text(sdk("GetPublicKey", KeyId=key)["PublicKeyPem"])
    (tmp_path / "plain").write_bytes(b"card number")
    digest = base64.b64encode(hashlib.sha256(b"card number").digest()).decode()
    for content in ({"Message": SECRET}, {"Message": digest, "MessageType": "DIGEST"}):
        signed = sdk("SignByAsymmetricKey", KeyId=key, Algorithm="ECC_P256_R1", **content)
        (tmp_path / "signature").write_bytes(base64.b64decode(signed["Signature"]))
        verify = ["-verify", "public.pem", "-signature", "signature", "plain"]
        assert openssl("dgst", "-sha256", *verify) == b"Verified OK\n"


def test_what_the_token_cannot_do_is_unsupported(sdk):
    """SoftHSM has no SM2: the list of algorithms does not promise it, and no key is made."""
    listed = sdk("ListAlgorithms")
    usages = {row["KeyUsage"] for row in listed["AsymmetricSignVerifyAlgorithms"]}
    assert "ASYMMETRIC_SIGN_VERIFY_ECC" in usages
    assert "ASYMMETRIC_SIGN_VERIFY_SM2" not in usages
    expected = "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
    with pytest.raises(Refused, match=expected):
        sdk("CreateKey", Alias="sm2", KeyUsage="ASYMMETRIC_SIGN_VERIFY_SM2")
