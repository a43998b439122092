"""Operations of a key from end to end, on a provider that keeps its promises."""

from datetime import UTC, datetime, timedelta

import pytest

import kmscore
from kmscore import Digest, DigestAlgorithm, Message, PublicKey
from kmscore.errors import (
    CiphertextInvalid,
    InvalidRequest,
    KeyStateError,
    KeyUsageMismatch,
    Unsupported,
)


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    """A software provider."""
    config = {
        "providers": {
            "dev": {
                "type": "software",
                "path": str(tmp_path_factory.mktemp("life") / "keystore.db"),
                "root_key": lambda: b"r" * 32,
            }
        }
    }
    with kmscore.connect(config=config) as opened:
        yield opened


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [
        ("RSA_2048", None),
        ("RSA_2048", "RSAES_OAEP_SHA_1"),
        ("RSA_2048", "RSAES_PKCS1_V1_5"),
        ("SM2", None),
    ],
)
def test_what_is_encrypted_for_a_public_key_is_decrypted(kms, spec, algorithm):
    """The public half goes anywhere, decryption stays with the provider."""
    key = kms.create_key(spec, usage="ASYMMETRIC_DECRYPT")
    public = PublicKey.from_pem(key.public_key().pem())
    assert key.decrypt(public.encrypt(b"hello", algorithm), algorithm=algorithm) == b"hello"
    with pytest.raises(InvalidRequest, match="no context"):
        key.decrypt(b"x" * 256, context={"a": "b"})
    with pytest.raises(KeyUsageMismatch):
        key.encrypt(b"x")


@pytest.mark.parametrize("spec", ["RSA_3072", "EC_P256", "EC_P384", "ED25519", "SM2"])
def test_what_is_signed_is_verified_here_and_there(kms, spec):
    """By the provider, and by the public key alone; another message by neither."""
    key = kms.create_key(spec, usage="SIGN_VERIFY")
    signature = key.sign(Message(b"m"))
    for verify in (key.verify, key.public_key().verify):
        assert verify(Message(b"m"), signature) is True
        assert verify(Message(b"n"), signature) is False
        assert verify(Message(b"m"), signature[:-1]) is False
    assert key.verify(Message(b"m"), b"") is False


def test_an_sm2_user_id_is_honoured(kms):
    """One's own id changes Z, so the digest is computed here."""
    key = kms.create_key("SM2", usage="SIGN_VERIFY")
    mine = Message(b"m", sm2_user_id=b"ALICE123@YAHOO.COM")
    signature = key.sign(mine)
    assert key.verify(mine, signature)
    assert key.public_key().verify(mine, signature)
    assert not key.verify(Message(b"m"), signature)


def test_a_digest_of_another_hash_is_refused(kms):
    """SM3 for SM2, and nothing else."""
    key = kms.create_key("EC_P256")
    with pytest.raises(InvalidRequest, match="SM3"):
        key.sign(Digest(bytes(32), DigestAlgorithm.SM3))


def test_the_whole_life_of_a_key(kms):
    """Every step and its opposite."""
    key = kms.create_key("AES_256", alias="life", description="for the test")
    sealed = key.encrypt(b"x")
    key.set_alias("life-2")
    key.set_description("renamed")
    assert (key.describe().alias, key.describe().description) == ("life-2", "renamed")
    key.rotate()
    assert key.describe().version == 2
    key.set_rotation(30)
    assert key.describe().rotation_days == 30
    key.set_rotation(None)
    key.archive()
    assert key.decrypt(sealed) == b"x"
    with pytest.raises(KeyStateError):
        key.encrypt(b"x")
    key.restore()
    key.disable()
    key.schedule_deletion(7)
    with pytest.raises(KeyStateError):
        key.enable()
    key.cancel_deletion()
    key.enable()
    assert key.decrypt(sealed) == b"x"


def test_a_ciphertext_is_brought_under_another_key(kms):
    """And out of reach of the old one."""
    old, new = kms.create_key("AES_256"), kms.create_key("AES_256")
    sealed = kms.re_encrypt(old.encrypt(b"x", context={"a": "1"}), new, source_context={"a": "1"})
    assert new.decrypt(sealed) == b"x"
    with pytest.raises(CiphertextInvalid):
        old.decrypt(sealed)
    signing = kms.create_key("EC_P256")
    with pytest.raises(KeyUsageMismatch):
        kms.re_encrypt(sealed, signing)


def test_material_of_ones_own_comes_goes_and_comes_back(kms):
    """Wrapped for the journey, with an expiry."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    material = bytes(range(32))

    def bring(valid_to=None):
        parameters = key.import_parameters()
        wrapped = PublicKey.from_der(parameters.public_key).encrypt(material, "RSAES_OAEP_SHA_256")
        key.import_material(wrapped, parameters.token, valid_to=valid_to)

    bring()
    sealed = key.encrypt(b"x")
    key.delete_material()
    with pytest.raises(KeyStateError):
        key.decrypt(sealed)
    until = datetime.now(UTC) + timedelta(days=1)
    bring(until)
    assert key.decrypt(sealed) == b"x"
    assert key.describe().valid_to == until.replace(microsecond=0)


def test_pairs_cannot_be_brought(kms):
    """Only symmetric material is imported."""
    with pytest.raises(Unsupported):
        kms.create_key("RSA_2048", usage="SIGN_VERIFY", origin="EXTERNAL")
