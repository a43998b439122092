"""``kmscore serve`` as a process: how it starts, says so, stops, and what it leaves behind."""

import base64
import errno
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kmscore.audit import verify_log

DRAW = {"NumberOfBytes": 8}
ANY = "0.0.0.0"  # noqa: S104 - what must be refused


@pytest.fixture
def refused(home, command):
    """A server that must not start: exit code and standard error."""

    def run(*options):
        done = subprocess.run(
            [command, "serve", "--port", "0", *map(str, options)],
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert b"Traceback" not in done.stderr
        assert done.stdout == b""
        return done.returncode, done.stderr.decode()

    return run


def test_it_says_where_it_listens(home, serve):
    """On the first line, and in a file, when requests are answered."""
    running = serve("--ready-file", "ready.json")
    ready = json.loads((home / "ready.json").read_text())
    assert (ready["url"], ready["pid"]) == (running.url, running.process.pid)
    assert ready["host"] == "127.0.0.1"
    assert running.call("GenerateRandom", DRAW).code == "ok"


def test_people_read_a_plain_line(home, command):
    """Without --json."""
    process = subprocess.Popen(
        [command, "serve", "--port", "0", "--credentials", "cred.toml"],
        cwd=home,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"listening on http://127.0.0.1:")
    process.terminate()
    assert process.wait(timeout=30) == 0
    process.stdout.close()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], 3, "credentials new"),
        (["--credentials", "none.toml"], 3, "none.toml"),
        (["--credentials", "cred.toml", "--provider", "none"], 3, "no provider 'none'"),
        (["--credentials", "cred.toml", "--host", ANY], 3, "--allow-remote"),
        (["--credentials", "cred.toml", "--host", "::"], 3, "--allow-remote"),
        (
            ["--credentials", "cred.toml", "--host", ANY, "--allow-remote"],
            *(3, "--tls-cert"),
        ),
        (["--credentials", "cred.toml", "--tls-cert", "secret"], 3, "both"),
        (
            ["--credentials", "cred.toml", "--tls-cert", "secret", "--tls-key", "secret"],
            *(3, "no certificate"),
        ),
        (["--credentials", "cred.toml", "--fault", "Encrypt"], 3, "is no fault"),
        (["--credentials", "cred.toml", "--fault", "Encrypt: drop 101%"], 3, "is no fault"),
        (["--credentials", "cred.toml", "--rate-limit", "Encrypt: 0"], 3, "is no rate limit"),
        (["--credentials", "cred.toml", "--region", "Moon"], 3, "is no region"),
        (["--credentials", "cred.toml", "--port", "99999"], 2, "--port"),
        (["--credentials", "cred.toml", "--access-log", "none/log"], 3, "access log"),
        (["--credentials", "cred.toml", "--seed", "none.toml"], 3, "seed"),
        (["--credentials", "none.toml", "--workers", "2"], 3, "none.toml"),
        (["--credentials", "cred.toml", "--fault", "Encrpyt: drop"], 3, "no action 'Encrpyt'"),
        (["--credentials", "cred.toml", "--rate-limit", "encrypt: 5"], 3, "no action 'encrypt'"),
        (["--credentials", "cred.toml", "--ready-file", "none/ready"], 3, "ready file none/ready"),
        (["--credentials", "cred.toml", "--state", "none/state"], 3, "state file none/state"),
        (["--credentials", "cred.toml", "--clock-offset", "nan"], 2, "--clock-offset"),
        (["--credentials", "cred.toml", "--clock-offset", "1e300"], 2, "--clock-offset"),
        (["--credentials", "cred.toml", "--grace", "nan"], 2, "--grace"),
        (["--credentials", "cred.toml", "--owner", 2**63], 2, "--owner"),
    ],
    ids=range(24),
)
def test_what_cannot_work_is_told_before_anything_listens(refused, options, code, says):
    """With the exit code of a mistake in configuration or usage."""
    found, errors = refused(*options)
    assert (found, says in errors) == (code, True), errors


def test_a_port_that_is_taken_is_told(serve, refused):
    """With what to do."""
    running = serve()
    code, errors = refused("--credentials", "cred.toml", "--port", running.port)
    assert (code, "--port" in errors) == (3, True)


# --- The end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_it_finishes_what_it_has_accepted(serve, number, workers):
    """A request that is being carried out, and one that arrives bit by bit."""
    running = serve("--workers", workers, "--fault", "CreateKey: latency 300ms")
    late = running.bytes("GenerateRandom", DRAW)
    with running.wire() as working, running.wire() as slow, running.wire() as idle:
        idle.send(running.bytes("GenerateRandom", DRAW))
        assert idle.answer().code == "ok"
        slow.send(late[:50])
        working.send(running.bytes("CreateKey", {"Alias": "at-the-end"}))
        idle.send(running.bytes("GenerateRandom", DRAW))
        assert idle.answer().code == "ok"  # so the others' bytes have arrived, too
        running.process.send_signal(number)
        answer = working.answer()
        assert (answer.code, answer.headers["Connection"]) == ("ok", "close")
        assert idle.is_closed()
        slow.send(late[50:])
        assert slow.answer().code == "ok"
    _, errors = running.process.communicate(timeout=30)
    assert (running.process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("workers", [1, 2])
def test_who_comes_too_late_is_refused_at_once(serve, workers):
    """Refused, it can be sent elsewhere; who was let wait and then dropped would not know."""
    running = serve("--workers", workers, "--fault", "CreateKey: latency 3s")
    with running.wire() as working, running.wire() as idle:
        working.send(running.bytes("CreateKey", {"Alias": "at-the-end"}))
        idle.send(running.bytes("GenerateRandom", DRAW))
        assert idle.answer().code == "ok"
        running.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        turned_away = 0
        while working.waits() and not turned_away:
            with socket.socket() as late:
                late.settimeout(5)
                turned_away = late.connect_ex(("127.0.0.1", running.port))
        assert working.waits()  # it was refused while another one was still served
        assert (errno.errorcode[turned_away], working.answer().code) == ("ECONNREFUSED", "ok")
    _, errors = running.process.communicate(timeout=30)
    assert (running.process.returncode, errors) == (0, b"")


def test_nobody_is_taken_in_any_more(serve):
    """The port is free as soon as the last request has been answered."""
    running = serve()
    assert running.stop()[0] == 0
    with pytest.raises(ConnectionRefusedError):
        running.wire()


def test_a_request_that_takes_too_long_does_not_keep_it_alive(serve):
    """The time of grace ends."""
    running = serve("--grace", "0.2")
    with running.wire() as wire:
        wire.send(b"POST / HTTP/1.1\r\n")
        wire.send(running.bytes("GenerateRandom", DRAW)[17:60])
        with running.wire() as other:
            other.send(running.bytes("GenerateRandom", DRAW))
            assert other.answer().code == "ok"
        assert running.stop()[0] == 0
        assert wire.is_closed()


# --- Workers ---------------------------------------------------------------------------------


def children(process):
    """The workers' process ids."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def wait_for(condition):
    """Wait until something holds that another process brings about."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)
    return True


def test_workers_share_keys_and_counts(serve, command):
    """What one makes, all have at once; and any of them tells the sum."""
    running = serve("--workers", "3")
    assert len(children(running.process)) == 3
    wires = [running.wire() for _ in range(12)]
    made = []
    for number, wire in enumerate(wires):
        wire.send(running.bytes("CreateKey", {"Alias": f"shared-{number}"}))
        made.append(wire.answer().response["KeyId"])
        for other in wires:
            other.send(running.bytes("DescribeKey", {"KeyId": made[-1]}))
            assert other.answer().code == "ok"
    for wire in wires:
        wire.__exit__()
    text = running.get("/metrics").body.decode()
    assert 'kmscore_server_requests_total{action="CreateKey",outcome="ok"} 12' in text
    assert 'kmscore_server_requests_total{action="DescribeKey",outcome="ok"} 144' in text
    done = subprocess.run(
        [command, "audit", "verify"], cwd=running.folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_worker_that_dies_is_replaced(serve):
    """Others go on meanwhile; the new one serves, too, and the counts stay."""
    running = serve("--workers", "2")
    before = set(children(running.process))
    assert running.call("GenerateRandom", DRAW).code == "ok"
    os.kill(min(before), signal.SIGKILL)
    wait_for(lambda: len(set(children(running.process)) - before) == 1)
    for _ in range(8):
        assert running.call("GenerateRandom", DRAW).code == "ok"
    text = running.get("/metrics").body.decode()
    assert 'kmscore_server_requests_total{action="GenerateRandom",outcome="ok"} 9' in text
    code, errors = running.stop()
    assert (code, "ended by signal 9" in errors) == (0, True)


def test_workers_that_die_again_and_again_end_the_server(serve):
    """Exit code 5, and nobody is left behind."""
    running = serve("--workers", "2")
    seen: set[int] = set()
    while running.process.poll() is None and len(seen) < 20:
        try:
            alive = set(children(running.process)) - seen
        except (FileNotFoundError, ProcessLookupError):
            break
        for pid in alive:
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
    _, errors = running.process.communicate(timeout=30)
    assert running.process.returncode == 5, errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen)


def test_workers_do_not_outlive_their_parent(serve):
    """Even one that was killed."""
    running = serve("--workers", "2")
    workers = children(running.process)
    running.process.kill()
    running.process.communicate(timeout=30)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


# --- What it tells ---------------------------------------------------------------------------


def test_health_is_the_providers(serve, home):
    """200 while it is well; 503 when its keystore is gone."""
    running = serve()
    answer = running.get("/healthz")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    (home / "keystore.db").rename(home / "moved.db")
    assert running.get("/healthz").status == 503


def test_metrics_count_requests_by_action_and_outcome(serve):
    """In the text format of Prometheus; names that are no actions are not counted by."""
    running = serve()
    running.call("GenerateRandom", DRAW)
    running.call("GenerateRandom", DRAW, secret_id="AKIDreader")
    running.call("x" * 50, {})
    running.call("GenerateRandom", DRAW, secret="wrong")
    answer = running.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    requests = "kmscore_server_requests_total"
    assert f'{requests}{{action="GenerateRandom",outcome="ok"}} 1' in lines
    assert f'{requests}{{action="GenerateRandom",outcome="UnauthorizedOperation"}} 1' in lines
    assert f'{requests}{{action="",outcome="InvalidAction"}} 1' in lines
    assert f'{requests}{{action="",outcome="AuthFailure"}} 1' in lines
    assert 'kmscore_server_request_seconds_count{action="GenerateRandom"} 2' in lines
    assert 'kmscore_server_request_seconds_bucket{action="GenerateRandom",le="+Inf"} 2' in lines
    assert "kmscore_server_connections 1" in lines
    assert "kmscore_server_connections_total 5" in lines
    assert all(line.startswith(("#", "kmscore_server_")) for line in lines)


def test_logs_say_who_asked_for_what_and_hold_no_secret(serve, home):
    """The access log, the audit log and standard error, after successes and refusals."""
    running = serve("--access-log", "access.jsonl")
    secrets = ["top-secret-plaintext", "topsecretkey", "sensitive-context"]
    text = base64.b64encode(b"top-secret-plaintext").decode()
    secrets.append(text)
    key = running.call("CreateKey", {"Alias": "orders"}).response["KeyId"]
    asked = {
        "KeyId": key,
        "Plaintext": text,
        "EncryptionContext": '{"who": "sensitive-context"}',
    }
    sealed = running.call("Encrypt", asked)
    secrets.append(sealed.response["CiphertextBlob"])
    wrong = [
        running.call("Encrypt", asked, secret="wrong"),
        running.call("Encrypt", asked, secret_id="topsecretkey"),
        running.call("Encrypt", asked, secret_id="AKIDreader"),
        running.call("Encrypt", asked | {"KeyId": "no such key"}),
        running.call("topsecretkey", asked),
        running.call("Encrypt", {"top-secret-plaintext": 1}),
        running.call("Encrypt", asked, extra={"X-TC-Token": "topsecretkey"}),
    ]
    code, errors = running.stop()
    assert (code, errors) == (0, "")
    lines = [json.loads(line) for line in (home / "access.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines[:2]] == ["ok", "ok"]
    assert [line["outcome"] for line in lines[2:]] == [answer.code for answer in wrong]
    assert [line["request_id"] for line in lines[1:3]] == [
        *(sealed.response["RequestId"], wrong[0].response["RequestId"])
    ]
    first = lines[1]
    assert (first["secret_id"], first["action"]) == ("AKIDtest", "Encrypt")
    assert (first["peer"], first["region"]) == ("127.0.0.1", "ap-guangzhou")
    assert (lines[2]["secret_id"], lines[2]["action"]) == ("", "")
    everything = (home / "access.jsonl").read_text() + (home / "audit.jsonl").read_text() + errors
    assert [secret for secret in secrets if secret in everything] == []


def test_the_audit_log_has_every_request_and_its_caller(serve):
    """Operations of the provider under the request's id, and refusals by their code."""
    running = serve()
    made = running.call("CreateKey", {"Alias": "audited"})
    stranger = running.call("DescribeKey", {"KeyId": "x"}, secret="wrong")
    reader = running.call("GenerateRandom", DRAW, secret_id="AKIDreader")
    unknown = running.call("DescribeKey", {"KeyId": "no such key"})
    running.stop()
    events: dict[str, list[dict[str, str]]] = {}
    for event in running.audit:
        events.setdefault(event["request_id"], []).append(event)
    done = events[made.response["RequestId"]]
    assert {event["caller"] for event in done} == {"AKIDtest"}
    assert any(event["operation"] == "create_key" for event in done)
    (refused,) = events[stranger.response["RequestId"]]
    assert "caller" not in refused
    assert (refused["outcome"], refused["error"]) == ("error", "AuthFailure.SignatureFailure")
    (denied,) = events[reader.response["RequestId"]]
    assert (denied["caller"], denied["operation"]) == ("AKIDreader", "GenerateRandom")
    assert denied["error"] == "UnauthorizedOperation"
    assert events[unknown.response["RequestId"]]


def test_what_is_turned_away_at_the_door_is_recorded(serve, home):
    """Bodies that are too large, and bytes that are no request: in the audit and access log."""
    running = serve("--access-log", "access.jsonl")
    refused = {}
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    for lines in (b"Content-Length: 10485761", b"Content-Length: 1\r\nTransfer-Encoding: chunked"):
        with running.wire() as wire:
            wire.send(head + lines + b"\r\n\r\n")
            answer = wire.answer()
            refused[answer.response["RequestId"]] = answer.code
    running.stop()
    assert sorted(refused.values()) == ["InvalidRequest", "RequestSizeLimitExceeded"]
    assert {event["request_id"]: event["error"] for event in running.audit} == refused
    visits = [json.loads(line) for line in (home / "access.jsonl").read_text().splitlines()]
    assert {visit["request_id"]: visit["outcome"] for visit in visits} == refused
    assert {visit["peer"] for visit in visits} == {"127.0.0.1"}


def test_every_answer_is_recorded_before_it_is_given(serve):
    """Of many clients at once: who has an answer finds its event in the file, and just one."""
    running = serve()
    asked = [
        running.bytes("GenerateRandom", DRAW),
        running.bytes("GenerateRandom", DRAW, secret="wrong"),
        running.bytes("Encrypt", {"KeyId": "no such key", "Plaintext": "eA=="}),
    ]
    wires = [running.wire() for _ in range(24)]
    given = []
    for _ in range(5):
        for number, wire in enumerate(wires):
            wire.send(asked[number % 3])
        for wire in wires:
            given.append(wire.answer().response["RequestId"])
            assert given[-1] in {event["request_id"] for event in running.audit}
    assert sorted(event["request_id"] for event in running.audit) == sorted(given)
    for wire in wires:
        wire.__exit__()
    running.stop()
    assert verify_log(running.folder / "audit.jsonl").ok


def test_nothing_is_done_unrecorded_when_the_audit_log_must_be_complete(serve, home):
    """With fail_closed, a log that cannot be written answers every request with InternalError."""
    config = (home / "kms.toml").read_text()
    (home / "kms.toml").write_text(config + "fail_closed = true\n")
    running = serve()
    assert running.call("GenerateRandom", DRAW).code == "ok"
    (home / "audit.jsonl").chmod(0o644)  # others could read it: the log refuses to go on
    (home / "audit.jsonl").rename(home / "moved.jsonl")
    (home / "audit.jsonl").mkdir()
    answers = [
        running.call("GenerateRandom", DRAW),
        running.call("GenerateRandom", DRAW, secret="wrong"),
        running.call("GenerateRandom", DRAW, secret_id="AKIDreader"),
    ]
    assert {answer.code for answer in answers} <= {"InternalError", "ServiceUnavailable"} | {
        "UnsupportedOperation.ServiceTemporaryUnavailable"
    }
    running.process.kill()
    running.process.communicate(timeout=30)


# --- Time ------------------------------------------------------------------------------------


def test_the_whole_server_may_live_at_another_time(serve):
    """Signatures of our time expire there, those of its time do not."""
    running = serve("--clock-offset", "86400")
    assert running.call("GenerateRandom", DRAW).code == "AuthFailure.SignatureExpire"
    tomorrow = int(time.time()) + 86400
    made = running.call("CreateKey", {"Alias": "tomorrow"}, timestamp=tomorrow)
    assert abs(made.response["CreateTime"] - tomorrow) < 60


def test_a_seed_is_planted_once_by_several_workers(serve, home):
    """With the ids that it says."""
    key_id = "11111111-2222-4333-8444-555555555555"
    (home / "seed.toml").write_text(f'[[keys]]\nid = "{key_id}"\nalias = "orders"\n')
    running = serve("--seed", "seed.toml", "--workers", "2", "--edition", "SM")
    found = running.call("DescribeKey", {"KeyId": key_id}).response["KeyMetadata"]
    assert (found["Alias"], found["Type"]) == ("orders", 4)


def test_keys_of_the_command_line_belong_to_the_owner(serve, home, command):
    """And regions are those that were named."""
    subprocess.run([command, "keys", "create", "--alias", "mine"], cwd=home, check=True)
    running = serve("--region", "ap-singapore", "--region", "eu-frankfurt")
    found = running.call("ListKeyDetail", {}).response["KeyMetadatas"]
    assert [key["Alias"] for key in found] == ["mine"]
    answer = running.call("GetRegions").response["Regions"]
    assert sorted(answer) == ["ap-singapore", "eu-frankfurt"]


def test_slow_actions_do_not_hold_up_quick_ones(serve):
    """Keys of RSA are made on other threads; random bytes are drawn meanwhile."""
    running = serve("--threads", "2")
    finished = []

    def make(number):
        usage = "ASYMMETRIC_SIGN_VERIFY_RSA_3072"
        running.call("CreateKey", {"Alias": f"slow-{number}", "KeyUsage": usage})
        finished.append(number)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(3)]
    for maker in makers:
        maker.start()
    drawn = 0
    with running.wire() as wire:
        while len(finished) < 3:
            wire.send(running.bytes("GenerateRandom", DRAW))
            assert wire.answer().code == "ok"
            drawn += 1
    for maker in makers:
        maker.join()
    assert drawn > 3
