"""Bad input and bad luck: one clear error, the right exit code, nothing half-written."""

import contextlib
import json
import os
import pty
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from kmscore.cli import main
from kmscore.cli.exit_codes import exit_code
from kmscore.cli.streams import whole_folder, write_file
from kmscore.errors import (
    AuthenticationFailed,
    ConfigError,
    InternalError,
    KeyNotFound,
    PluginError,
    Throttled,
    Timeout,
    Unavailable,
)

from .conftest import KMSCORE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError, 3),
        (PluginError, 3),
        (AuthenticationFailed, 3),
        (Unavailable, 5),
        (Timeout, 5),
        (Throttled, 5),
        (KeyNotFound, 1),
        (InternalError, 1),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    """As documented."""
    assert exit_code(error("m")) == code


DEV = "[providers.dev]\ntype = 'software'\npath = 'x'\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[providers", "is not TOML"),
        ('defualt = "dev"', "Did you mean 'default'"),
        ('default = "nobody"', "nobody"),
        ("[providers.dev]\npath = 'x'", "lacks the key 'type'"),
        ("[providers.dev]\ntype = 'softwear'", "Did you mean 'software'"),
        ("[providers.dev]\ntype = 'software'", "lacks the key 'path'"),
        (
            "[providers.dev]\ntype = 'software'\npath = 'x'\nroot_key = 'inline secret'",
            "must refer to a secret",
        ),
        ("[providers.dev]\ntype = 'software'\npath = 'x'", "root_key or passphrase"),
        ("[providers.dev]\ntype = 'software'\npath = 5", "must be a path"),
        ("[providers.dev]\ntype = 'software'\npath = \"a\\u0000b\"", "zero byte"),
        ("[providers.dev]\ntype = 'software'\npath = '~nobody-is-called-so/x'", "without ~"),
        (f'{DEV}root_key = {{ file = "a\\u0000b" }}', "zero byte"),
        (f"{DEV}root_key = {{ file = '~nobody-is-called-so/x' }}", "without ~"),
        (f'{DEV}root_key = {{ env = "a\\u0000b" }}', "that name"),
        (f"{DEV}root_key = {{ env = 'a=b' }}", "that name"),
        ('[audit]\npath = "a\\u0000b"', "zero byte"),
        (f"[retry]\nmax_delay = 1{'0' * 400}", "[retry]: max_delay of the retry policy is out of"),
        (f"default = 1{'0' * 5000}", "too long"),
        (f"default = {'[' * 5000}{']' * 5000}", "too deeply"),
    ],
)
def test_a_broken_configuration(cli, home, content, text):
    """What, where, and what was probably meant; secrets are not repeated."""
    (home / "kms.toml").write_text(content)
    done = cli("keys", "list")
    assert done.code == 3
    assert text in done.err
    assert "inline secret" not in done.err


def test_a_working_directory_that_was_removed(process, home, monkeypatch):
    """Holds no configuration; that is all."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    (home / "gone").mkdir()
    monkeypatch.chdir(home / "gone")
    (home / "gone").rmdir()
    done = process("keys", "list")
    monkeypatch.chdir(home)
    assert (done.code, done.out) == (3, b"")
    assert "no configuration" in done.err


def test_a_missing_configuration(cli, home, monkeypatch):
    """It says where was looked."""
    (home / "kms.toml").unlink()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    done = cli("keys", "list")
    assert done.code == 3
    assert "KMSCORE_CONFIG" in done.err
    assert "xdg" in done.err


@pytest.mark.parametrize("name", ["nobody", "kms://nobody"])
def test_an_unknown_provider(cli, name):
    """With the ones that there are."""
    done = cli("keys", "list", "--provider", name)
    assert done.code == 3
    assert "nobody" in done.err


def test_two_providers_at_once(cli, key):
    """The URI and the option must agree."""
    done = cli("encrypt", "--key", "kms://dev/orders", "--provider", "other", stdin=b"x")
    assert done.code == 1
    assert "another provider" in done.err
    assert cli("encrypt", "--key", "kms://other/orders", stdin=b"x").code == 1


def test_files_that_others_may_read(cli, key, home):
    """A keystore or a key file of wide mode is refused, with the command that mends it."""
    (home / "keystore.db").chmod(0o644)
    done = cli("keys", "list")
    assert done.code == 3
    assert "chmod 600" in done.err


def test_errors_for_machines(cli, key):
    """As JSON on stderr, with the class and the hint."""
    done = cli("--json", "keys", "show", "nobody")
    assert done.code == 1
    error = json.loads(done.err)["error"]
    assert error["type"] == "KeyNotFound"
    assert error["key"] == "nobody"
    assert error["hint"]


def test_input_that_is_output(cli, key, home):
    """Nobody's plaintext is overwritten."""
    (home / "f").write_bytes(b"precious")
    (home / "link").symlink_to(home / "f")
    for target in ("f", "./f", "link"):
        assert cli("encrypt", "--key", "orders", "-i", "f", "-o", target).code == 2
    assert (home / "f").read_bytes() == b"precious"


def test_output_that_cannot_be_written(cli, key, home):
    """No folder, or a folder instead of a file."""
    for target in ("no/such/place", "."):
        done = cli("encrypt", "--key", "orders", "-o", target, stdin=b"x")
        assert done.code == 1
        assert "cannot write" in done.err
    assert cli("encrypt", "--key", "orders", "-o", "/dev/null", stdin=b"x").code == 0


def test_a_full_disk(home):
    """The error says so, and neither the file nor half of it is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(Unavailable, match="cannot write out: File too large"):
            write_file(Path("out"), bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in home.iterdir()] == ["kms.toml"]


def test_a_disk_that_fills_up_between_files(home):
    """Files that belong together are there together, or not at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_two():
        with whole_folder("import") as place:
            write_file(place / "one", bytes(1000))
            resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
            write_file(place / "two", bytes(1000))

    try:
        with pytest.raises(Unavailable):
            write_two()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((home / "import").iterdir()) == []


def test_a_full_disk_under_a_large_output(process, key, home):
    """The same for a message that is written in pieces."""

    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    (home / "plain").write_bytes(bytes(3 << 20))
    before = set(home.iterdir())
    done = process(
        "envelope", "encrypt", "--key", "orders", "-i", "plain", "-o", "out", preexec_fn=no_room
    )
    assert done.code == 5
    assert "Traceback" not in done.err
    assert {path.name for path in set(home.iterdir()) - before} <= {"keystore.db-wal"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "list"],
        ["random", "9"],
        ["data-key", "--key", "orders", "--wrapped", "w"],
        ["--version"],
        ["--help"],
    ],
)
def test_output_that_goes_to_a_full_disk(home, key, arguments):
    """Text or binary: the error says so, once, and the exit code too."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - the device is the point
        done = subprocess.run(
            [KMSCORE, *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 5
    assert done.stderr == b"error: standard output: No space left on device\n"
    assert not (home / "w").exists()


def test_streams_that_are_closed(home, key):
    """A process may be started without them."""
    for redirection, text in (("<&-", b"input is closed"), ("</dev/null >&-", b"empty")):
        done = subprocess.run(
            ["sh", "-c", f"exec '{KMSCORE}' encrypt --key orders {redirection}"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1
        assert text in done.stderr
    done = subprocess.run(
        ["sh", "-c", f"exec '{KMSCORE}' random 9 >&-"], capture_output=True, check=False
    )
    assert (done.returncode, b"output is closed" in done.stderr) == (1, True)


def test_binary_does_not_go_to_a_terminal(process, key, home):
    """It would garble it; text may."""
    sealed = process("encrypt", "--key", "orders", stdin=b"x")
    assert sealed.code == 0
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            [KMSCORE, "encrypt", "--key", "orders"],
            input=b"x",
            stdout=follower,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == 2
        assert b"terminal" in done.stderr
        done = subprocess.run([KMSCORE, "decrypt"], input=sealed.out, stdout=follower, check=False)
        assert done.returncode == 0
        assert os.read(leader, 10) == b"x"
    finally:
        os.close(leader)
        os.close(follower)


def interrupted(running):
    """Interrupts a command as a user would, again if need be; returns what it wrote to stderr.

    An interrupt that comes just before a process begins to wait in the kernel does not wake it.
    """
    for _ in range(50):
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return running.communicate(timeout=2)[1]
    running.kill()
    raise AssertionError("the command does not end")


def test_an_interrupt(home, key):
    """Exit code 130, without a traceback, and without a file."""
    os.mkfifo("fifo")
    command = [str(KMSCORE), "encrypt", "--key", "orders", "-i", "fifo", "-o", "out"]
    # Tests that a shell started in the background ignore interrupts, and so would the command.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as running:
        signal.signal(signal.SIGINT, before)
        pipe = None
        while pipe is None and running.poll() is None:
            # The pipe opens when the command has opened it too: then it waits for input.
            with contextlib.suppress(OSError):
                pipe = os.open("fifo", os.O_WRONLY | os.O_NONBLOCK)
        err = interrupted(running)
    if pipe is not None:
        os.close(pipe)
    assert running.returncode == 130
    assert err.strip() == b""
    assert not (home / "out").exists()


def test_an_interrupt_while_starting(home, monkeypatch):
    """Before there is a command to interrupt."""

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("kmscore.cli.app.run", interrupt)
    assert main(["keys", "list"]) == 130


@pytest.mark.parametrize("command", [["keys", "list"], ["random", "900"]])
def test_a_reader_that_has_seen_enough(home, key, command):
    """A closed pipe is quiet; that not all was delivered is told by the exit code."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen([KMSCORE, *command], stdout=writer, stderr=subprocess.PIPE) as running:
        os.close(writer)
        _, err = running.communicate()
    assert (running.returncode, err) == (1, b"")


def test_a_defect_is_one_line_unless_debugged(cli, home, monkeypatch):
    """And its text, which may hold a secret, is not shown."""

    def break_down(*_arguments, **_named):
        raise RuntimeError("hunter2")

    monkeypatch.setattr("kmscore.client.connect", break_down)
    done = cli("keys", "list")
    assert done.code == 1
    assert "RuntimeError" in done.err
    assert "hunter2" not in done.err
    assert main(["--debug", "keys", "list"]) == 1


def test_debug_shows_where_an_error_came_from(process, home, monkeypatch):
    """For the report of a defect; the message and the exit code stay."""
    done = process("--debug", "keys", "show", "nobody")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "\nerror: " in done.err
    monkeypatch.delenv("ROOT_KEY")
    assert process("keys", "list", "--debug").code == 3


@pytest.mark.parametrize(("option", "code"), [("--config", 3), ("--provider", 1)])
def test_an_empty_name_is_not_the_default(cli, option, code):
    """A script whose variable is not set must not reach another keystore."""
    done = cli("keys", "list", option, "")
    assert (done.code, done.out) == (code, b"")


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        (["keys", "show", "nobody"], "KeyNotFound", 1),
        (["keys", "show"], "Usage", 2),
        (["frobnicate"], "Usage", 2),
    ],
)
def test_every_error_in_json_has_the_same_fields(cli, key, arguments, kind, code):
    """As the page says, whether there is something in them or not."""
    done = cli(*arguments, "--json")
    error = json.loads(done.err)["error"]
    assert (done.code, error["type"]) == (code, kind)
    fields = ["message", "hint", "provider", "operation", "key", "code", "request_id"]
    assert list(error) == ["type", *fields]
    assert error["message"]


@pytest.mark.parametrize("arguments", [[], ["keys"], ["audit"]])
def test_a_command_that_is_not_named_is_asked_for_with_the_help(cli, arguments):
    """Which begins as help does, and is an error all the same."""
    done = cli(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("Usage: ")
