"""What goes wrong on the way: each fault has its error, and no request is ever sent twice."""

import json
import logging
import os
import socket
import ssl
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kmscore.errors import ConfigError, InternalError, Throttled, Timeout, Unavailable


def test_connections_are_kept_and_used_again(service, kms, say):
    """Twenty calls in a row need one connection."""
    service.always(lambda _: say.answer(Plaintext="AAAA"))
    for _ in range(20):
        assert kms.generate_random(3) == bytes(3)
    assert service.connections == 1


def test_eight_threads_share_a_provider_without_loss(service, kms, say):
    """Every thread gets its own answers, over at most as many connections as there are threads."""
    service.always(lambda r: say.answer(CiphertextBlob=r.fields["Plaintext"], KeyId=say.KEY_ID))
    service.prepare(say.answer(KeyMetadata=say.metadata()))
    key = kms.key(say.KEY_ID)
    wrong = []

    def work(number):
        for turn in range(40):
            text = f"{number} {turn}".encode()
            if key.encrypt(text) != b64encode(text):
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(service.requests) == 1 + 8 * 40
    assert service.connections <= 8


def test_a_dropped_request_is_a_timeout_and_was_sent_once(service, kms, say):
    """On a connection that worked before: nothing below the core sends it again."""
    service.prepare(say.answer(Plaintext="AAAA"), say.DROP)
    kms.generate_random(3)
    with pytest.raises(Timeout) as failure:
        kms.generate_random(3)
    assert failure.value.operation == "generate_random"
    assert len(service.requests) == 2
    assert service.requests[0].connection == service.requests[1].connection


def test_a_connection_that_the_service_closed_meanwhile_is_replaced(service, kms, say):
    """An idle connection ends without anybody noticing; the next call opens another."""
    closing = say.answer(Plaintext="AAAA")._replace(then_close=True)
    service.prepare(closing, say.answer(Plaintext="AAAA"))
    kms.generate_random(3)
    assert service.has_ended(1)
    kms.generate_random(3)
    assert [request.connection for request in service.requests] == [1, 2]


@pytest.mark.parametrize("fault", ["DROP", "STALL", "RequestLimitExceeded", "InternalError"])
def test_a_key_is_never_made_twice(connect, service, say, fault):
    """Whatever happens, one request to create a key is all that leaves the process."""
    kms = connect(retry={"max_attempts": 6}, timeout=0.2)
    service.prepare(getattr(say, fault) if fault.isupper() else say.error(fault))
    with pytest.raises((Timeout, Throttled, Unavailable)):
        kms.create_key("AES_256", alias="once")
    assert service.actions == ["CreateKey"]


def test_a_key_is_never_rotated_twice(connect, service, say):
    """The same for a rotation."""
    kms = connect(retry={"max_attempts": 6})
    service.prepare(say.answer(KeyMetadata=say.metadata()), say.DROP)
    with pytest.raises(Timeout):
        kms.key(say.KEY_ID).rotate()
    assert service.actions == ["DescribeKey", "RotateKey"]


def test_what_may_be_repeated_is_repeated_by_the_core(connect, service, say):
    """Throttled, dropped, an error of the service and of a gateway: then it succeeds."""
    waits: list[float] = []
    kms = connect(retry={"max_attempts": 6}, waits=waits)
    service.prepare(
        say.error("RequestLimitExceeded"),
        say.DROP,
        say.error("InternalError"),
        say.Reply(b"Bad gateway", status="502 Bad Gateway", content_type="text/plain"),
        say.answer(Plaintext="AAAA"),
    )
    assert kms.generate_random(3) == bytes(3)
    assert len(waits) == 4
    assert service.actions == ["GenerateRandom"] * 5


def test_a_slow_answer_is_a_timeout(connect, service, say):
    """After the configured seconds."""
    service.prepare(say.STALL)
    with pytest.raises(Timeout, match="no answer in time"):
        connect(timeout=0.2).generate_random(3)


def test_an_answer_that_breaks_off_is_a_timeout(service, kms, say):
    """The service has carried it out, so nobody may say that it was not."""
    whole = say.answer(Plaintext="AAAA").wire()
    service.prepare(say.Raw(whole[:-10]))
    with pytest.raises(Timeout, match="broke off"):
        kms.generate_random(3)


def test_a_port_where_nobody_listens_is_unavailable(connect):
    """Nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached"):
        connect(endpoint=f"http://127.0.0.1:{port}").generate_random(3)


def test_the_audit_trail_has_the_request_id_of_the_service(service, connect, say, tmp_path):
    """Of what succeeded too: an event here is found again in the trail there."""
    kms = connect(audit=tmp_path / "audit.jsonl")
    service.prepare(say.answer(Plaintext="AAAA"), say.error("RequestLimitExceeded"))
    kms.generate_random(3)
    with pytest.raises(Throttled):
        kms.generate_random(3)
    events = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()[1:]]
    assert [event["request_id"] for event in events] == [say.REQUEST_ID] * 2


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "text/plain", "text/html", None]
)
def test_an_error_is_seen_whatever_its_content_type(service, kms, say, content_type):
    """The SDK overlooks errors in answers with another type than it expects."""
    service.prepare(say.error("RequestLimitExceeded", content_type=content_type))
    with pytest.raises(Throttled) as failure:
        kms.generate_random(3)
    assert failure.value.code == "RequestLimitExceeded"
    assert failure.value.request_id == say.REQUEST_ID


@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[]", b"null", b"{}", b'{"Response": null}', b'{"Response": []}'),
        *(b'{"Response": {"Error": null}}', b'{"Response": {"Error": "x"}}', b"\xff\xfe"),
        b"[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_read_is_told_as_such(service, kms, say, body, content_type):
    """Another service, a captive portal, a broken gateway."""
    service.prepare(say.Reply(body, content_type=content_type))
    with pytest.raises((Unavailable, InternalError)) as failure:
        kms.generate_random(3)
    assert "please report it" not in str(failure.value)


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Busy", "404 Not Found"])
def test_another_status_than_200_is_unavailable_and_named(service, kms, say, status):
    """The service answers errors with 200 too: others come from what stands in between."""
    service.prepare(say.Reply(b"{}", status=status))
    with pytest.raises(Unavailable) as failure:
        kms.generate_random(3)
    assert failure.value.code == f"HTTP {status[:3]}"


def test_a_gateway_that_asks_to_wait_is_heard(service, kms, say):
    """Status 429, with seconds."""
    service.prepare(say.Reply(b"", status="429 Slow down", headers=("Retry-After: 7",)))
    with pytest.raises(Throttled) as failure:
        kms.generate_random(3)
    assert failure.value.retry_after == 7


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(service, kms, start, say, status):
    """Else a plaintext or a token would travel to whoever is named in one."""
    elsewhere = start()
    service.prepare(say.Reply(b"", status=status, headers=(f"Location: http://{elsewhere.host}/",)))
    with pytest.raises(Unavailable):
        kms.generate_random(3)
    assert elsewhere.connections == 0
    assert len(service.requests) == 1


def test_proxies_of_the_environment_get_nothing(service, connect, start, monkeypatch, say):
    """Neither the SDK's rules nor those of the HTTP library apply."""
    thief = start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, thief.url)
    service.prepare(say.answer(Plaintext="AAAA"))
    connect().generate_random(3)
    assert thief.connections == 0


def test_the_configured_proxy_is_used(connect, start, say):
    """It gets the request, with the service's address in it."""
    proxy = start()
    proxy.prepare(say.answer(Plaintext="AAAA"))
    assert connect(proxy=proxy.url).generate_random(3) == bytes(3)
    assert proxy.actions == ["GenerateRandom"]


def test_a_proxy_that_is_not_there_is_unavailable(connect):
    """Nothing was sent, to whomever."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached"):
        connect(endpoint="127.0.0.1:1", proxy=f"http://127.0.0.1:{port}").generate_random(3)


def test_a_netrc_file_changes_no_request(service, connect, home, say):
    """The HTTP library would put its password where the signature is."""
    (home / ".netrc").write_text("machine 127.0.0.1 login thief password thief\n")
    service.prepare(say.answer(Plaintext="AAAA"))
    connect().generate_random(3)
    assert service.requests[0].headers["authorization"].startswith("TC3-HMAC-SHA256 ")


def test_a_child_process_opens_connections_of_its_own(service, connect, say):
    """Sharing one, parent and child could read each other's answers."""
    service.always(lambda _: say.answer(Plaintext="AAAA"))
    kms = connect()
    kms.generate_random(3)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, kms.generate_random(3))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        assert said.read() == bytes(3)
    kms.generate_random(3)
    assert [request.connection for request in service.requests] == [1, 2, 1]


def test_closing_ends_the_connections(service, connect, say):
    """Also when it is done twice."""
    service.prepare(say.answer(Plaintext="AAAA"))
    kms = connect()
    kms.generate_random(3)
    kms.close()
    kms.close()
    assert service.has_ended(1)


def test_a_connection_in_use_is_closed_afterwards(service, connect, say):
    """A provider that is closed meanwhile keeps nothing open."""
    kms = connect()

    def reply(_):
        kms.close()
        return say.answer(Plaintext="AAAA")

    service.always(reply)
    kms.generate_random(3)
    assert service.has_ended(1)


def test_nothing_of_a_request_is_logged(service, connect, caplog, say):
    """Though the SDK would log all of it at level DEBUG."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="tencentcloud_sdk_common")
    granted = {"TmpSecretId": "AKIDrole", "TmpSecretKey": "k", "Token": "rolenotatoken"}
    service.prepare(
        say.answer(Credentials=granted, ExpiredTime=99999999999),
        say.answer(KeyMetadata=say.metadata()),
        say.answer(CiphertextBlob="x", KeyId="k"),
    )
    role = {"role_arn": "a-role"}
    kms = connect(credentials=temporary(say), assume_role=role, sts_endpoint=service.url)
    kms.key(say.KEY_ID).encrypt(b"a plaintext that nobody may see")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    for secret in (say.SECRET_ID, say.SECRET_KEY, say.TOKEN, "YSBwbGFpbnRleHQ", "AKIDrole"):
        assert secret not in logged
    assert "rolenotatoken" not in logged


def temporary(say):
    """References to temporary credentials."""
    values = {"secret_id": say.SECRET_ID, "secret_key": say.SECRET_KEY, "token": say.TOKEN}
    return {name: lambda value=value: value.encode() for name, value in values.items()}


def test_other_users_of_the_sdk_keep_their_log(caplog):
    """Only calls of the provider are silent."""
    caplog.set_level(logging.DEBUG, logger="tencentcloud_sdk_common")
    logging.getLogger("tencentcloud_sdk_common").debug("somebody else's")
    assert "somebody else's" in caplog.text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 by an authority of its own: its file, and a server context."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    file, key_file = folder / "ca.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return file, context


def test_a_private_authority_is_trusted_when_named(connect, start, certificate, say):
    """And the connection is TLS."""
    file, context = certificate
    secure = start(context)
    secure.prepare(say.answer(Plaintext="AAAA"))
    assert connect(endpoint=secure.host, ca_file=str(file)).generate_random(3) == bytes(3)


def test_an_unknown_authority_is_refused_before_anything_is_sent(connect, start, certificate):
    """Whatever the environment says of authorities."""
    secure = start(certificate[1])
    with pytest.raises(Unavailable, match="not trusted"):
        connect(endpoint=secure.host).generate_random(3)
    assert secure.requests == []


def test_an_authority_of_the_environment_is_not_trusted(connect, start, certificate, monkeypatch):
    """Only the configuration says who is."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(certificate[0]))
    secure = start(certificate[1])
    with pytest.raises(Unavailable, match="not trusted"):
        connect(endpoint=secure.host).generate_random(3)


def test_speaking_tls_to_who_does_not_is_an_error(connect, service):
    """The usual scheme is https."""
    with pytest.raises(Timeout, match="TLS"):
        connect(endpoint=service.host).generate_random(3)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("http://kms.tencentcloudapi.com", "http://10.0.0.1", "http://127.0.0.1.example.com"),
        *("http://localhost.example.com", "http://[2001:db8::1]:80", "http://169.254.0.23"),
    ],
)
def test_a_network_is_never_spoken_to_in_clear(connect, endpoint):
    """Plain HTTP is for this machine alone."""
    with pytest.raises(ConfigError, match="without TLS"):
        connect(endpoint=endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("", "https://", "ftp://host", "host/path", "https://host?x", "a b", "host:99999"),
        *("host:x", "https://user:secret@host", "[::1", "h\xf6st", "host\n", "https://host#x"),
    ],
)
@pytest.mark.parametrize("option", ["endpoint", "sts_endpoint"])
def test_what_is_no_host_is_refused(connect, option, endpoint):
    """And a password in it is not repeated."""
    with pytest.raises(ConfigError) as failure:
        connect(**{option: endpoint})
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("endpoint", ["http://localhost:1", "http://127.9.9.9:1", "http://[::1]:1"])
def test_this_machine_may_be_spoken_to_in_clear(connect, endpoint):
    """By any of its names."""
    assert connect(endpoint=endpoint).capabilities.notes["endpoint"] == endpoint


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"timeout": float("inf")}),
        *({"region": "a b"}, {"region": "ap\nX: y"}, {"region": ""}, {"region": "AP-1"}),
        *({"ca_file": "missing.pem"}, {"proxy": "no url"}, {"edition": "GM"}),
    ],
)
def test_options_that_cannot_be_used_are_refused_at_once(connect, options):
    """Not at the first call."""
    with pytest.raises(ConfigError):
        connect(**options)


def test_a_password_of_a_proxy_is_a_secret(connect, start, say):
    """It is refused in the configuration itself, and taken by reference."""
    with pytest.raises(ConfigError, match="password") as failure:
        connect(proxy="http://me:hunter2@127.0.0.1:1")
    assert "hunter2" not in str(failure.value)
    proxy = start()
    proxy.prepare(say.answer(Plaintext="AAAA"))
    kms = connect(proxy=lambda: f"http://me:hunter2@{proxy.host}".encode())
    assert kms.generate_random(3) == bytes(3)
    assert "proxy-authorization" in proxy.requests[0].headers
