"""Bring your own key, through the API."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from kmscore_server.vocabulary import Edition

from tests.server.actions.conftest import NOON, b64, outsider, unb64

DAY = 86400
MATERIAL = b"m" * 32
SECRET = b64(b"secret")
SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
PADDINGS = {
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA_1), SHA_1, None),
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}


@pytest.fixture
def key(server):
    """A key that waits for its material."""
    return server.key(Type=2)


def parameters_of(server, key, wrapping="RSAES_OAEP_SHA_256"):
    """The answer of GetParametersForImport."""
    request = {"WrappingAlgorithm": wrapping, "WrappingKeySpec": "RSA_2048"}
    return server("GetParametersForImport", KeyId=key, **request)


def wrapped(parameters, material=MATERIAL, wrapping="RSAES_OAEP_SHA_256"):
    """What ImportKeyMaterial wants, from the answer of GetParametersForImport."""
    public = outsider(unb64(parameters["PublicKey"]))
    assert public.key_size == 2048
    return {
        "EncryptedKeyMaterial": b64(public.encrypt(material, PADDINGS[wrapping])),
        "ImportToken": parameters["ImportToken"],
    }


def bring(server, key, material=MATERIAL, **extra):
    """Both steps."""
    server("ImportKeyMaterial", KeyId=key, **wrapped(parameters_of(server, key), material), **extra)


@pytest.mark.parametrize("wrapping", sorted(PADDINGS))
def test_material_arrives_wrapped(server, key, wrapping):
    """By all three paddings; the key then works."""
    parameters = parameters_of(server, key, wrapping)
    assert parameters["KeyId"] == key
    assert parameters["ParametersValidTo"] == NOON + DAY
    request = wrapped(parameters, wrapping=wrapping)
    assert server("ImportKeyMaterial", KeyId=key, ValidTo="0", **request) == {}
    assert server.state_of(key) == "Enabled"
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET


def test_nothing_works_before_the_material_is_there(server, key):
    """The key waits."""
    expected = "ResourceUnavailable.CmkStateNotSupport"
    assert server.code("Encrypt", KeyId=key, Plaintext=SECRET) == expected
    assert server.code("GenerateDataKey", KeyId=key, KeySpec="AES_256") == expected


def test_deleted_material_returns_only_as_it_was(server, key):
    """Ciphertexts are closed meanwhile."""
    bring(server, key)
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    assert server("DeleteImportedKeyMaterial", KeyId=key) == {}
    assert server.state_of(key) == "PendingImport"
    code = server.code("Decrypt", CiphertextBlob=blob)
    assert code == "ResourceUnavailable.CmkStateNotSupport"
    request = wrapped(parameters_of(server, key), b"n" * 32)
    code = server.code("ImportKeyMaterial", KeyId=key, **request)
    assert code == "InvalidParameterValue.MaterialNotMatch"
    bring(server, key)
    assert server("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET


def test_material_expires(server, key, clock):
    """Which is the same as its being deleted."""
    bring(server, key, ValidTo=NOON + DAY)
    assert server("DescribeKey", KeyId=key)["KeyMetadata"]["ValidTo"] == NOON + DAY
    clock.now += DAY
    assert server.state_of(key) == "PendingImport"


@pytest.mark.parametrize("valid_to", [NOON, NOON - 1, 2147443201, -1, "soon"])
def test_material_expires_in_the_future_and_not_too_far(server, key, valid_to):
    """Until 2147443200."""
    request = wrapped(parameters_of(server, key))
    code = server.code("ImportKeyMaterial", KeyId=key, ValidTo=valid_to, **request)
    assert code == "InvalidParameter"
    assert server.state_of(key) == "PendingImport"


def test_only_the_newest_token_counts_and_for_a_day(server, key, clock):
    """Within which it may be used again."""
    old = wrapped(parameters_of(server, key))
    new = wrapped(parameters_of(server, key))
    code = server.code("ImportKeyMaterial", KeyId=key, **old)
    assert code == "ResourceUnavailable.TokenExpired"
    for _ in range(2):
        server("ImportKeyMaterial", KeyId=key, **new)
    clock.now += DAY
    code = server.code("ImportKeyMaterial", KeyId=key, **new)
    assert code == "ResourceUnavailable.TokenExpired"


def test_a_token_is_for_its_own_key(server, key):
    """Another external key does not take it."""
    other = server.key("other", Type=2)
    request = wrapped(parameters_of(server, key))
    parameters_of(server, other)
    code = server.code("ImportKeyMaterial", KeyId=other, **request)
    assert code == "ResourceUnavailable.TokenExpired"


@pytest.mark.parametrize("material", [b"m" * 16, b"m" * 31, b"m" * 33])
def test_material_has_256_bits_in_the_fips_edition(server, key, material):
    """Other lengths are refused."""
    request = wrapped(parameters_of(server, key), material)
    code = server.code("ImportKeyMaterial", KeyId=key, **request)
    assert code == "InvalidParameter.DecryptMaterialError"


def test_material_has_128_bits_in_the_sm_edition(serve):
    """For SM4."""
    server = serve(edition=Edition.SM)
    key = server.key(Type=2)
    request = wrapped(parameters_of(server, key), b"m" * 32)
    code = server.code("ImportKeyMaterial", KeyId=key, **request)
    assert code == "InvalidParameter.DecryptMaterialError"
    bring(server, key, b"m" * 16)


def test_what_does_not_unwrap_is_refused(server, key):
    """Whatever is wrong with it."""
    request = wrapped(parameters_of(server, key))
    for junk in (b"x", bytes(256), bytes(255)):
        request["EncryptedKeyMaterial"] = b64(junk)
        code = server.code("ImportKeyMaterial", KeyId=key, **request)
        assert code == "InvalidParameter.DecryptMaterialError"
    assert server.state_of(key) == "PendingImport"


def test_generated_keys_take_no_material(server):
    """It is said why."""
    key = server.key()
    request = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
    expected = "UnsupportedOperation.NotExternalCmk"
    assert server.code("GetParametersForImport", KeyId=key, **request) == expected
    request = {"EncryptedKeyMaterial": SECRET, "ImportToken": SECRET}
    assert server.code("ImportKeyMaterial", KeyId=key, **request) == expected
    assert server.code("DeleteImportedKeyMaterial", KeyId=key) == expected


@pytest.mark.parametrize(
    "request_",
    [
        {"WrappingAlgorithm": "RSA", "WrappingKeySpec": "RSA_2048"},
        {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_4096"},
    ],
)
def test_wrapping_is_one_of_three_with_rsa_2048(server, key, request_):
    """Nothing else is offered."""
    assert server.code("GetParametersForImport", KeyId=key, **request_) == "InvalidParameter"


def test_a_disabled_key_takes_no_material(server, key):
    """Only one that waits or is enabled."""
    bring(server, key)
    request = wrapped(parameters_of(server, key))
    server("DisableKey", KeyId=key)
    expected = "ResourceUnavailable.CmkStateNotSupport"
    assert server.code("ImportKeyMaterial", KeyId=key, **request) == expected


def test_keys_with_the_same_material_do_not_open_each_others_ciphertexts(server, key):
    """A ciphertext is bound to its key, even where somebody writes the other's name into it."""
    import base64

    other = server.key("other", Type=2)
    bring(server, key)
    bring(server, other)
    blob = server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    data = base64.urlsafe_b64decode(blob + "=" * (-len(blob) % 4))
    forged = base64.urlsafe_b64encode(data[:2] + other.encode() + data[38:]).decode().rstrip("=")
    code = server.code("Decrypt", CiphertextBlob=forged)
    assert code == "InvalidParameterValue.InvalidCiphertext"
