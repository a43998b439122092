"""Envelope encryption in memory: small messages under a cached data key, and large buffers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from hmac import compare_digest
from pathlib import Path

from bench.harness import Row, at_least, at_most, calls, in_turns, median, ratio
from bench.peers import Pair, message_peers
from bench.store import open_store
from kmscore import Key, envelope
from kmscore.envelope.frames import FRAME_BYTES
from kmscore.envelope.suites import AES_256_GCM

MICRO = 1e6
LARGE = 64 << 20


def rows(folder: Path) -> Iterator[Row]:
    """Beside others' envelopes, and beside the cipher alone."""
    with open_store(folder, "envelopes") as kms, envelope.DataKeyCache(max_age=3600) as cache:
        key = kms.create_key("AES_256")
        text, context = os.urandom(1024), {"table": "orders"}
        sealed = envelope.encrypt(text, key, context=context, cache=cache)
        ours = (
            calls(lambda: envelope.encrypt(text, key, context=context, cache=cache)),
            calls(lambda: envelope.decrypt(sealed, key, context=context, cache=cache)),
        )
        others = {"the format's primitives": _primitives(text, sealed)}
        others |= message_peers(text, context)
        peers = {name: (calls(peer[0]), calls(peer[1])) for name, peer in others.items()}
        for number, operation in enumerate(("encrypt", "decrypt")):
            cases = {"kmscore": ours, **peers}
            taken = in_turns({name: pair[number] for name, pair in cases.items()})
            yield at_most(
                f"Envelope of 1 KiB, {operation}, data key in the cache",
                median(taken["kmscore"]) * MICRO,
                12,
                " µs",
            )
            for name in peers:
                title = f"  the same by the speed of {name}"
                value = ratio(taken[name], taken["kmscore"])
                note = f"{median(taken[name]) * MICRO:.0f} µs"
                if name.startswith("aws"):
                    yield at_least(title, value, 6, " x", note)
                else:
                    yield Row(title, "", f"{value:.2f} x ({note})")
        yield from _buffers(key, cache)


def _primitives(text: bytes, sealed: bytes) -> Pair:
    """What the format asks for at least: two keys by HKDF, the header's tag, one frame."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data_key, iv = bytes(32), bytes(12)
    header, aad = sealed[: len(sealed) - len(text)], bytes(80)
    suite, fixed = AES_256_GCM, AESGCM(bytes(32))
    tag, frame = fixed.encrypt(iv, b"", header), fixed.encrypt(iv, text, aad)

    def encrypt() -> bytes:
        key, commitment = suite.derive(data_key, os.urandom(32))
        cipher = AESGCM(key)
        return commitment + cipher.encrypt(iv, b"", header) + cipher.encrypt(iv, text, aad)

    def decrypt() -> bytes:
        _, commitment = suite.derive(data_key, header[:32])
        cipher = AESGCM(data_key)  # the derived key is another one, and takes as long
        compare_digest(commitment, commitment)
        cipher.decrypt(iv, tag, header)
        return cipher.decrypt(iv, frame, aad)

    return encrypt, decrypt


def _buffers(key: Key, cache: envelope.DataKeyCache) -> Iterator[Row]:
    """64 MiB into buffers that are kept, and 1 MiB and 16 MiB as bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    bare = AESGCM(bytes(32))
    plain, out, back = os.urandom(LARGE), bytearray(LARGE + (1 << 16)), bytearray(LARGE)
    view, room, into = memoryview(plain), memoryview(out), memoryview(back)
    width = FRAME_BYTES + 16

    def encrypt() -> None:
        for number in range(LARGE // FRAME_BYTES):
            bare.encrypt_into(
                number.to_bytes(12),
                view[number * FRAME_BYTES : (number + 1) * FRAME_BYTES],
                None,
                room[number * width : (number + 1) * width],
            )

    def decrypt() -> None:
        for number in range(LARGE // FRAME_BYTES):
            bare.decrypt_into(
                number.to_bytes(12),
                room[number * width : (number + 1) * width],
                None,
                into[number * FRAME_BYTES : (number + 1) * FRAME_BYTES],
            )

    size = envelope.encrypt_into(plain, out, key, cache=cache)
    message = bytes(out[:size])
    taken = in_turns(
        {
            "ours": calls(lambda: envelope.encrypt_into(plain, out, key, cache=cache)),
            "bare": calls(encrypt),
        }
    )
    note = f"{LARGE / median(taken['ours']) / 1e9:.1f} GB/s"
    title = "64 MiB into the caller's buffer, by bare encrypt_into"
    yield at_least(title, ratio(taken["bare"], taken["ours"]), 0.9, " x", note)
    encrypt()
    taken = in_turns(
        {
            "ours": calls(lambda: envelope.decrypt_into(message, back, key, cache=cache)),
            "bare": calls(decrypt),
        }
    )
    note = f"{LARGE / median(taken['ours']) / 1e9:.1f} GB/s"
    title = "64 MiB into the caller's buffer, by bare decrypt_into"
    yield at_least(title, ratio(taken["bare"], taken["ours"]), 0.9, " x", note)
    for mib in (1, 16):
        data = plain[: mib << 20]
        taken = in_turns(
            {
                "ours": calls(partial(envelope.encrypt, data, key, cache=cache)),
                "bare": calls(partial(bare.encrypt, bytes(12), data, None)),
            }
        )
        value = ratio(taken["bare"], taken["ours"])
        yield Row(f"{mib} MiB as bytes, by one AESGCM.encrypt", "", f"{value:.2f} x")
