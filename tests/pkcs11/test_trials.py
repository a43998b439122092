"""How tokens are tried: larger RSA keys by one that is lent; some take no keys in clear."""

from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from kmscore_pkcs11 import _probe, _trials
from kmscore_pkcs11._known_rsa import lend
from kmscore_pkcs11._objects import generate_secret
from kmscore_pkcs11._probe import probe
from kmscore_pkcs11._schemes import STANDARD
from kmscore_pkcs11._token import Token
from pkcs11 import Attribute, Mechanism
from pkcs11.exceptions import KeySizeRange, TemplateInconsistent

from kmscore.algorithms import KeySpec
from tests.pkcs11.conftest import WITH_AES

LARGER = (KeySpec.RSA_3072, KeySpec.RSA_4096)


def refuse(*_arguments):
    """As a token that takes no key in clear answers C_CreateObject."""
    raise TemplateInconsistent


@pytest.fixture
def provider(connect, softhsm):
    """A provider on SoftHSM."""
    return connect(softhsm).provider


@pytest.fixture
def again(provider):
    """Tries the token once more; what it can do."""
    return lambda: probe(provider._token, STANDARD)


def test_larger_keys_were_used_and_not_only_listed(kms):
    """Every token here takes the known pairs."""
    found = kms.provider._abilities.found
    assert [found[name] for name in ("BORROWS_RSA", *LARGER)] == ["", "", ""]


@pytest.mark.parametrize("spec", [KeySpec.RSA_2048, *LARGER])
def test_a_known_pair_is_of_its_size(kms, spec):
    """To the bit; and the token has it for the time of a session only."""

    def borrow(session):
        return lend(session, spec, Attribute.SIGN, "kms:probe").public

    der = kms.provider._token.change("C_CreateObject", borrow)
    key = load_der_public_key(der)
    assert isinstance(key, RSAPublicKey)
    assert key.key_size == int(spec.removeprefix("RSA_"))


def test_a_token_may_do_more_than_it_lists(again, monkeypatch):
    """It is asked for such a pair then."""
    monkeypatch.setattr(Token, "mechanism_info", lambda *_: SimpleNamespace(max_key_length=3072))
    assert again().can(KeySpec.RSA_4096)


def test_a_token_may_do_less_than_it_lists(again, monkeypatch):
    """What it lists counts for nothing when it does not take the pair."""

    def small(session, spec, *rest):
        if spec is KeySpec.RSA_4096:
            raise KeySizeRange
        return lend(session, spec, *rest)

    monkeypatch.setattr(_probe, "lend", small)
    abilities = again()
    assert abilities.can(KeySpec.RSA_3072)
    assert abilities.found[KeySpec.RSA_4096] == "CKR_KEY_SIZE_RANGE"


def test_a_token_that_takes_no_keys_in_clear(again, provider, monkeypatch):
    """As HSMs in FIPS mode: AES-GCM is judged by what comes out, larger RSA keys by the list."""
    monkeypatch.setattr(_probe, "lend", refuse)
    monkeypatch.setattr(_trials, "known_key", refuse)
    monkeypatch.setattr(Token, "mechanism_info", lambda *_: SimpleNamespace(max_key_length=3072))
    abilities = again()
    assert abilities.can("AES_GCM")
    assert abilities.can(KeySpec.RSA_3072)
    assert abilities.found[KeySpec.RSA_4096] == "at most 3072 bits, as it lists"
    monkeypatch.setattr(provider, "_abilities", abilities)
    details = provider.health().details
    assert details["AES_256"] == "yes"
    assert details["RSA_2048"] == "yes"
    assert details["RSA_3072"] == "yes, as it lists: it takes no private key for a trial"


@pytest.mark.parametrize("token", WITH_AES, indirect=True)
def test_without_knowing_the_key_other_modes_are_not_taken_for_gcm(kms):
    """A key stream that does not follow the nonce, or no tag."""

    def attempt(session):
        key = generate_secret(session, 256, _trials.temporary())
        encrypt = session.gcm.encrypt
        _trials.counts(Mechanism.AES_GCM, key, session)
        for wrong in (
            lambda *given: encrypt(*given[:2], bytes(11) + given[3][:1], *given[3:]),
            lambda *given: encrypt(*given)[:100] + bytes(16),
        ):
            other: Any = SimpleNamespace(gcm=SimpleNamespace(encrypt=wrong))
            with pytest.raises(_trials.WrongError):
                _trials.counts(Mechanism.AES_GCM, key, other)

    kms.provider._token.change("C_GenerateKey", attempt)
