"""The audit log in trouble: a full disk, a failing disk, and files that somebody alters."""

import contextlib
import errno
import json
import logging
import os

import pytest

from kmscore.audit import AuditLog, verify_log
from kmscore.errors import InvalidRequest, LimitExceeded, Unavailable


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_leaves_no_half_line(path, event, full_disk, room, caplog):
    """Events are missed, counted and logged once; then the log goes on and tells how many."""
    log = AuditLog(path)
    log.append(event(0))
    before = path.read_bytes()
    with full_disk(len(before) + room):
        for number in range(1, 4):
            log.append(event(number))
    assert path.read_bytes() == before
    assert log.missed == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "cannot be written" in caplog.text
    log.append(event(4))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records) == (True, 4)
    assert [finding.text for finding in report.warnings] == [
        "events before it that could not be recorded: 3"
    ]
    assert "lacks 3 events" in caplog.text


@pytest.mark.parametrize("room", [0, 1, 100])
def test_fail_closed_refuses_to_go_on_with_a_full_disk(path, event, full_disk, room):
    """No result without a record; once there is room again everything goes on."""
    log = AuditLog(path, fail_closed=True)
    log.append(event(0))
    with full_disk(path.stat().st_size + room):
        with pytest.raises(Unavailable, match="cannot be written") as caught:
            log.append(event(1))
        with pytest.raises(Unavailable):
            log.append(event(2))
    assert isinstance(caught.value.__cause__, OSError)
    log.append(event(3))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records) == (True, 4)
    assert "recorded: 2" in report.warnings[0].text


@pytest.mark.parametrize("fail_closed", [False, True])
def test_of_several_events_those_are_recorded_that_can_be(path, event, full_disk, fail_closed):
    """Where not all of them fit, the others are missed and counted, and fail_closed refuses."""
    log = AuditLog(path, fail_closed=fail_closed)
    log.append(event(0))
    before = path.stat().st_size
    log.append(event(1))
    line = path.stat().st_size - before
    refusal = pytest.raises(Unavailable) if fail_closed else contextlib.nullcontext()
    with full_disk(path.stat().st_size + 2 * line + 10), refusal:
        log.extend([event(number) for number in range(2, 7)])
    assert log.missed == 3
    log.append(event(7))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records) == (True, 7)
    assert "recorded: 3" in report.warnings[0].text


@pytest.mark.parametrize("fail_closed", [False, True])
def test_one_wrong_event_of_several_takes_no_other_with_it(path, event, fail_closed):
    """It alone is missed."""
    log = AuditLog(path, fail_closed=fail_closed)
    with pytest.raises(Unavailable) if fail_closed else contextlib.nullcontext():
        log.extend([event(0), event(1, duration="long"), event(2)])
    log.close()
    keys = [json.loads(line).get("key") for line in path.read_text().splitlines()]
    assert log.missed == 1
    assert [key for key in keys if key] == ["key-0", "key-2"]
    assert verify_log(path).ok


def test_a_disk_that_is_full_from_the_start(path, event, full_disk, caplog):
    """Not even the first record fits: fail-closed logs do not open, others begin later."""
    with full_disk(10):
        with pytest.raises(Unavailable):
            AuditLog(path, fail_closed=True)
        log = AuditLog(path)
    assert "cannot be written" in caplog.text
    assert path.read_bytes() == b""
    log.append(event(0))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records, report.warnings) == (True, 2, ())


def test_a_log_that_could_not_begin_is_not_followed(path, event, full_disk):
    """Its empty file was moved away meanwhile: the next one follows nothing."""
    with full_disk(10):
        log = AuditLog(path)
    path.rename(path.with_suffix(".1"))
    log.append(event(0))
    log.close()
    report = verify_log(path)
    assert (report.ok, report.records, report.previous) == (True, 2, "")


@pytest.fixture
def failing_disk(monkeypatch):
    """A disk on which fdatasync fails, once it is switched on."""

    def fail(_fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    return lambda: monkeypatch.setattr(os, "fdatasync", fail)


def test_fail_closed_refuses_to_go_on_with_a_failing_disk(path, event, failing_disk):
    """What the system could not bring to the disk it forgets, so no later success counts."""
    log = AuditLog(path, fail_closed=True)
    log.append(event(0))
    failing_disk()
    with pytest.raises(Unavailable) as caught:
        log.flush()
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(Unavailable):
        log.append(event(1))
    with pytest.raises(Unavailable):
        log.close()


def test_otherwise_a_failing_disk_is_logged(path, event, failing_disk, caplog):
    """The operation goes on; operators read it in their logs."""
    log = AuditLog(path)
    log.append(event(0))
    failing_disk()
    log.flush()
    log.append(event(1))
    log.close()
    assert "may not survive a power failure" in caplog.text
    assert log.missed == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"key": None},
        {"time": "now"},
        {"time": float("nan")},
        {"duration": float("inf")},
        {"context": ["table"]},
        {"context": {"table": 1}},
    ],
)
def test_an_event_of_the_wrong_type_does_not_break_the_log(path, event, fields):
    """A careless provider gives an id that is no string: it is missed, and nothing else is."""
    log = AuditLog(path)
    log.append(event(**fields))
    assert log.missed == 1
    log.append(event())
    log.close()
    assert verify_log(path).ok
    strict = AuditLog(path, fail_closed=True)
    with pytest.raises(Unavailable) as caught:
        strict.append(event(**fields))
    assert isinstance(caught.value.__cause__, InvalidRequest)


def test_an_event_beyond_every_measure_is_missed(path, event):
    """A line has a limit, so that whoever reads the log needs little memory."""
    log = AuditLog(path, fail_closed=True)
    with pytest.raises(Unavailable) as caught:
        log.append(event(context={f"key-{n}": "0" * 32 for n in range(30_000)}))
    assert isinstance(caught.value.__cause__, LimitExceeded)
    log.close()
    assert verify_log(path).records == 1


def test_a_log_that_is_emptied_while_in_use_tells_it(path, event, caplog):
    """The new beginning goes on counting: the verifier misses what was there."""
    log = AuditLog(path)
    for number in range(3):
        log.append(event(number))
    head = verify_log(path).head
    os.truncate(path, 0)
    log.append(event(3))
    log.close()
    assert "was emptied" in caplog.text
    report = verify_log(path)
    assert report.problems == ((1, "records missing before it: 4"),)
    assert report.previous == head
    AuditLog(path).close()


def test_a_log_that_is_cut_while_in_use_tells_it(path, event, caplog):
    """Somebody removes the last two records at a line's end, so that the file looks whole."""
    log = AuditLog(path)
    for number in range(4):
        log.append(event(number))
    lines = path.read_bytes().splitlines(keepends=True)
    os.truncate(path, len(b"".join(lines[:3])))
    assert verify_log(path).ok
    log.append(event(4))
    log.close()
    assert "was altered" in caplog.text
    assert verify_log(path).problems == ((4, "records missing before it: 2"),)


def test_a_log_that_is_replaced_in_place_tells_it(path, event, write, tmp_path):
    """Somebody writes another intact log, a longer one, over the one in use."""
    log = AuditLog(path)
    for number in range(4):
        log.append(event(number))
    path.rename(tmp_path / "kept")
    write(20)
    forged = path.read_bytes()
    path.unlink()
    (tmp_path / "kept").rename(path)
    path.write_bytes(forged)
    assert verify_log(path).ok
    log.append(event(4))
    log.close()
    assert not verify_log(path).ok


@pytest.mark.parametrize("garbage", [b"hello\n", b"\n", b"hello", b"\0" * 9_000_000])
def test_lines_of_somebody_else_do_not_stop_the_log(path, event, garbage):
    """What does not belong there is found; what was recorded before and after is intact."""
    log = AuditLog(path)
    log.append(event(0))
    with path.open("ab") as file:
        file.write(garbage)
    log.append(event(1))
    log.close()
    report = verify_log(path)
    assert {finding.line for finding in (*report.problems, *report.warnings)} == {3}
    assert report.records >= 3
