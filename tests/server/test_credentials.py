"""The file of credentials: who may read it, what it may say, and what permissions mean."""

import base64
import json
import subprocess

import pytest
from kmscore_server.credentials import read_credentials, seal_context
from kmscore_server.permissions import Permissions, Rule

import kmscore
from kmscore.errors import ConfigError

ALL = '[permissions.all]\nallow = [{ actions = ["*"] }]\n'
ONE = '[credentials.AKIDone]\nsecret_key = { file = "secret" }\npermissions = ["all"]\n'


@pytest.fixture
def read(home):
    """Reads a file of credentials with that text."""

    def run(text, mode=0o600):
        path = home / "some.toml"
        path.write_text(text)
        path.chmod(mode)
        return read_credentials(path, lambda *_: b"unsealed")

    return run


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644, 0o601])
def test_a_file_that_others_can_use_is_refused(read, mode):
    """The error says how to mend it."""
    with pytest.raises(ConfigError, match="chmod 600"):
        read(ALL + ONE, mode)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_is_read(read, mode):
    """With the usual account."""
    found = read(ALL + ONE, mode)["AKIDone"]
    assert (found.secret, found.uin, found.token, found.expires) == (
        *(b"topsecretkey", 100000000001, b"", None),
    )
    assert "topsecretkey" not in repr(found)


def test_a_secrets_file_that_others_can_use_is_refused(read, home):
    """The reference is as strict as everywhere."""
    (home / "secret").chmod(0o644)
    with pytest.raises(ConfigError, match="secret"):
        read(ALL + ONE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (ALL, "lacks the key 'credentials'"),
        (ALL + "[credentials]\n", "has no credentials"),
        (ALL + ONE + "uin = 0\n", "uin is 0"),
        (ALL + ONE + 'uin = "1"\n', "uin is a string"),
        (ALL + ONE + "colour = 1\n", "unknown key 'colour'"),
        (ALL + ONE.replace('["all"]', '["al"]'), "names the permission 'al'"),
        (ALL + ONE.replace('{ file = "secret" }', '"s3cr3t-inline"'), "must refer to a secret"),
        (ALL + ONE.replace("secret_key", "#"), "needs one of secret_key"),
        (ALL + ONE + 'sealed_secret_key = "AAAA"\n', "needs one of secret_key"),
        (ALL + ONE.replace("AKIDone", '"a b"'), "secret id that cannot be one"),
        (ALL + ONE + 'expires = "tomorrow"\n', "expires is no time"),
        (ALL + ONE + 'expires = "2030-01-01T00:00:00"\n', "expires has no time zone"),
        ("[permissions.all]\nallows = []\n" + ONE, "unknown key 'allows'"),
        ('[permissions.all]\nallow = ["*"]\n' + ONE, "entry that is no table"),
        ('[permissions.all]\nallow = [{ keys = ["*"] }]\n' + ONE, "lacks the key 'actions'"),
        ('[permissions.all]\nallow = "*"\n' + ONE, "is no list"),
        (ALL.replace('"*"', '"Encrpyt"', 1) + ONE, "no action is met by 'Encrpyt'"),
        ("s3cr3t-inline", "is no TOML"),
        ("\xff", "some.toml"),
    ],
    ids=range(20),
)
def test_mistakes_are_told_where_they_are(read, text, says):
    """With file and table, and without repeating what may be a secret."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert says in str(caught.value)
    assert "some.toml" in str(caught.value)
    assert "s3cr3t-inline" not in str(caught.value)


def test_a_sealed_secret_is_opened_by_the_key_that_sealed_it(home, monkeypatch):
    """It is bound to its secret id: under another id it does not open."""
    monkeypatch.chdir(home)
    with kmscore.connect(config=home / "kms.toml") as kms:
        key = kms.create_key(alias="seal")

        def unseal(reference, ciphertext, context):
            return kms.key(reference).decrypt(ciphertext, context=context)

        sealed = key.encrypt(b"sealed secret", context=seal_context("AKIDone"))
        text = base64.b64encode(sealed).decode()
        path = home / "sealed.toml"
        for secret_id in ("AKIDone", "AKIDtwo"):
            path.write_text(
                f'seal = "kms://dev/seal"\n{ALL}[credentials.{secret_id}]\n'
                f'sealed_secret_key = "{text}"\npermissions = ["all"]\n'
            )
            path.chmod(0o600)
            if secret_id == "AKIDone":
                assert read_credentials(path, unseal)["AKIDone"].secret == b"sealed secret"
            else:
                with pytest.raises(ConfigError, match="cannot be unsealed"):
                    read_credentials(path, unseal)


def test_new_credentials_work_at_once(home, serve, command):
    """A plain one, a temporary one and a sealed one, added one after the other."""
    path = home / "new.toml"
    subprocess.run([command, "keys", "create", "--alias", "seal"], cwd=home, check=True)

    def new(*options):
        done = subprocess.run(
            [command, "--json", "serve", "credentials", "new", path, *options],
            cwd=home,
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    made = [new("--seal", "kms://dev/seal"), new(), new("--hours", "1", "--uin", "7")]
    made.append(new("--seal", "kms://dev/seal"))
    text = path.read_text()
    running = serve("--credentials", path)
    for each in made:
        secret_file = home / each["secret_file"]
        assert secret_file.stat().st_mode & 0o777 == 0o600
        secret = secret_file.read_text()
        assert secret not in text
        extra = {}
        if each["token_file"]:
            extra["X-TC-Token"] = (home / each["token_file"]).read_text()
        answer = running.call(
            "GenerateRandom",
            {"NumberOfBytes": 4},
            secret_id=each["secret_id"],
            secret=secret,
            extra=extra,
        )
        assert answer.code == "ok"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("option", "value", "code", "says"),
    [
        ("--permission", "rooot", 3, b"no permission 'rooot'"),
        ("--hours", "nan", 2, b"--hours"),
        ("--hours", "1e12", 2, b"--hours"),
    ],
)
def test_a_new_credential_that_cannot_be_is_refused(home, command, option, value, code, says):
    """And the file stays as it was."""
    before = (home / "cred.toml").read_bytes()
    done = subprocess.run(
        [command, "serve", "credentials", "new", "cred.toml", option, value],
        cwd=home,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, says in done.stderr) == (code, True)
    assert (home / "cred.toml").read_bytes() == before
    assert list(home.glob("AKID*")) == []


@pytest.mark.parametrize(
    ("action", "key_id", "alias", "allowed"),
    [
        ("Encrypt", "1234", "orders-1", True),
        ("Encrypt", "1234", "Orders-1", False),
        ("encrypt", "1234", "orders-1", False),
        ("Encrypt", "orders-by-id", "", True),
        ("Encrypt", "1234", "", False),
        ("Encrypt", "1234", "invoices", False),
        ("Encrypt", "1234", "orders-secret", False),
        ("Encrypt", "77", "orders-1", False),
        ("ScheduleKeyDeletion", "1234", "orders-1", False),
        ("DescribeKey", "1234", "invoices", True),
        ("GenerateRandom", "", "", False),
        ("ListKeys", "", "", True),
    ],
)
def test_permissions_are_by_action_and_key(action, key_id, alias, allowed):
    """Patterns over ids and aliases; what is not allowed is denied, and deny wins."""
    permissions = Permissions(
        [
            Rule(("Encrypt", "Schedule*"), ("orders-*",)),
            Rule(("Describe*", "List[A-Z]*"), ("*",)),
        ],
        [Rule(("*",), ("orders-secret", "77")), Rule(("ScheduleKeyDeletion",), ("*",))],
    )
    for _ in range(2):  # a decision that is remembered is the same
        assert permissions.allows(action, key_id, alias) is allowed


def test_permissions_hold_over_the_wire(server):
    """By the key that an action is about, whichever name the client uses."""
    for alias in ("orders-open", "orders-secret", "invoices"):
        made = server.call("CreateKey", {"Alias": alias}).response["KeyId"]
        allowed = server.call("DescribeKey", {"KeyId": made}, secret_id="AKIDorders")
        assert (allowed.code == "ok") == (alias == "orders-open"), alias
    assert server.call("CreateKey", {"Alias": "x"}, secret_id="AKIDorders").code == (
        "UnauthorizedOperation"
    )
    refused = server.call("GenerateRandom", {"NumberOfBytes": 4}, secret_id="AKIDreader")
    assert refused.code == "UnauthorizedOperation"
