"""Where credentials come from, that the right ones win, and that they are renewed in time."""

import contextlib
import json
import os
import signal
import socket
import threading
import traceback

import pytest
from kmscore_tencent import _metadata

from kmscore.errors import AuthenticationFailed, ConfigError, Unavailable

NOON = 1_700_000_000.0
PATH = "/latest/meta-data/cam/security-credentials/"


class Clock:
    """Stands still until it is set."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """The time that the provider sees."""
    return Clock()


@pytest.fixture
def used(service, say):
    """Makes a call; says which secret id signed it, and which token came along."""

    def used(kms):
        service.prepare(say.answer(Plaintext="AAAA"))
        kms.generate_random(3)
        headers = service.requests[-1].headers
        signer = headers["authorization"].partition("Credential=")[2].partition("/")[0]
        return signer, headers.get("x-tc-token")

    return used


@pytest.fixture
def profile(home):
    """Writes ~/.tencentcloud/credentials."""

    def profile(text, mode=0o600):
        file = home / ".tencentcloud" / "credentials"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    return profile


def source(service, kms, say):
    """What `kmscore doctor` says of the credentials."""
    service.prepare(say.answer(ServiceEnabled=True), say.answer())
    return kms.health().details["credentials"]


def test_references_of_the_configuration(connect, service, used, say):
    """Named explicitly, the environment does not matter."""
    table = {"secret_id": lambda: b"AKIDref", "secret_key": lambda: b"k", "token": lambda: b"t"}
    kms = connect(credentials=table)
    assert used(kms) == ("AKIDref", "t")
    assert source(service, kms, say) == "configuration (code)"


def test_explicit_references_beat_the_environment(connect, used, monkeypatch, say):
    """And no token of the environment slips in."""
    monkeypatch.setenv("TENCENTCLOUD_SECRET_ID", "AKIDenv")
    monkeypatch.setenv("TENCENTCLOUD_SECRET_KEY", "k")
    monkeypatch.setenv("TENCENTCLOUD_TOKEN", "t")
    assert used(connect()) == (say.SECRET_ID, None)


def test_the_environment_is_not_read_unless_named(connect, monkeypatch):
    """`credentials` must be there; "auto" is written, not assumed."""
    monkeypatch.setenv("TENCENTCLOUD_SECRET_ID", "AKIDenv")
    import kmscore

    table = {"type": "tencent", "region": "ap-test"}
    with pytest.raises(ConfigError, match="credentials"):
        kmscore.connect(config={"providers": {"cloud": table}})


@pytest.mark.parametrize("name", ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"])
@pytest.mark.parametrize("named", ["env", "auto"])
def test_the_environment(connect, service, used, monkeypatch, say, name, named):
    """With a session token under either of its names."""
    monkeypatch.setenv("TENCENTCLOUD_SECRET_ID", "AKIDenv")
    monkeypatch.setenv("TENCENTCLOUD_SECRET_KEY", "k")
    monkeypatch.setenv(name, "session")
    kms = connect(credentials=named)
    assert used(kms) == ("AKIDenv", "session")
    assert "TENCENTCLOUD_SECRET_ID" in source(service, kms, say)


def test_two_different_tokens_in_the_environment_are_an_error(connect, monkeypatch):
    """Nobody guesses which is meant."""
    for name, value in (("SECRET_ID", "a"), ("SECRET_KEY", "b"), ("TOKEN", "c")):
        monkeypatch.setenv(f"TENCENTCLOUD_{name}", value)
    monkeypatch.setenv("TENCENTCLOUD_SECURITY_TOKEN", "d")
    with pytest.raises(ConfigError, match="differ"):
        connect(credentials="env")


@pytest.mark.parametrize(
    ("there", "missing"), [("SECRET_ID", "SECRET_KEY"), ("SECRET_KEY", "SECRET_ID")]
)
def test_half_of_the_environment_is_an_error(connect, monkeypatch, there, missing):
    """It is not passed over for the next source, and the variable that is missing is named."""
    monkeypatch.setenv(f"TENCENTCLOUD_{there}", "AKIDenv")
    with pytest.raises(ConfigError, match=f"TENCENTCLOUD_{missing} is not set") as failure:
        connect(credentials="auto")
    assert "AKIDenv" not in str(failure.value)


def test_a_profile(connect, service, used, profile, say):
    """The default one, or one by name; with a token where there is one."""
    file = profile(
        "[default]\nsecret_id = AKIDdefault\nsecret_key = k\n"
        "[ops]\nsecret_id = AKIDops\nsecret_key = %k%\ntoken = t\n"
    )
    assert used(connect(credentials="auto")) == ("AKIDdefault", None)
    assert used(connect(credentials="profile")) == ("AKIDdefault", None)
    kms = connect(credentials="profile:ops")
    assert used(kms) == ("AKIDops", "t")
    assert source(service, kms, say) == f"profile 'ops' in {file}"


def test_a_profile_that_others_may_read_is_refused(connect, profile):
    """As every file that holds a secret."""
    profile("[default]\nsecret_id = a\nsecret_key = b\n", mode=0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        connect(credentials="auto")


@pytest.mark.parametrize(
    "text", ["[ops]\nsecret_id = a\n", "[default]\nsecret_id = hunter2\n", "hunter2", "\x00"]
)
def test_a_profile_that_is_incomplete_is_told_without_its_content(connect, profile, text):
    """In the error, and in the traceback that --debug shows."""
    profile(text)
    with pytest.raises(ConfigError) as failure:
        connect(credentials="profile")
    assert "hunter2" not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        ("env", "TENCENTCLOUD_SECRET_ID"),
        ("profile", "credentials"),
        ("tke-oidc", "TKE"),
        ("AKIDsecret", "names no source"),
        ("auto:x", "names no source"),
    ],
)
def test_a_source_that_has_none_is_told(connect, credentials, text):
    """And what is no source is not repeated: it may be a secret."""
    with pytest.raises(ConfigError, match=text) as failure:
        connect(credentials=credentials)
    assert "AKIDsecret" not in str(failure.value)


@pytest.mark.parametrize(
    "value", [b"", b"a b", b"a\nb", b"a\r\nX-Evil: 1", b"\xff", "ключ".encode(), b"a\x00"]
)
@pytest.mark.parametrize("name", ["secret_id", "secret_key", "token"])
def test_what_is_no_credential_is_refused_unseen(connect, name, value):
    """Before it gets into a header, or into the error of a library."""
    table = {"secret_id": lambda: b"a", "secret_key": lambda: b"b", name: lambda: value}
    with pytest.raises(ConfigError) as failure:
        connect(credentials=table)
    assert "Evil" not in "".join(traceback.format_exception(failure.value))


@pytest.fixture
def machine(start, say):
    """A metadata service that hands out credentials 1, 2, 3 … which end at the times given."""

    def machine(*ends, role="worker"):
        left = list(ends)

        def reply(request):
            if request.target == PATH:
                return say.Reply(role.encode(), content_type="text/plain")
            assert request.target == PATH + role
            if not left:
                return say.Reply(b"", status="500 Oops")
            number = len(ends) - len(left) + 1
            content = {
                "TmpSecretId": f"AKID{number}",
                "TmpSecretKey": "k",
                "Token": f"token{number}",
                "ExpiredTime": left.pop(0),
                "Code": "Success",
            }
            return say.Reply(json.dumps(content).encode())

        service = start()
        service.always(reply)
        return service

    return machine


def test_the_role_of_the_machine(connect, service, say, used, clock, machine):
    """Found by itself as the last source."""
    kms = connect(credentials="auto", metadata_endpoint=machine(NOON + 7200).url, clock=clock)
    assert used(kms) == ("AKID1", "token1")
    assert source(service, kms, say) == "role of this machine"


def test_a_role_of_the_machine_by_name(connect, used, clock, machine):
    """It is not asked for then."""
    metadata = machine(NOON + 7200, role="other")
    kms = connect(credentials="cvm-role:other", metadata_endpoint=metadata.url, clock=clock)
    assert used(kms) == ("AKID1", "token1")
    assert [request.target for request in metadata.requests] == [PATH + "other"]


def test_temporary_credentials_are_renewed_before_they_end(connect, used, clock, machine):
    """Five minutes before, and after nine tenths of a life shorter than that."""
    metadata = machine(NOON + 7200, NOON + 7300, NOON + 99999)
    kms = connect(credentials="cvm-role", metadata_endpoint=metadata.url, clock=clock)
    for moment, number in ((0, 1), (6899, 1), (6901, 2), (7200, 2), (7261, 3)):
        clock.now = NOON + moment
        assert used(kms) == (f"AKID{number}", f"token{number}")


def test_while_renewal_fails_the_old_credentials_serve_until_their_end(
    connect, used, clock, machine
):
    """The source is not asked at every call meanwhile."""
    metadata = machine(NOON + 7200)
    kms = connect(credentials="cvm-role", metadata_endpoint=metadata.url, clock=clock)
    used(kms)
    clock.now = NOON + 7000
    for _ in range(3):
        assert used(kms)[0] == "AKID1"
    assert len(metadata.requests) == 4
    clock.now = NOON + 7200
    with pytest.raises(Unavailable, match="metadata"):
        kms.generate_random(3)


def test_one_thread_renews_while_the_others_go_on(connect, used, clock, start, say):
    """Nobody waits for new credentials as long as the old ones live."""
    metadata, asked, go_on = start(), threading.Event(), threading.Event()
    numbers = iter("12")

    def reply(_):
        number = next(numbers)
        if number == "2":
            asked.set()
            go_on.wait(10)
        content = {"TmpSecretId": f"AKID{number}", "TmpSecretKey": "k", "Token": "t"}
        content |= {"ExpiredTime": clock.now + 7200, "Code": "Success"}
        return say.Reply(json.dumps(content).encode())

    metadata.always(reply)
    kms = connect(credentials="cvm-role:worker", metadata_endpoint=metadata.url, clock=clock)
    assert used(kms)[0] == "AKID1"
    clock.now += 7000
    renewing = threading.Thread(target=kms.provider._credentials.get_credential_info)
    renewing.start()
    assert asked.wait(10)
    assert used(kms)[0] == "AKID1"
    go_on.set()
    renewing.join()
    assert used(kms)[0] == "AKID2"


def test_a_child_does_not_wait_for_a_thread_of_its_parent(connect, used, clock, machine):
    """A renewal that is under way during a fork goes on in the parent alone."""
    metadata = machine(NOON + 7200, NOON + 14400)
    kms = connect(credentials="cvm-role", metadata_endpoint=metadata.url, clock=clock)
    used(kms)
    clock.now = NOON + 7200
    read, write = os.pipe()
    with kms.provider._credentials._lock:
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(20)
                os.write(write, kms.provider._credentials.get_credential_info()[0].encode())
            finally:
                os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        assert said.read() == b"AKID2"


def test_threads_that_begin_together_fetch_once(connect, clock, start, say):
    """The first credentials are asked for by one of them, and used by all."""
    metadata, both = start(), threading.Barrier(2)
    metadata.prepare(
        say.Reply(
            json.dumps(
                {"TmpSecretId": "AKID1", "TmpSecretKey": "k", "Token": "t", "Code": "Success"}
                | {"ExpiredTime": clock.now + 7200}
            ).encode()
        )
    )
    kms = connect(credentials="cvm-role:worker", metadata_endpoint=metadata.url, clock=clock)
    got = []

    def ask():
        both.wait(10)
        got.append(kms.provider._credentials.get_credential_info().secret_id)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["AKID1", "AKID1"]
    assert len(metadata.requests) == 1


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "302 Found"])
def test_a_machine_without_a_role_is_told(connect, service, say, status):
    """With all that was tried."""
    service.always(lambda _: say.Reply(b"", status=status))
    with pytest.raises(ConfigError) as failure:
        connect(credentials="auto", metadata_endpoint=service.url)
    for place in ("TENCENTCLOUD_SECRET_ID", "~/.tencentcloud/credentials", "TKE"):
        assert place in str(failure.value)


def test_a_machine_without_metadata_is_told_soon(connect, service, say, monkeypatch):
    """The waiting is bounded, whatever the timeout for the service is."""
    monkeypatch.setattr(_metadata, "METADATA_TIMEOUT", 0.2)
    service.always(lambda _: say.STALL)
    with pytest.raises(ConfigError, match="does not answer"):
        connect(credentials="auto", metadata_endpoint=service.url)


def test_a_machine_that_answers_byte_by_byte_is_not_waited_for(connect, monkeypatch):
    """The bound is on the whole answer, not on each piece of it."""
    monkeypatch.setattr(_metadata, "METADATA_TIMEOUT", 0.2)
    told = threading.Event()

    def trickle(listening):
        connection, _ = listening.accept()
        with connection, contextlib.suppress(ConnectionError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nworker":
                connection.send(bytes([byte]))
                if told.wait(0.05):
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        machine = threading.Thread(target=trickle, args=(listening,))
        machine.start()
        with pytest.raises(ConfigError, match="does not answer"):
            connect(
                credentials="auto",
                metadata_endpoint=f"http://127.0.0.1:{listening.getsockname()[1]}",
            )
        assert machine.is_alive()
        told.set()
        machine.join()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"Code": "Success"}', b'{"Code": "Failed"}', b"\xff"]
)
def test_answers_of_the_metadata_service_that_cannot_be_used(connect, service, say, body):
    """They are told as such, and are no crash."""
    service.prepare(say.Reply(b"worker"), say.Reply(body))
    kms = connect(credentials="cvm-role", metadata_endpoint=service.url)
    with pytest.raises((Unavailable, AuthenticationFailed)):
        kms.generate_random(3)


def test_a_role_name_leads_nowhere_else(connect, service, say):
    """What is no role's name is not asked for."""
    service.prepare(say.Reply(b"../../../user-data"))
    kms = connect(credentials="cvm-role", metadata_endpoint=service.url)
    with pytest.raises(AuthenticationFailed, match="no role"):
        kms.generate_random(3)
    assert len(service.requests) == 1


def test_a_role_is_assumed_with_the_credentials(connect, service, say, used, clock):
    """Action AssumeRole, and again before the end."""
    granted = [
        say.answer(
            Credentials={"TmpSecretId": f"AKID{n}", "TmpSecretKey": "k", "Token": f"t{n}"},
            ExpiredTime=NOON + n * 7200,
        )
        for n in (1, 2)
    ]
    service.always(
        lambda r: granted.pop(0) if r.action == "AssumeRole" else say.answer(Plaintext="AAAA")
    )
    role = {"role_arn": "qcs::cam::uin/1:roleName/kms", "external_id": "e"}
    kms = connect(assume_role=role, sts_endpoint=service.url, clock=clock)
    for number, moment in ((1, NOON), (1, NOON + 6000), (2, NOON + 7000)):
        clock.now = moment
        kms.generate_random(3)
        assert service.requests[-1].headers["x-tc-token"] == f"t{number}"
    asked = service.requests[0]
    assert asked.headers["x-tc-version"] == "2018-08-13"
    assert f"Credential={say.SECRET_ID}/" in asked.headers["authorization"]
    assert asked.fields == {
        "RoleArn": "qcs::cam::uin/1:roleName/kms",
        "RoleSessionName": "kmscore",
        "DurationSeconds": 7200,
        "ExternalId": "e",
    }
    assert service.actions.count("AssumeRole") == 2


def test_a_role_that_may_not_be_assumed_is_told_with_its_code(connect, service, say):
    """It is a matter of credentials, not of the request that needed them."""
    service.prepare(say.error("InvalidParameter.RoleNotExist"))
    kms = connect(assume_role={"role_arn": "none"}, sts_endpoint=service.url)
    with pytest.raises(AuthenticationFailed) as failure:
        kms.generate_random(3)
    assert failure.value.code == "InvalidParameter.RoleNotExist"
    assert failure.value.request_id == say.REQUEST_ID
    assert service.actions == ["AssumeRole"]


def test_a_token_service_that_cannot_be_read(connect, service, say):
    """An answer without credentials."""
    service.prepare(say.answer(Credentials=None))
    kms = connect(assume_role={"role_arn": "none"}, sts_endpoint=service.url)
    with pytest.raises(Unavailable, match="token service"):
        kms.generate_random(3)


@pytest.fixture
def pod(monkeypatch, tmp_path):
    """The environment of a TKE pod; its identity file."""
    file = tmp_path / "identity"
    file.write_text("eyJ.first\n")
    monkeypatch.setenv("TKE_REGION", "ap-pod")
    monkeypatch.setenv("TKE_PROVIDER_ID", "cls-1")
    monkeypatch.setenv("TKE_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("TKE_ROLE_ARN", "qcs::cam::uin/1:roleName/pod")
    return file


@pytest.mark.parametrize("named", ["auto", "tke-oidc"])
def test_the_role_of_the_pod(connect, service, say, pod, clock, named):
    """By its web identity, which is read anew each time, and without a signature."""
    service.always(
        lambda r: (
            say.answer(Plaintext="AAAA")
            if r.action == "GenerateRandom"
            else say.answer(
                Credentials={"TmpSecretId": "AKIDpod", "TmpSecretKey": "k", "Token": "t"},
                ExpiredTime=clock.now + 7200,
            )
        )
    )
    kms = connect(credentials=named, sts_endpoint=service.url, clock=clock)
    kms.generate_random(3)
    pod.write_text("eyJ.second")
    clock.now += 7200
    kms.generate_random(3)
    first, _, second, _ = service.requests
    assert [first.fields["WebIdentityToken"], second.fields["WebIdentityToken"]] == [
        "eyJ.first",
        "eyJ.second",
    ]
    assert first.headers["authorization"] == "SKIP"
    assert first.headers["x-tc-region"] == "ap-pod"
    assert "roleName/pod" in kms.health().details["credentials"]


def test_half_a_pod_is_an_error(connect, pod, monkeypatch):
    """It names what is missing."""
    monkeypatch.delenv("TKE_PROVIDER_ID")
    with pytest.raises(ConfigError, match="TKE_PROVIDER_ID"):
        connect(credentials="auto")


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_pod_without_its_identity_is_told(connect, service, pod, content):
    """At the first call."""
    pod.unlink()
    if content:
        pod.write_bytes(content)
    kms = connect(credentials="tke-oidc", sts_endpoint=service.url)
    with pytest.raises(AuthenticationFailed, match="identity"):
        kms.generate_random(3)
    assert service.requests == []


def test_no_secret_is_shown_by_what_holds_it(connect, say):
    """Neither the provider nor its parts repeat one."""
    kms = connect()
    provider = kms.provider
    shown = repr([vars(provider), vars(provider._client), vars(provider._credentials)])
    shown += repr(provider._client._connect().credential.get_credential_info())
    assert say.SECRET_KEY not in shown
    assert say.SECRET_ID not in shown
