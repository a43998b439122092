"""The Tencent provider beside the bare SDK, both speaking to a server on this machine."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

import kmscore
from bench.harness import Measure, Row, at_least, at_most, calls, in_turns, median, ratio
from kmscore.demo.local_server import local_server

TEXT = bytes(1024)
THREADS = 8
TURNS = 40


def rows(folder: Path) -> Iterator[Row]:
    """One Encrypt of 1 KiB: in one thread, and in eight."""
    place = folder / "tencent"
    place.mkdir(mode=0o700)
    with (
        local_server(place) as table,
        kmscore.connect(config={"providers": {"cloud": table}}) as kms,
    ):
        key = kms.create_key("AES_256", alias="bench")

        def ours() -> object:
            return key.encrypt(TEXT)

        bare = _bare(table, key.key_id)
        taken = in_turns({"ours": calls(ours), "bare": calls(bare)}, rounds=15)
        yield at_most(
            "Tencent provider, Encrypt 1 KiB, over the bare SDK",
            ratio(taken["ours"], taken["bare"]),
            1.05,
            " x",
            f"{median(taken['ours']) * 1e6:.0f} µs",
        )
        each = [_bare(table, key.key_id) for _ in range(THREADS)]
        taken = in_turns({"shared": _together([ours] * THREADS), "each": _together(each)})
        yield at_least(
            f"{THREADS} threads on one provider, by the SDK with a client each",
            ratio(taken["each"], taken["shared"]),
            1.0,
            " x",
            f"{1 / median(taken['shared']):.0f} calls/s",
        )


def _bare(table: Mapping[str, Any], key_id: str) -> Callable[[], object]:
    secret = table["credentials"]
    host = str(table["endpoint"]).removeprefix("http://")
    client = kms_client.KmsClient(
        Credential(secret["secret_id"]().decode(), secret["secret_key"]().decode()),
        table["region"],
        ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=host, keepAlive=True)),
    )

    def encrypt() -> object:
        request = models.EncryptRequest()
        request.KeyId = key_id
        request.Plaintext = b64encode(TEXT).decode()
        return client.Encrypt(request).CiphertextBlob

    return encrypt


def _together(functions: list[Callable[[], object]]) -> Measure:
    """A thread for each function; seconds per call of all together, none of which may fail."""
    done: list[object] = []

    def work(function: Callable[[], object]) -> None:
        done.extend([function() for _ in range(TURNS)])

    def measure() -> float:
        done.clear()
        threads = [threading.Thread(target=work, args=(function,)) for function in functions]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - began
        assert len(done) == TURNS * len(functions), "a call was lost"
        return taken / len(done)

    return measure
