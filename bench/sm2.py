"""SM2 signatures: beside gmssl, and beside a loop in C over the same libcrypto."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.harness import Measure, Row, at_least, at_most, calls, in_turns, median, ratio
from bench.store import open_store
from kmscore import Message

SOURCE = Path(__file__).with_name("sm2_loop.c")
TURNS = 100


def rows(folder: Path) -> Iterator[Row]:
    """`Key.sign` and `PublicKey.verify` with a message of 64 bytes."""
    text = os.urandom(64)
    loop = _compile(folder)
    theirs_sign, theirs_verify = _gmssl(text)
    with open_store(folder, "sm2") as kms:
        key = kms.create_key("SM2", usage="SIGN_VERIFY")
        public = key.public_key()
        message = Message(text)
        signature = key.sign(message)
        signing = in_turns(
            {
                "key": calls(lambda: key.sign(message)),
                "c": _turns(loop.sign, text),
                "gmssl": theirs_sign,
            }
        )
        verifying = in_turns(
            {
                "key": calls(lambda: public.verify(message, signature)),
                "c": _turns(loop.verify, text),
                "gmssl": theirs_verify,
            }
        )
    for what, taken, speedup in (("sign", signing, 15), ("verify", verifying, 30)):
        shown = f"{median(taken['key']) * 1e3:.3f} ms"
        yield at_least(
            f"SM2 {what}, faster than gmssl",
            ratio(taken["gmssl"], taken["key"]),
            speedup,
            " x",
            shown,
        )
        yield at_most(
            f"SM2 {what}, over a loop in C", ratio(taken["key"], taken["c"]), 1.15, " x", shown
        )


def _compile(folder: Path) -> ctypes.CDLL:
    """The loop as a library in this process, where it shares libcrypto with Python."""
    target = folder / "sm2_loop.so"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", SOURCE, "-lcrypto", "-o", target],
        check=True,
    )
    loop = ctypes.CDLL(str(target))
    for function in (loop.sign, loop.verify):
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    loop.library.restype = ctypes.c_char_p
    return loop


def _turns(function: ctypes._NamedFuncPointer, text: bytes) -> Measure:
    def measure() -> float:
        began = time.perf_counter()
        if function(TURNS, text, len(text)) != 1:
            raise RuntimeError("libcrypto failed")
        return (time.perf_counter() - began) / TURNS

    return measure


def _gmssl(text: bytes) -> tuple[Measure, Measure]:
    from gmssl import func, sm2

    private = func.random_hex(64)
    pair = sm2.CryptSM2(private_key=private, public_key="", asn1=True)
    pair.public_key = pair._kg(int(private, 16), sm2.default_ecc_table["g"])  # noqa: SLF001
    signature = pair.sign_with_sm3(text)
    if not pair.verify_with_sm3(signature, text):
        raise RuntimeError("gmssl does not verify its own signature")
    return (
        calls(lambda: pair.sign_with_sm3(text)),
        calls(lambda: pair.verify_with_sm3(signature, text)),
    )
