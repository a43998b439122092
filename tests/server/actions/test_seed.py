"""Seeds: keys that are there at the start, with ids that stay."""

import pytest
from kmscore_server import seed
from kmscore_server.vocabulary import Edition

import kmscore
from kmscore.errors import ConfigError, KmsError
from tests.server.actions.conftest import b64

ORDERS = "11111111-2222-4333-8444-555555555555"
PAIR = "11111111-2222-4333-8444-666666666666"
BROUGHT = "11111111-2222-4333-8444-777777777777"
SECRET = b64(b"secret")
SEED = f"""
[[keys]]
id = "{ORDERS}"
alias = "orders"
description = "Encrypts orders"
tags = {{ team = "shop" }}

[[keys]]
id = "{PAIR}"
alias = "pair"
usage = "ASYMMETRIC_SIGN_VERIFY_SM2"

[[keys]]
id = "{BROUGHT}"
alias = "brought"
material = {{ file = "material.bin" }}
"""


@pytest.fixture
def plant(tmp_path):
    """Plants a seed."""
    (tmp_path / "material.bin").write_bytes(b"m" * 32)
    (tmp_path / "material.bin").chmod(0o600)

    def plant(server, text=SEED):
        (tmp_path / "seed.toml").write_text(text)
        edition = server.api.context.settings.edition
        seed.plant(server.api, seed.read(tmp_path / "seed.toml", edition))

    return plant


def test_seeded_keys_have_the_ids_of_the_seed(server, plant):
    """For every action, and in every list."""
    plant(server)
    blob = server("Encrypt", KeyId=ORDERS, Plaintext=SECRET)
    assert blob["KeyId"] == ORDERS
    opened = server("Decrypt", CiphertextBlob=blob["CiphertextBlob"])
    assert opened == {"KeyId": ORDERS, "Plaintext": SECRET}
    known = server("DescribeKey", KeyId=ORDERS)["KeyMetadata"]
    assert (known["Alias"], known["Description"]) == ("orders", "Encrypts orders")
    assert server("DescribeKey", KeyId=PAIR)["KeyMetadata"]["KeyState"] == "Enabled"
    listed = server("ListKeys")
    assert {key["KeyId"] for key in listed["Keys"]} == {ORDERS, PAIR, BROUGHT}
    assert listed["TotalCount"] == 3
    tagged = server("ListKeyDetail", TagFilters=[{"TagKey": "team", "TagValue": ["shop"]}])
    assert [key["KeyId"] for key in tagged["KeyMetadatas"]] == [ORDERS]


def test_the_key_stores_own_ids_of_seeded_keys_are_not_those_of_the_api(server, plant, kms):
    """A key has one id."""
    plant(server)
    own = kms.key("orders").key_id
    assert own != ORDERS
    assert server.code("DescribeKey", KeyId=own) == "ResourceUnavailable.CmkNotFound"


def test_seeded_material_is_imported(server, plant, kms):
    """The key is enabled, and has that material: what is encrypted elsewhere shows it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from kmscore.ciphertext import associated_data, parse

    plant(server)
    known = server("DescribeKey", KeyId=BROUGHT)["KeyMetadata"]
    assert (known["Origin"], known["KeyState"]) == ("EXTERNAL", "Enabled")
    parsed = parse(kms.key("brought").encrypt(b"secret"))
    opened = AESGCM(b"m" * 32).decrypt(
        parsed.nonce, parsed.sealed, associated_data(parsed.header, b"")
    )
    assert opened == b"secret"


def test_planting_twice_changes_nothing(server, serve, plant):
    """Nor does a new start; what happened to the keys meanwhile stays."""
    plant(server)
    blob = server("Encrypt", KeyId=ORDERS, Plaintext=SECRET)["CiphertextBlob"]
    server("UpdateAlias", KeyId=ORDERS, Alias="renamed")
    server("RotateKey", KeyId=ORDERS)
    again = serve()
    plant(again)
    assert again("ListKeys")["TotalCount"] == 3
    assert again("DescribeKey", KeyId=ORDERS)["KeyMetadata"]["Alias"] == "renamed"
    assert again("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET
    assert again.code("RotateKey", KeyId=ORDERS) == "RequestLimitExceeded.RotateRateLimited"


def test_a_lost_state_is_made_again_from_the_seed(server, serve, plant, tmp_path):
    """The keys are known by their aliases, and open what they encrypted."""
    plant(server)
    blob = server("Encrypt", KeyId=ORDERS, Plaintext=SECRET)["CiphertextBlob"]
    server.api.close()
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    again = serve()
    plant(again)
    assert again("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET
    assert again("ListKeys")["TotalCount"] == 3


def test_a_lost_key_store_is_made_again_from_the_seed(server, tmp_path, plant, serve):
    """With new keys under the old ids."""
    plant(server)
    new = {"type": "software", "path": str(tmp_path / "new.db"), "root_key": lambda: bytes(32)}
    with kmscore.connect(config={"default": "dev", "providers": {"dev": new}}) as kms:
        again = serve(kms)
        plant(again)
        assert again("Encrypt", KeyId=ORDERS, Plaintext=SECRET)["KeyId"] == ORDERS
        assert again("ListKeys")["TotalCount"] == 3


def test_a_seed_that_contradicts_what_is_there_is_refused(server, plant, kms):
    """Another kind of key, or a name that another key has."""
    plant(server)
    changed = f'[[keys]]\nid = "{ORDERS}"\nalias = "orders"\nusage = "ASYMMETRIC_DECRYPT_SM2"'
    with pytest.raises(ConfigError, match="is there as a GENERATED AES_256 key"):
        plant(server, changed)
    moved = f'[[keys]]\nid = "{ORDERS[:-1]}6"\nalias = "orders"'
    with pytest.raises(KmsError, match="is that of key"):
        plant(server, moved)


WRONG = {
    "": "cannot be read",
    "[[keys]": "is no TOML",
    "keys = 1": "must be a list",
    "keys = [1]": "is no table",
    "other = 1": "alone",
    '[[keys]]\nalias = "a"': "id is missing",
    '[[keys]]\nid = "short"\nalias = "a"': "no UUID",
    f'[[keys]]\nid = "{ORDERS}"': "alias is missing",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\nspec = "x"': "'spec' is no parameter",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\nusage = "x"': "no such usage",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\ntags = 1': "table of strings",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\ntags = {{ a = 1 }}': "table of strings",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\nmaterial = "s3cret"': "must refer to a secret",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\nusage = "ASYMMETRIC_DECRYPT_SM2"\n'
    'material = { file = "m" }': "only ENCRYPT_DECRYPT",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\n[[keys]]\nid = "{ORDERS}"\nalias = "b"': "same id",
    f'[[keys]]\nid = "{ORDERS}"\nalias = "a"\n[[keys]]\nid = "{PAIR}"\nalias = "a"': "same alias",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_mistakes_in_a_seed_are_told_before_anything_is_made(tmp_path, text):
    """With the file, and which key it is; a secret that stands there is not repeated."""
    path = tmp_path / "seed.toml"
    if text:
        path.write_text(text)
    with pytest.raises(ConfigError, match=WRONG[text]) as caught:
        seed.read(path, Edition.FIPS)
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("material", [b"m" * 31, b"zz" * 32, b"m" * 64])
def test_material_of_the_wrong_length_is_refused(server, plant, tmp_path, material):
    """Raw or in hex, and not repeated."""
    (tmp_path / "material.bin").write_bytes(material)
    with pytest.raises(ConfigError, match="has not 32 bytes") as caught:
        plant(server)
    assert material.decode() not in str(caught.value)


def test_material_may_be_written_in_hex(server, plant, tmp_path):
    """As root keys may."""
    (tmp_path / "material.bin").write_text("ab" * 32 + "\n")
    plant(server)
    assert server.state_of(BROUGHT) == "Enabled"
