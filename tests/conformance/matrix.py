"""Tries our own providers on each other, and writes the matrix: ``make matrix``.

Software; PKCS#11 on SoftHSM 2 and on NSS; Tencent's SDK talking to a local server over software,
and to one over SoftHSM. Everything is made from nothing, in a folder that is thrown away.
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.pkcs11 import tokens

ROOT = Path(__file__).parents[2]
SECRET_ID = "AKIDmatrix"
PROVIDERS = ("software", "softhsm2", "nss", "tencent-software", "tencent-softhsm2")
ADDRESS = "http://127.0.0.1"
SERVE = (
    *("--config", "kms.toml", "--credentials", "credentials"),
    *("--port", "0", "--ready-file", "ready.json", "--rotation-interval", "0"),
)


def software(name: str) -> str:
    """A keystore."""
    return (
        f'[providers.{name}]\ntype = "software"\npath = "{name}.db"\n'
        'root_key = { file = "key" }\n'
    )


def pkcs11(name: str, token: tokens.Token, folder: Path) -> str:
    """A token."""
    (folder / "pin").write_text(token.pin)
    (folder / "pin").chmod(0o600)
    init = f"init_args = {json.dumps(token.init_args)}\n" if token.init_args else ""
    return (
        f'[providers.{name}]\ntype = "pkcs11"\nmodule = "{token.module}"\n'
        f'token = "{token.label}"\npath = "{name}.db"\npin = {{ file = "pin" }}\n{init}'
    )


def tencent(name: str, port: int) -> str:
    """A server."""
    return (
        f'[providers.{name}]\ntype = "tencent"\nregion = "ap-guangzhou"\n'
        f'endpoint = "{ADDRESS}:{port}"\n'
        f'credentials = {{ secret_id = {{ file = "id" }}, secret_key = {{ file = "secret" }} }}\n'
    )


def write(folder: Path, **files: str) -> None:
    """Write files that nobody else may read."""
    for name, text in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """A server over the provider of ``kms.toml`` in a folder; gives its port."""
    secret = (folder.parent / "secret").read_text()
    write(
        folder,
        secret=secret,
        credentials='[permissions.all]\nallow = [{ actions = ["*"] }]\n'
        f'[credentials.{SECRET_ID}]\nsecret_key = {{ file = "secret" }}\npermissions = ["all"]\n',
    )
    ready = folder / "ready.json"
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "kmscore", "serve", *SERVE],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        ends = time.monotonic() + 60
        while not (ready.exists() and ready.read_text()):
            if server.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"no server: {(folder / 'server.log').read_text()}")
            time.sleep(0.05)  # between two looks: the loop ends with the server's first word
        yield json.loads(ready.read_text())["port"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def main() -> int:
    """Make everything, run the suite, write the page; the exit code of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="ci")
    parser.add_argument("--law", action="append", default=[])
    parser.add_argument("--seed", default="2026")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs")
    parser.add_argument("providers", nargs="*", default=PROVIDERS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        write(folder, key=secrets.token_hex(32), id=SECRET_ID, secret=secrets.token_hex(16))
        folders = {name: folder / name for name in ("hsm", "nss", "far", "far-hsm", "over")}
        for each in folders.values():
            each.mkdir()
        near = tokens.make_softhsm(folders["hsm"])
        nss = tokens.make_nss(folders["nss"] / "db")
        far = tokens.make_softhsm(folders["far-hsm"])
        tables = {
            "software": software("software"),
            "softhsm2": pkcs11("softhsm2", near, folder),
            "nss": pkcs11("nss", nss, folder),
        }
        backs = {
            "tencent-software": (folders["far"], software("back"), {}),
            "tencent-softhsm2": (
                folders["over"],
                pkcs11("back", far, folders["over"]),
                far.environment,
            ),
        }
        for name, (home, table, environment) in backs.items():
            tables[name] = tencent(name, 1)  # named by waivers, though nobody may listen
            if name in options.providers:
                write(home, key=secrets.token_hex(32), **{"kms.toml": table})
                tables[name] = tencent(name, running.enter_context(serving(home, environment)))
        chosen = [name for name in PROVIDERS if name in options.providers]
        write(folder, **{"kms.toml": "\n".join(tables.values())})
        ran = kmscore(
            folder,
            near.environment,
            *("run", *chosen, "--profile", options.profile, "--seed", options.seed),
            *("--waivers", str(Path(__file__).with_name("waivers.toml")), "--report", "out"),
            *(word for law in options.law for word in ("--law", law)),
        )
        if ran in (0, 1):
            pages = [str(options.output / f"matrix.{kind}") for kind in ("html", "md")]
            kmscore(folder, {}, "matrix", "out", "-o", pages[0], "-o", pages[1])
        return ran


def kmscore(folder: Path, environment: Mapping[str, str], *arguments: str) -> int:
    """Run ``kmscore conformance``."""
    command = [sys.executable, "-m", "kmscore", "conformance", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
