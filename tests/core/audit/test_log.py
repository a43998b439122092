"""The audit log: what is on the disk after appends, and which files it refuses."""

import gc
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kmscore.audit import AuditLog, context_hashes, verify_log
from kmscore.audit import flusher as flusher_module
from kmscore.context import EncryptionContext
from kmscore.errors import ConfigError, IntegrityError, Unavailable
from kmscore.plugin import Secret


def lines_of(path):
    """The records of a log as dictionaries."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def open_files():
    """Files that this process has open."""
    return {descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir()}


def test_every_event_is_one_line_of_json(path, event):
    """All fields, in plain JSON, after a record that names the format."""
    log = AuditLog(path, clock=lambda: 1_700_000_000.0)
    log.append(
        event(
            time=1_700_000_001.5,
            key="8f14e45f",
            outcome="error",
            error="CiphertextInvalid",
            duration=0.25,
            request_id="r-1",
            context={"table": "0123"},
        )
    )
    log.close()
    begin, record = lines_of(path)
    assert {key: begin[key] for key in ("seq", "time", "note", "format", "algorithm")} == {
        "seq": 0,
        "time": 1_700_000_000.0,
        "note": "begin",
        "format": 1,
        "algorithm": "SHA-256",
    }
    assert len(bytes.fromhex(begin["log_id"])) == 16
    assert record.pop("prev") == begin["hash"]
    assert len(record.pop("hash")) == 64
    assert record == {
        "seq": 1,
        "time": 1_700_000_001.5,
        "provider": "dev",
        "operation": "encrypt",
        "key": "8f14e45f",
        "outcome": "error",
        "error": "CiphertextInvalid",
        "duration": 0.25,
        "request_id": "r-1",
        "context": {"table": "0123"},
    }


@pytest.mark.parametrize(
    "odd", ['"', "\\", "\n", "\x00", "\u2028", "käse", "钥匙", "🔑", "\ud800", "\x7f", '","hash":"']
)
def test_odd_strings_cannot_forge_or_break_a_line(path, event, odd):
    """A key reference is chosen by the caller: line breaks and quotes in it stay inside it."""
    log = AuditLog(path)
    log.append(event(key=odd, provider=odd, context={odd: odd}))
    log.append(event())
    log.close()
    record = lines_of(path)[1]
    assert (record["key"], record["provider"], record["context"]) == (odd, odd, {odd: odd})
    assert verify_log(path).records == 3
    assert verify_log(path).ok


def test_an_endless_key_name_is_cut(path, event):
    """Nobody escapes the log by a name that is too long for it."""
    log = AuditLog(path, fail_closed=True)
    log.append(event(key="🔑" * 5_000_000))
    log.close()
    assert lines_of(path)[1]["key"] == "🔑" * 1024 + "… (5000000 characters)"
    assert verify_log(path).ok


def test_a_log_goes_on_where_it_ended(path, write):
    """A process that opens it later continues the chain."""
    write(3)
    write(2, first=3)
    records = lines_of(path)
    assert [record["seq"] for record in records] == list(range(6))
    assert [record["key"] for record in records[1:]] == [f"key-{n}" for n in range(5)]
    assert verify_log(path).ok


def test_a_log_goes_on_after_a_long_line(path, write, event):
    """Longer than what is read at first, so that the record's start is looked for further up."""
    log = AuditLog(path)
    log.append(event(key="🔑" * 1000))
    log.close()
    write(1)
    report = verify_log(path)
    assert (report.ok, report.records) == (True, 3)


def test_a_keyed_log_goes_on_where_it_ended(path, write, key):
    """The same under HMAC, and without the key nothing can be verified."""
    write(3, key=key)
    write(2, first=3, key=key)
    assert lines_of(path)[0]["algorithm"] == "HMAC-SHA-256"
    report = verify_log(path, key=key)
    assert (report.ok, report.records) == (True, 6)


def test_nothing_secret_is_in_the_file(path, event, key):
    """Neither values of the context, nor the key that seals the records."""
    context = EncryptionContext({"patient": "Ada Lovelace"}.items())
    log = AuditLog(path, key=key)
    log.append(event(context=context_hashes(context)))
    log.close()
    content = path.read_bytes()
    assert b"patient" in content
    assert b"Ada" not in content
    assert key.reveal() not in content
    assert key.reveal().hex().encode() not in content
    assert "0123456789" not in repr(log)


def test_a_context_value_is_shown_by_the_start_of_its_hash():
    """SHA-256("abc"), FIPS 180-4, first 16 bytes: enough to compare, not to read."""
    context = EncryptionContext({"table": "abc", "row": ""}.items())
    assert context_hashes(context) == {
        "row": "e3b0c44298fc1c149afbf4c8996fb924",
        "table": "ba7816bf8f01cfea414140de5dae2223",
    }


def test_only_the_owner_may_read_the_log(path, write):
    """It is made with mode 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        write(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o660])
def test_a_log_that_others_may_read_or_write_is_refused(path, write, mode):
    """It tells who uses which key when; the hint says how to mend it."""
    write(1)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        AuditLog(path)


def test_the_folder_must_exist(tmp_path):
    """A mistyped path is an error at the start, not a folder somewhere."""
    with pytest.raises(ConfigError, match="Make its folder first"):
        AuditLog(tmp_path / "nowhere" / "audit.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_regular_file_is_refused(path, tmp_path):
    """A folder or a pipe holds no log."""
    with pytest.raises(ConfigError, match="cannot be opened"):
        AuditLog(tmp_path)
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        AuditLog(path)


@pytest.mark.parametrize("content", [b"hello\n", b"{}\n", b'{"seq":0}\n', b"\xff" * 100, b"[\n"])
def test_a_file_that_is_no_audit_log_is_left_alone(path, content):
    """Whatever it is, it is somebody's."""
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is no audit log"):
        AuditLog(path)
    assert path.read_bytes() == content


def test_a_log_that_does_not_start_with_its_beginning_is_refused(path, write):
    """Its first lines were cut off, so nobody knows what they were."""
    write(3)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(ConfigError, match="is not the beginning"):
        AuditLog(path)


def test_a_log_under_another_key_is_not_continued(path, write, key):
    """With another key, with a key where there was none, and without one where there was."""
    other = Secret("a test", lambda: b"x" * 32)
    write(1, key=key)
    with pytest.raises(ConfigError, match="under another key"):
        AuditLog(path, key=other)
    with pytest.raises(ConfigError, match="none was given"):
        AuditLog(path)
    path.unlink()
    write(1)
    with pytest.raises(ConfigError, match="sealed with SHA-256, not with HMAC-SHA-256"):
        AuditLog(path, key=key)


def test_a_short_key_is_refused(path):
    """A password is no key."""
    with pytest.raises(ConfigError, match="has 6 bytes"):
        AuditLog(path, key=Secret("a test", lambda: b"secret"))
    assert not path.exists()


@pytest.mark.parametrize(("line", "which"), [(0, "first"), (-1, "last")])
def test_a_log_whose_ends_were_altered_is_not_continued(path, write, line, which):
    """Who opens it finds it out at once; the file stays as evidence."""
    write(3)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"17000000", b"18000000")
    altered = b"".join(lines)
    path.write_bytes(altered)
    with pytest.raises(IntegrityError, match=f"the {which} record"):
        AuditLog(path)
    assert path.read_bytes() == altered


def test_a_log_that_died_at_its_birth_is_not_continued(path, write):
    """Its only line has no end: nothing was recorded, and somebody should look."""
    write(0)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    with pytest.raises(IntegrityError, match="the last record"):
        AuditLog(path)


def test_threads_share_a_log(path, event):
    """No line is lost or broken when eight threads write at once."""
    log = AuditLog(path)

    def work(thread):
        for number in range(100):
            log.append(event(number, provider=f"thread-{thread}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert verify_log(path).ok
    records = lines_of(path)[1:]
    for n in range(8):
        mine = [record["key"] for record in records if record["provider"] == f"thread-{n}"]
        assert mine == [f"key-{number}" for number in range(100)]


def test_several_events_are_one_write(path, event, monkeypatch):
    """One chain in their order, between events that come alone; nothing at all writes nothing."""
    written = []
    write = os.write

    def watched(fd, data):
        written.append(data.count(b"\n"))
        return write(fd, data)

    log = AuditLog(path)
    monkeypatch.setattr(os, "write", watched)
    log.append(event(0))
    log.extend([event(number) for number in range(1, 6)])
    log.extend([])
    log.append(event(6))
    monkeypatch.undo()
    log.close()
    assert written == [1, 5, 1]
    assert [record["key"] for record in lines_of(path)[1:]] == [f"key-{n}" for n in range(7)]
    assert verify_log(path).ok


def test_two_logs_in_one_process_share_a_file(path, event):
    """Two open providers with one configuration write one chain."""
    first, second = AuditLog(path), AuditLog(path)
    for number in range(10):
        (first, second)[number % 2].append(event(number))
    first.close()
    second.close()
    assert [record["key"] for record in lines_of(path)[1:]] == [f"key-{n}" for n in range(10)]
    assert verify_log(path).ok


def test_a_relative_path_stays_where_it_was(path, event, monkeypatch, tmp_path_factory):
    """A change of the working directory does not start a second log."""
    monkeypatch.chdir(path.parent)
    log = AuditLog(Path(path.name))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    log.append(event())
    log.close()
    assert list(Path().iterdir()) == []
    assert verify_log(path).records == 2


def test_append_never_waits_for_the_disk(path, event, monkeypatch):
    """Every fdatasync happens in the background, some time later, until somebody asks for one."""
    real = os.fdatasync
    callers = []
    synced = threading.Event()

    def watched(fd):
        real(fd)
        callers.append(threading.current_thread().name)
        synced.set()

    monkeypatch.setattr(os, "fdatasync", watched)
    log = AuditLog(path)
    for number in range(300):
        log.append(event(number))
    assert synced.wait(60)
    assert set(callers) == {"kmscore-audit-flush"}
    log.flush()
    assert threading.current_thread().name in callers
    log.close()


def test_close_waits_for_what_the_background_has_begun(path, monkeypatch):
    """The name of a new file is on the disk when `close` returns, whoever brings it there."""
    real = os.fsync
    begun, go_on = threading.Event(), threading.Event()
    done = []

    def slow(fd):
        begun.set()
        assert go_on.wait(60)
        real(fd)
        done.append("synced")

    monkeypatch.setattr(os, "fsync", slow)
    log = AuditLog(path)
    assert begun.wait(60)

    def close():
        log.close()
        done.append("closed")

    thread = threading.Thread(target=close)
    thread.start()
    thread.join(0.2)  # time enough for who does not wait
    go_on.set()
    thread.join()
    assert done == ["synced", "closed"]


@pytest.fixture
def synced(monkeypatch):
    """Inodes that were brought to the disk, in order; nothing happens in the background."""
    inodes = []

    def watch(real):
        def sync(fd):
            real(fd)
            inodes.append(os.fstat(fd).st_ino)

        return sync

    monkeypatch.setattr(os, "fdatasync", watch(os.fdatasync))
    monkeypatch.setattr(os, "fsync", watch(os.fsync))
    monkeypatch.setattr(flusher_module.Flusher, "soon", lambda _flusher, _job: None)
    return inodes


def test_the_name_of_a_new_log_is_brought_to_the_disk(path, event, synced):
    """Once: a power failure could otherwise lose a whole file whose content is safe."""
    log = AuditLog(path)
    log.append(event(0))
    log.flush()
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]
    log.append(event(1))
    log.close()
    assert synced[2:] == [path.stat().st_ino]


def test_a_log_that_was_moved_away_is_brought_to_the_disk(path, event, synced):
    """Nobody comes back to it."""
    log = AuditLog(path)
    log.append(event(0))
    old = path.rename(path.with_suffix(".1"))
    log.append(event(1))
    assert synced == [old.stat().st_ino]
    log.close()


def test_where_no_thread_can_start_the_disk_is_waited_for(path, event, monkeypatch):
    """A process that is ending, or has too many threads, loses no durability."""
    calls: list[None] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: calls.append(real(fd)))
    monkeypatch.setattr("kmscore.audit.log._flusher", flusher_module.Flusher())

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    log = AuditLog(path)
    begun = len(calls)
    log.append(event())
    assert len(calls) == begun + 1
    monkeypatch.undo()
    log.close()


def test_a_log_that_nobody_closed_is_on_the_disk_at_exit(path):
    """The end of the interpreter waits for the disk, though the flusher would take an hour."""
    code = """
import os, sys
from pathlib import Path
from kmscore.audit import AuditEvent, AuditLog, flusher
flusher.INTERVAL = 3600
real = os.fdatasync
os.fdatasync = lambda fd: print("synced", real(fd))
log = AuditLog(Path(sys.argv[1]))
log.append(AuditEvent(1.0, "dev", "encrypt", "k", "ok"))
print("leaving")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["leaving", "synced", "None"]


def test_a_closed_log_takes_no_events(path, event):
    """What comes after the end is missed, and counted, or refused."""
    log = AuditLog(path)
    log.close()
    log.close()
    log.append(event())
    assert log.missed == 1
    strict = AuditLog(path, fail_closed=True)
    strict.close()
    with pytest.raises(Unavailable):
        strict.append(event())
    assert verify_log(path).records == 1


def test_a_forgotten_log_gives_its_file_back(path, monkeypatch):
    """Programs that open many logs and close none do not run out of descriptors."""
    monkeypatch.setattr(flusher_module.Flusher, "soon", lambda _flusher, _job: None)
    log = AuditLog(path)
    assert path in open_files()
    del log
    gc.collect()
    assert path not in open_files()


def test_the_audit_package_is_light():
    """A program without an audit log does not pay for json, hashlib and threads."""
    code = "import sys, kmscore.audit; sys.exit('kmscore.audit.log' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
