"""Keys as the service describes them: look-up, listing, states, and what is sent for each job."""

import base64
from datetime import UTC, datetime

import pytest
from tencentcloud.kms.v20190118 import models

import kmscore
from kmscore import Digest, KeySpec, KeyState, KeyUsage, Message, Origin
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    ImportMaterialInvalid,
    ImportTokenExpired,
    InternalError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    Unsupported,
)

WHEN = datetime.fromtimestamp(1_700_000_000, UTC)


def listing(say, *keys, total=None):
    """An answer of ListKeyDetail."""
    return say.answer(KeyMetadatas=list(keys), TotalCount=len(keys) if total is None else total)


def test_a_key_is_found_by_its_id(service, kms, say):
    """With one call."""
    service.prepare(say.answer(KeyMetadata=say.metadata()))
    assert kms.key(say.KEY_ID).key_id == say.KEY_ID
    assert service.actions == ["DescribeKey"]


def test_a_key_is_found_by_its_alias_alone(service, kms, say):
    """The service's search also finds parts of names and ids, on any page of its answer."""
    other = say.metadata("22222222-2222-11ee-8888-999999999999", Alias="orders-2")
    service.prepare(
        listing(say, *[other] * 200, total=201), listing(say, say.metadata(), total=201)
    )
    assert kms.key("orders").key_id == say.KEY_ID
    first, second = (request.fields for request in service.requests)
    assert (first["SearchKeyAlias"], first["KeyUsage"], first["KeyState"]) == ("orders", "ALL", 0)
    assert [first["Offset"], second["Offset"]] == [0, 200]


def test_an_alias_that_is_a_part_of_others_is_not_found(service, kms, say):
    """Nor is it an id."""
    service.prepare(
        listing(say, say.metadata(Alias="orders-2")),
        say.error("InvalidParameterValue.InvalidKeyId"),
    )
    with pytest.raises(KeyNotFound):
        kms.key("orders")


def test_an_alias_may_look_like_an_id(service, kms, say):
    """Ids come first, then aliases."""
    alias = "33333333-2222-11ee-8888-999999999999"
    service.prepare(
        say.error("ResourceUnavailable.CmkNotFound"), listing(say, say.metadata(Alias=alias))
    )
    assert kms.key(alias).key_id == say.KEY_ID


@pytest.mark.parametrize(
    "code", ["InvalidParameter", "InvalidParameterValue.InvalidKeyId", "ResourceNotFound"]
)
def test_what_cannot_be_an_alias_is_not_searched(service, kms, say, code):
    """It may still be the id of a server of one's own; however that says no, there is no key."""
    service.prepare(say.error(code))
    with pytest.raises(KeyNotFound):
        kms.key("no such key")
    assert service.actions == ["DescribeKey"]


def test_all_that_is_known_of_a_key(service, kms, say):
    """Times are aware; what the service counts as none is None."""
    full = say.metadata(
        Description="d",
        KeyState="PendingDelete",
        DeletionDate=1_700_000_000,
        KeyRotationEnabled=True,
        RotateDays=30,
        LastRotateTime=1_700_000_000,
        NextRotateTime=1_700_000_000,
        Origin="EXTERNAL",
        ValidTo=1_700_000_000,
    )
    service.prepare(say.answer(KeyMetadata=say.metadata()), say.answer(KeyMetadata=full))
    plain, info = (kms.provider.describe_key(say.KEY_ID) for _ in range(2))
    assert plain._replace(native={}) == kmscore.KeyInfo(
        key_id=say.KEY_ID,
        spec=KeySpec.AES_256,
        usage=KeyUsage.ENCRYPT_DECRYPT,
        state=KeyState.ENABLED,
        origin=Origin.GENERATED,
        alias="orders",
        created_at=WHEN,
        native={},
    )
    assert plain.native["ResourceId"] == f"creatorUin/1/{say.KEY_ID}"
    assert (info.deletion_at, info.valid_to, info.rotated_at) == (WHEN, WHEN, WHEN)
    assert (info.rotation_days, info.next_rotation_at) == (30, WHEN)
    assert (info.state, info.origin) == (KeyState.PENDING_DELETION, Origin.EXTERNAL)


@pytest.mark.parametrize(
    ("native", "state", "version"),
    [
        ("Enabled", KeyState.ENABLED, 1),
        ("Disabled", KeyState.DISABLED, 1),
        ("PendingDelete", KeyState.PENDING_DELETION, 1),
        ("PendingImport", KeyState.PENDING_IMPORT, 0),
        ("Archived", KeyState.ARCHIVED, 1),
    ],
)
def test_each_state_has_its_word(service, kms, say, native, state, version):
    """All five."""
    service.prepare(say.answer(KeyMetadata=say.metadata(KeyState=native)))
    info = kms.provider.describe_key(say.KEY_ID)
    assert (info.state, info.version) == (state, version)


@pytest.mark.parametrize(
    ("native", "kind", "spec", "usage"),
    [
        ("ENCRYPT_DECRYPT", 2, "AES_256", "ENCRYPT_DECRYPT"),
        ("ENCRYPT_DECRYPT", 4, "SM4", "ENCRYPT_DECRYPT"),
        ("ASYMMETRIC_DECRYPT_RSA_2048", 2, "RSA_2048", "ASYMMETRIC_DECRYPT"),
        ("ASYMMETRIC_DECRYPT_SM2", 4, "SM2", "ASYMMETRIC_DECRYPT"),
        ("ASYMMETRIC_SIGN_VERIFY_SM2", 4, "SM2", "SIGN_VERIFY"),
        ("ASYMMETRIC_SIGN_VERIFY_RSA_2048", 2, "RSA_2048", "SIGN_VERIFY"),
        ("ASYMMETRIC_SIGN_VERIFY_RSA_3072", 2, "RSA_3072", "SIGN_VERIFY"),
        ("ASYMMETRIC_SIGN_VERIFY_ECC", 2, "EC_P256", "SIGN_VERIFY"),
    ],
)
def test_each_usage_has_its_words_in_both_directions(
    connect, service, say, native, kind, spec, usage
):
    """A key that is described, and one that is made."""
    kms = connect(edition="SM" if kind == 4 else "FIPS")
    service.prepare(
        say.answer(KeyMetadata=say.metadata(KeyUsage=native, Type=kind)),
        say.answer(KeyId=say.KEY_ID, Alias="a", CreateTime=1_700_000_000),
    )
    info = kms.provider.describe_key(say.KEY_ID)
    assert (info.spec, info.usage) == (spec, usage)
    kms.create_key(spec, usage=usage, alias="a")
    assert service.requests[-1].fields == {"Alias": "a", "KeyUsage": native, "Type": 1}


def test_an_external_key_is_made_with_another_type(service, kms, say):
    """Which is not the type in a key's description."""
    service.prepare(say.answer(KeyId=say.KEY_ID, Alias="own", CreateTime=1_700_000_000))
    key = kms.create_key("AES_256", alias="own", origin="EXTERNAL", description="ours")
    assert key.origin is Origin.EXTERNAL
    sent = service.requests[0].fields
    assert (sent["Type"], sent["Description"]) == (2, "ours")


def test_a_key_without_an_alias_gets_one(service, kms, say):
    """The service wants one: it is random, and one that the service allows."""
    service.always(
        lambda r: say.answer(KeyId=say.KEY_ID, Alias=r.fields["Alias"], CreateTime=1_700_000_000)
    )
    kms.create_key("AES_256")
    kms.create_key("AES_256")
    first, second = (request.fields["Alias"] for request in service.requests)
    assert first != second
    assert first.startswith("kmscore-")


def test_all_keys_page_after_page(service, kms, say):
    """Oldest first; those that kmscore has no words for are left out."""
    ids = [f"{n:08x}-2222-11ee-8888-999999999999" for n in range(450)]
    known = [say.metadata(key_id) for key_id in ids]
    known[7] = say.metadata(ids[7], KeyUsage="ASYMMETRIC_Encrypt_Decrypt_Kyber_AES")

    def page(request):
        sent = request.fields
        part = known[sent["Offset"] : sent["Offset"] + sent["Limit"]]
        return listing(say, *part, total=450)

    service.always(page)
    listed = kms.keys()
    assert [info.key_id for info in listed] == ids[:7] + ids[8:]
    assert [r.fields["Offset"] for r in service.requests] == [0, 200, 400]
    assert {r.fields["OrderType"] for r in service.requests} == {1}


def test_an_empty_listing(service, kms, say):
    """As the service sends it, and with the list left out."""
    service.prepare(listing(say), say.answer(TotalCount=0))
    assert list(kms.keys()) == list(kms.keys()) == []


def test_a_listing_that_shrinks_meanwhile_ends(service, kms, say):
    """Keys may be destroyed between two pages."""
    service.prepare(listing(say, say.metadata(), total=300), listing(say, total=300))
    assert len(list(kms.keys())) == 1


@pytest.mark.parametrize("cursor", ["x", "-1", "", "１"])
def test_a_cursor_of_somebody_else_is_refused(kms, cursor):
    """Before anything is asked."""
    with pytest.raises(InvalidRequest):
        kms.provider.list_keys(10, cursor)


@pytest.mark.parametrize(
    "metadata",
    [
        *({}, {"KeyUsage": "Brand_New"}, {"KeyUsage": []}, {"KeyState": "Odd"}),
        *({"CreateTime": "soon"}, {"CreateTime": 1e300}, {"KeyState": None}),
        *({"KeyId": 5}, {"KeyId": None}, {"KeyId": "\ud800"}, {"Alias": []}, {"Description": 5}),
        {"KeyRotationEnabled": True, "RotateDays": "soon"},
    ],
)
def test_a_description_that_cannot_be_understood_is_told(service, kms, say, metadata):
    """It is no crash."""
    service.prepare(say.answer(KeyMetadata=say.metadata(**metadata) if metadata else {}))
    with pytest.raises(InternalError, match="not known"):
        kms.key(say.KEY_ID)


def test_a_usage_that_is_no_word_is_left_out_of_a_listing(service, kms, say):
    """As usages are that are not known."""
    usages: list[object] = [[], {}, None, 5]
    entries = [say.metadata(KeyUsage=usage) for usage in usages]
    service.prepare(say.answer(KeyMetadatas=entries, TotalCount=4))
    assert list(kms.keys()) == []


@pytest.mark.parametrize("answer", [{}, {"Plaintext": 5}, {"Plaintext": "é"}, {"Plaintext": "a"}])
def test_an_answer_that_lacks_what_was_asked_for_is_told(service, kms, say, answer):
    """With the name of the field."""
    service.prepare(say.answer(**answer))
    with pytest.raises(InternalError, match="Plaintext"):
        kms.generate_random(3)


@pytest.mark.parametrize(("operation", "state"), [("enable", "Enabled"), ("disable", "Disabled")])
def test_a_key_that_stands_where_it_should_stays_there(service, kms, say, operation, state):
    """Also if the service refuses to enable what is enabled."""
    there = say.answer(KeyMetadata=say.metadata(KeyState=state))
    service.prepare(there, say.error("ResourceUnavailable.CmkStateNotSupport"), there)
    getattr(kms.key(say.KEY_ID), operation)()


def test_the_state_that_forbids_something_is_told(service, kms, say):
    """The service only says that it does; so it is asked."""
    pending = say.answer(KeyMetadata=say.metadata(KeyState="PendingDelete"))
    service.prepare(
        say.answer(KeyMetadata=say.metadata()),
        say.error("ResourceUnavailable.CmkStateNotSupport"),
        pending,
    )
    with pytest.raises(KeyStateError) as failure:
        kms.key(say.KEY_ID).enable()
    assert failure.value.state == KeyState.PENDING_DELETION
    assert failure.value.code == "ResourceUnavailable.CmkStateNotSupport"


def test_a_state_that_cannot_be_asked_for_stays_open(service, kms, say):
    """The first error is the one that counts."""
    service.prepare(
        say.answer(KeyMetadata=say.metadata()),
        say.error("ResourceUnavailable.CmkStateNotSupport"),
        say.error("UnauthorizedOperation"),
    )
    with pytest.raises(KeyStateError) as failure:
        kms.key(say.KEY_ID).enable()
    assert failure.value.state == ""


def test_a_name_that_the_key_has_already_is_no_error(service, kms, say):
    """As after an answer that was lost; the name of another key is one."""
    taken = say.error("InvalidParameterValue.AliasAlreadyExists")
    described = say.answer(KeyMetadata=say.metadata())
    service.prepare(described, taken, described, taken, described)
    key = kms.key(say.KEY_ID)
    key.set_alias("orders")
    with pytest.raises(AlreadyExists):
        key.set_alias("invoices")


def test_a_ciphertext_of_another_key_is_not_opened_with_this_one(service, kms, say):
    """The service finds the key by the ciphertext, whichever was asked for."""
    service.prepare(
        say.answer(KeyMetadata=say.metadata()),
        say.answer(KeyId="22222222-2222-11ee-8888-999999999999", Plaintext="AAAA"),
    )
    with pytest.raises(CiphertextInvalid):
        kms.key(say.KEY_ID).decrypt(b"blob")


def test_a_context_changes_even_where_the_service_leaves_the_ciphertext(service, kms, say):
    """Under the same key version the service answers with the old ciphertext, as it was."""
    service.prepare(
        say.answer(KeyMetadata=say.metadata()),
        say.answer(KeyId=say.KEY_ID, CiphertextBlob="old", ReEncrypted=False),
        say.answer(KeyId=say.KEY_ID, Plaintext="AAAA"),
        say.answer(KeyId=say.KEY_ID, CiphertextBlob="new"),
    )
    assert kms.re_encrypt(b"old", say.KEY_ID, source_context={"a": "1"}) == b"new"
    assert service.actions[1:] == ["ReEncrypt", "Decrypt", "Encrypt"]


def test_a_ciphertext_stays_where_nothing_changes(service, kms, say):
    """Same key, same version, same context."""
    service.prepare(
        say.answer(KeyMetadata=say.metadata()),
        say.answer(KeyId=say.KEY_ID, CiphertextBlob="old", ReEncrypted=False),
    )
    assert kms.re_encrypt(b"old", say.KEY_ID) == b"old"


@pytest.mark.parametrize(("exists", "error"), [(True, CiphertextInvalid), (False, KeyNotFound)])
def test_a_lost_key_of_a_re_encryption_is_told_apart(service, kms, say, exists, error):
    """The ciphertext's is a matter of the ciphertext, the other one is not."""
    lost = say.error("ResourceUnavailable.CmkNotFound")
    there = say.answer(KeyMetadata=say.metadata())
    service.prepare(there, lost, there if exists else lost)
    with pytest.raises(error):
        kms.re_encrypt(b"old", say.KEY_ID)


def test_an_sm2_ciphertext_that_the_service_does_not_take_is_told(connect, service, say):
    """Its limit is 256 bytes of DER."""
    usage = "ASYMMETRIC_DECRYPT_SM2"
    service.prepare(say.answer(KeyMetadata=say.metadata(KeyUsage=usage)))
    with pytest.raises(CiphertextInvalid, match="256"):
        connect().key(say.KEY_ID).decrypt(bytes(257))


@pytest.fixture
def signer(service, kms, say):
    """A key that signs."""

    def signer(usage):
        service.prepare(say.answer(KeyMetadata=say.metadata(KeyUsage=usage)))
        return kms.key(say.KEY_ID)

    return signer


@pytest.mark.parametrize(
    ("usage", "bad"),
    [
        ("ASYMMETRIC_SIGN_VERIFY_ECC", [b"x", bytes(64), b"\x30\x06\x02\x01\x01\x02\x01"]),
        ("ASYMMETRIC_SIGN_VERIFY_RSA_2048", [b"x", bytes(255), bytes(257), bytes(512)]),
    ],
)
def test_what_is_no_signature_is_wrong_and_not_sent(service, signer, usage, bad):
    """False, and no error."""
    key = signer(usage)
    for signature in bad:
        assert key.verify(Message(b"m"), signature) is False
    assert service.actions == ["DescribeKey"]


def test_a_signature_that_the_service_calls_malformed_is_wrong(service, signer, say):
    """As one of another key's size."""
    key = signer("ASYMMETRIC_SIGN_VERIFY_RSA_2048")
    service.prepare(say.error("InvalidParameter"), say.answer(SignatureValid=False))
    assert key.verify(Message(b"m"), bytes(384)) is False
    assert key.verify(Message(b"m"), bytes(256)) is False


@pytest.mark.parametrize(
    ("message", "kind", "size"),
    [
        (b"", "DIGEST", 32),
        (b"m", "RAW", 1),
        (bytes(4096), "RAW", 4096),
        (bytes(4097), "DIGEST", 32),
    ],
)
def test_long_and_empty_messages_travel_as_digests(service, signer, say, message, kind, size):
    """Up to 4096 bytes go whole; to the service an empty field is a missing one."""
    key = signer("ASYMMETRIC_SIGN_VERIFY_ECC")
    service.prepare(say.answer(Signature="AAAA"))
    key.sign(Message(message))
    sent = service.requests[-1].fields
    assert (sent["MessageType"], len(base64.b64decode(sent["Message"]))) == (kind, size)
    assert sent["Algorithm"] == "ECC_P256_R1"


def every_job(kms, say):
    """Uses every method of the interface once."""
    own = kms.create_key("AES_256", alias="a", description="d", origin="EXTERNAL")
    own.import_parameters()
    own.import_material(b"w", b"t", valid_to=datetime(2030, 1, 1, tzinfo=UTC))
    own.import_material(b"w", b"t")
    own.delete_material()
    key = kms.key(say.KEY_ID)
    list(kms.keys())
    key.enable()
    key.disable()
    key.schedule_deletion(7)
    key.cancel_deletion()
    key.set_alias("b")
    key.set_description("e")
    key.rotate()
    key.set_rotation(30)
    key.set_rotation(None)
    key.archive()
    key.restore()
    blob = key.encrypt(b"p", context={"a": "b"})
    kms.decrypt(blob, context={"a": "b"})
    kms.re_encrypt(blob, key, source_context={"a": "b"}, context={"a": "c"})
    key.generate_data_key(context={"a": "b"}).wipe()
    kms.generate_random(16)
    kms.health()


def pair_jobs(kms, say):
    """The same for key pairs."""
    for spec, usage in (("SM2", "SIGN_VERIFY"), ("RSA_2048", "SIGN_VERIFY")):
        key = kms.create_key(spec, usage=usage, alias="a")
        kms.provider.public_key(key.key_id)
        key.sign(Message(b"m"))
        digest = kmscore.DigestAlgorithm.SM3 if spec == "SM2" else kmscore.DigestAlgorithm.SHA_256
        key.verify(
            Digest(bytes(32), digest),
            b"\x30\x06\x02\x01\x01\x02\x01\x01" if spec == "SM2" else bytes(256),
        )
    for spec in ("SM2", "RSA_2048"):
        kms.create_key(spec, usage="ASYMMETRIC_DECRYPT", alias="a").decrypt(bytes(256))


def test_all_that_is_sent_is_in_the_models_of_the_sdk(service, kms, say):
    """Every field by its name and type: the service refuses what it does not know."""
    fields = say.metadata() | {
        "KeyMetadata": say.metadata(),
        "KeyMetadatas": [say.metadata()],
        "TotalCount": 1,
        "PublicKey": "AAAA",
        "ImportToken": "t",
        "ParametersValidTo": 1_800_000_000,
        "DeletionDate": 1_800_000_000,
        "CiphertextBlob": "b",
        "Plaintext": "AAAA",
        "ReEncrypted": True,
        "ServiceEnabled": True,
        "Signature": "AAAA",
        "SignatureValid": True,
        "TaskId": "1",
    }
    service.always(lambda _: say.answer(**fields))
    every_job(kms, say)
    pair_jobs(kms, say)
    for request in service.requests:
        model = getattr(models, f"{request.action}Request")()
        known = {name.removeprefix("_") for name in vars(model)}
        assert set(request.fields) <= known, request.action
        for name, value in request.fields.items():
            documented = getattr(type(model), name).__doc__ or ""
            assert f":rtype: {type(value).__name__}" in documented, (request.action, name)


@pytest.mark.parametrize("when", [1, 1_700_000_000, 2147443201])
def test_an_end_that_the_service_would_not_take_is_not_sent(service, connect, say, when):
    """In the past, or after 18 January 2038."""
    kms = connect(clock=lambda: 1_700_000_000)
    service.prepare(say.answer(KeyMetadata=say.metadata(Origin="EXTERNAL")))
    key = kms.key(say.KEY_ID)
    with pytest.raises(InvalidRequest, match="end of the material"):
        key.import_material(b"w", b"t", valid_to=datetime.fromtimestamp(when, UTC))
    assert service.actions == ["DescribeKey"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("InvalidParameter", ImportTokenExpired),
        ("ResourceUnavailable.TokenExpired", ImportTokenExpired),
        ("InvalidParameter.DecryptMaterialError", ImportMaterialInvalid),
        ("UnsupportedOperation.NotExternalCmk", InvalidRequest),
    ],
)
def test_what_is_no_import_token_is_told_as_such(service, kms, say, code, error):
    """The service only says that something is malformed, and nothing else can be."""
    service.prepare(say.answer(KeyMetadata=say.metadata(Origin="EXTERNAL")), say.error(code))
    with pytest.raises(error) as failure:
        kms.key(say.KEY_ID).import_material(b"w", b"t")
    assert type(failure.value) is error
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("spec", "usage"),
    [("SM4", "ENCRYPT_DECRYPT"), ("RSA_4096", "SIGN_VERIFY"), ("EC_P384", "SIGN_VERIFY")],
)
def test_a_kind_that_the_table_does_not_have_is_refused(service, kms, spec, usage):
    """Also by the provider itself, and before anything is sent."""
    new = kmscore.spi.NewKey(KeySpec(spec), KeyUsage(usage))
    with pytest.raises(Unsupported):
        kms.provider.create_key(new)
    assert service.requests == []


def test_the_contexts_of_all_calls_are_canonical(service, kms, say):
    """Sorted, compact, and not there when there is none."""
    service.prepare(say.answer(KeyMetadata=say.metadata()))
    service.always(lambda _: say.answer(CiphertextBlob="b", KeyId=say.KEY_ID))
    key = kms.key(say.KEY_ID)
    key.encrypt(b"p", context={"b": "2", "a": "é"})
    key.encrypt(b"p")
    sent = [request.fields.get("EncryptionContext") for request in service.requests[1:]]
    assert sent == ['{"a":"é","b":"2"}', None]


@pytest.mark.parametrize(
    ("edition", "listed", "ok"),
    [
        ("FIPS", [], True),
        ("FIPS", ["AES_256"], True),
        ("SM", ["SM4"], True),
        ("FIPS", ["SM4"], False),
        ("SM", ["AES"], False),
        ("SM", ["AES_256", "SM4"], True),
    ],
)
def test_the_health_tells_of_a_wrong_edition(connect, service, say, edition, listed, ok):
    """Where the service's algorithms are of one edition alone."""
    names = [{"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": name} for name in listed]
    service.prepare(say.answer(ServiceEnabled=True), say.answer(SymmetricAlgorithms=names))
    health = connect(edition=edition).health()
    assert health.ok is ok
    assert health.details["edition"] == edition
    assert ok or "edition = " in health.message


@pytest.mark.parametrize(
    ("reply", "ok", "text"),
    [
        ({"code": "UnauthorizedOperation"}, True, "may not ask"),
        ({"code": "AuthFailure.SignatureFailure"}, False, "signature"),
        ({"enabled": False}, False, "not enabled"),
        ({"enabled": True}, True, "answers"),
    ],
)
def test_the_health_reports_and_does_not_raise(service, kms, say, reply, ok, text):
    """With the endpoint, the region and the source of the credentials."""
    if "code" in reply:
        service.prepare(say.error(reply["code"]))
    else:
        service.prepare(say.answer(ServiceEnabled=reply["enabled"]), say.answer())
    health = kms.health()
    assert health.ok is ok
    assert text in health.message
    assert health.details["endpoint"] == service.url
    assert health.details["region"] == "ap-test"
