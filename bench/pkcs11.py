"""Keys on a token: `Key` beside bare python-pkcs11, two threads, and a token full of keys."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.harness import Measure, Row, at_least, at_most, calls, in_turns, median, ratio
from kmscore import Key, KeySpec, Kms, Message, connect
from kmscore.demo.throw_away import MAKERS

KILOBYTE = b"x" * 1024
YARDSTICK = bytes(65536)
SMALL, LARGE = 100, 10_000
THREADS, CALLS = 2, 1500


def rows(folder: Path) -> Iterator[Row]:
    """On a SoftHSM token that is made for this."""
    memory = Path("/dev/shm")  # noqa: S108 - SoftHSM syncs each key to the disk, which takes minutes
    with (
        TemporaryDirectory(dir=memory if memory.is_dir() else folder) as place,
        MAKERS["hsm"](Path(place)) as table,
    ):
        config = {"providers": {"hsm": table}}
        with connect("hsm", config=config) as kms:
            yield from _calls(kms)
            for _ in range(SMALL):
                kms.create_key("AES_256")
        # The same keys, before and after: judged by how long a hash takes meanwhile.
        alone = _keys(config)
        _fill(table, LARGE - SMALL)
        crowd = _keys(config)
        yield at_most(
            f"AES-256-GCM, 1 KiB, with {LARGE:,} keys there, over {SMALL}",
            ratio(crowd["keys"], crowd["hash"]) / ratio(alone["keys"], alone["hash"]),
            1.2,
            " x",
            f"{median(crowd['keys']) * 1e6:.0f} µs",
        )


def _calls(kms: Kms) -> Iterator[Row]:
    aes, ec = kms.create_key("AES_256"), kms.create_key("EC_P256")
    rsa = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    bare = _Bare(kms)
    message = Message(KILOBYTE)

    def pss() -> bytes:
        return rsa.sign(message, algorithm="RSA_PSS_SHA_256")

    yield from _beside(
        "AES-256-GCM, 1 KiB, encrypted", lambda: aes.encrypt(KILOBYTE), bare.gcm(aes)
    )
    yield from _beside("ECDSA P-256, signed", lambda: ec.sign(message), bare.ecdsa(ec))
    yield from _beside("RSA-2048 PSS, signed", pss, bare.pss(rsa))
    yield from _scaling("AES-256-GCM, 1 KiB", lambda: aes.encrypt(KILOBYTE), bare.gcm, aes)
    yield from _scaling("RSA-2048 PSS", pss, bare.pss, rsa)


def _beside(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> Iterator[Row]:
    taken = in_turns({"ours": calls(ours), "theirs": calls(theirs)}, rounds=15)
    yield at_most(
        f"{what}: Key, over bare python-pkcs11",
        ratio(taken["ours"], taken["theirs"]),
        1.25,
        " x",
        f"{median(taken['ours']) * 1e6:.0f} µs",
    )


def _scaling(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[Key], Callable[[], object]],
    key: Key,
) -> Iterator[Row]:
    """What a second thread brings; the peer shows how much of that the token and Python allow."""
    peers = [theirs(key) for _ in range(THREADS)]
    taken = in_turns(
        {
            "one": _threads([ours]),
            "two": _threads([ours] * THREADS),
            "their one": _threads(peers[:1]),
            "their two": _threads(peers),
        },
        rounds=7,
    )
    yield at_least(
        f"{what}: calls per second by two threads, over one",
        ratio(taken["one"], taken["two"]),
        1.5,
        " x",
    )
    yield Row(
        "  the same with bare python-pkcs11, a session for each",
        "",
        f"{ratio(taken['their one'], taken['their two']):.2f} x",
    )


def _keys(config: dict[str, Any]) -> dict[str, list[float]]:
    """One AES key after the other; each has been looked up before."""
    with connect("hsm", config=config) as kms:
        infos = [*kms.keys()]
        keys = [kms.key(info.key_id) for info in infos if info.spec is KeySpec.AES_256]
        for key in keys:
            key.encrypt(KILOBYTE)
        turns = cycle(keys)
        return in_turns(
            {
                "keys": calls(lambda: next(turns).encrypt(KILOBYTE)),
                "hash": calls(lambda: hashlib.sha256(YARDSTICK).digest()),
            }
        )


_FILL = """
import sys, pkcs11
module, label, number = sys.argv[1:]
token = pkcs11.lib(module).get_token(token_label=label)
with token.open(rw=True, user_pin=sys.stdin.read()) as session:
    for _ in range(int(number)):
        session.generate_key(pkcs11.KeyType.AES, 256, store=True)
"""


def _fill(table: Mapping[str, Any], number: int) -> None:
    """Have another process put keys on the token: here it would leave memory in pieces."""
    subprocess.run(
        [sys.executable, "-c", _FILL, table["module"], table["token"], str(number)],
        input=table["pin"](),
        check=True,
    )


def _threads(works: Sequence[Callable[[], object]]) -> Measure:
    """Seconds per call, each by a thread of its own."""

    def run(work: Callable[[], object]) -> None:
        for _ in range(CALLS // len(works)):
            work()

    def measure() -> float:
        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - began) / CALLS

    return measure


class _Bare:
    """python-pkcs11 as its documentation uses it, with keys kept, each with a session of its own.

    It shares the module of the process, which the provider has initialised with locks.
    """

    def __init__(self, kms: Kms) -> None:
        provider: Any = kms.provider
        library = provider._token.module.library  # noqa: SLF001 - the same module and login
        self._token = library.get_token(token_label=kms.capabilities.notes["token"])

    def _key(self, key: Key) -> Any:
        label = f"kms:{key.key_id}:1"
        (found,) = self._token.open().get_objects({self._attribute("LABEL"): label})
        return found

    @staticmethod
    def _attribute(name: str) -> Any:
        import pkcs11

        return pkcs11.Attribute[name]

    def gcm(self, key: Key) -> Callable[[], object]:
        """AES-GCM with a fresh nonce and additional data."""
        import pkcs11

        found, aad = self._key(key), b"a" * 60

        def encrypt() -> bytes:
            nonce = os.urandom(12)
            sealed: bytes = found.encrypt(
                KILOBYTE,
                mechanism=pkcs11.Mechanism.AES_GCM,
                mechanism_param=pkcs11.GCMParams(nonce, aad, 128),
            )
            return nonce + sealed

        return encrypt

    def ecdsa(self, key: Key) -> Callable[[], object]:
        """A digest made here, signed there, and the signature in DER."""
        import pkcs11
        from pkcs11.util.ec import encode_ecdsa_signature

        found = self._key(key)
        return lambda: encode_ecdsa_signature(
            found.sign(hashlib.sha256(KILOBYTE).digest(), mechanism=pkcs11.Mechanism.ECDSA)
        )

    def pss(self, key: Key) -> Callable[[], object]:
        """A digest made here, signed there."""
        import pkcs11

        found = self._key(key)
        params = (pkcs11.Mechanism.SHA256, pkcs11.MGF.SHA256, 32)
        return lambda: found.sign(
            hashlib.sha256(KILOBYTE).digest(),
            mechanism=pkcs11.Mechanism.RSA_PKCS_PSS,
            mechanism_param=params,
        )
