"""Looking around: configuration, providers, health, audit trail."""

import json
import os

import pytest

from kmscore.errors import Unsupported


def test_the_configuration_is_checked_shown_and_described(cli, home):
    """Secrets are shown as what they refer to."""
    assert "dev, other" in cli("config", "check").text
    assert json.loads(cli("config", "check", "--json").out)["providers"] == ["dev", "other"]
    shown = json.loads(cli("config", "show").out)
    assert shown["providers"]["dev"]["root_key"] == "env ROOT_KEY"
    assert shown["providers"]["dev"]["path"] == str(home / "keystore.db")
    assert shown["providers"]["dev"]["sm2_engine"] == "openssl"
    assert shown["audit"]["path"] == str(home / "audit.jsonl")
    schema = json.loads(cli("config", "schema").out)
    assert schema["title"] == "kms.toml"
    assert "software" in json.dumps(schema)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_secret_that_was_written_into_the_configuration_is_not_shown(cli, home, options):
    """It is refused as everywhere, and not repeated."""
    text = (home / "kms.toml").read_text()
    (home / "kms.toml").write_text(text.replace('{ env = "ROOT_KEY" }', '"hunter2"', 1))
    done = cli("config", "show", *options)
    assert (done.code, done.out) == (3, b"")
    assert "must refer to a secret" in done.err
    assert "hunter2" not in done.err


def test_every_mistake_is_found_at_once(cli, home):
    """Not only the first."""
    with (home / "kms.toml").open("a") as file:
        file.write('[providers.bad]\ntype = "softwear"\n[providers.worse]\ntype = "software"\n')
    text = (home / "kms.toml").read_text()
    (home / "kms.toml").write_text('plugins = ["nothing"]\n' + text)
    done = cli("config", "check")
    assert done.code == 3
    assert "softwear" in done.err
    assert "worse" in done.err
    assert "nothing" in done.err


def test_providers_are_listed(cli):
    """With what they can do."""
    assert "software" in cli("providers").text
    assert "SM2DSA" in cli("providers").text
    shown = json.loads(cli("providers", "--json", "--provider", "dev").out)
    assert list(shown["configured"]) == ["dev"]
    assert shown["configured"]["dev"]["capabilities"]["limits"]["plaintext"] == 4096
    assert any(each["name"] == "software" for each in shown["installed"])


def test_providers_are_listed_without_a_configuration(cli, home):
    """There is still something to say; but a file that was named must be there."""
    (home / "kms.toml").unlink()
    assert "software" in cli("providers").text
    assert cli("providers", "--config", "missing.toml").code == 3


def test_a_provider_that_does_not_open_is_described(cli, monkeypatch):
    """And hides no other."""
    monkeypatch.delenv("ROOT_KEY")
    done = cli("providers")
    assert done.code == 0
    assert "ROOT_KEY" in done.text


def test_the_doctor_finds_all_well(cli, key):
    """Versions, SM2, configuration, providers, audit log."""
    done = cli("doctor")
    assert done.code == 0
    for part in ("versions", "sm2", "configuration", "provider dev", "provider other", "audit log"):
        assert f"ok    {part}" in done.text
    shown = json.loads(cli("doctor", "--json", "--provider", "dev").out)
    assert shown["ok"] is True
    assert not any(check["check"] == "provider other" for check in shown["checks"])


def test_the_doctor_finds_what_is_wrong(cli, key, home, monkeypatch):
    """With the exit code of the worst."""
    log = home / "audit.jsonl"
    content = bytearray(log.read_bytes())
    content[-20] ^= 1
    log.write_bytes(content)
    done = cli("doctor")
    assert done.code == 4
    assert "FAIL  audit log" in done.text
    monkeypatch.delenv("ROOT_KEY")
    log.unlink()
    done = cli("doctor")
    assert done.code == 3
    assert "FAIL  provider dev" in done.text
    assert "ok    audit log" in done.text
    (home / "kms.toml").write_text("broken")
    assert cli("doctor").code == 3


def test_the_doctor_finds_no_log_yet_and_one_that_it_may_not_read(cli, home, monkeypatch):
    """The one is fine, the other is not."""
    lone = (home / "kms.toml").read_text().split("[audit]")[1]
    (home / "kms.toml").write_text(f"[audit]{lone}")
    done = cli("doctor")
    assert done.code == 0
    assert "nothing is logged yet" in done.text
    (home / "audit.jsonl").mkdir()
    done = cli("doctor")
    assert done.code != 0
    assert "FAIL  audit log" in done.text


def test_the_audit_log_is_verified(cli, key, home):
    """Whole, altered, or not what was noted."""
    right = cli("audit", "verify")
    assert right.code == 0
    shown = json.loads(cli("audit", "verify", "--json").out)
    assert shown["ok"] is True
    assert shown["head"] in right.text
    assert cli("audit", "verify", "--head", shown["head"], "--records", shown["records"]).code == 0
    assert cli("audit", "verify", "--head", "0" * 64).code == 4
    assert cli("audit", "verify", "--log", "audit.jsonl").code == 0
    content = bytearray((home / "audit.jsonl").read_bytes())
    content[len(content) // 2] ^= 1
    (home / "altered").write_bytes(content)
    (home / "altered").chmod(0o600)
    altered = cli("audit", "verify", "--log", "altered")
    assert altered.code == 4
    assert "ALTERED" in altered.err


def test_a_sealed_log_is_not_called_altered_for_want_of_its_key(cli, home):
    """It was not checked: that is exit code 3, and says where the key comes from."""
    (home / "audit.key").write_bytes(b"k" * 32)
    (home / "audit.key").chmod(0o600)
    text = (home / "kms.toml").read_text()
    (home / "sealed.toml").write_text(f'{text}key = {{ file = "audit.key" }}\n')
    (home / "audit.jsonl").unlink(missing_ok=True)
    assert cli("--config", "sealed.toml", "keys", "list").code == 0
    assert cli("--config", "sealed.toml", "audit", "verify").code == 0
    done = cli("audit", "verify", "--log", "audit.jsonl")
    assert (done.code, done.out) == (3, b"")
    assert "ALTERED" not in done.err
    assert "--config" in done.err


def test_a_head_that_can_be_none_is_wrong_usage(cli, key):
    """A hash that was copied badly proves nothing."""
    for option, value in (("--head", "0" * 63), ("--head", "Z" * 64), ("--records", "-1")):
        assert cli("audit", "verify", option, value).code == 2


def test_the_shell_completes_commands(process, home):
    """With what the shell is told to ask."""
    environment = {"PATH": os.environ["PATH"], "_KMSCORE_COMPLETE": "bash_complete"}
    done = process(env=environment | {"COMP_WORDS": "kmscore keys sch", "COMP_CWORD": "2"})
    assert done.text == "plain,schedule-deletion"


def test_a_line_that_a_crash_tore_is_a_note(cli, key, home):
    """As soon as the next event has said so; until then it may have been cut off."""
    with (home / "audit.jsonl").open("ab") as file:
        file.write(b'{"seq":')
    assert cli("audit", "verify").code == 4
    cli("keys", "list")
    done = cli("audit", "verify")
    assert done.code == 0
    assert ": note: " in done.err
    assert json.loads(cli("audit", "verify", "--json").out)["warnings"]


def test_the_doctor_finds_no_fault_in_a_machine_without_sm2(cli, monkeypatch):
    """All else works there."""

    def missing(*_, **__):
        raise Unsupported("this libcrypto has no SM2")

    monkeypatch.setattr("kmscore.sm2.load_engine", missing)
    done = cli("doctor")
    assert done.code == 0
    assert "sm2: not available: this libcrypto has no SM2" in done.text


def test_without_an_audit_log_there_is_nothing_to_verify(cli, home):
    """It says how to name one."""
    text = (home / "kms.toml").read_text().split("[audit]")[0]
    (home / "kms.toml").write_text(text)
    done = cli("audit", "verify")
    assert done.code == 3
    assert "--log" in done.err


def test_help_names_every_command(cli):
    """And the exit codes."""
    from kmscore.cli.app import COMMANDS

    text = cli("--help").text
    for command in COMMANDS:
        assert command in text
    assert "Exit codes" in text
    assert cli("keys", "--help").code == 0
    assert cli("--version").text.startswith("kmscore ")


def test_the_demonstration_is_a_command(cli):
    """Its checks decide the exit code; machines get them as a list."""
    done = cli("demo", "--json")
    assert done.code == 0
    shown = json.loads(done.out)
    assert shown["ok"] is True
    assert {check["job"] for check in shown["checks"]} == set(range(1, 9))
    assert all(check["ok"] and check["text"] for check in shown["checks"])
    assert cli("demo", "--provider", "nobody").code == 3


@pytest.mark.parametrize("arguments", [["nonsense"], ["keys", "nonsense"], ["encrypt"], ["--what"]])
def test_usage_errors(cli, arguments):
    """Exit code 2, and where help is."""
    done = cli(*arguments)
    assert done.code == 2
    assert "--help" in done.err
    shown = cli("--json", *arguments)
    assert json.loads(shown.err)["error"]["type"] == "Usage"
