"""Keys that the token and the registry do not agree on are told, and nothing is changed."""

import json
import os
import shutil
import time

import pytest
from kmscore_pkcs11 import _reconciliation
from kmscore_pkcs11._abilities import FLAGS
from kmscore_pkcs11._native import Native
from kmscore_pkcs11._templates import private_key, public_key, secret_key
from pkcs11 import Attribute, KeyType, ObjectClass

from kmscore.cli.app import run
from kmscore.public_key import PublicKey
from kmscore.registry.reconciliation import FindingKind
from tests.pkcs11.conftest import KINDS, WITH_AES
from tests.pkcs11.cryptoki import Cryptoki
from tests.pkcs11.inside import objects

ON_SOFTHSM = pytest.mark.parametrize(
    "token", [kind for kind in KINDS if kind == "softhsm"], indirect=True
)
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The second look is taken at once: nobody else changes the token."""
    monkeypatch.setattr(_reconciliation, "SECOND_LOOK", 0)


@pytest.fixture
def key(kms, expected):
    """A key of a kind that the token has."""
    return kms.create_key("AES_256" if expected.symmetric else "RSA_2048", usage=_usage(expected))


def _usage(expected):
    return "ENCRYPT_DECRYPT" if expected.symmetric else "ASYMMETRIC_DECRYPT"


def findings(kms, key_id):
    """What is told of one key: the token has those of other tests, too."""
    return [each for each in kms.reconcile().findings if each.key_id == key_id]


def change(kms, action):
    """Do something with another tool: on a session of its own, past the provider."""
    return kms.provider._token.change("C_CreateObject", action)


def place_of(kms, key):
    """The CKA_ID of a key's first version."""
    return kms.provider._store.version(key.key_id, 1).material


def make(kms, label, *, symmetric):
    """A key of somebody else, with that label; its CKA_ID."""
    identity = os.urandom(16)

    def generate(session):
        if symmetric:
            template = secret_key(identity, label, token=True)
            session.raw.generate_key(KeyType.AES, 256, capabilities=0, template=template)
        else:
            session.raw.generate_keypair(
                *(KeyType.RSA, 2048),
                capabilities=0,
                public_template=public_key(identity, label, Attribute.SIGN),
                private_template=private_key(identity, label, Attribute.SIGN, token=True),
            )

    change(kms, generate)
    return identity


def destroy(kms, identity):
    """Destroy what has that CKA_ID."""
    change(kms, lambda session: [session.destroy(each) for each in session.search(identity)])


def test_a_key_that_is_as_registered_is_no_finding(kms, key):
    """It is counted; so is one that is disabled, or pending deletion."""
    before = kms.reconcile()
    assert not findings(kms, key.key_id)
    key.disable()
    key.schedule_deletion(7)
    assert not findings(kms, key.key_id)
    assert kms.reconcile().agreed == before.agreed


def test_a_key_that_the_registry_does_not_know_is_told(kms, expected):
    """By the id and version that its label says, and by the CKA_ID for other tools."""
    identity = make(kms, f"kms:{UNKNOWN}:3", symmetric=bool(expected.symmetric))
    (found,) = findings(kms, UNKNOWN)
    assert found.kind is FindingKind.UNREGISTERED
    assert (found.version, found.object_id) == (3, identity.hex())
    assert "newest" in found.advice
    destroy(kms, identity)
    assert not findings(kms, UNKNOWN)


@pytest.mark.parametrize("label", ["", "kms", "kms:mine", f"kms:{UNKNOWN}", f"KMS:{UNKNOWN}:1"])
def test_keys_of_others_are_counted_and_not_listed(kms, expected, label):
    """Whatever resembles our labels, and is none."""
    before = kms.reconcile()
    identity = make(kms, label, symmetric=bool(expected.symmetric))
    after = kms.reconcile()
    assert after == before._replace(others=before.others + 1)
    destroy(kms, identity)


def test_a_key_that_the_token_has_lost_is_told(kms, key):
    """With what to do; it stays in the registry."""
    destroy(kms, place_of(kms, key))
    (found,) = findings(kms, key.key_id)
    assert found.kind is FindingKind.MISSING
    assert found.version == 1
    assert "backup" in found.advice
    assert kms.key(key.key_id).describe().state == "ENABLED"


@ON_SOFTHSM
def test_a_registry_from_an_older_copy(connect, token, path, tmp_path):
    """Keys and versions since then are told, each for what it is."""
    kms = connect(token)
    older = kms.create_key("AES_256")
    kms.close()
    shutil.copy2(path, tmp_path / "copy.db")
    kms = connect(token)
    kms.key(older.key_id).rotate()
    newer = kms.create_key("EC_P256")
    kms.close()
    kms = connect(token, path=tmp_path / "copy.db")
    (version,) = [each for each in findings(kms, older.key_id) if each.kind == "UNREGISTERED"]
    assert version.version == 2
    assert "of which 1 is the newest registered" in version.what
    (key,) = findings(kms, newer.key_id)
    assert (key.kind, key.version) == (FindingKind.UNREGISTERED, 1)
    (flags,) = [each for each in findings(kms, older.key_id) if each.kind == "DIVERGENT"]
    assert "forbids ENCRYPT" in flags.what
    kms.close()
    kms = connect(token)
    assert not findings(kms, older.key_id)
    assert not findings(kms, newer.key_id)


def test_a_key_that_another_tool_switched(kms, key, expected):
    """Told with the command that sets it right, which does."""
    flag = Attribute.ENCRYPT if expected.symmetric else Attribute.DECRYPT
    kind = ObjectClass.SECRET_KEY if expected.symmetric else ObjectClass.PRIVATE_KEY
    place = kind, place_of(kms, key)

    def switch(on):
        def set_flag(session):
            session.set_flag(session.find(place), flag, on)

        change(kms, set_flag)

    switch(False)
    (found,) = findings(kms, key.key_id)
    assert found.kind is FindingKind.DIVERGENT
    assert f"is ENABLED, and the token forbids {flag.name}" in found.what
    assert f"kmscore keys enable {key.key_id}" in found.advice
    key.enable()
    assert not findings(kms, key.key_id)
    key.disable()
    switch(True)
    (found,) = findings(kms, key.key_id)
    assert f"is DISABLED, and the token allows {flag.name}" in found.what
    key.disable()
    assert not findings(kms, key.key_id)


def test_where_flags_cannot_be_changed_they_say_nothing(connect, softhsm):
    """The registry alone decides there."""
    kms = connect(softhsm)
    key = kms.create_key("AES_256")
    place = ObjectClass.SECRET_KEY, place_of(kms, key)
    change(kms, lambda session: session.set_flag(session.find(place), Attribute.ENCRYPT, False))
    kms.provider._abilities.found[FLAGS] = "CKR_ATTRIBUTE_READ_ONLY"
    assert not findings(kms, key.key_id)


@ON_SOFTHSM
def test_a_copy_of_a_key_is_told(kms, key):
    """Two objects with one CKA_ID: neither is used while that is so."""
    make_other = secret_key(place_of(kms, key), "copy", token=True)
    change(
        kms,
        lambda session: session.raw.generate_key(
            KeyType.AES, 256, capabilities=0, template=make_other
        ),
    )
    (found,) = findings(kms, key.key_id)
    assert found.kind is FindingKind.AMBIGUOUS


@ON_SOFTHSM
def test_what_imports_leave_is_told(kms):
    """A wrapping key that is gone, one too many, and material that is."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    key.import_parameters("RSAES_OAEP_SHA_1")
    assert not findings(kms, key.key_id)
    destroy(kms, kms.provider._store.job(key.key_id).private_key[:16])
    extra = make(kms, f"kms:{key.key_id}:wrapping", symmetric=False)
    missing, one_more = sorted(findings(kms, key.key_id))
    assert missing.kind is FindingKind.MISSING
    assert "import-parameters" in missing.advice
    assert one_more.kind is FindingKind.UNREGISTERED
    assert one_more.object_id == extra.hex()


@ON_SOFTHSM
def test_imported_material_that_is_lost_can_be_imported_again(kms):
    """And how is told."""
    key = kms.create_key("AES_256", origin="EXTERNAL")
    parameters = key.import_parameters("RSAES_OAEP_SHA_1")
    wrapped = PublicKey(parameters.public_key).encrypt(bytes(32), "RSAES_OAEP_SHA_1")
    key.import_material(wrapped, parameters.token)
    destroy(kms, place_of(kms, key))
    (found,) = findings(kms, key.key_id)
    assert f"kmscore keys delete-material {key.key_id}" in found.advice
    key.delete_material()
    key.import_material(wrapped, parameters.token)
    assert not findings(kms, key.key_id)


@ON_SOFTHSM
def test_what_a_trial_left_is_told(kms):
    """Of a process that was killed in the middle of it."""
    identity = make(kms, "kms:probe", symmetric=True)
    (found,) = [each for each in findings(kms, "") if each.object_id == identity.hex()]
    assert "a trial of the token left behind" in found.what
    destroy(kms, identity)


@pytest.mark.parametrize("token", WITH_AES, indirect=True)
def test_a_login_that_is_lost_makes_no_key_a_missing_one(kms, key, token):
    """Without it the token shows no keys: it is renewed first."""
    with Cryptoki(token.module, join=True) as api:
        session = api.open(token.label)
        api.call("Logout", session)
        api.call("CloseSession", session)
    assert not findings(kms, key.key_id)


@ON_SOFTHSM
def test_an_object_that_goes_while_it_is_looked_at_is_left_out(kms, key, monkeypatch):
    """Others may destroy theirs at any time."""
    before = kms.reconcile()
    listed = Native.token_objects
    monkeypatch.setattr(Native, "token_objects", lambda *given: [*listed(*given), 2**31])
    assert kms.reconcile() == before


@ON_SOFTHSM
def test_keys_that_come_and_go_meanwhile_are_no_findings(kms, monkeypatch):
    """What the second look does not find again was on its way."""
    identity = make(kms, f"kms:{UNKNOWN}:1", symmetric=True)
    monkeypatch.setattr(time, "sleep", lambda _: destroy(kms, identity))
    assert not findings(kms, UNKNOWN)


@ON_SOFTHSM
def test_the_command_tells_and_changes_nothing(kms, key, token, path, capsys):
    """Exit code 4; once more for machines."""
    identity = make(kms, f"kms:{UNKNOWN}:1", symmetric=True)
    destroy(kms, place_of(kms, key))
    file = path.with_name("kms.toml")
    file.write_text(token.toml(path))
    arguments = ["--config", str(file), "keys", "reconcile"]
    assert run(arguments) == 4
    told = capsys.readouterr().out
    assert f"version 1 of key {UNKNOWN}, which is not registered\n    id {identity.hex()}\n" in told
    assert f"version 1 of key {key.key_id} is not on the token" in told
    assert run([*arguments, "--json"]) == 4
    ids = [each["key_id"] for each in json.loads(capsys.readouterr().out)["findings"]]
    assert UNKNOWN in ids
    assert ids == sorted(ids)
    assert set(objects(kms, kms.key(key.key_id))) == set()
    assert len(findings(kms, UNKNOWN)) == 1
    destroy(kms, identity)
