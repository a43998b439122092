"""Envelope encryption of files inside a process, beside a loop that copies them."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import bare_frames
from bench.harness import Measure, Row, at_least, in_turns, median, ratio
from bench.peers import missing
from bench.store import open_store
from kmscore import envelope
from kmscore.envelope.frames import FRAME_BYTES

MIB = 1 << 20
ROUNDS = 7
MEMORY = Path("/dev/shm")  # noqa: S108 - only there is the disk out of the measurement


def rows(folder: Path) -> Iterator[Row]:
    """File to file in this process, on a file system in memory: what the disk does is left out."""
    if not os.access(MEMORY, os.W_OK):
        missing.append(str(MEMORY))
        return
    inside = MEMORY / f"kmscore-bench-{os.getpid()}"
    inside.mkdir()
    plain, sealed, back = (inside / name for name in ("plain", "sealed", "back"))
    plain.write_bytes(os.urandom(256 * MIB))
    try:
        with open_store(folder, "inside") as kms:
            key = kms.create_key("AES_256")
            envelope.encrypt_file(plain, sealed, key)
            copied = inside / "copied"

            def copy(a: Path) -> Measure:
                return _timed(lambda: bare_frames.main("copy", str(a), str(copied)), copied)

            bare_frames.main("encrypt", str(plain), str(inside / "bare"))

            def bare(operation: str, *options: str) -> Measure:
                a = plain if operation == "encrypt" else inside / "bare"
                return _timed(
                    lambda: bare_frames.main(operation, str(a), str(copied), *options), copied
                )

            for operation in ("encrypt", "decrypt"):
                a, b = (plain, inside / "out") if operation == "encrypt" else (sealed, back)

                def work(threads: int, a: Path = a, b: Path = b, op: str = operation) -> Measure:
                    call = envelope.encrypt_file if op == "encrypt" else envelope.decrypt_file
                    return _timed(lambda: call(a, b, key, threads=threads), b)

                taken = in_turns(
                    {
                        "two": work(2),
                        "one": work(1),
                        "bare two": bare(operation),
                        "bare one": bare(operation, "alone"),
                        "copy": copy(a),
                    },
                    ROUNDS,
                )
                for threads, goal in (("two", 1.1), ("one", 0.8)):
                    yield at_least(
                        f"256 MiB, file to file, {operation}, {threads} thread(s), by a copy loop",
                        ratio(taken["copy"], taken[threads]),
                        goal,
                        " x",
                        f"{256 / 1024 / median(taken[threads]):.1f} GiB/s",
                    )
                    # How near threads can come to a copy depends on the processor and its AES.
                    bound = ratio(taken["copy"], taken[f"bare {threads}"])
                    title = f"  bare frames, {threads} thread(s), by a copy loop"
                    yield Row(title, "", f"{bound:.2f} x")
            small = inside / "small"
            small.write_bytes(os.urandom(16 * MIB))
            target = inside / "chinese"

            def chinese(threads: int) -> Measure:
                def work() -> None:
                    envelope.encrypt_file(small, target, key, suite="SM4_GCM", threads=threads)

                return _timed(work, target)

            cases = {str(threads): chinese(threads) for threads in (1, 2)}
            cases |= {f"bare {threads}": _sm4(threads) for threads in (1, 2)}
            taken = in_turns(cases, ROUNDS)
            yield at_least(
                "SM4-GCM, two threads by one",
                ratio(taken["1"], taken["2"]),
                1.7,
                " x",
                f"{16 / median(taken['2']):.0f} MiB/s",
            )
            bound = ratio(taken["bare 1"], taken["bare 2"])
            yield Row("  SM4-GCM alone, two threads by one", "", f"{bound:.2f} x")
    finally:
        shutil.rmtree(inside)


def _sm4(threads: int) -> Measure:
    """The cipher of as much as the file has, between buffers: what two threads could gain."""
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import SM4

    def share() -> None:
        encryptor = Cipher(SM4(bytes(16)), modes.GCM(bytes(12))).encryptor()
        piece, out = bytes(FRAME_BYTES), bytearray(FRAME_BYTES)
        for _ in range(16 * MIB // threads // FRAME_BYTES):
            encryptor.update_into(piece, out)

    def measure() -> float:
        began = time.perf_counter()
        workers = [threading.Thread(target=share) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - began

    return measure


def _timed(work: Callable[[], object], output: Path) -> Measure:
    def measure() -> float:
        output.unlink(missing_ok=True)
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return measure
