"""The audit log between processes: writing together, forking, dying, and rotation."""

import json
import signal
import subprocess
import sys

import pytest

from kmscore.audit import AuditLog, verify_log

WRITER = """
import sys
from pathlib import Path
from kmscore.audit import AuditEvent, AuditLog
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
log = AuditLog(path, fail_closed=True)
for number in range(count):
    log.append(AuditEvent(1700000000.0 + number, name, "encrypt", f"key-{number}", "ok"))
    print(number, flush=True)
    if name == "rotator" and number % 100 == 50:
        path.rename(path.with_suffix(f".{number // 100}"))
log.close()
"""

FORKER = """
import os, sys, warnings
from pathlib import Path
from kmscore.audit import AuditEvent, AuditLog
warnings.simplefilter("ignore")  # a fork beside the flusher's thread is what is tried here
log = AuditLog(Path(sys.argv[1]), fail_closed=True)
log.append(AuditEvent(1.0, "parent", "encrypt", "before", "ok"))
child = os.fork()
name = "parent" if child else "child"
for number in range(1000):
    log.append(AuditEvent(1700000000.0 + number, name, "encrypt", f"key-{number}", "ok"))
log.close()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def start(path, name, count):
    """A process that appends so many events, and prints the number of each when it is done."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, name, str(count)], stdout=subprocess.PIPE
    )


def keys_by_provider(*paths):
    """Who wrote which events, in the order of the files."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                # What a killed process had begun to write; the verifier has accounted for it.
                continue
            if "provider" in record:
                found.setdefault(record["provider"], []).append(record["key"])
    return found


def test_four_processes_write_one_chain(path):
    """Every event of each is there, in its order, and the chain is unbroken."""
    processes = [start(path, f"process-{n}", 500) for n in range(4)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    report = verify_log(path)
    assert (report.ok, report.warnings, report.records) == (True, (), 2001)
    everything = [f"key-{number}" for number in range(500)]
    assert keys_by_provider(path) == {f"process-{n}": everything for n in range(4)}


def test_parent_and_child_write_one_chain(path):
    """A fork copies the log; both go on writing at the same time."""
    subprocess.run([sys.executable, "-c", FORKER, path], check=True)
    report = verify_log(path)
    assert (report.ok, report.warnings, report.records) == (True, (), 2002)
    everything = [f"key-{number}" for number in range(1000)]
    assert keys_by_provider(path) == {"parent": ["before", *everything], "child": everything}


def test_a_killed_process_loses_nothing_that_it_acknowledged(path, event):
    """SIGKILL at any moment: what append returned from is in the file, and the chain goes on."""
    process = start(path, "victim", 1_000_000)
    assert process.stdout is not None
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 200:
            process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    log = AuditLog(path)
    log.append(event())
    log.close()
    report = verify_log(path)
    assert report.ok
    assert report.records >= acknowledged + 3
    victim = keys_by_provider(path)["victim"]
    assert len(victim) > acknowledged
    assert victim == [f"key-{number}" for number in range(len(victim))]


def test_a_log_that_was_moved_away_is_followed_by_a_new_one(path, event):
    """Rotation by renaming, without telling anybody: the new file names the old one's end."""
    old = path.with_suffix(".1")
    log = AuditLog(path)
    log.append(event(0))
    path.rename(old)
    log.append(event(1))
    log.close()
    first, second = verify_log(old), verify_log(path)
    assert (first.ok, first.records, first.previous) == (True, 2, "")
    assert (second.ok, second.records, second.previous) == (True, 2, first.head)
    assert first.log_id != second.log_id
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_a_log_that_was_deleted_is_followed_by_a_new_one(path, event):
    """Deleting it stops no record, and the new file says that there was another."""
    log = AuditLog(path)
    log.append(event(0))
    head = verify_log(path).head
    path.unlink()
    log.append(event(1))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records, report.previous) == (True, 2, head)


def test_rotation_while_others_wrote_last(path, event):
    """The new file names the record that was last in the old one, whoever wrote it."""
    old = path.with_suffix(".1")
    first, second = AuditLog(path), AuditLog(path)
    first.append(event(0))
    second.append(event(1))
    path.rename(old)
    first.append(event(2))
    second.append(event(3))
    first.close()
    second.close()
    before, after = verify_log(old), verify_log(path)
    assert (before.ok, before.records) == (True, 3)
    assert (after.ok, after.records, after.previous) == (True, 3, before.head)


def test_rotation_before_the_first_event(path, event):
    """A log that has no records of its own yet follows its file's name, too."""
    log = AuditLog(path)
    log.after_fork()
    path.rename(path.with_suffix(".1"))
    log.append(event(0))
    log.close()
    assert verify_log(path).records == 2


def test_rotation_under_load_loses_nothing(path):
    """Three processes write while one of them renames the file: every event is in some file."""
    names = ["rotator", "process-1", "process-2"]
    processes = [start(path, name, 400) for name in names]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    files = [*(path.with_suffix(f".{n}") for n in range(4)), path]
    reports = [verify_log(file) for file in files]
    assert [report.ok for report in reports] == [True] * 5
    for n, report in enumerate(reports):
        # A process that has just started, or slept through a rotation, knows no later one.
        assert report.previous in ("", *(earlier.head for earlier in reports[:n]))
    everything = [f"key-{number}" for number in range(400)]
    assert keys_by_provider(*files) == dict.fromkeys(names, everything)


def test_a_new_file_that_cannot_be_made_is_a_missed_event(path, event, tmp_path):
    """The folder was moved: events are missed until it is back, and the log says how many."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AuditLog(folder / "audit.jsonl")
    away = folder.rename(tmp_path / "away")
    log.append(event(0))
    log.append(event(1))
    assert log.missed == 2
    away.rename(folder)
    log.append(event(2))
    log.close()
    report = verify_log(folder / "audit.jsonl")
    assert (report.ok, report.records) == (True, 3)
    assert [finding.text for finding in report.warnings] == [
        "events before it that could not be recorded: 2"
    ]


@pytest.mark.parametrize("kept", [1, 60, 300])
def test_what_a_crash_left_unfinished_stays_as_evidence(path, write, kept):
    """The half line is ended, a record says how long it is, and the chain goes on."""
    write(3)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole.removesuffix(last) + last[:kept])
    write(1)
    assert path.read_bytes().startswith(whole.removesuffix(last) + last[:kept] + b"\n")
    report = verify_log(path)
    assert (report.ok, report.records) == (True, 5)
    assert [finding.line for finding in report.warnings] == [4]
    assert f"unfinished ({kept} bytes)" in report.warnings[0].text


def test_a_line_that_lacks_only_its_end_is_ended(path, write):
    """Nothing of the record is missing, so it counts."""
    write(3)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    write(1)
    report = verify_log(path)
    assert (report.ok, report.records, report.warnings) == (True, 5, ())


def test_a_long_unfinished_line_is_kept_too(path, write):
    """Longer than one read, so that the last record is looked for further up."""
    write(3)
    with path.open("ab") as file:
        file.write(b"\0" * 50_000)
    write(1)
    report = verify_log(path)
    assert (report.ok, report.records) == (True, 6)
    assert "(50000 bytes)" in report.warnings[0].text


def test_a_running_process_ends_what_another_left_unfinished(path, event):
    """A neighbour died in the middle of a line."""
    log = AuditLog(path)
    log.append(event(0))
    with path.open("ab") as file:
        file.write(b'{"seq":2,"pr')
    log.append(event(1))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records, len(report.warnings)) == (True, 4, 1)
