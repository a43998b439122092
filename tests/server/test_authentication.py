"""Signatures: every form in which real clients make them, and every way in which they are wrong."""

import base64
import hashlib
import hmac
import json
from urllib.parse import urlencode

import pytest
from kmscore_server.api import ApiError
from kmscore_server.authentication import Authenticator
from kmscore_server.credentials import Credential
from kmscore_server.message import Head, Request
from kmscore_server.permissions import Permissions, Rule

NOW = 1_795_000_000
BODY = b'{"NumberOfBytes": 8}'
PORT = 8200
SECRET = b"topsecretkey"
EVERYTHING = Permissions([Rule(("*",))])


@pytest.fixture
def authenticate(signed):
    """Authenticates a request of some headers; the client's signer is that of the tests."""
    known = {
        "AKIDtest": Credential("AKIDtest", b"topsecretkey", EVERYTHING),
        "AKIDtemporary": Credential(
            "AKIDtemporary", b"topsecretkey", EVERYTHING, token=b"one-hour", expires=NOW + 10
        ),
    }

    def run(host=f"127.0.0.1:{PORT}", *, sent=None, now=NOW, body=BODY, change=None, **options):
        options.setdefault("timestamp", NOW)
        headers = signed(body, host, **options) | {"Host": sent or host} | (change or {})
        fields = {name.lower(): value for name, value in headers.items() if value is not None}
        method, query = options.get("method", "POST"), options.get("query", "")
        head = Head(method, "/", query, fields, len(body), True)
        sent_body = options.get("sent_body", body)
        return Authenticator(known, lambda: now).authenticate(Request(head, sent_body))

    return run


@pytest.fixture
def refusal(authenticate):
    """The code that a request is refused with."""

    def run(*arguments, **options):
        with pytest.raises(ApiError) as caught:
            authenticate(*arguments, **options)
        return caught.value.code

    return run


@pytest.mark.parametrize(
    ("host", "options"),
    [
        (f"127.0.0.1:{PORT}", {}),
        (f"http://127.0.0.1:{PORT}", {}),
        (f"http://127.0.0.1:{PORT}/", {}),
        (f"http://127.0.0.1:{PORT}/path", {}),
        ("127.0.0.1", {"sent": f"127.0.0.1:{PORT}", "service": "127"}),
        ("localhost", {"sent": f"localhost:{PORT}", "service": f"localhost:{PORT}"}),
        ("[::1]", {"sent": f"[::1]:{PORT}"}),
        ("kms.tencentcloudapi.com", {}),
        ("kms.tencentcloudapi.com", {"sent": "KMS.tencentcloudapi.com"}),
        (f"127.0.0.1:{PORT}", {"signed": "content-type;host;x-tc-action"}),
        (f"127.0.0.1:{PORT}", {"content_type": "application/json; charset=utf-8"}),
        (
            f"127.0.0.1:{PORT}",
            {
                "content_type": "application/json; charset=utf-8",
                "change": {"Content-Type": "application/json; charset=UTF-8"},
            },
        ),
        (
            f"127.0.0.1:{PORT}",
            {"payload": b"UNSIGNED-PAYLOAD", "extra": {"X-TC-Content-SHA256": "UNSIGNED-PAYLOAD"}},
        ),
        (f"127.0.0.1:{PORT}", {"timestamp": NOW - 300}),
        (f"127.0.0.1:{PORT}", {"timestamp": NOW + 300}),
    ],
    ids=[
        *("python", "tccli", "slash", "path", "node", "node-localhost", "ipv6", "cloud"),
        *("upper-case-host", "three-fields", "charset", "charset-lower-cased", "unsigned-payload"),
        *("oldest", "newest"),
    ],
)
def test_a_request_is_let_in_as_its_client_signs_it(authenticate, host, options):
    """As they were recorded on the wire."""
    found = authenticate(host, **options)
    assert found.credential.secret_id == "AKIDtest"
    assert (found.action, found.region) == ("GenerateRandom", "ap-guangzhou")
    assert found.parameters() == {"NumberOfBytes": 8}


def test_a_get_request_signs_its_query_as_it_is_sent(authenticate):
    """Unsorted, with flat names."""
    found = authenticate(
        method="GET",
        query="KeyIds.1=b&KeyIds.0=a&Tags.0.TagKey=%E5%80%BC&Empty=",
        body=b"",
        content_type="application/x-www-form-urlencoded",
    )
    assert found.parameters() == {"KeyIds": ["a", "b"], "Tags": [{"TagKey": "值"}], "Empty": ""}


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("AuthFailure.InvalidAuthorization", {"change": {"Authorization": "SKIP"}}),
        ("AuthFailure.InvalidAuthorization", {"change": {"Authorization": ""}}),
        ("AuthFailure.InvalidAuthorization", {"change": {"Authorization": None}}),
        ("AuthFailure.InvalidAuthorization", {"change": {"Authorization": "Basic QUtJRDp4"}}),
        ("AuthFailure.InvalidAuthorization", {"secret_id": "a b"}),
        ("AuthFailure.InvalidAuthorization", {"signed": "host"}),
        ("AuthFailure.InvalidAuthorization", {"signed": "content-type"}),
        ("AuthFailure.SecretIdNotFound", {"secret_id": "AKIDnobody"}),
        ("MissingParameter", {"change": {"X-TC-Timestamp": None}}),
        ("InvalidParameter", {"change": {"X-TC-Timestamp": "now"}}),
        ("InvalidParameter", {"change": {"X-TC-Timestamp": "-5"}}),
        ("InvalidParameter", {"change": {"X-TC-Timestamp": "9" * 13}}),
        ("AuthFailure.SignatureExpire", {"timestamp": NOW - 301}),
        ("AuthFailure.SignatureExpire", {"timestamp": NOW + 301}),
        ("AuthFailure.SignatureExpire", {"change": {"X-TC-Timestamp": "999999999999"}}),
        ("AuthFailure.SignatureFailure", {"secret": "other"}),
        ("AuthFailure.SignatureFailure", {"change": {"X-TC-Timestamp": str(NOW - 1)}}),
        ("AuthFailure.SignatureFailure", {"date": "2026-01-01"}),
        ("AuthFailure.SignatureFailure", {"sent_body": BODY + b" "}),
        ("AuthFailure.SignatureFailure", {"sent": "elsewhere:8200"}),
        ("AuthFailure.SignatureFailure", {"change": {"Content-Type": "text/plain"}}),
        ("AuthFailure.SignatureFailure", {"payload": b"UNSIGNED-PAYLOAD"}),
        (
            "AuthFailure.SignatureFailure",
            {
                "signed": "content-type;host;x-tc-action",
                "change": {"X-TC-Action": "DescribeKey"},
            },
        ),
        ("AuthFailure.TokenFailure", {"change": {"X-TC-Token": "surplus"}}),
        ("AuthFailure.TokenFailure", {"secret_id": "AKIDtemporary"}),
        (
            "AuthFailure.TokenFailure",
            {"secret_id": "AKIDtemporary", "change": {"X-TC-Token": "one-hou"}},
        ),
        (
            "AuthFailure.TokenFailure",
            {"secret_id": "AKIDtemporary", "change": {"X-TC-Token": "one-hour"}, "now": NOW + 10},
        ),
        ("InvalidRequest", {"content_type": "multipart/form-data; boundary=x"}),
        ("InvalidRequest", {"content_type": "text/plain"}),
    ],
)
def test_what_is_wrong_is_told_by_its_code(refusal, code, options):
    """Each of them with one thing wrong."""
    assert refusal(**options) == code


def test_the_first_thing_that_is_wrong_is_told(refusal):
    """Form, secret id, time, signature, token: in this order."""
    wrong: dict[str, object] = {"change": {"X-TC-Token": "surplus"}}
    assert refusal(**wrong) == "AuthFailure.TokenFailure"
    wrong["secret"] = "other"
    assert refusal(**wrong) == "AuthFailure.SignatureFailure"
    wrong["timestamp"] = NOW - 999
    assert refusal(**wrong) == "AuthFailure.SignatureExpire"
    wrong["secret_id"] = "AKIDnobody"
    assert refusal(**wrong) == "AuthFailure.SecretIdNotFound"
    wrong["change"] = {"Authorization": "SKIP", "X-TC-Token": "surplus"}
    assert refusal(**wrong) == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize("place", range(64))
def test_no_digit_of_a_signature_may_differ(refusal, signed, place):
    """One hex digit more or less."""
    right = signed(BODY, f"127.0.0.1:{PORT}", timestamp=NOW)["Authorization"]
    at = len(right) - 64 + place
    wrong = right[:at] + ("0" if right[at] != "0" else "1") + right[at + 1 :]
    assert refusal(change={"Authorization": wrong}) == "AuthFailure.SignatureFailure"


def test_a_request_may_be_repeated_within_its_time(authenticate):
    """TC3 has no nonce: the same request is legal again until it expires."""
    assert authenticate(now=NOW).action == authenticate(now=NOW + 299).action


def test_no_refusal_repeats_a_secret(authenticate):
    """Neither the secret key nor the token."""
    for options in ({"secret": "other"}, {"change": {"X-TC-Token": "sensitive"}}):
        with pytest.raises(ApiError) as caught:
            authenticate(**options)
        assert "topsecretkey" not in str(caught.value)
        assert "sensitive" not in str(caught.value)


# --- Version 1 -------------------------------------------------------------------------------


def form(parameters, *, method="POST", host="127.0.0.1:8200", digest="sha1"):
    """A request of version 1, signed by its public description."""
    plain = {
        "Action": "GenerateRandom",
        "Version": "2019-01-18",
        "Region": "ap-guangzhou",
        "Timestamp": str(NOW),
        "Nonce": "9223372036854775807",
        "SecretId": "AKIDtest",
        "SignatureMethod": f"Hmac{digest.upper()}",
    } | parameters
    text = "&".join(f"{name.replace('_', '.')}={plain[name]}" for name in sorted(plain))
    mac = hmac.new(SECRET, f"{method}{host}/?{text}".encode(), getattr(hashlib, digest))
    return plain | {"Signature": base64.b64encode(mac.digest()).decode()}


@pytest.fixture
def submit():
    """Authenticates a form or a query."""
    known = {"AKIDtest": Credential("AKIDtest", b"topsecretkey", EVERYTHING)}

    def run(parameters, *, method="POST", host="127.0.0.1:8200", now=NOW):
        text = urlencode(parameters)
        fields = {"host": host, "content-type": "application/x-www-form-urlencoded"}
        query, body = ("", text.encode()) if method == "POST" else (text, b"")
        request = Request(Head(method, "/", query, fields, len(body), True), body)
        return Authenticator(known, lambda: now).authenticate(request)

    return run


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_version_1_is_let_in(submit, method, digest):
    """Both digests, as a form and as a query; values are signed as they are, not encoded."""
    parameters = {"Alias": "钥匙 a=b&c", "Tags.0.TagKey": "k", "Snake_Name": "v"}
    found = submit(form(parameters, method=method, digest=digest), method=method)
    assert (found.action, found.credential.secret_id) == ("GenerateRandom", "AKIDtest")
    assert found.parameters() == {
        "Alias": "钥匙 a=b&c",
        "Tags": [{"TagKey": "k"}],
        "Snake_Name": "v",
    }


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("AuthFailure.SignatureFailure", {"Alias": "other"}),
        ("AuthFailure.SignatureFailure", {"SignatureMethod": "HmacMD5"}),
        ("AuthFailure.SignatureFailure", {"Signature": "Ä"}),
        ("AuthFailure.SecretIdNotFound", {"SecretId": "AKIDnobody"}),
        ("AuthFailure.SignatureExpire", {"Timestamp": str(NOW - 301)}),
        ("MissingParameter", {"Timestamp": ""}),
        ("InvalidParameter", {"Timestamp": "soon"}),
    ],
)
def test_version_1_is_refused_by_the_same_codes(submit, code, change):
    """What is signed is changed afterwards."""
    with pytest.raises(ApiError) as caught:
        submit(form({"Alias": "a"}) | change)
    assert caught.value.code == code


def test_a_form_without_a_signature_is_not_signed(submit):
    """Nor is one that does not say whose it is."""
    for missing in ("Signature", "SecretId"):
        parameters = form({})
        del parameters[missing]
        with pytest.raises(ApiError) as caught:
            submit(parameters)
        assert caught.value.code == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize(
    "flat",
    [
        {"A": "1", "A.0": "2"},
        {"A.0": "1", "A.0.B": "2"},
        {".".join("abcdefghijk"): "1"},
    ],
)
def test_flat_names_that_contradict_each_other_are_refused(submit, flat):
    """They describe no value."""
    with pytest.raises(ApiError) as caught:
        submit(form(flat)).parameters()
    assert caught.value.code == "InvalidParameter"


def test_a_large_index_takes_no_memory(submit):
    """A list is as long as it has items."""
    found = submit(form({"KeyIds.999999": "b", "KeyIds.5": "a"}))
    assert found.parameters() == {"KeyIds": ["a", "b"]}


# --- Bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"KeyId": "a", "KeyId": "b"}',
        b'{"Tags": [{"TagKey": "a", "TagKey": "b"}]}',
    ],
    ids=range(14),
)
def test_a_body_that_is_no_json_object_is_refused(authenticate, body):
    """Not by a traceback, and not by a full stack."""
    with pytest.raises(ApiError) as caught:
        authenticate(body=body).parameters()
    assert caught.value.code == "InvalidParameter"


def test_an_empty_body_has_no_parameters(authenticate):
    """Actions without parameters may come without any."""
    assert authenticate(body=b"").parameters() == {}
    assert authenticate(body=json.dumps({"a": "钥"}).encode()).parameters() == {"a": "钥"}
