"""What a token can do is found out by trying, and the table says so."""

import pytest

from kmscore import KeyUsage, Origin
from kmscore.algorithms import TRAITS
from kmscore.errors import ConfigError, Unsupported


def table(kms, usage):
    """Algorithms by spec for keys of that usage."""
    return {
        str(kind.spec): {str(each) for each in kind.algorithms}
        for kind in kms.capabilities.keys
        if kind.usage is usage
    }


def test_the_table_is_what_was_measured(kms, expected):
    """Kinds of key, their algorithms, and how material may be wrapped."""
    assert set(table(kms, KeyUsage.ENCRYPT_DECRYPT)) == expected.symmetric
    assert table(kms, KeyUsage.SIGN_VERIFY) == expected.signing
    decrypting = table(kms, KeyUsage.ASYMMETRIC_DECRYPT)
    assert decrypting == dict.fromkeys(("RSA_2048", "RSA_3072", "RSA_4096"), expected.decryption)
    assert {str(each) for each in kms.capabilities.wrapping} == expected.wrapping


def test_symmetric_keys_can_be_imported_where_the_token_unwraps(kms, expected):
    """And key pairs never."""
    for kind in kms.capabilities.keys:
        importable = TRAITS[kind.spec].is_symmetric and bool(expected.wrapping)
        assert (Origin.EXTERNAL in kind.origins) == importable


def test_what_the_token_cannot_do_is_unsupported(kms, expected):
    """By name, before anything is sent."""
    if "ED25519" not in expected.signing:
        with pytest.raises(Unsupported, match="ED25519"):
            kms.create_key("ED25519")
    if not expected.symmetric:
        with pytest.raises(Unsupported, match="AES_256"):
            kms.create_key("AES_256")
    with pytest.raises(Unsupported, match="SM2"):
        kms.create_key("SM2", usage="SIGN_VERIFY")


def test_the_configuration_takes_capabilities_away(connect, softhsm):
    """Specs, algorithms, features, and importing."""
    deny = ["RSA_4096", "RSAES_PKCS1_V1_5", "ARCHIVE", "IMPORT"]
    table = connect(softhsm, deny=deny).capabilities
    assert "RSA_4096" not in {kind.spec for kind in table.keys}
    assert "RSAES_PKCS1_V1_5" not in {each for kind in table.keys for each in kind.algorithms}
    assert "ARCHIVE" not in table.features
    assert not table.wrapping
    assert not any(Origin.EXTERNAL in kind.origins for kind in table.keys)


def test_something_unknown_cannot_be_denied(connect, softhsm):
    """A typing error would leave on what was to be off."""
    with pytest.raises(ConfigError, match="RSA_512"):
        connect(softhsm, deny=["RSA_512"])
