"""Tokens that are made from nothing, for one run of the tests each.

A module reads its settings when it is initialised, once in a process: so a session has one token of
each kind, and a test that needs another one uses a process of its own (`run`).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

LABEL = "kms"
PIN = "1234567"
SO_PIN = "87654321"
OPENCRYPTOKI_SO_PIN = "76543210"
"""Its first one must be changed before it can be used."""

LIBRARIES = Path("/usr/lib", os.uname().machine + "-linux-gnu")
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
NSS = LIBRARIES / "libsoftokn3.so"
P11_KIT_CLIENT = LIBRARIES / "pkcs11/p11-kit-client.so"
OPENCRYPTOKI = LIBRARIES / "pkcs11/libopencryptoki.so"


class Token(NamedTuple):
    """A token, and how to reach it.

    Attributes:
        kind: What it is: ``softhsm``, ``nss``, ``p11kit`` or ``opencryptoki``.
        module: The PKCS#11 library.
        folder: Where its files are.
        environment: Variables that must be there when the module is initialised.
        init_args: The module's own initialisation string.
        label: The token's label.
        pin: The user's PIN.
    """

    kind: str
    module: Path
    folder: Path
    environment: Mapping[str, str]
    init_args: str = ""
    label: str = LABEL
    pin: str = PIN

    def options(self, path: Path, **more: Any) -> dict[str, Any]:
        """The provider's table in ``kms.toml``, with its registry at ``path``."""
        pin = self.pin.encode()
        options: dict[str, Any] = {
            "type": "pkcs11",
            "module": str(self.module),
            "token": self.label,
            "pin": lambda: pin,
            "path": str(path),
        }
        if self.init_args:
            options["init_args"] = self.init_args
        return options | more

    def config(self, path: Path, **more: Any) -> dict[str, Any]:
        """A whole configuration with this token as its only provider, ``hsm``."""
        return {"providers": {"hsm": self.options(path, **more)}}

    def toml(self, path: Path, **more: str) -> str:
        """The same as text, for another process; the PIN lies in a file beside the registry."""
        pin = path.with_suffix(".pin")
        if not pin.exists():
            pin.touch(mode=0o600)
            pin.write_text(self.pin)
        lines = {**self.options(path), "pin": None, **more}
        table = "\n".join(f'{name} = "{value}"' for name, value in lines.items() if value)
        return f'default = "hsm"\n[providers.hsm]\n{table}\npin = {{ file = "{pin}" }}\n'

    def run(self, script: str, *arguments: object, timeout: float = 120) -> str:
        """Run a script in a process of its own, which may crash; what it printed."""
        return self.start("-c", script, *arguments, timeout=timeout)

    def start(self, *arguments: object, timeout: float = 120) -> str:
        """Run Python with arguments of its own, in a process that may crash; what it printed."""
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-W", "error", *map(str, arguments)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise AssertionError(
                f"the process ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done.stdout


def make_softhsm(folder: Path, mechanisms: str = "") -> Token:
    """SoftHSM 2.

    Args:
        folder: For its files.
        mechanisms: The only ones that it is to have, as in ``slots.mechanisms``; else all.
    """
    (folder / "tokens").mkdir(parents=True)
    config = folder / "softhsm2.conf"
    lines = [
        f"directories.tokendir = {folder}/tokens",
        "objectstore.backend = file",
        "log.level = ERROR",
        "slots.removable = false",
    ]
    if mechanisms:
        lines.append(f"slots.mechanisms = {mechanisms}")
    config.write_text("\n".join(lines) + "\n")
    token = Token("softhsm", SOFTHSM, folder, {"SOFTHSM2_CONF": str(config)})
    add_softhsm(token, LABEL)
    return token


def add_softhsm(token: Token, label: str) -> Token:
    """One more token in the same SoftHSM; seen by processes that initialise it from now on."""
    _command(
        "softhsm2-util",
        *("--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN),
        env={**os.environ, **token.environment},
    )
    return token._replace(label=label)


def make_nss(folder: Path, pin: str = PIN) -> Token:
    """NSS softokn on an empty key database; with an empty PIN it asks for none."""
    folder.mkdir(parents=True)
    init_args = f"configdir='sql:{folder}' tokenDescription='x' dbTokenDescription='{LABEL}' flags="
    token = Token("nss", NSS, folder, {}, init_args, pin=pin)
    # The PIN is set in a process of its own: this one is to find the token as a user would.
    token.run(
        "import sys; from tests.pkcs11.cryptoki import Cryptoki\n"
        "module, init_args, label, pin = sys.argv[1:]\n"
        "with Cryptoki(module, init_args) as api: api.set_first_pin(label, '', pin)\n",
        *(token.module, token.init_args, token.label, token.pin),
    )
    return token


class Unpluggable:
    """SoftHSM behind a socket: a token whose connection can be cut.

    Attributes:
        token: How to reach it.
    """

    def __init__(self, folder: Path, behind: Token) -> None:
        self._socket = folder / "kms.sock"
        self._behind = behind
        address = {"P11_KIT_SERVER_ADDRESS": f"unix:path={self._socket}"}
        self.token = Token("p11kit", P11_KIT_CLIENT, folder, address)
        self.plug()

    def plug(self) -> None:
        """Let others connect."""
        self._socket.unlink(missing_ok=True)
        self._server = subprocess.Popen(
            [
                *("p11-kit", "server", "-f", "-n", self._socket),
                *("--provider", self._behind.module, f"pkcs11:token={self._behind.label}"),
            ],
            env={**os.environ, **self._behind.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        # It prints its variables once it listens.
        assert self._server.stdout
        self._server.stdout.readline()

    def connections(self) -> list[int]:
        """Ids of the processes that serve one connection each."""
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children")
        return [int(word) for word in children.read_text().split()]

    def cut(self) -> int:
        """Cut all connections; how many there were. New ones may be made at once."""
        victims = self.connections()
        for process in victims:
            os.kill(process, signal.SIGKILL)
        for process in victims:
            _gone(process)
        return len(victims)

    def unplug(self) -> None:
        """Cut all connections and let nobody connect again."""
        self._server.send_signal(signal.SIGSTOP)
        self.cut()
        self._server.kill()
        self._server.wait()
        assert self._server.stdout
        self._server.stdout.close()


def _gone(process: int) -> None:
    """Wait until a killed process is dead, be it unburied."""
    while True:
        try:
            status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if status in "ZX":
            return
        time.sleep(0.001)


OPENCRYPTOKI_SETUP = f"""
set -e
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
mount -t tmpfs none /var/lib/opencryptoki
mount -t tmpfs none /etc/opencryptoki
printf 'version opencryptoki-3.1\\nslot 0\\n{{\\nstdll = libpkcs11_sw.so\\n}}\\n' \\
    >/etc/opencryptoki/opencryptoki.conf
install -d -m 0770 -g pkcs11 /run/lock/opencryptoki /run/lock/opencryptoki/swtok
install -d -m 0770 -g pkcs11 /var/lib/opencryptoki/swtok /var/lib/opencryptoki/swtok/TOK_OBJ
pkcsslotd
echo {LABEL} | pkcsconf -I -c 0 -S 87654321 >/dev/null
pkcsconf -P -c 0 -S 87654321 -n {OPENCRYPTOKI_SO_PIN} >/dev/null
pkcsconf -u -c 0 -S {OPENCRYPTOKI_SO_PIN} -n {PIN} >/dev/null
"""
"""Shell commands that make an opencryptoki token in namespaces of their own.

opencryptoki has one token of each kind for the whole machine. In here it is ours alone, and the
machine's own keys are neither seen nor touched.
"""


def can_isolate() -> bool:
    """Whether this process may make namespaces; root in a container often may not."""
    command = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def inside_opencryptoki(*command: str | Path, timeout: float = 300) -> subprocess.CompletedProcess:
    """Run a command where opencryptoki's soft token has just been made; needs root."""
    script = OPENCRYPTOKI_SETUP + 'exec "$@"\n'
    return subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--kill-child"),
            *("sh", "-c", script, "sh", *map(str, command)),
        ],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def opencryptoki(folder: Path) -> Token:
    """The token of the namespaces that this process runs in."""
    return Token("opencryptoki", OPENCRYPTOKI, folder, {})


def _command(*command: str | Path, env: Mapping[str, str]) -> None:
    program = shutil.which(str(command[0]))
    assert program, f"{command[0]} is missing: see the Makefile"
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
