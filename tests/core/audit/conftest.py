"""What tests of the audit log share: events, a key, and a limit on the size of files."""

import contextlib
import resource

import pytest

from kmscore.audit import AuditEvent, AuditLog
from kmscore.plugin import Secret


@pytest.fixture
def path(tmp_path):
    """Where the log is."""
    return tmp_path / "audit.jsonl"


@pytest.fixture
def key():
    """A key to seal records with."""
    return Secret("a test", lambda: b"0123456789abcdef0123456789abcdef")


@pytest.fixture
def event():
    """Makes an event of some operation; any of its fields can be given."""

    def make(number=0, **fields):
        usual = {
            "time": 1_700_000_000.25 + number,
            "provider": "dev",
            "operation": "encrypt",
            "key": f"key-{number}",
            "outcome": "ok",
            "duration": 0.000012,
        }
        return AuditEvent(**(usual | fields))

    return make


@pytest.fixture
def write(path, event):
    """Writes a number of events with a log of its own, and closes it."""

    def run(count, *, first=0, **options):
        log = AuditLog(path, clock=lambda: 1_700_000_000.0, **options)
        for number in range(first, first + count):
            log.append(event(number))
        log.close()

    return run


@pytest.fixture
def full_disk():
    """While it lasts no file can grow beyond so many bytes."""

    @contextlib.contextmanager
    def limit(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
