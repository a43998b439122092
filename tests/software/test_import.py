"""Bring your own key: material arrives wrapped, once and again, and goes."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from kmscore_software._symmetric import symmetric_key

from kmscore.algorithms import KeySpec, KeyState
from kmscore.errors import (
    CiphertextInvalid,
    ImportMaterialInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyStateError,
    MaterialMismatch,
    Unsupported,
)

SPECS = pytest.mark.parametrize(("spec", "size"), [("AES_128", 16), ("AES_256", 32), ("SM4", 16)])
WRAPPINGS = pytest.mark.parametrize(
    "wrapping", ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"]
)
DAY = 86400


def at(seconds):
    """A time as users give it."""
    return datetime.fromtimestamp(seconds, UTC)


@pytest.fixture
def key(kms):
    """An external key that waits for its material."""
    return kms.create_key("AES_256", origin="EXTERNAL")


@SPECS
@WRAPPINGS
def test_material_is_imported_and_used(kms, owner, spec, size, wrapping):
    """Each spec with each wrapping algorithm."""
    key = kms.create_key(spec, origin="EXTERNAL")
    assert key.describe().state is KeyState.PENDING_IMPORT
    assert key.describe().version == 0
    with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
        key.encrypt(b"x")
    owner.send(key, os.urandom(size), wrapping=wrapping)
    assert key.describe().state is KeyState.ENABLED
    assert key.decrypt(key.encrypt(b"x")) == b"x"


OPENSSL = {
    "RSAES_OAEP_SHA_256": ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"],
    "RSAES_OAEP_SHA_1": ["rsa_padding_mode:oaep", "rsa_oaep_md:sha1", "rsa_mgf1_md:sha1"],
    "RSAES_PKCS1_V1_5": ["rsa_padding_mode:pkcs1"],
}


@SPECS
@WRAPPINGS
def test_material_that_the_openssl_command_wrapped(kms, tmp_path, spec, size, wrapping):
    """The key is the material: what it encrypts opens with the material alone."""
    material = os.urandom(size)
    key = kms.create_key(spec, origin="EXTERNAL")
    parameters = key.import_parameters(wrapping)
    public, plain, out = tmp_path / "public.der", tmp_path / "material", tmp_path / "wrapped"
    public.write_bytes(parameters.public_key)
    plain.write_bytes(material)
    command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public]
    command += ["-in", plain, "-out", out]
    for option in OPENSSL[wrapping]:
        command += ["-pkeyopt", option]
    subprocess.run(command, check=True, capture_output=True)
    key.import_material(out.read_bytes(), parameters.token)
    sealed = key.encrypt(b"x")
    opened = symmetric_key(KeySpec(spec), material).decrypt(
        sealed[47:59], sealed[59:], sealed[:47] + bytes(4)
    )
    assert opened == b"x"


@SPECS
@pytest.mark.parametrize("size_given", [1, 15, 16, 17, 24, 31, 32, 33, 64])
def test_material_of_another_length_is_refused(kms, owner, spec, size, size_given):
    """Only the length of the key's spec is a key of it; the key still waits."""
    key = kms.create_key(spec, origin="EXTERNAL")
    if size_given == size:
        owner.send(key, os.urandom(size_given))
        return
    with pytest.raises(ImportMaterialInvalid):
        owner.send(key, os.urandom(size_given))
    assert key.describe().state is KeyState.PENDING_IMPORT


def test_whatever_does_not_unwrap_is_one_error(key, owner):
    """Nothing tells a wrong padding from a wrong length, wherever it lies."""
    messages = set()
    for wrapping in ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"):
        parameters = key.import_parameters(wrapping)
        other = parameters._replace(
            wrapping=next(iter({"RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"} - {wrapping}))
        )
        good = owner.wrap(parameters, os.urandom(32))
        bad = [
            good[:-1] + bytes([good[-1] ^ 1]),
            good[:-1],
            good + b"\0",
            b"x",
            bytes(256),
            b"\xff" * 256,
            os.urandom(4096),
            owner.wrap(parameters, os.urandom(31)),
            owner.wrap(other, os.urandom(32)),
        ]
        for wrapped in bad:
            with pytest.raises(ImportMaterialInvalid) as failed:
                key.import_material(wrapped, parameters.token)
            messages.add((wrapping, str(failed.value)))
    assert len(messages) == 2
    assert key.describe().state is KeyState.PENDING_IMPORT


def test_pkcs1_padding_that_is_wrong_is_refused_by_length(key, owner):
    """OpenSSL answers bad v1.5 padding with random bytes; hardly ever as many as a key has."""
    parameters = key.import_parameters("RSAES_PKCS1_V1_5")
    refused = 0
    for _ in range(20):
        try:
            key.import_material(b"\0" + os.urandom(255), parameters.token)
        except ImportMaterialInvalid:
            refused += 1
        except MaterialMismatch:
            refused += 1  # after one that had the right length by chance
    assert refused >= 15


def test_parameters_hold_for_a_day(key, owner, clock):
    """To the second; within it they can be used again."""
    parameters = key.import_parameters()
    assert parameters.valid_to == at(clock.now + DAY)
    assert len(parameters.token) == 32
    wrapped = owner.wrap(parameters, b"m" * 32)
    clock.now += DAY - 1
    key.import_material(wrapped, parameters.token)
    key.import_material(wrapped, parameters.token)
    clock.now += 1
    with pytest.raises(ImportTokenExpired):
        key.import_material(wrapped, parameters.token)


def test_only_the_newest_parameters_count(key, owner):
    """Older ones end when new ones are issued, even unused."""
    old, new = key.import_parameters(), key.import_parameters()
    assert old.token != new.token
    assert old.public_key != new.public_key
    with pytest.raises(ImportTokenExpired):
        key.import_material(owner.wrap(old, b"m" * 32), old.token)
    with pytest.raises(ImportMaterialInvalid):
        key.import_material(owner.wrap(old, b"m" * 32), new.token)
    key.import_material(owner.wrap(new, b"m" * 32), new.token)


def test_parameters_survive_a_restart(key, owner, connect):
    """The wrapping key lies in the keystore, sealed."""
    parameters = key.import_parameters()
    wrapped = owner.wrap(parameters, b"m" * 32)
    other = connect().key(key.key_id)
    other.import_material(wrapped, parameters.token)
    assert key.decrypt(other.encrypt(b"x")) == b"x"


def test_the_token_of_another_key(kms, key, owner):
    """Is as good as none."""
    other = kms.create_key("AES_256", origin="EXTERNAL")
    parameters, foreign = key.import_parameters(), other.import_parameters()
    for token in (foreign.token, parameters.token[:-1], b"x", os.urandom(32)):
        with pytest.raises(ImportTokenExpired):
            key.import_material(owner.wrap(parameters, b"m" * 32), token)


def test_only_the_identical_material_returns(key, owner):
    """After deletion as while it is there; the key is what it was, or it is nothing."""
    owner.send(key, b"m" * 32)
    sealed = key.encrypt(b"x")
    with pytest.raises(MaterialMismatch):
        owner.send(key, b"n" * 32)
    assert key.decrypt(sealed) == b"x"
    key.delete_material()
    with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
        key.decrypt(sealed)
    with pytest.raises(MaterialMismatch):
        owner.send(key, b"n" * 32)
    assert key.describe().state is KeyState.PENDING_IMPORT
    owner.send(key, b"m" * 32, wrapping="RSAES_PKCS1_V1_5")
    assert key.decrypt(sealed) == b"x"


def test_material_expires(kms, owner, clock, connect):
    """At its second it is gone, here and in every process; the same can come again."""
    key = kms.create_key("SM4", origin="EXTERNAL")
    owner.send(key, b"m" * 16, valid_to=at(clock.now + 60))
    assert key.describe().valid_to == at(clock.now + 60)
    sealed = key.encrypt(b"x")
    other = connect().key(key.key_id)
    assert other.decrypt(sealed) == b"x"
    clock.now += 60
    for use in (key, other):
        with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
            use.decrypt(sealed)
    with pytest.raises(MaterialMismatch):
        owner.send(key, b"n" * 16)
    owner.send(key, b"m" * 16)
    assert other.decrypt(sealed) == b"x"
    assert key.describe().valid_to is None


def test_expired_material_is_erased_at_the_next_start(kms, owner, clock, connect, query):
    """Not only refused: its row is no longer in the file."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    owner.send(key, b"m" * 32, valid_to=at(clock.now + 60))
    clock.now += 61
    connect()
    assert query("SELECT count(*) FROM versions") == [(0,)]


def test_an_expiry_that_is_over_is_refused(key, owner, clock):
    """And the key still waits."""
    for seconds in (0, -1, -DAY):
        with pytest.raises(InvalidRequest):
            owner.send(key, b"m" * 32, valid_to=at(clock.now) + timedelta(seconds=seconds))
    assert key.describe().state is KeyState.PENDING_IMPORT


def test_deleted_material_is_gone_from_memory_too(kms, owner, connect):
    """In this process and in the other, whose next call notices."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    owner.send(key, b"m" * 32)
    other = connect()
    sealed = key.encrypt(b"x")
    assert other.decrypt(sealed) == b"x"
    key.delete_material()
    with pytest.raises(KeyStateError):
        other.decrypt(sealed)
    for each in (kms, other):
        assert len(each.provider._ciphers) == 0


def test_deleted_material_is_gone_from_the_disk(kms, owner, files, query):
    """Even the sealed form is overwritten."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    owner.send(key, b"m" * 32)
    [(sealed,)] = query("SELECT material FROM versions")
    assert sealed in files()
    key.delete_material()
    assert sealed not in files()


def test_the_same_material_is_not_told_by_its_fingerprint(kms, owner, query):
    """Equal material under other specs has other fingerprints, and none is a plain hash."""
    for spec in ("AES_128", "SM4"):
        owner.key(kms, spec, b"m" * 16)
    prints = [row[0] for row in query("SELECT fingerprint FROM keys")]
    assert len(set(prints)) == 2
    assert sha256(b"m" * 16).digest() not in prints


def test_generated_keys_take_no_material(kms):
    """And key pairs cannot be external at all."""
    key = kms.create_key("AES_256")
    with pytest.raises(InvalidRequest):
        kms.provider.get_import_parameters(key.key_id, "RSAES_OAEP_SHA_256")
    with pytest.raises(InvalidRequest):
        kms.provider.delete_key_material(key.key_id)
    with pytest.raises(Unsupported):
        kms.create_key("EC_P256", origin="EXTERNAL")


def test_external_keys_do_not_rotate(key, owner):
    """Their owner brings another key instead."""
    owner.send(key, b"m" * 32)
    with pytest.raises(Unsupported):
        key.rotate()


def test_a_disabled_key_takes_no_material(key, owner):
    """It is neither waiting nor enabled."""
    owner.send(key, b"m" * 32)
    key.disable()
    with pytest.raises(KeyStateError):
        key.import_parameters()


def test_a_ciphertext_of_other_material(kms, owner):
    """Stays closed under the key that was given, as any wrong ciphertext does."""
    one = owner.key(kms, "AES_256", b"1" * 32)
    two = owner.key(kms, "AES_256", b"2" * 32)
    with pytest.raises(CiphertextInvalid):
        two.decrypt(one.encrypt(b"x"))
