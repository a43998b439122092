"""The verifier: every way of tampering is found, and named by its line."""

import functools
import json
import os
import threading
import tracemalloc
from fcntl import LOCK_EX, LOCK_UN, flock
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmscore.audit import AuditEvent, AuditLog, verify_log
from kmscore.audit import verify as verify_module
from kmscore.errors import ConfigError
from kmscore.plugin import Secret

KEYS = {"SHA-256": None, "HMAC-SHA-256": Secret("a test", lambda: b"k" * 32)}


def signed(time, key, **context):
    """An event."""
    return AuditEvent(time, "dev", "sign", key, "ok", context=context)


@functools.cache
def sample(folder, algorithm):
    """A log with every kind of record: events, a crash, missed events. Its lines, by algorithm."""
    path = folder / f"sample-{algorithm}"
    log = AuditLog(path, key=KEYS[algorithm])
    log.append(signed(1.5, "one"))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"seq":2,"prev":')
    log = AuditLog(path, key=KEYS[algorithm])
    log.append(signed(float("nan"), "missed"))
    log.append(signed(2.5, "two", a="00"))
    log.append(signed(3.5, "three"))
    log.close()
    return tuple(path.read_bytes().splitlines(keepends=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that the tests of this module share."""
    return tmp_path_factory.mktemp("verify")


@pytest.fixture(params=["SHA-256", "HMAC-SHA-256"])
def lines(request, folder):
    """The sample, sealed either way."""
    return sample(folder, request.param)


@pytest.fixture
def check(path, request):
    """Writes lines to a file and verifies it."""

    def run(lines, **options):
        path.write_bytes(b"".join(lines))
        algorithm = json.loads(sample_lines[0])["algorithm"]
        return verify_log(path, key=KEYS[algorithm], **options)

    sample_lines = request.getfixturevalue("lines")
    return run


def test_an_untouched_log_is_good(lines, check):
    """Seven lines: the beginning, an event, half a line and its note, a gap, two events."""
    report = check(lines)
    assert (report.ok, report.problems, report.records) == (True, (), 6)
    assert [finding.line for finding in report.warnings] == [3, 5]
    assert report.head == json.loads(lines[-1])["hash"]
    assert report.log_id == json.loads(lines[0])["log_id"]
    assert report.previous == ""


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_a_changed_byte_is_found_wherever_it_is(lines, check, mask):
    """Every byte of the file, line feeds and the half line included."""
    content = b"".join(lines)
    for offset in range(len(content)):
        changed = bytearray(content)
        changed[offset] ^= mask
        report = check([bytes(changed)])
        assert not report.ok, f"byte {offset} of {len(content)}"


def test_a_changed_record_is_one_problem_on_its_line(lines, check):
    """The records after it are intact, and are not blamed."""
    changed = [line.replace(b'"two"', b'"TWO"') for line in lines]
    assert check(changed).problems == ((6, "was changed: its hash does not fit its content"),)


@pytest.mark.parametrize("offset", [-2, -3, -10, -70])
def test_a_changed_hash_is_one_problem_on_its_line(lines, check, offset):
    """The next record still names the hash that was there."""
    line = bytearray(lines[5])
    line[offset] ^= 0x01
    report = check([*lines[:5], bytes(line), *lines[6:]])
    assert [finding.line for finding in report.problems] == [6]


def test_a_removed_record_is_found(lines, check):
    """At any place but the end; the line after it says how many are missing."""
    assert check(lines[:1] + lines[2:]).problems[-1] == (3, "records missing before it: 1")
    assert check(lines[:4] + lines[5:]).problems == ((5, "records missing before it: 1"),)
    assert check(lines[:4] + lines[6:]).problems == ((5, "records missing before it: 2"),)


def test_a_removed_beginning_is_found(lines, check):
    """A file that begins later is no log."""
    for count in (1, 2, 3):
        report = check(lines[count:])
        assert [finding.line for finding in report.problems] == [1]


def test_a_removed_half_line_is_found(lines, check):
    """What a crash left is evidence, too."""
    report = check(lines[:2] + lines[3:])
    assert report.problems == ((3, "tells of an unfinished line that is not before it"),)


def test_a_repeated_record_is_found(lines, check):
    """A copy right behind itself, and a copy at the end."""
    assert check(lines[:6] + lines[5:]).problems == (
        (7, "is record 4, and stands where 5 should be"),
    )
    assert check([*lines, lines[1]]).problems == ((8, "is record 1, and stands where 6 should be"),)


@given(st.permutations(range(7)))
def test_any_other_order_is_found(folder, order):
    """Records stand in the order in which they were written."""
    lines = sample(folder, "SHA-256")
    path = folder / "order"
    path.write_bytes(b"".join(lines[n] for n in order))
    assert verify_log(path).ok == (order == list(range(7)))


@given(st.binary(max_size=40), st.integers(0, 7))
def test_an_inserted_line_is_found(folder, text, place):
    """Whatever it says."""
    lines = sample(folder, "SHA-256")
    path = folder / "inserted"
    path.write_bytes(b"".join([*lines[:place], text + b"\n", *lines[place:]]))
    assert not verify_log(path).ok


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from([b"{", b'"seq":', b"[", b"0"])).map(b"".join)
)
def test_no_content_makes_the_verifier_fail(folder, content):
    """Any bytes at all give a report, before and after a good beginning."""
    path = folder / "anything"
    path.write_bytes(content)
    assert not verify_log(path).ok
    path.write_bytes(sample(folder, "SHA-256")[0] + content)
    assert verify_log(path).ok == (content == b"")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"seq":1', b'{"seq":true,"prev":""', b'{"prev":"","seq":1e5', b"\xff"],
)
def test_a_line_whose_hash_fits_may_still_be_no_record(folder, path, body):
    """Without a key anybody can compute a hash; that makes no record of it."""
    line = body + b',"hash":"' + sha256(body).hexdigest().encode() + b'"}\n'
    path.write_bytes(sample(folder, "SHA-256")[0] + line)
    assert verify_log(path).problems == ((2, "is no record"),)


def test_a_line_that_is_not_ascii_is_no_record(folder, path):
    """The format has one way to write a letter: no reader has to guess an encoding."""
    begin = sample(folder, "SHA-256")[0]
    prev = json.loads(begin)["hash"]
    body = f'{{"seq":1,"prev":"{prev}","key":"käse"'.encode()
    line = body + b',"hash":"' + sha256(body).hexdigest().encode() + b'"}\n'
    path.write_bytes(begin + line)
    assert verify_log(path).problems == ((2, "is no record"),)


def test_a_record_that_follows_another_one_is_found(folder, path):
    """Its number and its hash are right; the record that it names is not the one before it."""
    lines = sample(folder, "SHA-256")
    body = b'{"seq":2,"prev":"' + b"0" * 64 + b'"'
    line = body + b',"hash":"' + sha256(body).hexdigest().encode() + b'"}\n'
    path.write_bytes(lines[0] + lines[1] + line)
    assert verify_log(path).problems == ((3, "does not follow the record before it"),)


def test_a_forged_record_needs_the_key(folder, path):
    """Who can write the file and knows the format, but not the key, is found out."""
    lines = sample(folder, "HMAC-SHA-256")
    forger = path.with_name("forger")
    forger.write_bytes(lines[0])
    forged = AuditEvent(9.9, "dev", "decrypt", "one", "ok")
    with pytest.raises(ConfigError):
        AuditLog(forger).append(forged)
    log = AuditLog(path, key=Secret("a guess", lambda: b"g" * 32))
    log.append(forged)
    log.close()
    path.write_bytes(b"".join(lines[:2]) + path.read_bytes().splitlines(keepends=True)[1])
    report = verify_log(path, key=KEYS["HMAC-SHA-256"])
    assert report.problems == ((3, "was changed: its hash does not fit its content"),)


def test_a_log_is_not_verified_under_another_seal(folder, path):
    """A wrong key, a missing key and a needless key are told from tampering."""
    path.write_bytes(b"".join(sample(folder, "HMAC-SHA-256")))
    other = verify_log(path, key=Secret("another", lambda: b"x" * 32))
    missing = verify_log(path)
    path.write_bytes(b"".join(sample(folder, "SHA-256")))
    needless = verify_log(path, key=KEYS["HMAC-SHA-256"])
    texts = ["under another key", "and none was given", "sealed with SHA-256, not with HMAC"]
    for report, text in zip((other, missing, needless), texts, strict=True):
        assert (report.records, report.head, len(report.problems)) == (0, "", 1)
        assert report.problems[0].line == 1
        assert text in report.problems[0].text
    assert [other.lacks_key, missing.lacks_key, needless.lacks_key] == [False, True, False]


def test_a_cut_end_needs_a_head_to_be_found(lines, check):
    """A chain proves what is there; that nothing followed, only a noted head proves."""
    full = check(lines)
    short = lines[:-1]
    assert check(short).ok
    report = check(short, expected_head=full.head)
    assert report.problems == ((0, f"no record has the expected head {full.head}"),)
    report = check(short, expected_records=full.records)
    assert report.problems == ((0, "5 records, of 6 that are expected"),)
    assert check(lines, expected_head=full.head, expected_records=full.records).ok


def test_a_head_that_was_noted_earlier_stays_good(lines, check):
    """The log has grown since: the head is one of its records."""
    earlier = check(lines[:2])
    assert check(lines, expected_head=earlier.head, expected_records=earlier.records).ok


def test_an_end_in_the_middle_of_a_line_is_a_problem(lines, check):
    """A crash that nobody noted, or a cut: the verifier cannot know, so it tells."""
    for cut in (1, 2, 50):
        report = check([b"".join(lines)[:-cut]])
        assert [finding.line for finding in report.problems] == [7]
        assert "unfinished" in report.problems[0].text


def test_an_empty_file_is_no_good_log(path):
    """Every log has a first record."""
    path.write_bytes(b"")
    assert verify_log(path).problems == ((0, "the file is empty: an audit log has a first record"),)


def test_a_line_without_end_is_not_read_as_a_whole(folder, path):
    """Whatever its length, memory stays small, and what follows is read."""
    lines = sample(folder, "SHA-256")
    path.write_bytes(lines[0] + b"x" * 3_000_000 + b"\n" + lines[1] + b"y" * 3_000_000)
    assert verify_log(path).problems == (
        (2, "is longer than any record"),
        (4, "is longer than any record"),
    )


def test_findings_are_limited(folder, path, monkeypatch):
    """A large file of garbage gives a short report."""
    monkeypatch.setattr(verify_module, "MAX_FINDINGS", 3)
    path.write_bytes(sample(folder, "SHA-256")[0] + b"x\n" * 10)
    report = verify_log(path)
    assert [finding.line for finding in report.problems] == [2, 3, 4, 0]
    assert report.problems[-1].text == "and 7 more"


def test_memory_does_not_grow_with_the_log(path, event):
    """A log of many megabytes is read line by line."""
    log = AuditLog(path)
    for number in range(20_000):
        log.append(event(number))
    log.close()
    tracemalloc.start()
    try:
        assert verify_log(path).records == 20_001
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 10


def test_a_log_in_use_can_be_verified(path, event):
    """Somebody holds it open and goes on writing."""
    log = AuditLog(path)
    log.append(event(0))
    assert verify_log(path).records == 2
    log.append(event(1))
    assert verify_log(path).records == 3
    log.close()


def test_the_verifier_waits_for_who_is_writing(folder, path):
    """Half of a line that is just being written is no problem."""
    lines = sample(folder, "SHA-256")
    path.write_bytes(lines[0])
    reports = []
    with path.open("ab", buffering=0) as file:
        flock(file, LOCK_EX)
        file.write(lines[1][:50])
        thread = threading.Thread(target=lambda: reports.append(verify_log(path)))
        thread.start()
        thread.join(0.2)  # time enough for a verifier that does not wait
        file.write(lines[1][50:])
        flock(file, LOCK_UN)
    thread.join()
    assert (reports[0].ok, reports[0].records) == (True, 2)


def test_a_log_is_named_by_a_string_too(path, event):
    """By who writes it, and by who verifies it."""
    log = AuditLog(str(path))
    log.append(event())
    log.close()
    assert verify_log(str(path)).records == 2


def test_a_file_that_cannot_be_read_is_an_error(path, tmp_path):
    """There is nothing to report on."""
    with pytest.raises(ConfigError, match="cannot be read"):
        verify_log(path)
    with pytest.raises(ConfigError, match="no regular file"):
        verify_log(tmp_path)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no regular file"):
        verify_log(path)
