"""Bring your own key: material is unwrapped inside the token, or nothing of it stays."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kmscore import KeyState, PublicKey
from kmscore.errors import (
    CiphertextInvalid,
    ImportMaterialInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyStateError,
    MaterialMismatch,
    Unsupported,
)
from tests.pkcs11.conftest import KINDS
from tests.pkcs11.expectations import EXPECTED
from tests.pkcs11.inside import objects

pytestmark = pytest.mark.parametrize(
    "token", [kind for kind in KINDS if EXPECTED[kind].symmetric], indirect=True
)
SIZES = {"AES_128": 16, "AES_256": 32}
OAEP = "RSAES_OAEP_SHA_1"
DAY = 86400


def wrap(parameters, material):
    """The material as its owner sends it."""
    return PublicKey(parameters.public_key).encrypt(material, parameters.wrapping)


def send(key, material, wrapping=OAEP, **options):
    """Import material into a key."""
    parameters = key.import_parameters(wrapping)
    key.import_material(wrap(parameters, material), parameters.token, **options)


@pytest.mark.parametrize("spec", SIZES)
def test_material_is_imported_with_every_wrapping(kms, spec):
    """What the key encrypts then opens with the material alone, and with nothing else."""
    for wrapping in sorted(kms.capabilities.wrapping):
        key = kms.create_key(spec, origin="EXTERNAL")
        assert key.describe().state is KeyState.PENDING_IMPORT
        with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
            key.encrypt(b"x")
        material = os.urandom(SIZES[spec])
        send(key, material, wrapping)
        sealed = key.encrypt(b"x")
        assert AESGCM(material).decrypt(sealed[47:59], sealed[59:], sealed[:47] + bytes(4)) == b"x"
        assert key.describe().state is KeyState.ENABLED


def test_imported_keys_stay_inside(kms):
    """As those that the token made; and so does the wrapping key, which only unwraps."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    send(key, os.urandom(32))
    found = objects(kms, key)
    assert {name: each.usages for name, each in found.items()} == {
        "1": ("ENCRYPT", "DECRYPT"),
        "wrapping": ("UNWRAP",),
    }
    assert all(each.is_kept for each in found.values())


@pytest.mark.parametrize("size", [5, 16, 24, 33])
def test_material_of_another_length_is_refused(kms, size):
    """Also where the token takes it: SoftHSM makes AES keys of any number of bytes."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    with pytest.raises(ImportMaterialInvalid):
        send(key, os.urandom(size))
    assert key.describe().state is KeyState.PENDING_IMPORT
    assert set(objects(kms, key)) == {"wrapping"}


def test_a_longer_key_is_no_aes_128_key(kms):
    """A key is as strong as it says, and not stronger either: the other side must have it, too."""
    key = kms.create_key("AES_128", origin="EXTERNAL")
    for size in (24, 32):
        with pytest.raises(ImportMaterialInvalid):
            send(key, os.urandom(size))


def test_garbage_leaves_nothing_and_ends_the_wrapping_key(kms):
    """Every fault has the same words; after ten, new parameters are needed."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters(OAEP)
    good = wrap(parameters, os.urandom(32))
    faults = set()
    bad = [good[:-1], b"x", good[:-1] + bytes([good[-1] ^ 1]), wrap(parameters, b"short")]
    for garbage in [*bad, *(b"\0" + os.urandom(255) for _ in range(6))]:
        with pytest.raises(ImportMaterialInvalid) as caught:
            key.import_material(garbage, parameters.token)
        faults.add(str(caught.value))
    assert len(faults) == 1
    with pytest.raises(ImportTokenExpired):
        key.import_material(good, parameters.token)
    assert objects(kms, key) == {}
    send(key, os.urandom(32))
    assert key.decrypt(key.encrypt(b"x")) == b"x"


def test_nine_faults_are_forgiven(kms):
    """The token of the parameters is still good."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters(OAEP)
    for _ in range(9):
        with pytest.raises(ImportMaterialInvalid):
            key.import_material(b"\0" + os.urandom(255), parameters.token)
    key.import_material(wrap(parameters, os.urandom(32)), parameters.token)


def test_only_the_newest_parameters_count(kms):
    """The older wrapping key is gone from the token."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    older = key.import_parameters(OAEP)
    newer = key.import_parameters(OAEP)
    assert set(objects(kms, key)) == {"wrapping"}
    with pytest.raises(ImportTokenExpired):
        key.import_material(wrap(older, os.urandom(32)), older.token)
    key.import_material(wrap(newer, os.urandom(32)), newer.token)


def test_only_the_same_material_returns(kms):
    """It is recognised by what it encrypts, and opens what it once encrypted."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    material = os.urandom(32)
    send(key, material)
    sealed = key.encrypt(b"x")
    key.delete_material()
    with pytest.raises(KeyStateError):
        key.decrypt(sealed)
    with pytest.raises(MaterialMismatch):
        send(key, os.urandom(32))
    assert key.describe().state is KeyState.PENDING_IMPORT
    send(key, material)
    assert key.decrypt(sealed) == b"x"


def test_deleted_material_is_gone_from_the_token(kms):
    """The wrapping key stays: the same material may be sent again with it."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters(OAEP)
    wrapped = wrap(parameters, os.urandom(32))
    key.import_material(wrapped, parameters.token)
    key.delete_material()
    assert set(objects(kms, key)) == {"wrapping"}
    key.import_material(wrapped, parameters.token)
    assert key.decrypt(key.encrypt(b"x")) == b"x"


def test_material_expires_and_leaves_the_token(clocked):
    """At its second it is of no use; the next start or change destroys it."""
    kms, clock = clocked
    key = kms.create_key("AES_256", origin="EXTERNAL")
    send(key, os.urandom(32), valid_to=datetime.fromtimestamp(clock(), UTC) + timedelta(hours=1))
    sealed = key.encrypt(b"x")
    clock.advance(3600)
    with pytest.raises(KeyStateError):
        key.decrypt(sealed)
    kms.create_key("AES_256")
    assert set(objects(kms, key)) == {"wrapping"}


def test_parameters_expire_and_leave_the_token(clocked):
    """After 24 hours the wrapping key is destroyed with the next change."""
    kms, clock = clocked
    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters(OAEP)
    clock.advance(DAY)
    with pytest.raises(ImportTokenExpired):
        key.import_material(wrap(parameters, os.urandom(32)), parameters.token)
    kms.create_key("AES_256")
    assert objects(kms, key) == {}


def test_a_key_that_was_generated_takes_no_material(kms):
    """Its origin is another."""
    with pytest.raises(InvalidRequest, match="generated"):
        kms.create_key("AES_256").import_parameters(OAEP)


def test_what_the_token_does_not_unwrap_is_unsupported(kms):
    """Never done on this machine instead."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    for wrapping in {"RSAES_OAEP_SHA_256", "RSAES_PKCS1_V1_5"} - kms.capabilities.wrapping:
        with pytest.raises(Unsupported, match="unwrap"):
            key.import_parameters(wrapping)


def test_the_same_key_on_a_token_and_in_software(kms, tmp_path):
    """Either opens what the other encrypted, data keys included, and nobody else does."""
    import kmscore

    data = {"type": "software", "path": tmp_path / "soft.db", "root_key": lambda: bytes(32)}
    with kmscore.connect("soft", config={"providers": {"soft": data}}) as soft:
        material = os.urandom(32)
        hard_key = kms.create_key("AES_256", origin="EXTERNAL")
        soft_key = soft.create_key("AES_256", origin="EXTERNAL")
        send(hard_key, material)
        send(soft_key, material)
        context = {"table": "orders"}
        for one, other in ((hard_key, soft_key), (soft_key, hard_key)):
            sealed = one.encrypt(b"secret", context=context)
            assert other.decrypt(sealed, context=context) == b"secret"
            with pytest.raises(CiphertextInvalid):
                other.decrypt(sealed)
            with one.generate_data_key("AES_256", context=context) as fresh:
                assert other.decrypt(fresh.ciphertext, context=context) == bytes(fresh.plaintext)
        with pytest.raises(CiphertextInvalid):
            kms.create_key("AES_256").decrypt(sealed, context=context)


def test_a_token_lost_during_an_import_keeps_one_key(connect, token, monkeypatch):
    """The second try removes what the first one left: two keys of one name could not be used."""
    from kmscore_pkcs11._native import NativeError
    from kmscore_pkcs11._objects import read_back

    answers = iter([None, NativeError(0x32, "C_GetAttributeValue")])

    def lost_once(*given):
        failure = next(answers, None)
        if failure is not None:
            raise failure
        return read_back(*given)

    monkeypatch.setattr("kmscore_pkcs11._importing.read_back", lost_once)
    kms = connect(token)
    key = kms.create_key("AES_256", origin="EXTERNAL")
    send(key, os.urandom(32))
    assert key.decrypt(key.encrypt(b"x")) == b"x"
