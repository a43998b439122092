"""Small messages: encrypting and decrypting 1 KiB, and signing with P-256."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bench.harness import Row, at_most, calls, difference, in_turns, median, ratio
from bench.peers import message_peers
from bench.store import open_store
from kmscore import Message

MICRO = 1e6


def rows(folder: Path) -> Iterator[Row]:
    """`Key.encrypt`, `Key.decrypt` and `Key.sign` beside what they are made of."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    text, context = os.urandom(1024), {"table": "orders"}
    aad = b'{"table":"orders"}'
    bare = AESGCM(os.urandom(32))
    nonce = os.urandom(12)
    sealed = bare.encrypt(nonce, text, aad)
    with open_store(folder) as kms, open_store(folder, "audited", audit=True) as audited:
        key = kms.create_key("AES_256")
        watched = audited.create_key("AES_256")
        ours, theirs = key.encrypt(text, context=context), watched.encrypt(text, context=context)
        peers = message_peers(text, context)
        for operation in ("encrypt", "decrypt"):
            cases = {
                "bare": (
                    calls(lambda: bare.encrypt(os.urandom(12), text, aad)),
                    calls(lambda: bare.decrypt(nonce, sealed, aad)),
                ),
                "key": (
                    calls(lambda: key.encrypt(text, context=context)),
                    calls(lambda: key.decrypt(ours, context=context)),
                ),
                "audited": (
                    calls(lambda: watched.encrypt(text, context=context)),
                    calls(lambda: watched.decrypt(theirs, context=context)),
                ),
                **{name: (calls(peer[0]), calls(peer[1])) for name, peer in peers.items()},
            }
            place = 0 if operation == "encrypt" else 1
            taken = in_turns({name: pair[place] for name, pair in cases.items()})
            for name, bound, what in (("key", 15, ""), ("audited", 30, ", audit log on")):
                yield at_most(
                    f"Key.{operation}, 1 KiB{what}",
                    median(taken[name]) * MICRO,
                    bound,
                    " µs",
                    f"{ratio(taken[name], taken['bare']):.1f} x AESGCM",
                )
            for name in peers:
                yield Row(
                    f"  the same with {name}",
                    "",
                    f"{median(taken[name]) * MICRO:.2f} µs "
                    f"({ratio(taken[name], taken['bare']):.1f} x AESGCM)",
                )
        signer = kms.create_key("EC_P256")
        private = ec.generate_private_key(ec.SECP256R1())
        scheme = ec.ECDSA(hashes.SHA256())
        message = Message(text)
        taken = in_turns(
            {
                "key": calls(lambda: signer.sign(message)),
                "bare": calls(lambda: private.sign(text, scheme)),
            }
        )
        yield at_most(
            "Key.sign with P-256, over cryptography's own",
            difference(taken["key"], taken["bare"]) * MICRO,
            15,
            " µs",
            f"{ratio(taken['key'], taken['bare']):.2f} x",
        )
