"""Making, finding, importing and retiring keys from the command line."""

import json
import os
import pty
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import KMSCORE


def show(cli, key="orders"):
    """What is known of a key."""
    return json.loads(cli("keys", "show", key, "--json").out)


def test_a_new_key_is_listed_and_shown(cli, key):
    """For people and for machines."""
    assert key in cli("keys", "list").text
    assert "orders" in cli("keys", "list").text
    assert json.loads(cli("keys", "list", "--json").out)[0]["key_id"] == key
    assert show(cli)["state"] == "ENABLED"
    assert "AES_256" in cli("keys", "show", "orders").text
    created = json.loads(cli("keys", "create", "--json", "--spec", "sm4").out)
    assert show(cli, created["key_id"])["spec"] == "SM4"


def test_the_life_of_a_key(cli, key):
    """Each command, and what it leaves."""
    steps = [
        (["keys", "disable", "orders"], "DISABLED"),
        (["keys", "schedule-deletion", "orders", "--days", "7"], "PENDING_DELETION"),
        (["keys", "cancel-deletion", "orders"], "DISABLED"),
        (["keys", "enable", "orders"], "ENABLED"),
        (["keys", "archive", "orders"], "ARCHIVED"),
        (["keys", "restore", "orders"], "ENABLED"),
        (["keys", "rotate", "orders"], "ENABLED"),
        (["keys", "rotate", "orders", "--every", "30"], "ENABLED"),
        (["keys", "rotate", "orders", "--never"], "ENABLED"),
        (["keys", "describe", "orders", "for the shop"], "ENABLED"),
    ]
    for arguments, state in steps:
        done = cli(*arguments)
        assert done.code == 0, done.err
        assert show(cli)["state"] == state
    assert show(cli)["version"] == 2
    assert show(cli)["description"] == "for the shop"
    assert cli("keys", "alias", "orders", "renamed").code == 0
    assert show(cli, "renamed")["key_id"] == key


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["show", "nobody"], 1, "no such key"),
        (["show", ""], 1, "names no key"),
        (["schedule-deletion", "orders", "--days", "6"], 1, "7 to 30"),
        (["schedule-deletion", "orders", "--days", "31"], 1, "7 to 30"),
        (["schedule-deletion", "orders", "--days", "7"], 1, "ENABLED"),
        (["schedule-deletion", "orders", "--days", "soon"], 2, "not a valid integer"),
        (["schedule-deletion", "orders"], 2, "--days"),
        (["rotate", "orders", "--every", "7", "--never"], 2, "either"),
        (["create", "--alias", "orders"], 1, "taken"),
        (["create", "--alias", "no spaces"], 1, "alias"),
        (["create", "--spec", "AES_512"], 1, "AES_256, SM4"),
        (["create", "--spec", "RSA_2048"], 1, "needs a usage"),
        (["create", "--spec", "EC_P256", "--origin", "EXTERNAL"], 1, "EXTERNAL"),
        (["enable"], 2, "KEY"),
        (["import-parameters", "orders", "-o", "x"], 1, "generated"),
    ],
)
def test_what_is_refused(cli, key, arguments, code, text):
    """One clear error, and the right exit code."""
    done = cli("keys", *arguments)
    assert done.code == code
    assert text in done.err
    assert done.err.startswith("error: ")


def test_a_key_of_ones_own(cli, home, openssl):
    """Wrapped by openssl, imported with an expiry, deleted, imported again."""
    cli("keys", "create", "--alias", "own", "--origin", "EXTERNAL")
    (home / "material").write_bytes(bytes(range(32)))
    for valid_to in ([], ["--valid-to", "2100-01-01T00:00:00Z"], ["--valid-to", "4102444800"]):
        done = cli("keys", "import-parameters", "own", "-o", "import")
        assert done.code == 0
        assert {path.name for path in (home / "import").iterdir()} == {
            "wrapping-key.der",
            "wrapping-key.pem",
            "import-token",
            "valid-to",
        }
        until = (home / "import" / "valid-to").read_text().strip()
        left = datetime.fromisoformat(until) - datetime.now(UTC)
        assert timedelta(hours=23) < left <= timedelta(hours=24)
        wrapped = openssl(
            "pkeyutl -encrypt -pubin -inkey import/wrapping-key.pem -in material -out wrapped "
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256"
        )
        assert wrapped == 0
        done = cli(
            *("keys", "import", "own", "--material", "wrapped"),
            *("--token", "import/import-token", *valid_to),
        )
        assert done.code == 0, done.err
        assert show(cli, "own")["state"] == "ENABLED"
        assert (show(cli, "own")["valid_to"] is None) == (not valid_to)
        assert cli("keys", "delete-material", "own").code == 0
        assert show(cli, "own")["state"] == "PENDING_IMPORT"


def test_import_parameters_that_cannot_be_written(cli, home):
    """Nothing is left behind, and where that can be told before, the older ones stay valid."""
    key = cli("keys", "create", "--alias", "own", "--origin", "EXTERNAL").text
    (home / "file").touch()
    done = cli("keys", "import-parameters", "own", "-o", "file")
    assert (done.code, done.err) == (
        1,
        "error: cannot write file: File exists\nhint: Check the folder and its mode\n",
    )
    events = (home / "audit.jsonl").read_text()
    assert key in events
    assert "get_import_parameters" not in events


def test_an_expiry_before_all_calendars(cli, home):
    """Midnight of the first day, in a zone where it is still the day before in UTC."""
    cli("keys", "create", "--alias", "own", "--origin", "EXTERNAL")
    (home / "f").write_bytes(b"x")
    time = "0001-01-01T00:00:00+14:00"
    done = cli("keys", "import", "own", "--material", "f", "--token", "f", "--valid-to", time)
    assert (done.code, done.err) == (1, "error: valid_to is a year that no calendar has\n")


@pytest.mark.parametrize("time", ["tomorrow", "2100-01-01T00:00:00", "99999999999999999999"])
def test_an_expiry_that_is_no_time(cli, home, time):
    """A time without a zone means something else elsewhere."""
    cli("keys", "create", "--alias", "own", "--origin", "EXTERNAL")
    (home / "f").write_bytes(b"x")
    done = cli("keys", "import", "own", "--material", "f", "--token", "f", "--valid-to", time)
    assert done.code == 2
    assert "--valid-to" in done.err


def test_another_root_key(cli, home, key, monkeypatch):
    """The old one opens the keystore no more, the new one does."""
    sealed = cli("encrypt", "--key", "orders", stdin=b"x").out
    (home / "new").write_bytes(b"n" * 32)
    (home / "new").chmod(0o600)
    assert cli("keys", "rewrap-root", "--to", "file:new").code == 0
    (event,) = (
        json.loads(line)
        for line in (home / "audit.jsonl").read_text().splitlines()
        if '"rewrap_root"' in line
    )
    assert event["outcome"] == "ok"
    refused = cli("decrypt", stdin=sealed)
    assert refused.code == 1
    assert "does not open" in refused.err
    text = (home / "kms.toml").read_text()
    first, rest = text.split('root_key = { env = "ROOT_KEY" }', 1)
    (home / "kms.toml").write_text(first + 'root_key = { file = "new" }' + rest)
    assert cli("decrypt", stdin=sealed).out == b"x"
    for wrong in ("nonsense:hunter2", "hunter2", "file:", ""):
        refused = cli("keys", "rewrap-root", "--to", wrong)
        assert refused.code == 3
        assert "hunter2" not in refused.err
        assert "env:NAME, file:PATH or prompt:TEXT" in refused.err


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ((b"correct horse\n", b"correct horse\n"), 0, "now opens with prompt 'New'"),
        ((b"correct horse\n", b"corect horse\n"), 3, "the two entries differ"),
    ],
)
def test_a_new_passphrase_is_typed_twice(cli, key, typed, code, said):
    """A slip of the finger would lock the keystore for ever."""
    sealed = cli("encrypt", "--key", "orders", stdin=b"x").out
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [KMSCORE, "keys", "rewrap-root", "--to", "prompt:New", "--passphrase"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as running:
        os.close(theirs)
        shown = b""
        for question, answer in zip((b"New: ", b"New (again): "), typed, strict=True):
            while question not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, answer)
        while said.encode() not in shown:
            shown += os.read(ours, 1000)
    os.close(ours)
    assert running.returncode == code
    assert (cli("decrypt", stdin=sealed).out == b"x") == (code != 0)


def test_a_keystore_has_nothing_to_be_compared_with(cli):
    """Its keys are in the registry itself."""
    refused = cli("keys", "reconcile")
    assert refused.code == 1
    assert "nowhere else than its registry" in refused.err
