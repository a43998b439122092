"""The demonstration: it passes on a sound provider, and tells when one is not."""

import io
import os
from typing import Any

import pytest

import kmscore
from kmscore.config import Config
from kmscore.demo import outside, run_demo
from kmscore.demo.scene import Scene
from kmscore.demo.signatures import sign_and_verify
from kmscore.demo.stage import Stage
from kmscore.demo.trouble import audit_trail
from kmscore.errors import CiphertextInvalid, KeyStateError, Unsupported

JOBS = [
    "1. A database password",
    "2. A file of 10 MiB",
    "3. Encrypted by openssl",
    "4. Signatures",
    "5. A key of one's own",
    "6. The life of a key",
    "7. A provider that throttles",
    "8. The audit trail",
]


def test_every_job_passes_on_a_throw_away_keystore():
    """Without any configuration; nothing is left behind."""
    out = io.StringIO()
    assert all(check.ok for check in run_demo(out))
    text = out.getvalue()
    for job in JOBS:
        assert job in text
    assert "FAIL" not in text
    assert "not possible" not in text
    assert "checks passed" in text
    folder = text.split("files are in ")[1].split(",")[0]
    assert not os.path.exists(folder)  # noqa: PTH110


def test_it_runs_on_a_provider_of_ones_own(tmp_path):
    """Keys are named demo-…, and are scheduled for deletion at the end."""
    content = {
        "providers": {
            "mine": {
                "type": "software",
                "path": "keystore.db",
                "root_key": lambda: b"r" * 32,
            }
        },
        "audit": {"path": "audit.jsonl"},
    }
    config = Config.from_mapping(content, base=tmp_path)
    out = io.StringIO()
    assert all(check.ok for check in run_demo(out, config, "mine"))
    assert str(tmp_path / "audit.jsonl") in out.getvalue()
    with kmscore.connect("mine", config=config) as kms:
        infos = list(kms.keys())
    assert infos
    assert all(info.alias and info.alias.startswith("demo-") for info in infos)
    assert {info.state for info in infos} <= {"PENDING_DELETION", "PENDING_IMPORT"}


@pytest.fixture
def stage():
    """A stage whose words can be read."""
    out = io.StringIO()
    made = Stage(out)
    made.text = out.getvalue  # type: ignore[attr-defined]
    return made


def test_a_check_that_fails_is_counted_and_shown(stage):
    """The rest goes on."""
    stage.check("right", ok=True)
    stage.check("wrong", ok=False)
    assert (len(stage.checks), stage.failures) == (2, 1)
    assert "✗ wrong" in stage.text()


def test_a_refusal_must_be_the_right_one(stage):
    """Another error, or none, is a failure."""

    def refuse():
        raise KeyStateError("no")

    stage.refused("as expected", KeyStateError, refuse)
    stage.refused("with another error", CiphertextInvalid, refuse)
    stage.refused("not at all", KeyStateError, lambda: None)
    assert (len(stage.checks), stage.failures) == (3, 2)
    assert "KeyStateError instead of CiphertextInvalid" in stage.text()
    assert "NOT refused" in stage.text()


def test_a_job_that_breaks_down_does_not_stop_the_others(stage):
    """It is one failed check."""
    with stage.guarded():
        raise KeyStateError("broken")
    assert stage.failures == 1
    assert "broke down" in stage.text()


@pytest.mark.parametrize(
    ("encoding", "mark", "ellipsis"), [("ascii", "ok", "?"), ("utf-8", "✓", "…")]
)
def test_old_terminals_get_plain_letters(encoding, mark, ellipsis):
    """Marks that the output cannot show are spelled out; other characters stop nothing."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    Stage(out).check("ends with ab…", ok=True)
    assert f"{mark} ends with ab{ellipsis}" in raw.getvalue().decode(encoding)


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    """NO_COLOR is honoured."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    Stage(coloured).check("fine", ok=True)
    assert "\x1b[32m" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Stage(plain).check("fine", ok=True)
    assert "\x1b" not in plain.getvalue()


def test_wrong_signatures_are_caught_by_somebody_else(tmp_path, stage, monkeypatch):
    """A provider that signs rubbish and calls it right does not pass."""
    config = {
        "providers": {
            "bad": {
                "type": "software",
                "path": str(tmp_path / "k.db"),
                "root_key": lambda: b"r" * 32,
            }
        }
    }
    with kmscore.connect("bad", config=config) as kms:
        provider: Any = type(kms.provider)
        real = provider.sign
        monkeypatch.setattr(
            provider,
            "sign",
            lambda self, key_id, algorithm, data: bytes(
                reversed(real(self, key_id, algorithm, data))
            ),
        )
        monkeypatch.setattr(provider, "verify", lambda *_: True)
        with stage.guarded():
            sign_and_verify(Scene(kms, tmp_path, stage))
    assert stage.failures
    assert "✓ RSA_PSS_SHA_256: both verified by openssl" not in stage.text()


def test_an_altered_log_does_not_pass(tmp_path, stage):
    """The chain of the trail itself is checked first."""
    config = {
        "providers": {
            "dev": {
                "type": "software",
                "path": str(tmp_path / "k.db"),
                "root_key": lambda: b"r" * 32,
            }
        },
        "audit": {"path": str(tmp_path / "audit.jsonl")},
    }
    with kmscore.connect("dev", config=config) as kms:
        for _ in range(3):
            kms.create_key("AES_256")
    log = tmp_path / "audit.jsonl"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    audit_trail(Scene(kms, tmp_path, stage), log, None)
    assert "✗ the chain is whole" in stage.text()


@pytest.mark.parametrize("missing", ["openssl", "gmssl"])
def test_missing_tools_are_named_before_anything_begins(monkeypatch, missing):
    """With the command that installs them."""
    if missing == "openssl":
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setattr(outside, "find_spec", lambda _: None)
    with pytest.raises(Unsupported, match=missing) as caught:
        run_demo(io.StringIO())
    assert "install" in caught.value.hint
