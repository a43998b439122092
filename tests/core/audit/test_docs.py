"""The page about the audit log: its verifier and its example are what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kmscore.audit import AuditLog, verify_log

PAGE = (Path(__file__).parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")


def block(language):
    """The one code block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def verify(path, key, tmp_path):
    """Runs the page's own verifier on the log, with the key on request."""
    script = tmp_path / "verify.py"
    script.write_text(block("python"), encoding="utf-8")
    key_file = tmp_path / "key"
    key_file.write_bytes(key.reveal())

    def run(*, keyed=False):
        command = [sys.executable, script, path, *([key_file] if keyed else [])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_the_example_is_a_real_log(path, verify):
    """Somebody who writes a verifier can try it on the example."""
    path.write_bytes(block("jsonl").encode())
    report = verify_log(path)
    assert (report.ok, report.records, len(report.warnings)) == (True, 4, 1)
    assert f"Its head is `{report.head}`" in PAGE
    assert verify().stdout == f"4 records, head {report.head}\n"


@pytest.mark.parametrize("keyed", [False, True])
def test_the_short_verifier_agrees_with_ours(path, key, event, verify, keyed):
    """On good logs, plain and keyed, with an unfinished line in them."""
    options = {"key": key} if keyed else {}
    log = AuditLog(path, **options)
    for number in range(5):
        log.append(event(number, key="käse", context={"a": "00"}))
    with path.open("ab") as file:
        file.write(b"\0\0\0")
    log.append(event(5))
    log.close()
    report = verify_log(path, **options)
    assert report.ok
    assert verify(keyed=keyed).stdout == f"{report.records} records, head {report.head}\n"


TAMPERING = {
    "changed": lambda lines: [*lines[:2], lines[2].replace(b"key-1", b"key-9"), *lines[3:]],
    "removed": lambda lines: lines[:2] + lines[3:],
    "reordered": lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
    "repeated": lambda lines: [*lines[:2], lines[1], *lines[2:]],
    "inserted": lambda lines: [*lines[:2], b"hello\n", *lines[2:]],
    "unfinished": lambda lines: [*lines[:-1], lines[-1][:-1]],
    "headless": lambda lines: lines[1:],
    "empty": lambda _lines: [],
}


@pytest.mark.parametrize("how", TAMPERING)
def test_the_short_verifier_finds_tampering(path, write, verify, how):
    """It stops with an error, wherever ours names a problem."""
    write(4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(TAMPERING[how](lines)))
    assert not verify_log(path).ok
    done = verify()
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
