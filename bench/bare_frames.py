"""The least that must be done: AES-256-GCM over frames of a file, in two threads, and no format.

``sync`` brings the output to the disk, ``alone`` does all in one thread.

    python bare_frames.py encrypt|decrypt|copy FROM TO [sync] [alone]

Frames and units are those of envelope messages. A peer for measuring; never use it for data.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FRAME = 128 << 10
UNIT_FRAMES = 8
TAG = 16
Cipher = Callable[[bytes, memoryview, None, memoryview], int]


def work(
    cipher: Cipher, step: int, width: int, reader: int, writer: int, turn: int, turns: int
) -> None:
    """One unit of so many: read, encipher, write."""
    buffer, result = (
        memoryview(bytearray(UNIT_FRAMES * step)),
        memoryview(bytearray(UNIT_FRAMES * width)),
    )
    unit = turn
    while size := os.preadv(reader, [buffer], unit * UNIT_FRAMES * step):
        done = place = 0
        number = unit * UNIT_FRAMES
        while place < size:
            piece = buffer[place : min(place + step, size)]
            length = len(piece) + width - step
            cipher(number.to_bytes(12), piece, None, result[done : done + length])
            place, done, number = place + len(piece), done + length, number + 1
        os.pwrite(writer, result[:done], unit * UNIT_FRAMES * width)
        unit += turns


def copy(reader: int, writer: int) -> None:
    """A loop of reads and writes of 1 MiB."""
    buffer = memoryview(bytearray(1 << 20))
    while size := os.readv(reader, [buffer]):
        os.write(writer, buffer[:size])


def main(operation: str, source: str, target: str, *options: str) -> None:
    """Do one file."""
    reader = os.open(source, os.O_RDONLY)
    writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    if operation == "copy":
        copy(reader, writer)
    else:
        bare = AESGCM(bytes(32))
        cipher, step, width = (
            (bare.encrypt_into, FRAME, FRAME + TAG)
            if operation == "encrypt"
            else (bare.decrypt_into, FRAME + TAG, FRAME)
        )
        turns = 1 if "alone" in options else 2
        others = [
            threading.Thread(target=work, args=(cipher, step, width, reader, writer, turn, turns))
            for turn in range(1, turns)
        ]
        for other in others:
            other.start()
        work(cipher, step, width, reader, writer, 0, turns)
        for other in others:
            other.join()
    if "sync" in options:
        os.fsync(writer)
    os.close(writer)


if __name__ == "__main__":
    main(*sys.argv[1:])
