"""The demonstration on a token: the same eight jobs, with what the token cannot do named."""

import os
import subprocess
import sys

from tests.demo.test_demo import JOBS

COMMAND = (sys.executable, "-m", "kmscore", "demo", "--provider", "hsm")


def run(*more, **environment):
    """The command, in a folder without a configuration."""
    return subprocess.run(
        [*COMMAND, *more],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_needs_no_configuration(tmp_path, monkeypatch):
    """It makes a SoftHSM token and throws it away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KMSCORE_CONFIG", raising=False)
    done = run(XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    for job in JOBS:
        assert job in done.stdout
    assert "checks passed" in done.stdout
    assert "(pkcs11)" in done.stdout
    impossible = [line for line in done.stdout.splitlines() if "not possible" in line]
    assert [line.split(": ")[1] for line in impossible] == [
        "RSAES_OAEP_SHA_256 decryption",
        "SM2 decryption",
        "SM2DSA signatures",
    ]


def test_with_a_configuration_it_uses_that_token(token, tmp_path, connect):
    """Whatever it can do; the keys are named demo-… and go away in time."""
    connect(token).close()
    file = tmp_path / "kms.toml"
    file.write_text(token.toml(tmp_path / "keys.db"))
    done = run("--config", str(file), **token.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    with_aes = token.kind in ("softhsm", "nss")
    assert ("not possible with this provider: symmetric keys" in done.stdout) != with_aes
    kms = connect(token)
    infos = list(kms.keys())
    assert infos
    assert all(info.alias.startswith("demo-") for info in infos)
    assert {info.state for info in infos} <= {"PENDING_DELETION", "PENDING_IMPORT"}
