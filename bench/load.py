"""A load generator: sends one request over some connections again and again, and counts answers.

A process of its own, so that it takes no time from the server: ``python -m bench.load PORT
CONNECTIONS SECONDS``, with the request on standard input.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import NamedTuple, NoReturn


class Load(NamedTuple):
    """What a run has shown.

    Attributes:
        rate: Answers per second.
        p50: Seconds that half of them took at most.
        p99: Seconds that 99 of 100 took at most.
        wrong: Answers that were not what was asked for.
    """

    rate: float
    p50: float
    p99: float
    wrong: int


def run(port: int, connections: int, seconds: float, request: bytes) -> Load:
    """Send the request over every connection as soon as the last answer has come.

    A server that closes its connections gets a new one each time, and the time for that counts.
    """
    poll = select.epoll()
    sockets: dict[int, tuple[socket.socket, float]] = {}
    taken: list[float] = []
    wrong = 0

    def open_one(now: float) -> None:
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(30)
        poll.register(client, select.EPOLLIN)
        client.sendall(request)
        sockets[client.fileno()] = client, now

    began = now = time.perf_counter()
    for _ in range(connections):
        open_one(began)
    while now < began + seconds:
        for number, _ in poll.poll(30) or _no_answer():
            client, sent = sockets[number]
            answer = client.recv(65536)
            while not _is_whole(answer):
                answer += client.recv(65536) or _no_answer()
            now = time.perf_counter()
            taken.append(now - sent)
            if not answer.startswith(b"HTTP/1.1 200") or b'"Error"' in answer:
                wrong += 1
            if b"Connection: close" in answer:
                client.close()
                open_one(now)
            else:
                sockets[number] = client, now
                client.sendall(request)
    taken.sort()
    for client, _ in sockets.values():
        client.close()
    return Load(
        len(taken) / (now - began), taken[len(taken) // 2], taken[len(taken) * 99 // 100], wrong
    )


def _no_answer() -> NoReturn:
    raise ConnectionError("the server does not answer")


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    start = head.lower().index(b"content-length:") + 15
    end = head.find(b"\r\n", start)
    return len(body) >= int(head[start : end if end > 0 else len(head)])


if __name__ == "__main__":
    found = run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.stdin.buffer.read())
    print(json.dumps(found))
