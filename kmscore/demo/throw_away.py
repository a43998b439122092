"""Settings for who has none: providers that are made for one run, and thrown away with it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from kmscore.config import Config
from kmscore.demo.local_server import local_server
from kmscore.errors import Unsupported

Table = dict[str, Any]
"""A provider's table, as in ``kms.toml``."""

DEFAULT: Final = "throw-away"
"""What is made when no provider is named."""

SOFTHSM_MODULES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",  # Debian, Ubuntu
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",  # Fedora
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
"""Where SoftHSM's library is, by system."""


@contextmanager
def _software(folder: Path) -> Generator[Table]:
    root_key = os.urandom(32)
    yield {"type": "software", "path": str(folder / "keystore.db"), "root_key": lambda: root_key}


@contextmanager
def _softhsm(folder: Path) -> Generator[Table]:
    program = shutil.which("softhsm2-util")
    module = next((path for path in SOFTHSM_MODULES if Path(path).is_file()), None)
    if program is None or module is None:
        raise Unsupported(
            "the demonstration on a token needs SoftHSM, which is missing",
            hint="Install it with: apt-get install softhsm2; or use a token of yours: --config",
        )
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700)
    config = folder / "softhsm2.conf"
    config.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    label, pin = "kmscore demo", secrets.token_hex(8)
    with _variable("SOFTHSM2_CONF", str(config)):
        # The PIN is an argument, since the program takes it no other way; it opens nothing but
        # this token, which is gone with the run.
        done = subprocess.run(  # noqa: S603 - our own arguments
            [
                *(program, "--init-token", "--free", "--label", label),
                *("--so-pin", secrets.token_hex(8), "--pin", pin),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise Unsupported(
                f"softhsm2-util could not make a token (exit code {done.returncode})",
                hint="Check the installation of SoftHSM",
            )
        yield {
            "type": "pkcs11",
            "module": module,
            "token": label,
            "pin": pin.encode,
            "path": str(folder / "keys.db"),
        }


@contextmanager
def _variable(name: str, value: str) -> Generator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


MAKERS: Final[MappingProxyType[str, Callable[[Path], AbstractContextManager[Table]]]] = (
    MappingProxyType({DEFAULT: _software, "hsm": _softhsm, "cloud-local": local_server})
)
"""What can be made, by the name that ``kmscore demo --provider`` takes."""


@contextmanager
def throw_away(name: str, folder: Path) -> Generator[Config]:
    """A configuration with one provider that lasts as long as the context.

    Args:
        name: One of `MAKERS`.
        folder: For its files.

    Raises:
        Unsupported: What it is made of is not installed.
    """
    with MAKERS[name](folder) as table:
        yield Config.from_mapping({"providers": {name: table}}, base=folder)
