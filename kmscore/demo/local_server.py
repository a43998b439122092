"""A key server on this machine for one run: ``kmscore serve`` over a throw-away keystore.

The core imports neither the server nor the provider that speaks to it: all it knows of them is a
command line and a configuration.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kmscore.errors import Unsupported

START: Final = 30.0
"""Seconds until the server must listen."""

STOP: Final = 15.0
"""Seconds until it must have ended."""

_SERVER: Final = """\
[providers.keys]
type = "software"
path = "keystore.db"
root_key = { file = "root.key" }
"""

_CREDENTIALS: Final = """\
[permissions.all]
allow = [{{ actions = ["*"] }}]

[credentials.{secret_id}]
secret_key = {{ file = "client.secret" }}
permissions = ["all"]
"""


@contextmanager
def local_server(folder: Path, *options: str) -> Generator[dict[str, Any]]:
    """Start a server on a free loopback port, and stop it at the end.

    Args:
        folder: For its files.
        options: More of the command's options.

    Returns:
        The table of a provider of the type ``tencent`` that speaks to it.

    Raises:
        Unsupported: The server cannot be started.
    """
    secret_id, secret_key = f"AKID{secrets.token_hex(16)}", secrets.token_hex(16)
    _write(folder / "server.toml", _SERVER)
    _write(folder / "root.key", secrets.token_hex(32))
    _write(folder / "credentials.toml", _CREDENTIALS.format(secret_id=secret_id))
    _write(folder / "client.secret", secret_key)
    complaints = folder / "server.log"
    command = [
        *(sys.executable, "-m", "kmscore", "serve", "--json", "--port", "0"),
        *("--config", str(folder / "server.toml")),
        *("--credentials", str(folder / "credentials.toml")),
        *options,
    ]
    with (
        complaints.open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own arguments
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            url = _address(server)
            if url is None:
                raise Unsupported(
                    "the demonstration needs a local server, and kmscore serve did not start",
                    hint=complaints.read_text(errors="replace").strip(),
                )
            yield {
                "type": "tencent",
                "region": "ap-guangzhou",
                "endpoint": url,
                "credentials": {"secret_id": secret_id.encode, "secret_key": secret_key.encode},
            }
        finally:
            _stop(server)


def _address(server: subprocess.Popen[str]) -> str | None:
    """Where the server listens, which is the first line that it prints."""
    # A server that never says so is ended, and with it the waiting.
    patience = threading.Timer(START, server.kill)
    patience.start()
    try:
        return str(json.loads(server.stdout.readline())["url"]) if server.stdout else None
    except (ValueError, KeyError, TypeError):
        return None
    finally:
        patience.cancel()
        patience.join()


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(STOP)
    except subprocess.TimeoutExpired:
        server.kill()


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
