"""Parameters of every action, against what the SDK's own models say of them.

Values of all types of JSON, fields that are missing and fields that nobody knows: the answer is a
documented code each time, and nothing is changed.
"""

import inspect
import re
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kmscore_server.actions import ACTIONS
from kmscore_server.api import ApiError

from tests.server.actions.conftest import Parameters, b64

models = import_module("tencentcloud.kms.v20190118.models")
client = import_module("tencentcloud.kms.v20190118.kms_client")

SDK_ACTIONS = sorted(
    name
    for name, _ in inspect.getmembers(client.KmsClient, inspect.isfunction)
    if name[0].isupper()
)
WRONG_TYPES = {
    "str": [7, 1.5, True, [], ["a"], {}, {"a": "b"}],
    "int": ["x", "1.0", "", "٣", 1.5, True, [], {}],
    "list of str": ["text", 7, True, {}, [7], [[]], [{}], [None]],
    "list of Tag": ["text", 7, {}, ["a"], [7], [None], [{"TagKey": 1, "TagValue": "b"}]],
    "list of TagFilter": ["text", 7, {}, ["a"], [{"TagKey": 1}], [{"TagKey": "a", "TagValue": 1}]],
    "list of MemberAccount": ["text", 7, {}, ["a"], [{"MemberUin": "x"}]],
    "list of DeviceFingerprint": ["text", 7, {}, ["a"], [{"Identity": 7}]],
    "MemberAccount": ["text", 7, [], {"MemberUin": "x"}],
}


def fields_of(action):
    """Names and types of a request's fields, as the SDK documents them."""
    document = getattr(models, f"{action}Request").__init__.__doc__ or ""
    prefix = ":class:`tencentcloud.kms.v20190118.models."
    found = re.findall(r":type (\w+): (.*)", document)
    return {name: kind.replace(prefix, "").strip("`").strip() for name, kind in found}


@pytest.fixture
def request_of(server):
    """A request for each action that is right in every field, though perhaps not in its state."""
    key = server.key()
    hosted = {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": "orders"}
    made = server("GenerateDataKey", KeyId=key, **hosted)
    good = {
        "Algorithm": "SM2DSA",
        "Alias": "new",
        "Ciphertext": b64(b"x"),
        "CiphertextBlob": made["CiphertextBlob"],
        "DataKeyId": made["DataKeyId"],
        "DataKeyIds": [made["DataKeyId"]],
        "DataKeyName": "name",
        "Description": "text",
        "EncryptedKeyMaterial": b64(b"x"),
        "ImportKeyMaterial": b64(b"x" * 32),
        "ImportToken": b64(b"x"),
        "ImportType": 2,
        "KeyId": key,
        "KeyIds": [key],
        "KeySpec": "AES_256",
        "Message": b64(b"x"),
        "NumberOfBytes": 8,
        "PendingWindowInDays": 7,
        "PlainText": b64(b"x"),
        "Plaintext": b64(b"x"),
        "ProductId": "cos",
        "ResourceId": "bucket",
        "SignatureValue": b64(b"x"),
        "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
        "WrappingKeySpec": "RSA_2048",
    }
    algorithms = {"AsymmetricRsaDecrypt": "RSAES_PKCS1_V1_5", "CreateWhiteBoxKey": "SM4"}

    def request_of(action):
        parameters = ACTIONS[action].parameters.fields
        request = {name: good[name] for name, field in parameters.items() if field.required}
        if action in algorithms:
            request["Algorithm"] = algorithms[action]
        return request

    return request_of


@pytest.fixture
def unchanged(tmp_path):
    """Whether the files say what they said at the first call."""
    import sqlite3

    def content():
        found = []
        for name in ("state.db", "keystore.db"):
            database = sqlite3.connect(tmp_path / name)
            found.append("\n".join(database.iterdump()))
            database.close()
        return found

    before = content()
    return lambda: content() == before


def test_every_action_of_the_sdk_is_there_and_no_other():
    """69 of them."""
    assert len(SDK_ACTIONS) == 69
    assert sorted(ACTIONS) == SDK_ACTIONS


def test_every_parameter_of_the_sdk_is_there_and_no_other():
    """By name, action by action."""
    for action in SDK_ACTIONS:
        assert set(ACTIONS[action].parameters.fields) == set(fields_of(action)), action


def test_an_action_that_is_none_is_refused(server):
    """By its own code; ApiError is what the half in front expects."""
    for action in ("", "Encrypt ", "encrypt", "FMT", "__class__"):
        with pytest.raises(ApiError) as caught:
            server.raw(action, {})
        assert caught.value.code == "InvalidAction"


def test_a_parameter_that_is_missing_is_named(server, request_of, unchanged):
    """Null is as good as nothing: SDKs send it for what was not set."""
    for action in SDK_ACTIONS:
        request = request_of(action)
        for name in request:
            for less in (
                {other: value for other, value in request.items() if other != name},
                {**request, name: None},
            ):
                with pytest.raises(ApiError, match=f"MissingParameter: {name} "):
                    server.raw(action, less)
    assert unchanged()


def test_a_parameter_that_nobody_knows_is_refused(server, request_of, unchanged):
    """Whatever its value, and also where others are missing."""
    for action in SDK_ACTIONS:
        for name in ("Nobody", "keyid", "", "\ud800", "Line\nbreak"):
            empty: Parameters = {}
            for request in (request_of(action), empty):
                code = server.code(action, **request, **{name: None})
                assert code == "UnknownParameter", action
    assert unchanged()


def test_a_value_of_another_type_is_refused(server, request_of, unchanged):
    """For every field of every action; whole numbers may be written as strings."""
    for action in SDK_ACTIONS:
        for name, kind in fields_of(action).items():
            for value in WRONG_TYPES[kind]:
                code = server.code(action, **{**request_of(action), name: value})
                assert code == "InvalidParameter", (action, name, value)
    assert unchanged()


def test_half_a_character_is_refused(server, request_of, unchanged):
    """JSON can write one; databases and C libraries cannot."""
    for action in SDK_ACTIONS:
        for name, kind in fields_of(action).items():
            if kind == "str":
                code = server.code(action, **{**request_of(action), name: "\ud800"})
                assert code == "InvalidParameter", (action, name)
    assert unchanged()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def garbage(draw):
    """An action, and fields of it with anything in them."""
    action = draw(st.sampled_from(SDK_ACTIONS))
    names = st.sampled_from(sorted(fields_of(action)) or ["Nothing"]) | st.text(max_size=9)
    return action, draw(st.dictionaries(names, JSON, max_size=5))


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(request=garbage())
def test_anything_else_gets_a_documented_answer(server, request):
    """The fixture fails on codes that the action does not document, InternalError among them."""
    action, parameters = request
    with suppress(ApiError):
        server.raw(action, parameters)
