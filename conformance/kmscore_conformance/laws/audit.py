"""The audit trail: every operation leaves one event, which says what, and no data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmscore.audit import AuditEvent, AuditLog, context_hashes, verify_log
from kmscore.context import EncryptionContext
from kmscore.errors import KmsError
from kmscore.gate import Gate
from kmscore.retry import RetryPolicy
from kmscore_conformance.law import Layer, law
from kmscore_conformance.laws.contract import UNKNOWN
from kmscore_conformance.laws.life_cycle import uses
from kmscore_conformance.line import Fault
from kmscore_conformance.scope import EVERY_KIND, ONE_SYMMETRIC
from kmscore_conformance.trial import Trial, Waits, require

if TYPE_CHECKING:
    from kmscore.client import Kms

MARK = b"SECRET-audit-plaintext-77"
CONTEXT = {"patient": "SECRET-audit-context-78"}


class Listener:
    """Keeps events, as a plugin would."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def kmscore_audit_event(self, event: AuditEvent) -> None:
        """The hook."""
        self.events.append(event)


def _watched(trial: Trial, listener: Listener, waits: Waits | None = None) -> Kms:
    retrier = (waits or Waits()).retrier(RetryPolicy())
    return trial.subject.kms_with(Gate(trial.subject.name, retrier, hooks=listener))


@law(
    "audit.every-use",
    "Every use of a key leaves one event, with operation, key and outcome.",
    Layer.AUDIT,
    EVERY_KIND.smallest(),
)
def every_use(trial: Trial) -> None:
    """The same for every provider."""
    listener = Listener()
    key = _watched(trial, listener).key(trial.key.key_id)
    for what, use in uses(key):
        listener.events.clear()
        use()
        require(len(listener.events) == 1, f"{what} leaves {len(listener.events)} events")
        event = listener.events[0]
        require(what in event.operation, f"{what} is called {event.operation}")
        require(event.key == key.key_id, f"{what}: the event's key is {event.key!r}")
        require(event.provider == trial.subject.name, "the event's provider is another")
        require((event.outcome, event.error) == ("ok", ""), f"the outcome is {event.outcome}")
        require(event.duration >= 0, "the duration is negative")


@law(
    "audit.key-of-decryption",
    "An event of a decryption that named no key says which key it was.",
    Layer.AUDIT,
    ONE_SYMMETRIC,
)
def key_of_decryption(trial: Trial) -> None:
    """And one of a creation says which key was made."""
    listener = Listener()
    kms = _watched(trial, listener)
    kms.decrypt(trial.key.encrypt(MARK))
    require(listener.events[-1].key == trial.key.key_id, "the event names no key")
    made = kms.create_key(trial.kind.spec)
    require(listener.events[-1].key == made.key_id, "the event names no key")


@law(
    "audit.failure",
    "What fails leaves an event with the class of its error.",
    Layer.AUDIT,
    ONE_SYMMETRIC,
)
def failure(trial: Trial) -> None:
    """The attempts of an attacker are what one wants to see."""
    listener = Listener()
    kms = _watched(trial, listener)
    key = kms.key(trial.key.key_id)
    sealed = trial.key.encrypt(MARK, context=CONTEXT)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("CiphertextInvalid", lambda: key.decrypt(sealed)),
        ("CiphertextInvalid", lambda: kms.decrypt(bytes(99))),
        ("KeyNotFound", lambda: kms.key(UNKNOWN)),
    ]
    for expected, call in calls:
        listener.events.clear()
        with suppress(KmsError):
            call()
        told = [(event.outcome, event.error) for event in listener.events]
        require(told == [("error", expected)], f"{expected} leaves the events {told}")


@law(
    "audit.retries",
    "A call that was sent several times leaves one event.",
    Layer.AUDIT,
    ONE_SYMMETRIC,
)
def retries(trial: Trial) -> None:
    """One operation is one event: audit is around retry."""
    listener = Listener()
    key = _watched(trial, listener).key(trial.key.key_id)
    listener.events.clear()
    trial.subject.line.fail(Fault.THROTTLED, Fault.UNAVAILABLE)
    key.encrypt(MARK)
    require(trial.subject.line.attempts["encrypt"] == 3, "it was not sent again")
    require(len(listener.events) == 1, f"{len(listener.events)} events for one operation")
    require(listener.events[0].outcome == "ok", "the event says that it failed")


@law(
    "audit.no-data",
    "Events hold the keys of contexts and hashes of their values, and no data at all.",
    Layer.AUDIT,
    ONE_SYMMETRIC,
)
def no_data(trial: Trial) -> None:
    """No plaintext, no data key, no message, no ciphertext."""
    listener = Listener()
    key = _watched(trial, listener).key(trial.key.key_id)
    sealed = key.encrypt(MARK, context=CONTEXT)
    key.decrypt(sealed, context=CONTEXT)
    made = key.generate_data_key(context=CONTEXT)
    told = repr(listener.events)
    hidden = [MARK.decode(), MARK.hex(), CONTEXT["patient"], bytes(made.plaintext).hex()]
    hidden += [sealed.hex(), repr(sealed)[2:-1]]
    require(not any(each in told for each in hidden), "an event shows data")
    expected = context_hashes(EncryptionContext.of(CONTEXT))
    wrong = [e.operation for e in listener.events[1:] if dict(e.context) != expected]
    require(not wrong, f"the context is told otherwise by {', '.join(wrong)}")


@law(
    "audit.chain",
    "The log of the provider's operations verifies, and with a line altered or gone it does not.",
    Layer.AUDIT,
    ONE_SYMMETRIC,
)
def chain(trial: Trial) -> None:
    """And it holds no data either."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.log"
        log = AuditLog(path)
        gate = Gate(trial.subject.name, Waits().retrier(RetryPolicy()), log=log)
        with closing(gate):  # before its folder goes, whatever the provider does
            key = trial.subject.kms_with(gate).key(trial.key.key_id)
            for number in range(5):
                context = {**CONTEXT, "number": str(number)}
                key.decrypt(key.encrypt(MARK, context=context), context=context)
        report = verify_log(path)
        require(report.ok and report.records >= 11, f"the log does not verify: {report.problems}")
        lines = path.read_bytes().splitlines(keepends=True)
        text = b"".join(lines)
        require(MARK not in text and CONTEXT["patient"].encode() not in text, "it shows data")
        operations = [json.loads(line).get("operation") for line in lines]
        require(operations.count("encrypt") == 5, "an encryption is not in the log")
        middle = len(lines) // 2
        altered = lines[middle].replace(b'"ok"', b'"no"')
        for damaged in (
            [*lines[:middle], altered, *lines[middle + 1 :]],
            [*lines[:middle], *lines[middle + 1 :]],
            [*lines[:middle], lines[middle + 1], lines[middle], *lines[middle + 2 :]],
        ):
            path.write_bytes(b"".join(damaged))
            require(not verify_log(path).ok, "an altered log verifies")
