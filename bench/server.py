"""The server, beside moto's KMS server: rates and times over loopback, and how soon it answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.harness import Measure, Row, at_least, at_most, calls, in_turns, median, ratio
from bench.load import Load, LoadGenerator

BIN = Path(sys.executable).parent
SECRET_ID, SECRET = "AKIDbench", "bench"
SECONDS = 0.7
"""How long each load lasts."""
KEY, PAIR = "11111111-2222-4333-8444-000000000001", "11111111-2222-4333-8444-000000000002"


def rows(folder: Path) -> Iterator[Row]:
    """Encrypt of 1 KiB by several numbers of connections, signatures, workers, and the start."""
    place, elsewhere = folder / "server", folder / "elsewhere"
    for each in (place, elsewhere):
        each.mkdir()
        _furnish(each)
    loads = Loads(LoadGenerator(folder))
    with (
        _ours(place) as port,
        _ours(place, "--workers", "2") as two,
        _ours(elsewhere) as other,
        _moto() as peer,
    ):
        text = base64.b64encode(os.urandom(1024)).decode()
        theirs = _moto_answer(peer, "CreateKey", {})["KeyMetadata"]["KeyId"]
        asked = {"KeyId": KEY, "Plaintext": text}
        their_request = _moto_request(peer, "Encrypt", {"KeyId": theirs, "Plaintext": text})
        for connections, bound in ((1, 6), (8, 15), (32, 15)):
            cases = {
                "ours": loads.of("ours", port, connections, "Encrypt", asked),
                "two": loads.of("two", two, connections, "Encrypt", asked),
                "apart": loads.of("apart", port, connections, "Encrypt", asked, other=other),
                "moto": loads.plain("moto", peer, connections, lambda: their_request),
            }
            taken = in_turns(cases, rounds=5)
            rate = 1 / median(taken["ours"])
            plural = "s" if connections > 1 else ""
            yield at_least(
                f"Encrypt 1 KiB, {connections} connection{plural}, by moto's rate",
                ratio(taken["moto"], taken["ours"]),
                bound,
                " x",
                f"{rate:,.0f}/s",
            )
            if connections == 8:
                p99 = loads.last["ours"].p99 * 1e3
                yield at_most("  99 of 100 answers within", p99, 3, " ms")
                yield at_least(
                    "  two workers, by one", ratio(taken["ours"], taken["two"]), 1.5, " x"
                )
                apart = ratio(taken["ours"], taken["apart"])
                yield Row("  two servers that share nothing, by one", "", f"{apart:.2f} x")
        yield from _signing(port, loads)
    yield from _starting(place)


def _signing(port: int, loads: Loads) -> Iterator[Row]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    text = os.urandom(64)
    private = rsa.generate_private_key(65537, 2048)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    asked = {
        "KeyId": PAIR,
        "Algorithm": "RSA_PSS_SHA_256",
        "Message": base64.b64encode(text).decode(),
    }
    taken = in_turns(
        {
            "ours": loads.of("sign", port, 8, "SignByAsymmetricKey", asked),
            "bare": calls(lambda: private.sign(text, scheme, hashes.SHA256())),
        },
        rounds=5,
    )
    yield at_least(
        "Sign with RSA-2048, 8 connections, by the bare rate",
        ratio(taken["bare"], taken["ours"]),
        0.6,
        " x",
        f"{1 / median(taken['ours']):,.0f}/s",
    )


def _starting(place: Path) -> Iterator[Row]:
    def first_answer(start: Callable[[int], list[str]]) -> Measure:
        def measure() -> float:
            port = _free_port()
            began = time.perf_counter()
            process = _start(start(port), place)
            _wait(port)
            taken = time.perf_counter() - began
            process.kill()
            process.wait()
            return taken

        return measure

    taken = in_turns(
        {"ours": first_answer(_our_command), "moto": first_answer(_moto_command)}, rounds=5
    )
    yield at_most(
        "First answer after the start, by moto's",
        ratio(taken["ours"], taken["moto"]),
        0.5,
        " x",
        f"{median(taken['ours']) * 1e3:.0f} ms",
    )


# --- Servers ---------------------------------------------------------------------------------


def _furnish(place: Path) -> None:
    (place / "kms.toml").write_text(
        '[providers.dev]\ntype = "software"\npath = "keystore.db"\n'
        'root_key = { file = "root.key" }\n[audit]\npath = "audit.jsonl"\n'
    )
    (place / "seed.toml").write_text(
        f'[[keys]]\nid = "{KEY}"\nalias = "bench"\n[[keys]]\nid = "{PAIR}"\nalias = "pair"\n'
        'usage = "ASYMMETRIC_SIGN_VERIFY_RSA_2048"\n'
    )
    files = {
        "root.key": "07" * 32,
        "secret": SECRET,
        "credentials.toml": f"""\
[permissions.all]
allow = [{{ actions = ["*"] }}]
[credentials.{SECRET_ID}]
secret_key = {{ file = "secret" }}
permissions = ["all"]
""",
    }
    for name, text in files.items():
        (place / name).write_text(text)
        (place / name).chmod(0o600)


def _our_command(port: int, *options: str) -> list[str]:
    command = [str(BIN / "kmscore"), "serve", "--credentials", "credentials.toml"]
    return [*command, "--port", str(port), *options]


def _moto_command(port: int) -> list[str]:
    return [str(BIN / "moto_server"), "-p", str(port)]


@contextmanager
def _ours(place: Path, *options: str) -> Generator[int]:
    port = _free_port()
    yield from _running(_start(_our_command(port, "--seed", "seed.toml", *options), place), port)


@contextmanager
def _moto() -> Generator[int]:
    port = _free_port()
    yield from _running(_start(_moto_command(port), Path.cwd()), port)


def _running(process: subprocess.Popen[bytes], port: int) -> Generator[int]:
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _start(command: list[str], place: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _wait(port: int) -> None:
    """Wait for the first answer of HTTP, whatever it says."""
    ends = time.perf_counter() + 30
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", "/", b"{}", {"Content-Type": "application/json"})
            connection.getresponse().read()
            connection.close()
        except (OSError, http.client.HTTPException):
            if time.perf_counter() > ends:
                raise
            time.sleep(0.001)
        else:
            return


# --- Requests --------------------------------------------------------------------------------


class Loads:
    """Measures seconds per answer under loads.

    Attributes:
        last: The last load of each name.
    """

    def __init__(self, generator: LoadGenerator) -> None:
        self._generator = generator
        self.last: dict[str, Load] = {}

    def of(
        self, name: str, port: int, connections: int, action: str, asked: Any, *, other: int = 0
    ) -> Measure:
        """A load of signed requests, half of it on another port where one is given."""
        return self.plain(
            name, port, connections, lambda: _request(port, action, asked), other=other
        )

    def plain(
        self,
        name: str,
        port: int,
        connections: int,
        request: Callable[[], bytes],
        *,
        other: int = 0,
    ) -> Measure:
        """A load of requests that are made for each measurement."""

        def measure() -> float:
            load = self._generator.run(port, connections, SECONDS, request(), other=other)
            self.last[name] = load
            return 1 / load.rate

        return measure


def _request(port: int, action: str, parameters: Any) -> bytes:
    """A request that is signed now; it is good for five minutes."""
    body = json.dumps(parameters).encode()
    host, timestamp = f"127.0.0.1:{port}", int(time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(timestamp))
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{host}\n\ncontent-type;host\n"
        f"{hashlib.sha256(body).hexdigest()}"
    )
    scope = f"{date}/kms/tc3_request"
    key = b"TC3" + SECRET.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return _bytes(
        host,
        body,
        {
            "Content-Type": "application/json",
            "X-TC-Action": action,
            "X-TC-Version": "2019-01-18",
            "X-TC-Timestamp": str(timestamp),
            "X-TC-Region": "ap-guangzhou",
            "Authorization": f"TC3-HMAC-SHA256 Credential={SECRET_ID}/{scope}, "
            f"SignedHeaders=content-type;host, Signature={signature}",
        },
    )


def _moto_request(port: int, action: str, parameters: Any) -> bytes:
    return _bytes(
        f"127.0.0.1:{port}",
        json.dumps(parameters).encode(),
        {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"TrentService.{action}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20300101/us-east-1/kms/aws4_request, "
            "SignedHeaders=host, Signature=00",
        },
    )


def _bytes(host: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"{name}: {value}" for name, value in ({"Host": host} | headers).items()]
    head = "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}"])
    return head.encode() + b"\r\n\r\n" + body


def _moto_answer(port: int, action: str, parameters: Any) -> Any:
    return _ask(port, _moto_request(port, action, parameters))


def _ask(port: int, request: bytes) -> Any:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return json.loads(answer.read())
