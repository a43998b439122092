"""Keys on a token: `Key` beside bare python-pkcs11, two threads, and a token full of keys."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.harness import Measure, Row, at_least, at_most, calls, in_turns, median, ratio
from kmscore import Key, Kms, Message, connect
from kmscore.demo.throw_away import throw_away

KILOBYTE = b"x" * 1024
YARDSTICK = bytes(65536)
SMALL, LARGE = 100, 10_000
THREADS, PER_THREAD = 2, 1500


def rows(folder: Path) -> Iterator[Row]:
    """On a SoftHSM token that is made for this."""
    memory = Path("/dev/shm")  # noqa: S108 - SoftHSM syncs each key to the disk, which takes minutes
    with (
        TemporaryDirectory(dir=memory if memory.is_dir() else folder) as place,
        throw_away("hsm", Path(place)) as config,
        connect("hsm", config=config) as kms,
    ):
        aes, ec = kms.create_key("AES_256"), kms.create_key("EC_P256")
        rsa = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
        bare = _Bare(kms)
        message = Message(KILOBYTE)
        yield from _beside(
            "AES-256-GCM, 1 KiB, encrypted", lambda: aes.encrypt(KILOBYTE), bare.gcm(aes)
        )
        yield from _beside("ECDSA P-256, signed", lambda: ec.sign(message), bare.ecdsa(ec))
        yield from _beside(
            "RSA-2048 PSS, signed",
            lambda: rsa.sign(message, algorithm="RSA_PSS_SHA_256"),
            bare.pss(rsa),
        )
        for name, work in (
            ("AES-256-GCM, 1 KiB", lambda: aes.encrypt(KILOBYTE)),
            ("RSA-2048 PSS", lambda: rsa.sign(message, algorithm="RSA_PSS_SHA_256")),
        ):
            taken = in_turns({"one": _threads(work, 1), "two": _threads(work, THREADS)}, rounds=7)
            yield at_least(
                f"{name}: calls per second by two threads, over one",
                ratio(taken["one"], taken["two"]),
                1.5,
                " x",
            )
        keys = [kms.create_key("AES_256") for _ in range(SMALL)]
        # The same keys, before and after: judged by how long a hash takes meanwhile.
        cases = {"keys": _over(keys), "hash": calls(lambda: hashlib.sha256(YARDSTICK).digest())}
        alone = in_turns(cases)
        bare.fill(LARGE - SMALL)
        crowd = in_turns(cases)
        yield at_most(
            f"AES-256-GCM, 1 KiB, with {LARGE:,} keys there, over {SMALL}",
            ratio(crowd["keys"], crowd["hash"]) / ratio(alone["keys"], alone["hash"]),
            1.2,
            " x",
            f"{median(crowd['keys']) * 1e6:.0f} µs",
        )


def _beside(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> Iterator[Row]:
    taken = in_turns({"ours": calls(ours), "theirs": calls(theirs)}, rounds=15)
    yield at_most(
        f"{what}: Key, over bare python-pkcs11",
        ratio(taken["ours"], taken["theirs"]),
        1.25,
        " x",
        f"{median(taken['ours']) * 1e6:.0f} µs",
    )


def _over(keys: list[Key]) -> Measure:
    """One key after the other; each has been looked up before."""
    for key in keys:
        key.encrypt(KILOBYTE)
    turns = cycle(keys)
    return calls(lambda: next(turns).encrypt(KILOBYTE))


def _threads(work: Callable[[], object], number: int) -> Measure:
    """Seconds per call, by so many threads at once."""

    def run() -> None:
        for _ in range(PER_THREAD // number):
            work()

    def measure() -> float:
        threads = [threading.Thread(target=run) for _ in range(number)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - began) / PER_THREAD

    return measure


class _Bare:
    """python-pkcs11 as its documentation uses it, with the key and the session kept.

    It shares the module of the process, which the provider has initialised with locks.
    """

    def __init__(self, kms: Kms) -> None:
        provider: Any = kms.provider
        library = provider._token.module.library  # noqa: SLF001 - the same module and login
        token = library.get_token(token_label=kms.capabilities.notes["token"])
        self._session = token.open(rw=True)

    def fill(self, number: int) -> None:
        """Put other keys on the token."""
        import pkcs11

        for _ in range(number):
            self._session.generate_key(pkcs11.KeyType.AES, 256, store=True)

    def _key(self, key: Key) -> Any:
        label = f"kms:{key.key_id}:1"
        (found,) = self._session.get_objects({self._attribute("LABEL"): label})
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
