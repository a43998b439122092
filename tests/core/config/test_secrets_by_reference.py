"""Secrets: referred to, read when needed, never accepted or shown themselves."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from kmscore.errors import ConfigError
from kmscore.plugin import Secret
from kmscore.secret import MAX_BYTES, secret_of

HIDDEN = "hunter2"


def secret(value, base=Path("/")):
    """The secret that an option refers to."""
    return secret_of(value, where="[providers.dev] pin", base=base)


@pytest.fixture
def file(tmp_path):
    """A file with a secret, for its owner alone."""
    path = tmp_path / "pin"
    path.write_text(HIDDEN)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "value",
    [
        HIDDEN,
        b"hunter2 as bytes",
        12345,
        [HIDDEN],
        {},
        {"env": "A", "file": HIDDEN},
        {"value": HIDDEN},
        {HIDDEN: "x"},
        {"env": ""},
        {"env": 5},
        {"env": {"env": HIDDEN}},
        {"prompt": None},
        {"kms": "kms://hsm/root"},
        {"kms": "kms://hsm/root", "file": ""},
        {"kms": "kms://hsm/root", "file": "x", "env": HIDDEN},
        {"kms": "kms://hsm", "file": "x"},
        {"kms": "root", "file": "x"},
        {"kms": f"aws://{HIDDEN}", "file": "x"},
    ],
)
def test_what_is_no_reference_is_refused(value):
    """With the forms that are right, and without what was written."""
    with pytest.raises(ConfigError, match=r"^\[providers.dev\] pin ") as caught:
        secret(value)
    assert HIDDEN not in str(caught.value)
    assert '{ env = "NAME" }, { file = "PATH" }, { prompt = "TEXT" } or { kms' in caught.value.hint


def test_a_secret_in_code():
    """A function, or a Secret that is there already."""
    given = secret(lambda: b"x")
    assert given.reveal() == b"x"
    assert given.source == "code"
    assert secret(given) is given


def test_a_secret_is_read_when_it_is_needed(tmp_path, monkeypatch):
    """Not when the configuration is: what it refers to may not be there yet."""
    by_env = secret({"env": "LATE_PIN"})
    by_file = secret({"file": "late"}, tmp_path)
    for late in (by_env, by_file):
        with pytest.raises(ConfigError, match=r"^\[providers.dev\] pin"):
            late.reveal()
    monkeypatch.setenv("LATE_PIN", HIDDEN)
    (tmp_path / "late").touch(0o600)
    (tmp_path / "late").write_text(HIDDEN)
    assert by_env.reveal() == by_file.reveal() == HIDDEN.encode()


def test_a_secret_does_not_show_itself(file, monkeypatch):
    """Its repr tells where it comes from."""
    monkeypatch.setenv("PIN", HIDDEN)
    for value, shown in (
        ({"env": "PIN"}, "<Secret from env PIN>"),
        ({"file": str(file)}, f"<Secret from file {file}>"),
        ({"prompt": "PIN of the token"}, "<Secret from prompt 'PIN of the token'>"),
    ):
        found = secret(value)
        assert isinstance(found, Secret)
        assert repr(found) == shown


def test_an_environment_variable(monkeypatch):
    """Bytes as the system has them; missing and empty are the same mistake."""
    monkeypatch.setenv("PIN", "é\udcff")
    assert secret({"env": "PIN"}).reveal() == b"\xc3\xa9\xff"
    for change in (lambda: monkeypatch.setenv("PIN", ""), lambda: monkeypatch.delenv("PIN")):
        change()
        with pytest.raises(ConfigError, match="variable PIN is not set") as caught:
            secret({"env": "PIN"}).reveal()
        assert "export PIN=" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"pin", b"pin"),
        (b"pin\n", b"pin"),
        (b"pin\r\n", b"pin"),
        (b"pin\n\n", b"pin\n"),
        (b"pin\r", b"pin\r"),
        (b" pin ", b" pin "),
        (b"\npin", b"\npin"),
        ("clé\n".encode(), "clé".encode()),
        (b"a\tb\nc\n", b"a\tb\nc"),
        (b"\x00\n", b"\x00\n"),
        (b"\xff\n", b"\xff\n"),
    ],
)
def test_one_line_break_at_the_end_of_a_text_is_no_part_of_it(file, content, value):
    """Everything else is; one in 256 random keys ends with that byte."""
    file.write_bytes(content)
    assert secret({"file": str(file)}).reveal() == value


def test_a_file_counts_from_the_folder_of_the_configuration(file, monkeypatch):
    """Or from the user's home."""
    assert secret({"file": "pin"}, file.parent).reveal() == HIDDEN.encode()
    monkeypatch.setenv("HOME", str(file.parent))
    assert secret({"file": "~/pin"}).reveal() == HIDDEN.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_file_that_others_may_use_is_refused(file, mode):
    """The hint is the command that mends it."""
    file.chmod(mode)
    with pytest.raises(ConfigError, match="others than its owner may use") as caught:
        secret({"file": str(file)}).reveal()
    assert caught.value.hint == f"Run: chmod 600 {file}"


def test_files_that_hold_no_secret(file):
    """Missing, empty, only a line break, too large, a folder, a device."""
    file.with_name("missing")
    for path, message in (
        (file.with_name("missing"), "cannot be read: No such file"),
        (file.parent, "is no regular file|Is a directory"),
        (Path("/dev/zero"), "is no regular file"),
    ):
        with pytest.raises(ConfigError, match=message):
            secret({"file": str(path)}).reveal()
    for content, message in ((b"", "is empty"), (b"\n", "is empty"), (b"\r\n", "is empty")):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            secret({"file": str(file)}).reveal()
    file.write_bytes(bytes(MAX_BYTES))
    assert len(secret({"file": str(file)}).reveal()) == MAX_BYTES
    file.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        secret({"file": str(file)}).reveal()


def test_a_pipe_instead_of_a_file_does_not_hang(tmp_path):
    """It is refused, though nobody writes to it."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is no regular file"):
        secret({"file": "pipe"}, tmp_path).reveal()


ASK = """
import sys
from pathlib import Path
from kmscore.errors import ConfigError
from kmscore.secret import secret_of
try:
    got = secret_of({"prompt": "PIN"}, where="[providers.dev] pin", base=Path("/")).reveal()
    sys.stdout.write(got.hex())
except ConfigError as error:
    sys.stdout.write(str(error))
"""


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, None])
def test_without_a_terminal_nobody_can_be_asked(stdin):
    """Neither from a pipe nor with standard input closed."""
    command = [sys.executable, "-c", ASK]
    if stdin is None:
        command = ["sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, ASK]
    done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True)
    assert "there is no terminal to ask at. Refer to a file or" in done.stdout


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"hunter2\n", HIDDEN.encode().hex()),
        (b"\n", "nothing was entered"),
        (b"\x04", "nothing was entered"),  # Ctrl-D
        (b"\xff\n", "not in the character set of this terminal"),
    ],
)
def test_a_secret_is_asked_for_at_a_terminal(typed, answer):
    """The question is the one of the configuration, and what is typed is not shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ASK],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    ) as running:
        os.close(theirs)
        shown = b""
        while b"PIN: " not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, typed)
        out, _ = running.communicate()
    with contextlib.suppress(OSError):  # so Linux says that nobody is at the other side
        while more := os.read(ours, 1000):
            shown += more
    os.close(ours)
    assert running.returncode == 0
    assert answer in out.decode()
    assert HIDDEN not in shown.decode()
