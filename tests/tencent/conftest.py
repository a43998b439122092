"""A server on loopback that answers as it is told, and the provider pointed at it."""

import json
import socket
import threading
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import kmscore
from kmscore.demo.local_server import local_server

SECRET_ID, SECRET_KEY, TOKEN = "AKIDnotarealsecretid", "notarealsecretkey", "notarealtoken"
REQUEST_ID = "6f1c2d3e-0000-4000-8000-000000000001"
KEY_ID = "11111111-2222-11ee-8888-999999999999"


class Request(NamedTuple):
    """What has arrived."""

    connection: int
    target: str
    headers: dict[str, str]
    body: str

    @property
    def action(self):
        """The API's action."""
        return self.headers.get("x-tc-action", "")

    @property
    def fields(self):
        """The JSON of the body."""
        return json.loads(self.body)


class Reply(NamedTuple):
    """What is sent back: by default, as the service does it."""

    body: bytes
    status: str = "200 OK"
    content_type: str | None = "application/json"
    headers: tuple[str, ...] = ()
    then_close: bool = False

    def wire(self):
        """The bytes."""
        lines = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.body)}", *self.headers]
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Raw(NamedTuple):
    """Bytes that are sent as they are, before the connection is closed."""

    wire: bytes


def answer(request_id=REQUEST_ID, **fields):
    """A success."""
    content = {"Response": {**fields, "RequestId": request_id}}
    return Reply(json.dumps(content).encode())


def error(code, message="text of the service", **reply):
    """A failure, as the service tells it."""
    fault = {"Error": {"Code": code, "Message": message}, "RequestId": REQUEST_ID}
    return Reply(json.dumps({"Response": fault}).encode(), **reply)


DROP = Raw(b"")
"""The request was read; the connection is closed without an answer."""

STALL = None
"""The request was read; nothing more happens."""


def _unprepared(request):
    raise AssertionError(f"nothing is prepared for {request.action}")


class Service:
    """Serves on a free loopback port until it is closed.

    Attributes:
        replies: What the next requests get, in turn; afterwards what `always` names.
        requests: All that has arrived.
        connections: How many were opened.
    """

    def __init__(self, tls=None):
        self.replies: deque[Reply | Raw | None] = deque()
        self.requests = []
        self.connections = 0
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http{'s' if tls else ''}://{self.host}"
        self._usual = _unprepared
        self._open = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def prepare(self, *replies):
        """Queue what the next requests get."""
        self.replies.extend(replies)

    def always(self, function):
        """Have a function of the request answer from now on."""
        self._usual = function

    @property
    def actions(self):
        """The actions that were asked for."""
        return [request.action for request in self.requests]

    def has_ended(self, connection):
        """Whether a connection is over, or soon is."""
        thread = self._threads[connection]
        thread.join(10)
        return not thread.is_alive()

    def close(self):
        """Stop, and wait for every thread."""
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection, number):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection:
                while self._exchange(connection, number):
                    pass
        except OSError:
            connection.close()

    def _exchange(self, connection, number):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
            if data[:1] == b"\x16":
                connection.sendall(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
                return False
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            more = connection.recv(65536)
            if not more:
                return False
            body += more
        request = Request(number, first.split()[1], headers, body.decode())
        self.requests.append(request)
        reply = self.replies.popleft() if self.replies else self._usual(request)
        if reply is STALL:
            self._over.wait()
            return False
        if isinstance(reply, Raw):
            connection.sendall(reply.wire)
            return False
        connection.sendall(reply.wire())
        return not reply.then_close


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing of who runs the tests: an empty home, no credentials, no proxies."""
    for name in (
        *("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"),
        *("TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"),
        *("TKE_REGION", "TKE_PROVIDER_ID", "TKE_WEB_IDENTITY_TOKEN_FILE", "TKE_ROLE_ARN"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    ):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return Path(folder)


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Starts `kmscore serve` over a keystore of its own; gives the table of a provider for it."""
    with ExitStack() as started:

        def serve(*options):
            folder = tmp_path_factory.mktemp("server")
            return started.enter_context(local_server(folder, *options))

        yield serve


@pytest.fixture
def start():
    """Starts a scripted service; TLS with a server context."""
    with ExitStack() as started:

        def start(tls=None):
            service = Service(tls)
            started.callback(service.close)
            return service

        yield start


@pytest.fixture
def service(start):
    """The scripted KMS."""
    return start()


@pytest.fixture
def connect(service):
    """Opens the provider on the scripted KMS; options of the provider, and of retry."""
    with ExitStack() as opened:

        def connect(retry=None, clock=None, waits=None, audit=None, **options):
            table = {
                "type": "tencent",
                "region": "ap-test",
                "endpoint": service.url,
                "credentials": {
                    "secret_id": lambda: SECRET_ID.encode(),
                    "secret_key": lambda: SECRET_KEY.encode(),
                },
                "timeout": 5,
                **options,
            }
            config = {"providers": {"cloud": table}, "retry": retry or {"max_attempts": 1}}
            if audit:
                config["audit"] = {"path": str(audit)}
            more = {"clock": clock} if clock else {}
            waits = [] if waits is None else waits
            return opened.enter_context(kmscore.connect(config=config, sleep=waits.append, **more))

        yield connect


@pytest.fixture
def kms(connect):
    """An open provider that never repeats a call."""
    return connect()


def metadata(key_id=KEY_ID, **changes):
    """A key as the service describes it."""
    return {
        "KeyId": key_id,
        "Alias": "orders",
        "CreateTime": 1_700_000_000,
        "Description": "",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Type": 2,
        "KeyRotationEnabled": False,
        "Owner": "user",
        "NextRotateTime": 1_731_536_000,
        "DeletionDate": 0,
        "Origin": "TENCENT_KMS",
        "ValidTo": 0,
        "ResourceId": f"creatorUin/1/{key_id}",
        **changes,
    }


class Words:
    """What tests say to the service; given as a fixture, since tests import nothing of theirs."""

    Reply, Raw, Service = Reply, Raw, Service
    DROP, STALL = DROP, STALL
    SECRET_ID, SECRET_KEY, TOKEN = SECRET_ID, SECRET_KEY, TOKEN
    REQUEST_ID, KEY_ID = REQUEST_ID, KEY_ID
    answer, error, metadata = staticmethod(answer), staticmethod(error), staticmethod(metadata)


@pytest.fixture(scope="session")
def say():
    """What the service can be told to answer."""
    return Words
