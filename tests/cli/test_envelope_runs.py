"""Many files in one command: patterns, folders with anything in them, and runs that go wrong."""

import errno
import json
import os
import signal
import socket
import subprocess

import pytest

from .conftest import KMSCORE


def files(folder):
    """Everything in a folder but folders, by relative names."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def encrypt(cli, key):
    """Encrypts for the key orders."""

    def run(*arguments):
        return cli("envelope", "encrypt", "--key", "orders", *arguments)

    return run


@pytest.fixture
def tree(home):
    """A folder with all that there can be in one."""
    deep = home / "tree/deep"
    deep.mkdir(parents=True)
    (home / "tree/one").write_bytes(b"1")
    (deep / "two").write_bytes(b"2")
    (home / "outside").mkdir()
    (home / "outside/secret").write_bytes(b"s")
    (deep / "file-link").symlink_to(home / "outside/secret")
    (deep / "folder-link").symlink_to(home / "outside")
    (deep / "nowhere").symlink_to(home / "missing")
    os.mkfifo(deep / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(deep / "socket"))
    return home


def test_links_and_special_files_in_folders_are_left_out(encrypt, tree):
    """And named, so that nobody takes them for saved."""
    done = encrypt("tree", "-o", "safe")
    assert done.code == 0, done.err
    assert files(tree / "safe") == ["deep/two.kms", "one.kms"]
    for name in ("file-link", "folder-link", "nowhere"):
        assert f"left out: tree/deep/{name} is a symbolic link" in done.err
    for name in ("pipe", "socket"):
        assert f"left out: tree/deep/{name} is no regular file" in done.err
    shown = json.loads(encrypt("tree", "-o", "safe", "--resume", "--json").out)
    assert (shown["done"], shown["skipped"], len(shown["left_out"])) == (0, 2, 5)


def test_a_link_that_is_named_is_followed(encrypt, cli, tree):
    """Whoever names it means what it leads to."""
    done = encrypt("tree/deep/file-link", "tree/deep/folder-link", "-o", "safe")
    assert done.code == 0, done.err
    assert files(tree / "safe") == ["file-link.kms", "secret.kms"]
    assert cli("envelope", "decrypt", "-i", "safe/file-link.kms").out == b"s"


def test_patterns(encrypt, cli, home):
    """As of a shell, also at any depth; a file of that very name comes first."""
    for name in ("a.jpg", "b.jpg", "c.txt", "deep/d.jpg", "[x].jpg", "x.jpg"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(name)
    assert encrypt("[ab].jpg", "-o", "one").code == 0
    assert files(home / "one") == ["a.jpg.kms", "b.jpg.kms"]
    assert encrypt("**/*.jpg", "-o", "two").code == 0
    assert files(home / "two") == ["[x].jpg.kms", *(f"{n}.jpg.kms" for n in "abdx")]
    assert encrypt("[x].jpg", "-o", "three/").code == 0
    assert files(home / "three") == ["[x].jpg.kms"]
    done = encrypt("*.png", "-o", "four")
    assert (done.code, "nothing matches *.png" in done.err) == (1, True)
    assert cli("envelope", "decrypt", "two/*.kms", "-o", "back").code == 0
    assert (home / "back/d.jpg").read_text() == "deep/d.jpg"


def test_patterns_follow_no_links(encrypt, home):
    """They may lead back to where they are, and two of them twice as often at every step."""
    (home / "tree/deep").mkdir(parents=True)
    (home / "tree/deep/a").write_bytes(b"a")
    for name in ("up", "again"):
        (home / "tree/deep" / name).symlink_to("..")
    whole = [f"left out: tree/deep/{name} is a symbolic link" for name in ("again", "up")]
    for folder, pattern, found in (
        ("one", "tree/**", "deep/a.kms"),
        ("two", "tree/**/*", "a.kms"),
        ("three", "**/a", "a.kms"),
        ("four", "tree/*/*", "a.kms"),
        ("five", f"{home}/**/deep/*", "a.kms"),
    ):
        done = encrypt(pattern, "-o", f"../{folder}")
        assert done.code == 0, done.err
        assert files(home.parent / folder) == [found]
        links = [line.replace(f"{home}/", "") for line in done.err.splitlines()[:-1]]
        assert links == ([] if folder == "three" else whole)
    encrypt("**", "-o", "../six")
    assert "deep/a.kms" in files(home.parent / "six")


def test_what_a_pattern_matches_twice_is_done_once(encrypt, cli, home):
    """A folder and what is in it: ``**`` matches both. A file that is named again, too."""
    (home / "tree/deep/er").mkdir(parents=True)
    for name in ("one", "deep/two", "deep/er/three"):
        (home / "tree" / name).write_text(name)
    whole = ["deep/er/three.kms", "deep/two.kms", "one.kms"]
    for folder, sources, found in (
        ("a", ["tree/**"], whole),
        ("b", ["tree/**/*"], ["er/three.kms", "one.kms", "two.kms"]),
        ("c", ["tree", "tree/one", "tree/"], whole),
        ("e", ["tree", "./tree", f"{home}/tree/deep/../deep", "./tree/o*"], whole),
        ("d", ["tree/one", "tree/one", "tree/o*"], ["one.kms"]),
    ):
        done = encrypt(*sources, "-o", folder)
        assert done.code == 0, done.err
        assert files(home / folder) == found
    done = cli("envelope", "rewrap", "--key", "orders", "a", "./a", f"{home}/a/one.kms")
    assert (done.code, done.err) == (0, "3 files done, 0 were there already\n")


@pytest.mark.parametrize("name", ["two\nlines", "\udcff\udcfe", " ", "-i", "*", "tab\t.kms"])
def test_any_name_will_do(encrypt, cli, home, name):
    """In folders, in messages, and in JSON."""
    folder = home / "tree"
    folder.mkdir()
    (folder / name).write_bytes(b"content")
    done = encrypt("tree", "-o", "safe", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["outputs"] == [f"safe/{name}.kms"]
    again = encrypt("tree", "-o", "safe")
    assert again.code == 1
    assert sum("error:" in line for line in again.err.splitlines()) == 1
    assert "exists" in again.err
    assert cli("envelope", "decrypt", "safe", "-o", "back").code == 0
    assert (home / "back" / name).read_bytes() == b"content"
    assert cli("envelope", "inspect", "safe").code == 0


def test_one_bad_file_is_told_and_the_others_are_done(encrypt, cli, home):
    """Altered, cut, no message at all, already there: each by its name."""
    folder = home / "tree"
    folder.mkdir()
    for name in "abcdef":
        (folder / name).write_bytes(name.encode() * 1000)
    assert encrypt("tree", "-o", "safe").code == 0
    (home / "back").mkdir()
    (home / "back/a").write_text("precious")
    for name, change in {"b": lambda m: m[:-1], "c": lambda m: m[:-1] + b"?", "d": bytes}.items():
        path = home / f"safe/{name}.kms"
        path.write_bytes(change(path.read_bytes()) if name != "d" else b"nonsense")
    done = cli("envelope", "decrypt", "safe", "-o", "back")
    assert done.code == 1
    for name, word in {"a": "exists", "b": "cut off", "c": "altered", "d": "no envelope"}.items():
        assert any(f"safe/{name}.kms" in line and word in line for line in done.err.splitlines())
    assert "2 files done, 0 were there already, 4 failed" in done.err
    assert files(home / "back") == ["a", "e", "f"]
    assert (home / "back/a").read_text() == "precious"
    shown = cli("envelope", "decrypt", "safe", "-o", "back", "--resume", "--json")
    result = json.loads(shown.out)
    assert (shown.code, result["done"], result["skipped"]) == (1, 0, 3)
    assert [failed["error"]["type"] for failed in result["failed"]] == ["IntegrityError"] * 3


def test_what_would_fail_for_all_ends_the_run(cli, key, home, monkeypatch):
    """A disabled key is told once, and nothing is written."""
    folder = home / "tree"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(b"x")
    cli("keys", "disable", "orders")
    done = cli("envelope", "encrypt", "--key", "orders", "tree", "-o", "safe")
    assert done.code == 1
    assert done.err.count("error:") == 1
    assert files(home / "safe") == []


def test_a_full_disk_ends_the_run(encrypt, home, monkeypatch):
    """With its own exit code; what was complete before is there, and a later run goes on."""
    folder = home / "tree"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number:03}").write_bytes(b"x")
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    done = encrypt("tree", "-o", "safe")
    assert (done.code, "No space left" in done.err) == (5, True)
    assert 0 < len(files(home / "safe")) < 100
    monkeypatch.setattr(os, "fsync", real)
    assert encrypt("tree", "-o", "safe", "--resume").code == 0
    assert len(files(home / "safe")) == 100


def test_a_run_that_was_killed_is_resumed(key, cli, home):
    """Every output is whole or not there, and nothing else is left."""
    folder = home / "tree"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}").write_bytes(str(number).encode() * 1000)
    command = [str(KMSCORE), "envelope", "encrypt", "--key", "orders", "tree", "-o", "safe"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not (home / "safe").exists() or not any((home / "safe").iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    left = files(home / "safe")
    assert all(name.endswith(".kms") and len(name) == 7 for name in left)
    assert cli("envelope", "decrypt", "safe", "-o", "part").code == 0
    assert cli(*command[1:], "--resume").code == 0
    assert cli("envelope", "decrypt", "safe", "-o", "back").code == 0
    for number in range(300):
        assert (home / f"back/{number:03}").read_bytes() == str(number).encode() * 1000


def test_a_run_needs_few_descriptors(cli, key, home):
    """Where a process may have few files open, fewer are brought to the disk at a time."""
    (home / "tree").mkdir()
    for number in range(100):
        (home / "tree" / str(number)).write_bytes(b"x")
    for command in ("encrypt --key orders tree -o safe", "decrypt safe -o back"):
        line = f"ulimit -n 40; exec {KMSCORE} envelope {command}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "100 files done, 0 were there already\n")


def test_two_runs_at_once_share_the_work(encrypt, home, monkeypatch):
    """To each, what the other one made meanwhile was there already."""
    from kmscore.cli import runs

    (home / "tree").mkdir()
    for name in "ab":
        (home / "tree" / name).write_bytes(b"x")
    looked = []

    def quicker(job):
        """Looks, and then another run makes the file."""
        looked.append(job.target)
        (home / job.target).write_bytes(b"of the other run")
        return False

    monkeypatch.setattr(runs, "is_done", quicker)
    (home / "safe").mkdir()
    done = encrypt("tree", "-o", "safe", "--resume")
    assert (done.code, done.err) == (0, "0 files done, 2 were there already\n")
    assert looked == ["safe/a.kms", "safe/b.kms"]
    assert encrypt("tree", "-o", "safe").code == 1


def test_the_run_asks_the_provider_once(encrypt, cli, home):
    """Or once for each file, if that is wanted; the audit log counts."""
    folder = home / "tree"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(b"x")

    def asked(operation):
        lines = (home / "audit.jsonl").read_text().splitlines()
        return sum(json.loads(line).get("operation") == operation for line in lines)

    encrypt("tree", "-o", "one")
    assert asked("generate_data_key") == 1
    encrypt("tree", "-o", "each", "--key-per-file")
    assert asked("generate_data_key") == 4
    cli("envelope", "decrypt", "one", "-o", "back")
    assert asked("decrypt") == 1
    cli("envelope", "rewrap", "--key", "orders", "one")
    assert (asked("decrypt"), asked("generate_data_key")) == (2, 7)


def test_a_folder_may_hold_its_own_outputs(encrypt, home):
    """What was encrypted is not encrypted again."""
    folder = home / "tree"
    folder.mkdir()
    (folder / "a").write_bytes(b"x")
    for _ in range(2):
        assert encrypt("tree", "-o", "tree/safe", "--resume").code == 0
    assert files(folder) == ["a", "safe/a.kms"]


@pytest.mark.parametrize("output", ["tree", "./tree/", "link"])
@pytest.mark.parametrize("source", ["tree", "tree/**", "by the shell"])
def test_outputs_may_be_beside_their_inputs(encrypt, home, source, output):
    """A run that is done again encrypts nothing twice, also when the plaintexts are gone."""

    def run(*options):
        named = [f"tree/{path.name}" for path in (home / "tree").iterdir()]
        done = encrypt(*(named if source == "by the shell" else [source]), "-o", output, *options)
        assert done.code == 0, done.err
        return done.err

    (home / "tree").mkdir()
    (home / "link").symlink_to("tree")
    for name in ("a", "b.kms"):
        (home / "tree" / name).write_text(name)
    run()
    assert files(home / "tree") == ["a", "a.kms", "b.kms", "b.kms.kms"]
    assert run("--resume").splitlines() == ["0 files done, 2 were there already"]
    (home / "tree/a").unlink()
    assert "left out: tree/a.kms is encrypted already\n" in run("--resume")
    assert files(home / "tree") == ["a.kms", "b.kms", "b.kms.kms"]


def test_decrypted_files_may_be_beside_their_messages(encrypt, cli, home):
    """Again and again: what a message became is not decrypted itself."""
    (home / "tree").mkdir()
    (home / "tree/a").write_bytes(b"a")
    encrypt("tree", "-o", "tree")
    encrypt("-i", "tree/a.kms", "-o", "tree/a.kms.kms")
    for name in ("a", "a.kms"):
        (home / "tree" / name).unlink()
    for _ in range(2):
        done = cli("envelope", "decrypt", "tree", "-o", "tree", "--resume")
        assert (done.code, files(home / "tree")) == (0, ["a.kms", "a.kms.kms"])
    assert "left out: tree/a.kms is what another file becomes" in done.err


def test_no_input_is_overwritten_by_the_output_of_another(encrypt, home):
    """Not even with --force: it would be lost, or encrypted as what the other one is."""
    (home / "tree").mkdir()
    (home / "tree/a").write_text("a")
    (home / "tree/a.kms").write_text("no message")
    for option in ("--force", "--resume"):
        done = encrypt("tree", "-o", "tree", option)
        assert (done.code, "tree/a.kms is no message" in done.err) == (2, True)
    assert (home / "tree/a.kms").read_text() == "no message"


def test_a_file_that_is_its_own_output_is_not_taken_for_done(encrypt, cli, home):
    """--resume would say that all is well, and nothing would have been done."""
    (home / "tree").mkdir()
    (home / "tree/a").write_bytes(b"a")
    encrypt("tree", "-o", "safe")
    for command in (
        ["rewrap", "--key", "orders", "safe", "-o", "safe", "--resume"],
        ["rewrap", "--key", "orders", "-i", "safe/a.kms", "-o", "safe/a.kms", "--resume"],
        ["encrypt", "--key", "orders", "-i", "tree/a", "-o", "tree/a", "--resume"],
    ):
        done = cli("envelope", *command)
        assert (done.code > 0, "the same file" in done.err) == (True, True)


def test_only_a_file_is_an_output_that_is_there(encrypt, home):
    """A folder or a link of its name is in the way; --resume says so."""
    (home / "tree").mkdir()
    for name in "ab":
        (home / "tree" / name).write_bytes(b"x")
    (home / "safe/a.kms").mkdir(parents=True)
    (home / "safe/b.kms").symlink_to("nowhere")
    done = encrypt("tree", "-o", "safe", "--resume")
    assert (done.code, done.err.count("is no regular file")) == (1, 2)


def test_permissions_are_kept(encrypt, cli, home):
    """A private file stays private on both ways."""
    (home / "tree").mkdir()
    for name, mode in (("private", 0o600), ("tool", 0o750)):
        (home / "tree" / name).write_bytes(b"x")
        (home / "tree" / name).chmod(mode)
    encrypt("tree", "-o", "safe")
    cli("envelope", "decrypt", "safe", "-o", "back")
    for name, mode in (("private", 0o600), ("tool", 0o750)):
        assert (home / "safe" / f"{name}.kms").stat().st_mode & 0o777 == mode
        assert (home / "back" / name).stat().st_mode & 0o777 == mode


def test_a_pattern_may_match_more_than_messages(encrypt, cli, home):
    """What is none by its name is left out and told, as in a folder."""
    (home / "tree").mkdir()
    (home / "tree/a").write_bytes(b"a")
    encrypt("tree", "-o", "safe")
    (home / "safe/readme").write_text("no message")
    done = cli("envelope", "decrypt", "safe/*", "-o", "back")
    assert (done.code, files(home / "back")) == (0, ["a"])
    assert "left out: safe/readme does not end in .kms" in done.err
    assert cli("envelope", "inspect", "safe/*").code == 0
    assert cli("envelope", "decrypt", "safe/readme", "-o", "back").code == 2


def test_folders_keep_their_permissions_and_empty_ones_their_place(encrypt, cli, home):
    """What a private folder hid is not shown to others when it is decrypted."""
    for name, mode in (("", 0o700), ("shared", 0o750), ("shared/empty", 0o700), ("closed", 0o555)):
        (home / "tree" / name).mkdir()
        (home / "tree" / name).chmod(mode)
    (home / "tree/readable").write_bytes(b"x")
    (home / "other").mkdir(mode=0o755)
    assert encrypt("tree", "-o", "safe/inside").code == 0
    assert cli("envelope", "decrypt", "safe/inside", "-o", "back/").code == 0
    for folder in ("safe/inside", "back"):
        for name, mode in (("", 0o700), ("shared", 0o750), ("shared/empty", 0o700)):
            assert (home / folder / name).stat().st_mode & 0o777 == mode
        assert (home / folder / "closed").stat().st_mode & 0o777 == 0o755
    assert files(home / "back") == ["readable"]
    # Where two become one, the narrower holds.
    assert encrypt("other", "tree", "-o", "both").code == 0
    assert (home / "both").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_told(encrypt, home):
    """Something of its name is in the way; the others are done."""
    (home / "tree/a/empty").mkdir(parents=True)
    (home / "tree/a/x").write_bytes(b"x")
    (home / "tree/b").write_bytes(b"x")
    (home / "safe").mkdir()
    (home / "safe/a").write_text("in the way")
    done = encrypt("tree", "-o", "safe")
    assert (done.code, "cannot make the folder safe/a: File exists" in done.err) == (1, True)
    assert files(home / "safe") == ["a", "b.kms"]


def test_a_run_that_ends_early_tells_what_it_did(encrypt, cli, home, monkeypatch):
    """And what went wrong before: nobody has to find out by running it again."""
    (home / "tree").mkdir()
    for name in "abc":
        (home / "tree" / name).write_bytes(name.encode())
    encrypt("tree", "-o", "safe")
    (home / "safe/a.kms").write_text("nonsense")
    real = os.pwrite

    def full(handle, data, place):
        if bytes(data) == b"c":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data, place)

    monkeypatch.setattr(os, "pwrite", full)
    done = cli("envelope", "decrypt", "safe", "-o", "back")
    assert done.code == 5
    assert "error: safe/a.kms: this is no envelope message" in done.err
    assert "1 file done, 0 were there already, 1 failed" in done.err
    assert "cannot write back/c: No space left" in done.err
    done = cli("envelope", "decrypt", "safe", "-o", "back", "--json", "--force")
    shown = json.loads(done.out)
    assert (done.code, shown["done"], shown["outputs"]) == (5, 1, ["back/b"])
    assert [each["file"] for each in shown["failed"]] == ["safe/a.kms"]
    assert json.loads(done.err)["error"]["type"] == "Unavailable"


def test_a_message_that_changes_while_it_is_rewrapped_is_told(encrypt, cli, home, monkeypatch):
    """It is left as it is then, and not counted as done."""
    (home / "tree").mkdir()
    for name in "ab":
        (home / "tree" / name).write_bytes(name.encode())
    encrypt("tree", "-o", "safe")
    newer = cli("envelope", "encrypt", "--key", "orders", stdin=b"newer").out
    real = os.fsync

    def change(handle):
        (home / "safe/a.kms").write_bytes(newer)
        real(handle)

    monkeypatch.setattr(os, "fsync", change)
    done = cli("envelope", "rewrap", "--key", "orders", "safe")
    assert done.code == 1
    assert "error: safe/a.kms: " in done.err
    assert "changed while it was being rewritten" in done.err
    assert "1 file done, 0 were there already, 1 failed" in done.err
    assert (home / "safe/a.kms").read_bytes() == newer


def test_a_message_for_a_disabled_key_does_not_keep_the_others_back(encrypt, cli, home):
    """They may be for other keys; a run that stopped there could never get past it."""
    (home / "tree").mkdir()
    for name in "abc":
        (home / "tree" / name).write_bytes(name.encode())
    encrypt("tree", "-o", "safe")
    cli("keys", "create", "--alias", "disabled")
    cli("envelope", "rewrap", "--key", "disabled", "-i", "safe/b.kms")
    cli("keys", "disable", "disabled")
    done = cli("envelope", "decrypt", "safe", "-o", "back")
    assert (done.code, files(home / "back")) == (1, ["a", "c"])
    assert "error: safe/b.kms: the key is DISABLED" in done.err
    done = cli("envelope", "rewrap", "--key", "orders", "safe", "-o", "moved")
    assert (done.code, files(home / "moved")) == (1, ["a.kms", "c.kms"])


def test_what_cannot_be_read_is_told(encrypt, cli, home, monkeypatch):
    """Files, and folders at any place; the others are done."""
    done = encrypt("missing", "-o", "safe")
    assert (done.code, "cannot read missing" in done.err) == (1, True)
    (home / "tree/closed").mkdir(parents=True)
    (home / "tree/open").mkdir()
    (home / "tree/open/a.kms").write_bytes(b"x")
    real = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for command, sources in ((encrypt, ("tree",)), (encrypt, ("tree/closed", "tree/open"))):
        done = command(*sources, "-o", "safe", "--force")
        assert (done.code, "cannot read tree/closed: Permission denied" in done.err) == (1, True)
        assert "1 file done, 0 were there already, 1 failed" in done.err
    done = cli("envelope", "inspect", "tree/closed", "--json")
    assert (done.code, json.loads(done.out)[0]["file"]) == (1, "tree/closed")


def test_folders_may_be_deep(encrypt, cli, home):
    """Deeper than Python calls functions."""
    message = encrypt("-i", "kms.toml").out
    place = os.open(home, os.O_RDONLY)
    for name in ["tree"] + ["d"] * 1100:
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    with os.fdopen(os.open("a.kms", os.O_CREAT | os.O_WRONLY, dir_fd=place), "wb") as file:
        file.write(message)
    os.close(place)
    try:
        for source in ("tree", "tree/**/*.kms"):
            (shown,) = json.loads(cli("envelope", "inspect", source, "--json").out)
            assert shown["file"].count("/d") == 1100
    finally:
        subprocess.run(["rm", "-r", "tree"], check=True)  # Python's own is not deep enough


def test_a_folder_moves_to_another_provider_in_place(encrypt, cli, home):
    """Messages only; what is something else stays as it is."""
    cli("keys", "create", "--provider", "other", "--alias", "backup")
    (home / "tree").mkdir()
    for name in "ab":
        (home / "tree" / name).write_bytes(name.encode())
    encrypt("tree", "-o", "safe")
    (home / "safe/readme").write_text("no message")
    done = cli("envelope", "rewrap", "--key", "kms://other/backup", "safe")
    assert done.code == 0, done.err
    assert "left out: safe/readme does not end in .kms" in done.err
    assert "2 files done" in done.err
    done = cli("envelope", "decrypt", "--key", "kms://other/backup", "safe", "-o", "back")
    assert done.code == 0
    assert files(home / "back") == ["a", "b"]
    refused = cli("envelope", "decrypt", "--key", "orders", "safe", "-o", "again")
    assert (refused.code, files(home / "again")) == (1, [])


def test_rewrapping_into_another_folder_keeps_the_old(encrypt, cli, home):
    """And can be resumed; in place, there is nothing to resume."""
    cli("keys", "create", "--alias", "new")
    (home / "tree").mkdir()
    (home / "tree/a").write_bytes(b"a")
    encrypt("tree", "-o", "safe")
    command = ["envelope", "rewrap", "--key", "new", "safe", "-o", "moved"]
    assert cli(*command).code == 0
    assert (cli(*command).code, cli(*command, "--resume").code) == (1, 0)
    assert cli("envelope", "decrypt", "--key", "new", "-i", "moved/a.kms").out == b"a"
    assert cli("envelope", "decrypt", "--key", "orders", "-i", "safe/a.kms").out == b"a"
    refused = cli("envelope", "rewrap", "--key", "new", "safe", "--resume")
    assert (refused.code, "--resume goes with -o" in refused.err) == (2, True)


def test_rewrapping_in_a_pipe(cli, key):
    """From standard input to standard output."""
    cli("keys", "create", "--alias", "new")
    message = cli("envelope", "encrypt", "--key", "orders", stdin=b"moving").out
    moved = cli("envelope", "rewrap", "--key", "new", stdin=message)
    assert moved.code == 0
    assert cli("envelope", "decrypt", "--key", "new", stdin=moved.out).out == b"moving"
    assert cli("envelope", "decrypt", "--key", "orders", stdin=moved.out).code == 1


def test_several_messages_are_inspected(encrypt, cli, home):
    """Each under its name; as JSON, a list."""
    (home / "tree").mkdir()
    for name in "ab":
        (home / "tree" / name).write_bytes(b"x")
    encrypt("tree", "-o", "safe")
    shown = cli("envelope", "inspect", "safe").text
    assert [line for line in shown.splitlines() if line.startswith("file:")] == [
        "file:       safe/a.kms",
        "file:       safe/b.kms",
    ]
    listed = json.loads(cli("envelope", "inspect", "--json", "safe/*.kms").out)
    assert [each["file"] for each in listed] == ["safe/a.kms", "safe/b.kms"]


def test_a_broken_message_among_others_is_named_when_inspected(encrypt, cli, home):
    """And the others are shown all the same."""
    (home / "tree").mkdir()
    for name in "ab":
        (home / "tree" / name).write_bytes(b"x")
    encrypt("tree", "-o", "safe")
    (home / "safe/a.kms").write_text("nonsense")
    done = cli("envelope", "inspect", "safe")
    assert (done.code, "error: safe/a.kms: this is no envelope message" in done.err) == (1, True)
    assert done.text.startswith("file:       safe/b.kms\n")
    done = cli("envelope", "inspect", "--json", "safe")
    assert done.code == 1
    whole, broken = json.loads(done.out)
    assert (broken["file"], broken["error"]["type"]) == ("safe/a.kms", "IntegrityError")
    assert (whole["file"], whole["suite"]) == ("safe/b.kms", "0x0478")


def test_text_of_a_stranger_is_shown_on_one_line(cli, key, home):
    """Whoever wrote a message chose what its context says."""
    context = "note=all is well\nrecipient:  kmscore/dev forged\x1b[2J"
    message = cli("envelope", "encrypt", "--key", "orders", "--context", context, stdin=b"x").out
    shown = cli("envelope", "inspect", stdin=message).text
    assert "\x1b" not in shown
    assert shown.count("\nrecipient:") == 1


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_devices_and_links_are_never_replaced(cli, key, home, force):
    """A terminal, /dev/null or somebody's link as -o is a mistake."""
    (home / "plain").write_bytes(b"x")
    (home / "target").write_text("precious")
    (home / "link").symlink_to("target")
    for target in ("/dev/null", "link"):
        for source in (["-i", "plain"], []):
            command = ["envelope", "encrypt", "--key", "orders", *source, "-o", target, *force]
            done = cli(*command, stdin=b"x")
            assert (done.code, "no regular file" in done.err) == (1, True)
    assert (home / "target").read_text() == "precious"


def test_standard_output_may_not_be_the_input(key, home):
    """The shell would have it grow for ever."""
    (home / "plain").write_bytes(b"x" * 100)
    line = f"{KMSCORE} envelope encrypt --key orders -i plain >> plain"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert (done.returncode, b"the same file" in done.stderr) == (2, True)
    assert (home / "plain").read_bytes() == b"x" * 100


@pytest.mark.parametrize("place", ["plain", "link"])
def test_standard_input_may_not_be_the_output(key, home, place):
    """Not even with --force, nor by another name."""
    (home / "plain").write_bytes(b"precious")
    (home / "link").hardlink_to(home / "plain")
    line = f"{KMSCORE} envelope encrypt --key orders --force -o {place} < plain"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert (done.returncode, b"the same file" in done.stderr) == (2, True)
    assert (home / "plain").read_bytes() == b"precious"
