"""The unmodified SDK, sync and async, in every way in which it can be told to sign and send."""

import asyncio
import json

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, kms_client_async, models

TAGS = [{"TagKey": "team", "TagValue": "支付"}, {"TagKey": "env", "TagValue": "a=b&c d"}]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def client(server, who="AKIDtest", token=None, **options):
    """A client of the SDK."""
    http = HttpProfile(
        protocol="http",
        endpoint=options.pop("endpoint", server.host),
        reqMethod=options.pop("method", "POST"),
        keepAlive=True,
    )
    credential = Credential(who, options.pop("secret", "topsecretkey"), token)
    profile = ClientProfile(httpProfile=http, **options)
    return kms_client.KmsClient(credential, "ap-guangzhou", profile)


def call(client, action, **parameters):
    """Call an action, as its response's dictionary."""
    asked = getattr(models, f"{action}Request")()
    asked.from_json_string(json.dumps(parameters))
    return json.loads(getattr(client, action)(asked).to_json_string())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "GET"},
        {"signMethod": "HmacSHA1"},
        {"signMethod": "HmacSHA256"},
        {"signMethod": "HmacSHA1", "method": "GET"},
        {"signMethod": "HmacSHA256", "method": "GET"},
    ],
    ids=lambda options: "-".join(options.values()) or "default",
)
def test_every_way_to_sign_and_send_is_understood(server, options):
    """TC3 and both forms of version 1, by POST and by GET, with nested and foreign parameters."""
    sdk = client(server, **options)
    alias = f"sdk-{'-'.join(options.values()) or 'default'}"
    made = call(sdk, "CreateKey", Alias=alias, Description="钥匙 & =", Type=1, Tags=TAGS)
    assert made["Description"] == "钥匙 & ="
    found = call(sdk, "DescribeKeys", KeyIds=[made["KeyId"]])
    assert found["KeyMetadatas"][0]["Alias"] == alias
    assert len(call(sdk, "ListKeys", Limit=1)["Keys"]) == 1


@pytest.mark.parametrize("end", ["", "/", "/gateway"])
def test_an_endpoint_may_be_a_whole_address(server, end):
    """As tccli needs it: the Host field then holds all of it, and all of it is signed."""
    sdk = client(server, endpoint=f"http://{server.host}{end}")
    assert call(sdk, "GenerateRandom", NumberOfBytes=8)["Plaintext"]


def test_the_payload_may_be_left_unsigned(server):
    """The profile's unsignedPayload."""
    sdk = client(server)
    sdk.profile.unsignedPayload = True
    assert call(sdk, "GenerateRandom", NumberOfBytes=8)["Plaintext"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"secret": "wrong"}, "AuthFailure.SignatureFailure"),
        ({"who": "AKIDnobody"}, "AuthFailure.SecretIdNotFound"),
        ({"token": "surplus"}, "AuthFailure.TokenFailure"),
        ({"who": "AKIDtemporary"}, "AuthFailure.TokenFailure"),
        ({"who": "AKIDtemporary", "token": "other"}, "AuthFailure.TokenFailure"),
        ({"who": "AKIDreader"}, "UnauthorizedOperation"),
    ],
    ids=["secret", "id", "token", "no token", "other token", "permission"],
)
@pytest.mark.parametrize("sign", ["TC3-HMAC-SHA256", "HmacSHA256"])
def test_the_sdk_sees_each_refusal_by_its_code(server, options, code, sign):
    """Code, message and request id arrive, for both versions of signatures."""
    sdk = client(server, signMethod=sign, **options)
    with pytest.raises(TencentCloudSDKException) as caught:
        call(sdk, "GenerateRandom", NumberOfBytes=8)
    assert caught.value.code == code
    assert caught.value.message
    assert caught.value.requestId


@pytest.mark.parametrize("sign", ["TC3-HMAC-SHA256", "HmacSHA1"])
def test_a_temporary_credential_works_with_its_token(server, sign):
    """The token is sent beside the signature."""
    sdk = client(server, "AKIDtemporary", token="one-hour", signMethod=sign)
    assert call(sdk, "GenerateRandom", NumberOfBytes=8)["Plaintext"]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_the_async_client_works(server, keep_alive):
    """It sends ``/?``; with and without keeping its connection."""

    async def use():
        http = HttpProfile(protocol="http", endpoint=server.host, keepAlive=keep_alive)
        credential = Credential("AKIDtest", "topsecretkey")
        profile = ClientProfile(httpProfile=http)
        async with kms_client_async.KmsClient(credential, "ap-guangzhou", profile) as sdk:
            asked = models.GenerateRandomRequest()
            asked.NumberOfBytes = 16
            drawn = [await sdk.GenerateRandom(asked) for _ in range(3)]
            asked.NumberOfBytes = 5000
            with pytest.raises(TencentCloudSDKException) as caught:
                await sdk.GenerateRandom(asked)
            return drawn, caught.value.code

    drawn, code = asyncio.run(use())
    assert len({each.Plaintext for each in drawn}) == 3
    assert code.startswith("InvalidParameter")
