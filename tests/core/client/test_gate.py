"""The gate: audit around retry around the provider, whatever happens."""

import json
import resource
import signal

import pytest

from kmscore.audit import AuditLog, verify_log
from kmscore.client import Kms
from kmscore.errors import KeyStateError, Throttled, Unavailable
from kmscore.gate import Gate
from kmscore.retry import Retrier, RetryPolicy
from kmscore.spi import note_request_id


class Listener:
    """Stands where pluggy's relay stands, and keeps what it hears."""

    def __init__(self):
        self.events = []

    def kmscore_audit_event(self, event):
        """Keep it."""
        self.events.append(event)


@pytest.fixture
def listener():
    """Somebody who listens for audit events."""
    return Listener()


@pytest.fixture
def watched(recorder, listener, sleeps):
    """A client whose every operation is heard."""
    retrier = Retrier(RetryPolicy(), sleep=sleeps.append, monotonic=lambda: sum(sleeps))
    return Kms(recorder, Gate("test", retrier, hooks=listener, clock=lambda: 1234.5))


def test_one_operation_is_one_event(watched, listener, recorder):
    """However often it had to be sent."""
    key = watched.create_key("AES_256")
    recorder.failures = [Throttled("slow down"), Throttled("slow down")]
    key.encrypt(b"x", context={"patient": "Jane"})
    created, encrypted = listener.events
    assert (created.operation, created.key, created.outcome) == ("create_key", key.key_id, "ok")
    assert (encrypted.operation, encrypted.key, encrypted.outcome) == ("encrypt", key.key_id, "ok")
    assert encrypted.time == 1234.5
    assert encrypted.provider == "test"
    assert encrypted.duration >= 0
    assert list(encrypted.context) == ["patient"]
    assert "Jane" not in repr(encrypted)


def test_the_request_id_of_a_success_is_recorded(watched, listener, recorder, monkeypatch):
    """Where the provider notes one, and with that operation alone."""
    key = watched.create_key("AES_256")
    encrypt = recorder.encrypt

    def noting(*arguments):
        note_request_id("r-7")
        return encrypt(*arguments)

    monkeypatch.setattr(recorder, "encrypt", noting)
    key.encrypt(b"x")
    key.describe()
    assert [event.request_id for event in listener.events] == ["", "r-7", ""]


def test_a_failure_is_an_event_too(watched, listener, recorder):
    """With the class of the error and the provider's request id, without its text."""
    key = watched.create_key("AES_256")
    recorder.failures = [KeyStateError("secret reasons", state="DISABLED", request_id="r-1")]
    with pytest.raises(KeyStateError):
        key.encrypt(b"x")
    event = listener.events[-1]
    assert (event.outcome, event.error, event.request_id) == ("error", "KeyStateError", "r-1")
    assert "secret reasons" not in repr(event)


def test_an_interrupted_operation_is_an_event(watched, listener, recorder):
    """It may have been carried out all the same."""
    key = watched.create_key("AES_256")
    recorder.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        key.encrypt(b"x")
    assert (listener.events[-1].outcome, listener.events[-1].error) == ("error", "InternalError")


def test_the_key_that_opened_a_ciphertext_is_recorded(watched, listener):
    """Though the caller did not name it."""
    watched.decrypt(b"sealed:x")
    assert listener.events[-1].key == "key-0"


def test_events_go_to_the_log_and_the_log_is_finished_on_closing(recorder, tmp_path):
    """A chain of records, one for each operation."""
    path = tmp_path / "audit.jsonl"
    gate = Gate("test", Retrier(RetryPolicy()), log=AuditLog(path))
    with Kms(recorder, gate) as kms:
        kms.create_key("AES_256").encrypt(b"x")
    assert verify_log(path).ok
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["operation"] for record in records if "operation" in record] == [
        "create_key",
        "encrypt",
    ]


def test_a_log_that_must_not_fail_withholds_the_result(recorder, tmp_path):
    """The caller gets no ciphertext that nobody has recorded; the disk is full here."""
    log = AuditLog(tmp_path / "audit.jsonl", fail_closed=True)
    kms = Kms(recorder, Gate("test", Retrier(RetryPolicy()), log=log))
    key = kms.create_key("AES_256")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(Unavailable, match="audit log"):
            key.encrypt(b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert key.encrypt(b"x")
    kms.close()
