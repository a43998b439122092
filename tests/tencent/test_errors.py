"""Every error code of the service has its place in the tree."""

import traceback

import pytest
from tencentcloud.kms.v20190118 import errorcodes

from kmscore import errors

SDK = {value for name, value in vars(errorcodes).items() if name.isupper()}

COMMON = {
    *("ActionOffline", "AuthFailure.InvalidAuthorization", "AuthFailure.InvalidSecretId"),
    *("AuthFailure.MFAFailure", "AuthFailure.SecretIdNotFound", "AuthFailure.SignatureExpire"),
    *("AuthFailure.SignatureFailure", "AuthFailure.TokenFailure", "DryRunOperation"),
    *("FailedOperation", "InternalError", "InvalidAction", "InvalidRequest", "IpInBlacklist"),
    *("IpNotInWhitelist", "LimitExceeded", "MissingParameter", "NoSuchProduct", "NoSuchVersion"),
    *("RequestLimitExceeded", "RequestLimitExceeded.GlobalRegionUinLimitExceeded"),
    *("RequestLimitExceeded.IPLimitExceeded", "RequestLimitExceeded.UinLimitExceeded"),
    *("RequestSizeLimitExceeded", "ResourceInUse", "ResourceInsufficient", "ResourceNotFound"),
    *("ResourceUnavailable", "ResponseSizeLimitExceeded", "ServiceUnavailable"),
    *("UnauthorizedOperation", "UnknownParameter", "UnsupportedOperation", "UnsupportedProtocol"),
    *("UnsupportedRegion", "InvalidParameter", "InvalidParameterValue"),
    "AuthFailure.UnauthorizedOperation",
}
"""What all products of the cloud may answer, by Tencent's table of common error codes."""

EXPECTED = {
    "AccessDenied": """
        AuthFailure.UnauthorizedOperation UnauthorizedOperation IpInBlacklist IpNotInWhitelist
        UnsupportedOperation.NotRoleOperation UnsupportedOperation.NotUserCreatedCmk
        FailedOperation.CmkUsedByCloudProduct""",
    "AuthenticationFailed": """
        AuthFailure AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId
        AuthFailure.MFAFailure AuthFailure.SecretIdNotFound AuthFailure.SignatureExpire
        AuthFailure.SignatureFailure AuthFailure.TokenFailure""",
    "KeyNotFound": """
        ResourceUnavailable.CmkNotFound InvalidParameterValue.InvalidKeyId ResourceNotFound
        InvalidParameterValue.InvalidDataKeyId ResourceUnavailable.DataKeyNotFound
        ResourceUnavailable.CloudResourceBindingNotFound""",
    "AlreadyExists": """
        InvalidParameterValue.AliasAlreadyExists InvalidParameterValue.DataKeyNameAlreadyExists""",
    "KeyStateError": """
        ResourceUnavailable.CmkDisabled ResourceUnavailable.CmkArchived
        ResourceUnavailable.KeyPendingDelete ResourceUnavailable.CmkStateNotSupport
        ResourceUnavailable.CmkShouldBeDisabled ResourceUnavailable.CmkNotPendingDelete
        ResourceUnavailable.DataKeyDisabled ResourceUnavailable.DataKeyPendingDelete
        ResourceUnavailable.DataKeyNotPendingDelete ResourceUnavailable.DataKeyStateNotSupport
        ResourceUnavailable.KeyDisabled FailedOperation.RotateTaskRunning ResourceInUse""",
    "KeyUsageMismatch": "InvalidParameterValue.InvalidKeyUsage",
    "CiphertextInvalid": "InvalidParameterValue.InvalidCiphertext FailedOperation.DecryptError",
    "ImportMaterialInvalid": """
        InvalidParameter.DecryptMaterialError InvalidParameterValue.InvalidImportKeyMaterial""",
    "MaterialMismatch": "InvalidParameterValue.MaterialNotMatch",
    "ImportTokenExpired": "ResourceUnavailable.TokenExpired",
    "InvalidRequest": """
        InvalidParameter InvalidParameterValue InvalidParameter.InvalidPendingWindowInDays
        InvalidParameterValue.DuplicatedDataKeyId InvalidParameterValue.DuplicatedKeyId
        InvalidParameterValue.InvalidAlias InvalidParameterValue.InvalidDataKeyName
        InvalidParameterValue.InvalidHsmClusterId InvalidParameterValue.InvalidPlaintext
        InvalidParameterValue.InvalidType InvalidParameterValue.TagKeysDuplicated
        InvalidParameterValue.TagsNotExisted MissingParameter UnknownParameter InvalidRequest
        UnsupportedOperation.NotExternalCmk""",
    "LimitExceeded": """
        LimitExceeded LimitExceeded.CmkLimitExceeded LimitExceeded.DataKeyLimitExceeded
        LimitExceeded.FingerprintsLimitExceeded LimitExceeded.KeyLimitExceeded
        RequestSizeLimitExceeded ResponseSizeLimitExceeded
        RequestLimitExceeded.RotateRateLimited""",
    "Throttled": """
        RequestLimitExceeded RequestLimitExceeded.GlobalRegionUinLimitExceeded
        RequestLimitExceeded.IPLimitExceeded RequestLimitExceeded.UinLimitExceeded""",
    "Unsupported": """
        InvalidAction ActionOffline NoSuchProduct NoSuchVersion UnsupportedOperation
        UnsupportedProtocol UnsupportedRegion UnsupportedOperation.ExternalCmkCanNotRotate
        UnsupportedOperation.RotateNotSupported UnsupportedOperation.UserVersionNotSupport
        UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion ResourceUnavailable.NotPurchased""",
    "Unavailable": """
        ServiceUnavailable UnsupportedOperation.ServiceTemporaryUnavailable InternalError
        ResourceInsufficient ResourceUnavailable""",
    "InternalError": """
        FailedOperation FailedOperation.EncryptionError FailedOperation.SignError
        FailedOperation.VerifyError FailedOperation.TaggingError DryRunOperation""",
}

CLASS_OF = {code: name for name, codes in EXPECTED.items() for code in codes.split()}


def test_no_code_is_left_out():
    """Those of the installed SDK, and those that all products share: a new one fails here."""
    assert set(CLASS_OF) == SDK | COMMON


@pytest.mark.parametrize("code", sorted(SDK | COMMON))
def test_each_code_becomes_its_error(service, kms, say, code):
    """With code and request id; the service's own text, which may repeat what was sent, is not."""
    service.prepare(say.error(code, message="what was sent"))
    with pytest.raises(errors.KmsError) as failure:
        kms.generate_random(3)
    assert type(failure.value).__name__ == CLASS_OF[code]
    assert failure.value.code == code
    assert failure.value.request_id == say.REQUEST_ID
    assert "what was sent" not in str(failure.value)
    assert not isinstance(failure.value, errors.InternalError) or "request" in str(failure.value)


@pytest.mark.parametrize(
    "code",
    [
        *("Brand.New", "FailedOperation.New", "ResourceUnavailable.New", "", "None", "日本"),
        *("ClientNetworkError", "ServerNetworkError", "KeyError"),
    ],
)
def test_an_unknown_code_is_an_internal_error_that_names_it(service, kms, say, code):
    """And the request, for who asks the service's support."""
    service.prepare(say.error(code))
    with pytest.raises(errors.InternalError) as failure:
        kms.generate_random(3)
    assert code in str(failure.value)
    assert say.REQUEST_ID in str(failure.value)


def test_what_a_service_calls_its_error_can_be_printed(service, kms, say):
    """Whatever a broken or hostile one puts there: no half characters, no escapes, no novels."""
    service.prepare(say.error("Odd\ud800\x1b[2J" + "x" * 10_000))
    with pytest.raises(errors.InternalError) as failure:
        kms.generate_random(3)
    assert failure.value.code.startswith("Odd??[2Jxxx")
    assert len(str(failure.value).encode()) < 500


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("RequestLimitExceeded.New", errors.Throttled),
        ("AuthFailure.New", errors.AuthenticationFailed),
        ("UnauthorizedOperation.New", errors.AccessDenied),
        ("InvalidParameterValue.New", errors.InvalidRequest),
        ("LimitExceeded.New", errors.LimitExceeded),
        ("UnsupportedOperation.New", errors.Unsupported),
        ("InternalError.New", errors.Unavailable),
    ],
)
def test_a_new_code_of_a_known_family_counts_as_the_family(service, kms, say, code, error):
    """Where all of the family ask the same of the caller."""
    service.prepare(say.error(code))
    with pytest.raises(error) as failure:
        kms.generate_random(3)
    assert failure.value.code == code


def test_a_usage_that_the_service_does_not_know_is_no_mismatch_of_a_key(service, kms, say):
    """Where a key is made, there is no key yet whose usage could be another."""
    service.prepare(say.error("InvalidParameterValue.InvalidKeyUsage"))
    with pytest.raises(errors.InvalidRequest):
        kms.create_key("AES_256")


@pytest.mark.parametrize(
    "code",
    [
        *("InvalidParameterValue.InvalidCiphertext", "InvalidParameter", "InvalidParameterValue"),
        *("ResourceUnavailable.CmkNotFound", "FailedOperation.DecryptError", "MissingParameter"),
    ],
)
def test_a_ciphertext_is_invalid_however_the_service_puts_it(service, kms, say, code):
    """Format, key and tag are never told apart."""
    service.prepare(say.error(code))
    with pytest.raises(errors.CiphertextInvalid) as failure:
        kms.decrypt(b"some-k-blob")
    assert failure.value.message == errors.CiphertextInvalid().message


def test_a_ciphertext_that_is_no_text_is_not_sent(service, kms):
    """The service's are."""
    with pytest.raises(errors.CiphertextInvalid):
        kms.decrypt(b"\xff\x00")
    assert service.requests == []


def test_the_native_error_is_chained(service, kms, say):
    """For who debugs: the service's own text is there, and no secret."""
    service.prepare(say.error("FailedOperation", message="the service's own text"))
    with pytest.raises(errors.InternalError) as failure:
        kms.generate_random(3)
    told = "".join(traceback.format_exception(failure.value))
    assert "the service's own text" in told
    assert say.SECRET_KEY not in told
