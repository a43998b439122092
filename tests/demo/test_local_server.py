"""The demonstration on a local server: it passes, and nothing of the server stays."""

import contextlib
import io
import threading
from pathlib import Path

import pytest

import kmscore
from kmscore.demo import local_server, run_demo
from kmscore.errors import Unsupported


def started() -> dict[str, str]:
    """Command lines of the processes that this one has started, by their numbers."""
    found: dict[str, str] = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends
            for process in (task / "children").read_text().split():
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                found[process] = b" ".join(words).decode().strip()
    return found


@pytest.fixture
def children():
    """Lists the servers that a test has started; those of other tests may be running as well."""
    before = set(started())

    def find() -> list[str]:
        lines = [line for process, line in started().items() if process not in before]
        return [line for line in lines if " serve " in line or line == "sleep 600"]

    return find


def test_every_job_passes_with_the_cloud_provider_on_a_local_server(children):
    """Without any configuration: a server is started, spoken to and stopped."""
    out = io.StringIO()
    assert run_demo(out, provider="cloud-local"), out.getvalue()
    text = out.getvalue()
    assert "(tencent)" in text
    assert "8. The audit trail" in text
    assert "not possible" not in text
    folder = Path(text.split("files are in ")[1].split(",")[0])
    assert not folder.exists()
    assert children() == []


def test_the_server_keeps_its_secrets_to_itself(tmp_path, children):
    """Not in its arguments, and in files that nobody else may read."""
    with local_server.local_server(tmp_path) as table:
        secrets = [table["credentials"][name]().decode() for name in ("secret_id", "secret_key")]
        (line,) = children()
        assert not any(secret in line for secret in secrets)
        for name in ("client.secret", "root.key", "credentials.toml"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        with kmscore.connect(config={"providers": {"cloud": table}}) as kms:
            assert kms.health().ok
    assert children() == []


def test_the_server_ends_with_a_run_that_breaks_off(tmp_path, children):
    """By whatever."""
    with pytest.raises(KeyboardInterrupt), local_server.local_server(tmp_path):
        raise KeyboardInterrupt
    assert children() == []


def test_a_server_that_does_not_start_says_why(tmp_path):
    """In its own words."""
    with (
        pytest.raises(Unsupported, match="did not start") as failure,
        local_server.local_server(tmp_path, "--no-such-option"),
    ):
        pass
    assert "no-such-option" in failure.value.hint


def test_a_server_that_never_answers_is_not_waited_for(tmp_path, monkeypatch, children):
    """After some seconds it is ended."""
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(silent))
    monkeypatch.setattr(local_server, "START", 0.2)
    with pytest.raises(Unsupported), local_server.local_server(tmp_path):
        pass
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    assert children() == []


def test_a_server_that_does_not_end_is_ended(tmp_path, monkeypatch, children):
    """It gets some seconds."""
    deaf = tmp_path / "deaf"
    deaf.write_text(
        "#!/bin/sh\ntrap '' TERM\necho '{\"url\": \"http://127.0.0.1:1\"}'\nexec sleep 600\n"
    )
    deaf.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(deaf))
    monkeypatch.setattr(local_server, "STOP", 0.2)
    with local_server.local_server(tmp_path) as table:
        assert table["endpoint"] == "http://127.0.0.1:1"
        assert children()
    assert children() == []
