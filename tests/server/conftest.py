"""Servers run as a user runs them, and a client that signs by the book.

The client is written from the public description of TC3, and shares nothing with the server.
"""

import hashlib
import hmac
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

KMSCORE = Path(sys.executable).with_name("kmscore")
SECRET_ID, SECRET = "AKIDtest", "topsecretkey"
REGION = "ap-guangzhou"

CONFIG = """\
[providers.dev]
type = "software"
path = "keystore.db"
root_key = { file = "root.key" }

[audit]
path = "audit.jsonl"
"""

CREDENTIALS = """\
[permissions.all]
allow = [{ actions = ["*"], keys = ["*"] }]

[permissions.reader]
allow = [{ actions = ["Decrypt", "Describe*", "List*"], keys = ["*"] }]

[permissions.orders]
allow = [{ actions = ["*"], keys = ["orders-*"] }]
deny = [{ actions = ["*"], keys = ["orders-secret"] }]

[credentials.AKIDtest]
secret_key = { file = "secret" }
permissions = ["all"]

[credentials.AKIDreader]
secret_key = { file = "secret" }
permissions = ["reader"]

[credentials.AKIDorders]
secret_key = { file = "secret" }
permissions = ["orders"]

[credentials.AKIDtemporary]
secret_key = { file = "secret" }
permissions = ["all"]
token = { file = "token" }
expires = "2100-01-01T00:00:00Z"
"""


def sign(body, host, *, content_type="application/json", **other):
    """The headers of a request that is signed with TC3, by its public description.

    Args:
        body: The body.
        host: What is signed as the host.
        content_type: What is signed, and sent, as the content type.
        other: What differs from a plain request: action, secret_id, secret, timestamp, service,
            method, query, signed (names), payload (what is hashed), date, extra (headers).
    """
    timestamp = str(other.get("timestamp", int(time.time())))
    date = other.get("date") or time.strftime("%Y-%m-%d", time.gmtime(int(timestamp)))
    service = other.get("service", "kms")
    action = other.get("action", "GenerateRandom")
    values = {"content-type": content_type, "host": host, "x-tc-action": action.lower()}
    names = other.get("signed", "content-type;host")
    lines = "".join(f"{name}:{values[name]}\n" for name in names.split(";"))
    payload = hashlib.sha256(other.get("payload", body)).hexdigest()
    canonical = f"{other.get('method', 'POST')}\n/\n{other.get('query', '')}\n{lines}\n{names}\n"
    digest = hashlib.sha256((canonical + payload).encode()).hexdigest()
    scope = f"{date}/{service}/tc3_request"
    key = b"TC3" + other.get("secret", SECRET).encode()
    for part in (date, service, "tc3_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    text = f"TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}"
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"{other.get('secret_id', SECRET_ID)}/{scope}"
    return {
        "Content-Type": content_type,
        "X-TC-Action": action,
        "X-TC-Version": "2019-01-18",
        "X-TC-Region": REGION,
        "X-TC-Timestamp": timestamp,
        "Authorization": f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, "
        f"Signature={signature}",
    } | other.get("extra", {})


class Answer(NamedTuple):
    """An answer of HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def response(self):
        """The member ``Response`` of the JSON."""
        return json.loads(self.body)["Response"]

    @property
    def code(self):
        """The code of the error, or ok."""
        return self.response.get("Error", {"Code": "ok"})["Code"]


class Wire:
    """A connection of bare bytes."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.incoming = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Send bytes."""
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.incoming)
        self.incoming += data

    def waits(self):
        """Whether nothing has arrived yet."""
        return not (self.incoming or select.select([self.socket], [], [], 0)[0])

    def answer(self):
        """Receive one whole answer."""
        while b"\r\n\r\n" not in self.incoming:
            self._more()
        head, _, self.incoming = self.incoming.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", 0))
        while len(self.incoming) < length:
            self._more()
        body, self.incoming = self.incoming[:length], self.incoming[length:]
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self):
        """Wait for the other side to close the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True


def request(headers, body=b"", method="POST", target="/"):
    """The bytes of a request."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Server:
    """A running ``kmscore serve``."""

    def __init__(self, process, folder, ready):
        self.process = process
        self.folder = folder
        self.port = ready["port"]
        self.url = ready["url"]
        self.host = f"127.0.0.1:{self.port}"

    def wire(self, tls=None):
        """A connection to it."""
        return Wire(self.port, tls)

    def ask(self, data):
        """Send bytes, and receive one answer."""
        with self.wire() as wire:
            wire.send(data)
            return wire.answer()

    def bytes(self, action, parameters=None, **other):
        """A signed request as bytes."""
        body = json.dumps(parameters or {}).encode()
        headers = sign(body, self.host, action=action, **other)
        return request({"Host": self.host} | headers, body)

    def call(self, action, parameters=None, **other):
        """Have an action carried out."""
        return self.ask(self.bytes(action, parameters, **other))

    def get(self, path):
        """What is at a path."""
        return self.ask(request({"Host": self.host}, method="GET", target=path))

    def stop(self, number=signal.SIGTERM):
        """End it; returns its exit code and what it wrote to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors.decode()

    @property
    def audit(self):
        """The events of the audit log, without what stands at its beginning.

        A last line that is still being written belongs to no answer yet.
        """
        lines = (self.folder / "audit.jsonl").read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines[1:]]


def furnish(folder):
    """A configuration and credentials in a folder."""
    (folder / "kms.toml").write_text(CONFIG)
    files = {"root.key": "07" * 32, "secret": SECRET, "token": "one-hour", "cred.toml": CREDENTIALS}
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)


def start(folder, *options):
    """Start a server in a folder, and wait until it listens."""
    command = [KMSCORE, "--json", "serve", "--port", "0", "--credentials", "cred.toml", *options]
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "KMSCORE_CONFIG"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, errors = process.communicate(timeout=30)
        raise RuntimeError(errors.decode())
    return Server(process, folder, json.loads(line))


def end(server):
    """End a server, if it still runs: without a traceback, and well."""
    if server.process.poll() is None:
        code, errors = server.stop()
        assert (code, "Traceback" in errors) == (0, False), errors


@pytest.fixture
def home(tmp_path):
    """A folder with a configuration and credentials."""
    furnish(tmp_path)
    return tmp_path


@pytest.fixture
def serve(home):
    """Starts servers with options of their own."""
    running = []

    def run(*options):
        running.append(start(home, *options))
        return running[-1]

    yield run
    for server in running:
        end(server)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all who need nothing special."""
    folder = tmp_path_factory.mktemp("server")
    furnish(folder)
    running = start(folder)
    yield running
    end(running)


@pytest.fixture(scope="session")
def command():
    """The command ``kmscore``."""
    return KMSCORE


@pytest.fixture(scope="session")
def signed():
    """The headers of a signed request; see `sign`."""
    return sign


@pytest.fixture(scope="session")
def http():
    """The bytes of a request; see `request`."""
    return request
