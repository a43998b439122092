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
from typing import NamedTuple


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
    """Send the request over every connection as soon as the last answer has come."""
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    taken: list[float] = []
    wrong = 0
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[client.fileno()] = client
        poll.register(client, select.EPOLLIN)
    began = time.perf_counter()
    ends = began + seconds
    for number, client in sockets.items():
        sent_at[number] = time.perf_counter()
        client.sendall(request)
    now = began
    while now < ends:
        for number, _ in poll.poll():
            client = sockets[number]
            answer = client.recv(65536)
            while not _is_whole(answer):
                more = client.recv(65536)
                if not more:
                    raise ConnectionError("the server closed the connection")
                answer += more
            now = time.perf_counter()
            taken.append(now - sent_at[number])
            if not answer.startswith(b"HTTP/1.1 200") or b'"Error"' in answer:
                wrong += 1
            sent_at[number] = now
            client.sendall(request)
    taken.sort()
    for client in sockets.values():
        client.close()
    return Load(
        len(taken) / (now - began), taken[len(taken) // 2], taken[len(taken) * 99 // 100], wrong
    )


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
