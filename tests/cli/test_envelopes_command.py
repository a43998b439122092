"""Data of any size from the command line: files, folders and pipes."""

import json
import os
import pty
import subprocess

import pytest

from kmscore.client import connect

from .conftest import KMSCORE

LARGE = bytes(range(256)) * 12_000


@pytest.fixture
def sealed(cli, key, home):
    """A message for the key orders, with a context."""
    (home / "plain").write_bytes(LARGE)
    done = cli(
        *("envelope", "encrypt", "--key", "orders", "--context", "a=1"),
        *("-i", "plain", "-o", "sealed"),
    )
    assert (done.code, done.out) == (0, b"")
    return home / "sealed"


def test_a_file_there_and_back(cli, sealed, home):
    """With a key named, or with all of the provider; never without the right context."""
    for keys in ([], ["--key", "orders"], ["--key", "kms://dev/orders"]):
        done = cli(
            *("envelope", "decrypt", *keys, "--context", "a=1"),
            *("-i", "sealed", "-o", "back", "--force"),
        )
        assert done.code == 0, done.err
        assert (home / "back").read_bytes() == LARGE
    for context in ([], ["--context", "a=2"]):
        done = cli("envelope", "decrypt", *context, "-i", "sealed", "-o", "wrong")
        assert done.code == 1
        assert not (home / "wrong").exists()


@pytest.mark.parametrize("suite", ["AES_256_GCM", "SM4_GCM"])
def test_pipes(cli, key, suite):
    """From standard input to standard output, or to a file."""
    done = cli("envelope", "encrypt", "--key", "orders", "--suite", suite, stdin=LARGE)
    assert done.code == 0
    assert LARGE[:64] not in done.out
    assert cli("envelope", "decrypt", stdin=done.out).out == LARGE
    shown = json.loads(cli("envelope", "inspect", "--json", stdin=done.out).out)
    assert suite in shown["suite_name"]


def test_a_pipe_at_one_end(cli, key, home):
    """A file at the other is whole or not there."""
    done = cli("envelope", "encrypt", "--key", "orders", "-o", "sealed", stdin=LARGE)
    assert (done.code, done.out) == (0, b"")
    assert cli("envelope", "decrypt", "-i", "sealed").out == LARGE
    message = (home / "sealed").read_bytes()
    cut = cli("envelope", "decrypt", "-o", "back", stdin=message[:-1])
    assert cut.code == 1
    assert not (home / "back").exists()
    done = cli("envelope", "decrypt", "-i", "missing")
    assert (done.code, "cannot read missing" in done.err) == (1, True)


def test_a_plaintext_from_a_pipe_is_private(cli, sealed, home):
    """Nobody knows who could read it before."""
    before = os.umask(0o022)
    try:
        message = sealed.read_bytes()
        cli("envelope", "decrypt", "--context", "a=1", "-o", "back", stdin=message)
        cli("envelope", "encrypt", "--key", "orders", "-o", "again", stdin=LARGE)
    finally:
        os.umask(before)
    assert (home / "back").read_bytes() == LARGE
    modes = [(home / name).stat().st_mode & 0o777 for name in ("back", "again")]
    assert modes == [0o600, 0o644]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_a_terminal_cannot_show_is_escaped(cli, process, key, encoding):
    """A context of any language is shown in any locale."""
    command = ["envelope", "encrypt", "--key", "orders", "--context", "name=\u540d"]
    message = cli(*command, stdin=b"x").out
    env = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    for options, shown in (([], r"name=\u540d"), (["--json"], r'{"name": "\u540d"}')):
        done = process("envelope", "inspect", *options, stdin=message, env=env)
        assert (done.code, done.err, shown in done.text) == (0, "", True)


def test_real_pipes(process, key, tmp_path):
    """Two processes and a shell."""
    line = f"{KMSCORE} envelope encrypt --key orders | {KMSCORE} envelope decrypt"
    done = subprocess.run(["sh", "-c", line], input=LARGE, capture_output=True, check=True)
    assert (done.stdout == LARGE, done.stderr) == (True, b"")


def test_a_message_that_was_altered_is_not_delivered(cli, sealed, home):
    """As an error, and without a file."""
    message = bytearray(sealed.read_bytes())
    message[-200] ^= 1
    sealed.write_bytes(message)
    done = cli("envelope", "decrypt", "--context", "a=1", "-i", "sealed", "-o", "back")
    assert done.code == 1
    assert "altered" in done.err
    assert sorted(path.name for path in home.iterdir() if "back" in path.name) == []


def test_existing_files_are_kept(cli, sealed, home):
    """Unless --force says otherwise; and input is never output."""
    (home / "back").write_bytes(b"precious")
    command = ["envelope", "decrypt", "--context", "a=1", "-i", "sealed", "-o", "back"]
    done = cli(*command)
    assert (done.code, "--force" in done.err) == (1, True)
    assert (home / "back").read_bytes() == b"precious"
    assert cli(*command, "--force").code == 0
    assert (home / "back").read_bytes() == LARGE
    before = (home / "plain").read_bytes()
    done = cli("envelope", "encrypt", "--key", "orders", "-i", "plain", "-o", "plain", "--force")
    assert done.code != 0
    assert (home / "plain").read_bytes() == before


def test_several_recipients(cli, key, home):
    """Each of them opens it alone; inspect names them without any key."""
    cli("keys", "create", "--provider", "other", "--alias", "backup")
    keys = ["--key", "orders", "--key", "kms://other/backup"]
    message = cli("envelope", "encrypt", *keys, "--context", "app=web", stdin=b"secret").out
    for reference in ("orders", "kms://other/backup"):
        done = cli("envelope", "decrypt", "--key", reference, "--context", "app=web", stdin=message)
        assert done.out == b"secret"
    (home / "message").write_bytes(message)
    shown = cli("envelope", "inspect", "-i", "message").text
    assert "context:    app=web" in shown
    assert shown.count("recipient:") == 2
    assert key in shown
    assert len(json.loads(cli("envelope", "inspect", "--json", "-i", "message").out)) >= 5


def test_a_key_out_of_reach_is_passed_over(cli, key, home):
    """One that is at hand is enough, to decrypt and to rewrap; without any, its error is told."""
    message = cli("envelope", "encrypt", "--key", "orders", stdin=b"secret").out
    with (home / "kms.toml").open("a") as file:
        file.write(
            '[providers.away]\ntype = "tencent"\nregion = "ap-guangzhou"\n'
            'endpoint = "http://127.0.0.1:1"\n'
            'credentials.secret_id = { env = "ROOT_KEY" }\n'
            'credentials.secret_key = { env = "ROOT_KEY" }\n'
            "[retry]\nmax_attempts = 1\n"
        )
    keys = ["--key", "kms://away/orders", "--key", "orders"]
    done = cli("envelope", "decrypt", *keys, stdin=message)
    assert (done.code, done.out) == (0, b"secret")
    assert "a key is out of reach, and left out: away describe_key orders" in done.err
    openers = ["--opener", "kms://away/orders", "--opener", "orders"]
    assert cli("envelope", "rewrap", "--key", "orders", *openers, stdin=message).code == 0
    alone = cli("envelope", "decrypt", "--key", "kms://away/orders", stdin=message)
    assert (alone.code, alone.out) == (5, b"")


def test_a_provider_is_opened_once_for_several_keys(cli, key, home, monkeypatch):
    """Its secret is fetched once: who types it in does so once."""
    cli("keys", "create", "--alias", "backup")
    cli("keys", "create", "--provider", "other", "--alias", "third")
    opened = []

    def count(name=None, *, config=None):
        opened.append(name)
        return connect(name, config=config)

    monkeypatch.setattr("kmscore.client.connect", count)
    keys = ["orders", "kms://dev/backup", "kms://other/third"]
    recipients = [word for each in keys for word in ("--key", each)]
    assert cli("envelope", "encrypt", *recipients, stdin=b"x").code == 0
    assert opened == [None, "other"]


def test_recipients_are_changed(cli, sealed, home):
    """The old one has no access to the new message; in place or into another file."""
    cli("keys", "create", "--alias", "new")
    command = ["envelope", "rewrap", "--key", "new", "--context", "a=1", "-i", "sealed"]
    done = cli(*command, "--opener", "orders", "-o", "other")
    assert (done.code, "1 recipient" in done.err) == (0, True)
    assert cli(*command).code == 0
    for name in ("other", "sealed"):
        opened = cli("envelope", "decrypt", "--key", "new", "--context", "a=1", "-i", name)
        assert opened.out == LARGE
        refused = cli("envelope", "decrypt", "--key", "orders", "--context", "a=1", "-i", name)
        assert (refused.code, refused.out) == (1, b"")


def test_a_pipe_is_inspected_without_its_end(sealed):
    """A header is all that is read."""
    with subprocess.Popen(
        [KMSCORE, "envelope", "inspect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(sealed.read_bytes()[:1000])
        process.stdin.flush()
        assert process.wait(timeout=60) == 0


def test_an_output_that_is_there_is_told(cli, sealed, home):
    """With --resume nothing is done then, and nobody is told that it was."""
    command = ["envelope", "rewrap", "--key", "orders", "--context", "a=1", "-i", "sealed"]
    assert cli(*command, "-o", "new").err == "new is for 1 recipient now\n"
    before = (home / "new").read_bytes()
    done = cli(*command, "-o", "new", "--resume")
    assert (done.code, done.err) == (0, "new was there already\n")
    assert (home / "new").read_bytes() == before


@pytest.fixture
def tree(home):
    """A folder with files in folders."""
    (home / "tree/deep").mkdir(parents=True)
    (home / "tree/one").write_bytes(b"1")
    (home / "tree/deep/two").write_bytes(b"2")
    (home / "three").write_bytes(b"3")
    return home


@pytest.mark.parametrize("options", [[], ["--key-per-file"]])
def test_folders(cli, key, tree, options):
    """What they hold keeps its names, with .kms."""
    command = ["envelope", "encrypt", "--key", "orders", *options]
    done = cli(*command, "tree", "three", "-o", "sealed", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["done"] == 3
    found = sorted(
        str(p.relative_to(tree / "sealed")) for p in (tree / "sealed").rglob("*") if p.is_file()
    )
    assert found == ["deep/two.kms", "one.kms", "three.kms"]
    done = cli("envelope", "decrypt", "sealed", "-o", "back")
    assert (done.code, done.out) == (0, b"")
    assert "3 files done, 0 were there" in done.err
    assert (tree / "back/deep/two").read_bytes() == b"2"
    assert (tree / "back/three").read_bytes() == b"3"


def test_a_single_file_becomes_a_file(cli, key, tree):
    """As with cp: a folder only where one is, or where a slash says so."""
    encrypt = ["envelope", "encrypt", "--key", "orders", "three", "-o"]
    assert cli(*encrypt, "three.kms").code == 0
    assert cli("envelope", "decrypt", "three.kms", "-o", "back").code == 0
    assert (tree / "back").read_bytes() == b"3"
    assert cli(*encrypt, "three.kms").code == 1
    assert cli(*encrypt, "new/").code == 0
    (tree / "old").mkdir()
    assert cli(*encrypt, "old").code == 0
    assert (tree / "new/three.kms").is_file()
    assert (tree / "old/three.kms").is_file()
    assert cli("envelope", "decrypt", "new/*", "-o", "several").code == 0
    assert (tree / "several/three").read_bytes() == b"3"


def test_a_run_is_resumed(cli, key, tree):
    """What is there is complete, and left out."""
    cli("envelope", "encrypt", "--key", "orders", "three", "-o", "sealed/")
    done = cli("envelope", "encrypt", "--key", "orders", "tree", "three", "-o", "sealed")
    assert done.code == 1
    again = ["envelope", "encrypt", "--key", "orders", "tree", "three", "-o", "sealed", "--resume"]
    done = cli(*again)
    assert done.code == 0
    assert "were there already" in done.err
    assert "0 files done, 3 were there" in cli(*again).err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["encrypt"], 2, "--key"),
        (["encrypt", "--key", "nobody"], 1, "no such key"),
        (["encrypt", "--key", "orders", "--suite", "ROT13"], 1, "ROT13"),
        (["encrypt", "--key", "orders", "tree"], 2, "SOURCES need -o"),
        (["encrypt", "--key", "orders", "three"], 2, "for one file: -i FILE -o FILE"),
        (["encrypt", "--key", "orders", "tree", "-o", "three"], 1, "three is no folder"),
        (["encrypt", "--key", "orders", "tree", "-i", "three", "-o", "x"], 2, "-i"),
        (["encrypt", "--key", "orders", "three", "tree/three", "-o", "x"], 2, "the same file"),
        (["encrypt", "--key", "orders", "missing", "-o", "x"], 1, "cannot read"),
        (["encrypt", "--key", "orders", "three", "-o", "tree/one"], 1, "tree/one"),
        (["decrypt", "three", "-o", "x/"], 2, "does not end in .kms"),
        (["decrypt", "missing", "-o", "x/"], 1, "there is no missing"),
        (["decrypt", "three", "-o", "x"], 1, "no envelope message"),
        (["decrypt", "missing", "-o", "x"], 1, "cannot read missing"),
        (["decrypt", "-i", "three", "-o", "x"], 1, "no envelope message"),
        (["decrypt", "-i", "missing", "-o", "x"], 1, "cannot read missing"),
        (["rewrap", "-i", "three"], 2, "--key"),
        (["rewrap", "--key", "orders"], 1, "cut off"),
        (["rewrap", "--key", "orders", "-i", "three"], 1, "no envelope message"),
        (["inspect", "-i", "missing"], 1, "cannot read missing"),
        (["inspect", "-i", "three"], 1, "no envelope message"),
    ],
)
def test_what_is_refused(cli, key, tree, arguments, code, text):
    """One clear error, and nothing is written."""
    done = cli("envelope", *arguments)
    assert done.code == code
    assert text in done.err
    assert not (tree / "x").is_file()
    assert (tree / "three").read_bytes() == b"3"


@pytest.mark.parametrize("command", ["encrypt", "decrypt", "rewrap", "inspect"])
@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_file_can_be_named(cli, key, home, command, name):
    """A zero byte ends a name in the system; an empty one is a variable that is not set."""
    keys = [] if command in ("decrypt", "inspect") else ["--key", "orders"]
    (home / "x.kms").write_bytes(b"x")
    output = [] if command == "inspect" else ["-o", "safe"]
    for files in (["-i", name], ["x.kms", *output[:1], name], [name, *output]):
        done = cli("envelope", command, *keys, *files)
        assert (done.code, f"{name!r} is no path" in done.err) == (1, True), done.err


def test_progress_is_shown_to_people(home, key):
    """On a terminal only, and binary never goes there."""
    (home / "plain").write_bytes(LARGE)
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    command = [str(KMSCORE), "envelope", "encrypt", "--key", "orders"]
    subprocess.run([*command, "-i", "plain", "-o", "sealed"], stderr=theirs, check=True)
    assert b"100%" in os.read(ours, 10_000)
    (home / "sealed").replace(home / "sealed.kms")
    for resume in ([], ["--resume"]):
        run = ["envelope", "decrypt", "sealed.kms", "-o", "back/", *resume]
        subprocess.run([str(KMSCORE), *run], stderr=theirs, check=True)
        assert b"100%" in os.read(ours, 10_000)
    # A pipe has no size, so that nobody knows how much is left of it.
    piped = [*command, "-o", "piped"]
    subprocess.run(piped, input=LARGE, stderr=theirs, check=True)
    shown = os.read(ours, 10_000)
    assert (b"2 MiB" in shown, b"%" in shown) == (True, False)
    refused = subprocess.run(
        command, input=b"x", stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    assert (refused.returncode, b"terminal" in refused.stderr) == (2, True)
    os.close(theirs)
    os.close(ours)
