"""One worker: opens the provider, serves until it is told to end, and closes all again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kmscore_server.access_log import AccessLog
from kmscore_server.authentication import Authenticator
from kmscore_server.credentials import read_credentials
from kmscore_server.faults import FaultScript
from kmscore_server.front import Front, Rules
from kmscore_server.listener import Listener

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping

    from kmscore.client import Kms
    from kmscore.config import Config
    from kmscore_server.metrics import Metrics
    from kmscore_server.rates import RateLimiter
    from kmscore_server.service import Settings as ApiSettings
    from kmscore_server.settings import Settings
    from kmscore_server.supervisor import Place

QUICK: Final = frozenset(
    {"Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateRandom", "ReEncrypt"}
)
"""Actions that a provider in this process carries out in less time than it takes to wake a
thread."""
USES: Final = QUICK | {
    "AsymmetricRsaDecrypt",
    "AsymmetricSm2Decrypt",
    "GetPublicKey",
    "SignByAsymmetricKey",
    "VerifyByAsymmetricKey",
}
"""Actions that use keys and leave no trace but their answers."""
IN_PROCESS: Final = frozenset({"software"})
"""Types of providers that never wait for anything else than this machine's disk."""


def work(
    settings: Settings,
    listening: socket.socket,
    tls: ssl.SSLContext | None,
    metrics: Metrics,
    limiter: RateLimiter | None,
    ready: Callable[[], None],
    place: Place,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: What to serve, and how.
        listening: The socket, which other workers may share.
        tls: For connections by TLS, or None.
        metrics: Where to count.
        limiter: Says which requests are too many, for all workers; or None.
        ready: Called when it is about to take connections.
        place: Where it stands among the workers.

    Raises:
        KmsError: The provider, the credentials or the log cannot be opened.
    """
    from kmscore.client import connect
    from kmscore.config import Config
    from kmscore_server.actions import ACTIONS
    from kmscore_server.service import KmsApi

    metrics.take_part(place.number)
    offset = settings.clock_offset
    clock = (lambda: time.time() + offset) if offset else time.time
    config = Config.load(settings.config)
    entry = config.entry(settings.provider)
    with contextlib.ExitStack() as stack:
        kms = stack.enter_context(connect(entry.name, config=config, clock=clock))
        credentials = read_credentials(settings.credentials, _unsealer(kms, config))
        if limiter is not None:
            limiter.expect(credential.uin for credential in credentials.values())
        api = KmsApi(kms, _api_settings(settings, config, entry.name), clock=clock)
        stack.callback(api.close)
        if settings.seed is not None and place.first:
            from kmscore_server import seed

            seed.plant(api, seed.read(settings.seed, api.context.settings.edition))
        log = None
        if settings.access_log is not None:
            named = settings.access_log
            log = AccessLog(None if named == "-" else Path(named))
            stack.callback(log.close)
        executor = ThreadPoolExecutor(settings.threads, "kmscore-action")
        rules = Rules(
            frozenset(ACTIONS),
            settings.regions[0],
            QUICK if entry.type in IN_PROCESS else frozenset(),
            USES,
        )
        runner = asyncio.Runner()
        front = Front(
            api,
            kms,
            Authenticator(credentials, clock),
            rules,
            loop=runner.get_loop(),
            executor=executor,
            metrics=metrics,
            clock=clock,
            faults=FaultScript(settings.faults, _fault_seed(settings, place)),
            limiter=limiter,
            log=log,
        )
        # In reverse: the loop ends, then the threads do, and then what they left is recorded.
        stack.callback(front.close)
        stack.callback(executor.shutdown)
        stack.callback(runner.close)
        # What is there now stays until the end: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        runner.run(_serve(settings, listening, tls, metrics, front, ready, place.parent))


async def _serve(
    settings: Settings,
    listening: socket.socket,
    tls: ssl.SSLContext | None,
    metrics: Metrics,
    front: Front,
    ready: Callable[[], None],
    parent: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent is not None:
        loop.add_reader(parent, stop.set)
    listener = Listener(
        listening,
        front,
        metrics,
        most=settings.connections,
        timeouts=settings.timeouts,
        tls=tls,
    )
    ready()
    await listener.run(stop, settings.grace)


def _fault_seed(settings: Settings, place: Place) -> int | None:
    return None if settings.fault_seed is None else settings.fault_seed + place.number


def _api_settings(settings: Settings, config: Config, provider: str) -> ApiSettings:
    from kmscore_server.service import Settings as ApiSettings
    from kmscore_server.vocabulary import Edition

    return ApiSettings(
        state=settings.state or config.base / f"{provider}-server.db",
        owner=settings.owner,
        edition=Edition[settings.edition],
        regions=settings.regions,
        rotation_interval=settings.rotation_interval,
        key_limit=settings.key_limit,
        data_key_limit=settings.data_key_limit,
    )


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What goes wrong outside of any request: told without what it was about."""
    error = context.get("exception")
    name = type(error).__name__ if error is not None else "no exception"
    sys.stderr.write(f"kmscore serve: {context['message']} ({name}, process {os.getpid()})\n")


def _unsealer(kms: Kms, config: Config) -> Callable[[str, bytes, Mapping[str, str]], bytes]:
    from kmscore.client import connect
    from kmscore.uri import parse_reference

    def unseal(reference: str, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        named = parse_reference(reference).provider
        if named in (None, kms.name):
            return kms.key(reference).decrypt(ciphertext, context=context)
        with connect(named, config=config) as other:
            return other.key(reference).decrypt(ciphertext, context=context)

    return unseal
