"""Names of specs, usages and algorithms, key references, and the capability table."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmscore.algorithms import (
    TRAITS,
    KeySpec,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
    parse,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind
from kmscore.errors import InvalidRequest
from kmscore.uri import KeyUri, parse_reference


@pytest.mark.parametrize("written", ["AES_256", "aes-256", "Aes_256"])
def test_names_are_read_as_people_write_them(written):
    """Case and dashes do not matter."""
    assert parse(KeySpec, written, "key spec") is KeySpec.AES_256
    assert parse(KeySpec, KeySpec.AES_256, "key spec") is KeySpec.AES_256


@pytest.mark.parametrize("written", ["AES_512", "", 256, None])
def test_an_unknown_name_is_answered_with_the_known_ones(written):
    """The error lists what could have been meant."""
    with pytest.raises(InvalidRequest, match="AES_256, SM4") as caught:
        parse(KeySpec, written, "key spec")
    assert "key spec" in caught.value.message


def test_every_spec_has_its_traits():
    """Symmetric keys encrypt, key pairs sign, and only RSA and SM2 decrypt."""
    assert set(TRAITS) == set(KeySpec)
    for traits in TRAITS.values():
        assert traits.is_symmetric == (traits.usages == (KeyUsage.ENCRYPT_DECRYPT,))
        assert bool(traits.encryption) == (KeyUsage.ASYMMETRIC_DECRYPT in traits.usages)
        assert bool(traits.signing) == (KeyUsage.SIGN_VERIFY in traits.usages)


def test_every_scheme_but_ed25519_has_a_hash():
    """A digest can be signed with all the others."""
    without = {algorithm for algorithm in SigningAlgorithm if algorithm.digest is None}
    assert without == {SigningAlgorithm.ED25519}


@given(
    st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True),
    st.from_regex(r"[a-z0-9:/_-]{1,20}", fullmatch=True).filter(lambda text: "://" not in text),
)
def test_a_uri_names_provider_and_key(provider, key):
    """kms://provider/key, where the key may hold slashes as ARNs do."""
    assert parse_reference(f"kms://{provider}/{key}") == KeyUri(provider, key)
    assert parse_reference(f"kms://{provider}") == KeyUri(provider, None)
    assert parse_reference(key) == KeyUri(None, key)


@pytest.mark.parametrize(
    "reference", ["", None, 5, "kms://", "kms:///key", "aws://x/y", "a\nb", "\ud800", "a\x00"]
)
def test_what_names_no_key_is_refused(reference):
    """Wrong types, other schemes, and characters that would harm logs or C libraries."""
    with pytest.raises(InvalidRequest):
        parse_reference(reference)


def test_a_standard_row_has_every_scheme_of_its_kind():
    """Rows of the capability table are made from the vocabulary."""
    signing = KeyKind.standard(KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY)
    assert signing.algorithms == {
        SigningAlgorithm.RSA_PSS_SHA_256,
        SigningAlgorithm.RSA_PKCS1_SHA_256,
    }
    assert signing.origins == {Origin.GENERATED}
    assert not KeyKind.standard(KeySpec.SM4, KeyUsage.ENCRYPT_DECRYPT).algorithms


def test_the_table_is_found_and_written_as_json():
    """One table, read by programs and shown to people."""
    row = KeyKind.standard(
        KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT, Origin.GENERATED, Origin.EXTERNAL
    )
    table = Capabilities(
        keys=(row,),
        wrapping=frozenset({WrappingAlgorithm.RSAES_OAEP_SHA_256}),
        features=frozenset({Feature.RANDOM}),
        notes={"sm2_engine": "OpenSSL"},
    )
    assert table.find(KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT) is row
    assert table.find(KeySpec.SM2, KeyUsage.SIGN_VERIFY) is None
    shown = json.loads(json.dumps(table.as_dict()))
    assert shown["keys"] == [
        {
            "spec": "SM2",
            "usage": "ASYMMETRIC_DECRYPT",
            "origins": ["EXTERNAL", "GENERATED"],
            "algorithms": ["SM2"],
        }
    ]
    assert shown["limits"]["plaintext"] == 4096
    assert shown["features"] == ["RANDOM"]
