"""Tokens that can do little: what they cannot do is refused, and never done here instead."""

import json

import pytest

from kmscore.errors import CiphertextInvalid, Unsupported
from tests.pkcs11 import tokens

OAEP_SHA_256 = "RSAES_OAEP_SHA_256"

TABLE = """
import json, sys, kmscore
from kmscore.errors import Unsupported
with kmscore.connect(config=sys.argv[1]) as kms:
    print(json.dumps(kms.capabilities.as_dict()))
    try:
        kms.create_key("AES_256")
    except Unsupported:
        sys.exit()
sys.exit("a symmetric key was made")
"""

OPENED = """
import json, os, sys, kmscore
from kmscore.errors import KmsError
os.environ["PIN"] = "any"
try:
    kmscore.connect(config={"providers": {"hsm": json.loads(sys.argv[1])}})
except KmsError as error:
    print(f"{type(error).__name__}: {error}")
"""


def table_of(folder, mechanisms, **options):
    """The capability table of a SoftHSM with a few mechanisms."""
    token = tokens.make_softhsm(folder / "token", mechanisms)
    file = folder / "kms.toml"
    text = token.toml(folder / "keys.db")
    file.write_text(text + "".join(f"{name} = {value}\n" for name, value in options.items()))
    table = json.loads(token.run(TABLE, file))
    algorithms = {row["spec"]: set(row["algorithms"]) for row in table["keys"]}
    return algorithms, set(table["wrapping"]), set(table["features"])


def test_a_token_without_gcm_has_no_symmetric_keys(tmp_path):
    """Not even with AES-CBC, which authenticates nothing; and nothing can be imported."""
    listed = (
        "CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS,CKM_RSA_PKCS_OAEP,CKM_AES_KEY_GEN,CKM_AES_CBC_PAD"
    )
    algorithms, wrapping, features = table_of(tmp_path, listed)
    assert set(algorithms) == {"RSA_2048", "RSA_3072", "RSA_4096"}
    assert not wrapping
    assert not features & {"DATA_KEYS", "ROTATION", "MATERIAL_EXPIRY"}


def test_padding_is_taken_off_here_only_with_raw_rsa(tmp_path):
    """Where the token has none, the option gives nothing."""
    listed = "CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS,CKM_RSA_PKCS_OAEP"
    algorithms, _, _ = table_of(tmp_path, listed, allow_host_oaep="true")
    assert all(OAEP_SHA_256 not in schemes for schemes in algorithms.values())


def test_a_token_that_signs_alone(tmp_path):
    """It has that, and nothing else."""
    algorithms, wrapping, _ = table_of(tmp_path, "CKM_EC_KEY_PAIR_GEN,CKM_ECDSA")
    assert algorithms == {"EC_P256": {"ECDSA_SHA_256"}, "EC_P384": {"ECDSA_SHA_384"}}
    assert not wrapping


def test_a_token_that_asks_for_no_pin_is_refused(tmp_path):
    """Everybody could use its keys; in a process of its own, since NSS has one database in each."""
    token = tokens.make_nss(tmp_path / "db", pin="")
    options = json.dumps({**token.options(tmp_path / "keys.db"), "pin": {"env": "PIN"}})
    told = token.run(OPENED, options)
    assert told == (
        "ConfigError: hsm open: the token asks for no PIN, so that everybody could use its keys. "
        "Set its user PIN\n"
    )


def test_oaep_with_sha_256_is_an_option(connect, softhsm, tmp_path):
    """Unsupported by default; decryption alone, never imports, when it was asked for."""
    plain = connect(softhsm).create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT")
    with pytest.raises(Unsupported, match=OAEP_SHA_256):
        plain.decrypt(bytes(256), algorithm=OAEP_SHA_256)
    kms = connect(softhsm, path=tmp_path / "host.db", allow_host_oaep=True)
    assert OAEP_SHA_256 not in kms.capabilities.wrapping
    key = kms.create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT")
    public = key.public_key()
    for size in (1, 32, 190):
        sealed = public.encrypt(bytes(size), OAEP_SHA_256)
        assert key.decrypt(sealed, algorithm=OAEP_SHA_256) == bytes(size)
    sealed = public.encrypt(b"secret", OAEP_SHA_256)
    other = public.encrypt(b"secret", "RSAES_OAEP_SHA_1")
    for garbage in (sealed[:-1] + bytes([sealed[-1] ^ 1]), other, bytes(256), b"\xff" * 256):
        with pytest.raises(CiphertextInvalid):
            key.decrypt(garbage, algorithm=OAEP_SHA_256)
    assert key.decrypt(other, algorithm="RSAES_OAEP_SHA_1") == b"secret"
