"""Encrypting and decrypting from the command line."""

import base64
import json

import pytest


def test_a_secret_goes_there_and_back(cli, key):
    """By alias, by id, by URI; through pipes and files."""
    for name in ("orders", key, "kms://dev/orders", f"kms://dev/{key}"):
        sealed = cli("encrypt", "--key", name, "--context", "a=1", stdin=b"secret")
        assert sealed.code == 0
        opened = cli("decrypt", "--context", "a=1", stdin=sealed.out)
        assert (opened.code, opened.out) == (0, b"secret")
        opened = cli("decrypt", "--key", name, "--context", "a=1", stdin=sealed.out)
        assert opened.out == b"secret"


def test_a_data_key_has_a_spec_or_a_length(cli, key, home):
    """Both at once is a mistake, and nothing is written."""
    done = cli("data-key", "--key", "orders", "--spec", "SM4", "--length", "64", "--wrapped", "w")
    assert (done.code, done.out) == (2, b"")
    assert "give either --spec or --length" in done.err
    assert not (home / "w").exists()
    for option, value, size in (("--spec", "SM4", 16), ("--length", "64", 64)):
        done = cli("data-key", "--key", "orders", option, value, "--wrapped", "w")
        assert len(done.out) == size


def test_files_in_and_out(cli, key, home):
    """The plaintext file is for its owner alone."""
    (home / "plain").write_bytes(b"secret")
    assert cli("encrypt", "--key", "orders", "-i", "plain", "-o", "sealed").code == 0
    assert cli("decrypt", "-i", "sealed", "-o", "back").code == 0
    assert (home / "back").read_bytes() == b"secret"
    assert oct((home / "back").stat().st_mode & 0o777) == "0o600"


def test_json_for_machines(cli, key, home):
    """Binary as base64; with -o, what was written."""
    sealed = json.loads(cli("encrypt", "--key", "orders", "--json", stdin=b"x").out)
    ciphertext = base64.b64decode(sealed["ciphertext"])
    opened = json.loads(cli("--json", "decrypt", stdin=ciphertext).out)
    assert base64.b64decode(opened["plaintext"]) == b"x"
    written = cli("encrypt", "--key", "orders", "--json", "-o", "out", stdin=b"x")
    assert json.loads(written.out) == {
        "output": "out",
        "bytes": (home / "out").stat().st_size,
    }


@pytest.mark.parametrize(
    ("stdin", "code", "text"),
    [
        (b"", 1, "the plaintext is empty"),
        (bytes(4096), 0, ""),
        (bytes(4097), 1, "more than 4096 bytes"),
        (bytes(100_000), 1, "more than 4096 bytes"),
    ],
)
def test_sizes(cli, key, home, stdin, code, text):
    """1 to 4096 bytes; and no output file when it fails."""
    done = cli("encrypt", "--key", "orders", "-o", "out", stdin=stdin)
    assert done.code == code
    assert text in done.err
    assert (home / "out").exists() == (code == 0)


@pytest.mark.parametrize(
    ("context", "code", "text"),
    [
        (["a"], 2, "KEY=VALUE"),
        (["=1"], 2, "KEY=VALUE"),
        (["a=1", "a=2"], 2, "given twice"),
        (["a=" + "x" * 2000], 1, "characters as JSON"),
        (["a=\udcff"], 1, "UTF-8"),
    ],
)
def test_contexts(cli, key, context, code, text):
    """Pairs of key and value, that UTF-8 can express."""
    options = [part for pair in context for part in ("--context", pair)]
    done = cli("encrypt", "--key", "orders", *options, stdin=b"x")
    assert done.code == code
    assert text in done.err


def test_a_wrong_context_is_refused(cli, key, home):
    """With the same words as a wrong ciphertext, and no file."""
    sealed = cli("encrypt", "--key", "orders", "--context", "a=1", stdin=b"x").out
    wrong = cli("decrypt", "-o", "out", stdin=sealed)
    garbage = cli("decrypt", "-o", "out", stdin=b"garbage")
    assert wrong.code == garbage.code == 1
    assert wrong.err == garbage.err
    assert not (home / "out").exists()


def test_re_encryption(cli, key):
    """Under another key and context."""
    sealed = cli("encrypt", "--key", "orders", "--context", "a=1", stdin=b"x").out
    cli("keys", "create", "--alias", "new")
    moved = cli(
        "re-encrypt", "--key", "new", "--source-context", "a=1", "--context", "b=2", stdin=sealed
    )
    assert cli("decrypt", "--key", "new", "--context", "b=2", stdin=moved.out).out == b"x"


def test_data_keys(cli, key, home):
    """In clear for the owner, and encrypted beside it."""
    done = cli("data-key", "--key", "orders", "-o", "plain", "--wrapped", "wrapped")
    assert done.code == 0
    plain = home / "plain"
    assert len(plain.read_bytes()) == 32
    assert oct(plain.stat().st_mode & 0o777) == "0o600"
    assert cli("decrypt", "-i", "wrapped").out == plain.read_bytes()
    by_length = cli("data-key", "--key", "orders", "--length", "5", "--wrapped", "w2")
    assert len(by_length.out) == 5
    assert cli("data-key", "--key", "orders", "--wrapped", "-").code == 2
    assert cli("data-key", "--key", "orders", "-o", "w3", "--wrapped", "w3").code == 2


def test_half_a_data_key_is_not_left_behind(cli, key, home):
    """When the plain one cannot be written, the wrapped one goes too."""
    done = cli("data-key", "--key", "orders", "-o", "no/such/folder", "--wrapped", "wrapped")
    assert done.code == 1
    assert not (home / "wrapped").exists()
    (home / "wrapped").write_bytes(b"of another data key")
    cli("data-key", "--key", "orders", "-o", "no/such/folder", "--wrapped", "wrapped")
    assert (home / "wrapped").read_bytes() == b"of another data key"
    assert [path for path in home.iterdir() if path.name.startswith(".")] == []


def test_random_bytes(cli):
    """As bytes, as digits, as JSON."""
    assert len(cli("random", "32").out) == 32
    assert len(bytes.fromhex(cli("random", "8", "--hex").text)) == 8
    assert len(base64.b64decode(json.loads(cli("random", "9", "--json").out)["random"])) == 9
    assert cli("random", "1025").code == 1
    assert cli("random", "many").code == 2


def test_decrypting_for_a_key_pair(cli, home, openssl):
    """What openssl encrypted for the public key."""
    cli("keys", "create", "--spec", "RSA_2048", "--usage", "ASYMMETRIC_DECRYPT", "--alias", "rsa")
    cli("public-key", "rsa", "-o", "rsa.pem")
    (home / "m").write_bytes(b"hello")
    encrypted = openssl(
        "pkeyutl -encrypt -pubin -inkey rsa.pem -in m -out c "
        "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256"
    )
    assert encrypted == 0
    assert cli("decrypt", "--key", "rsa", "-i", "c").out == b"hello"
    named = cli("decrypt", "--key", "rsa", "--algorithm", "RSAES_OAEP_SHA_256", "-i", "c")
    assert named.out == b"hello"
    assert cli("decrypt", "--algorithm", "RSAES_OAEP_SHA_256", "-i", "c").code == 2
