"""The role of the virtual machine (CVM) that we may run on, from its metadata service."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import urlsplit

from kmscore.errors import AuthenticationFailed, Unavailable
from kmscore_tencent._credentials import Credentials, Fetched, Temporary, Triple

METADATA: Final = "http://metadata.tencentyun.com"
"""A virtual machine's own address; in clear, since it is on the same host."""

METADATA_TIMEOUT: Final = 2.0
"""Seconds: the service is on the same host, or it is not there at all."""

_PATH: Final = "/latest/meta-data/cam/security-credentials/"
_ROLE: Final = re.compile(r"[A-Za-z0-9_.+=,@-]{1,128}")


def from_metadata(
    role: str | None = None,
    *,
    url: str = METADATA,
    clock: Callable[[], float] = time.time,
) -> Credentials:
    """Credentials of the machine's role.

    Args:
        role: Its name; by default the one that the machine has.
        url: The metadata service.
        clock: Seconds since the epoch.
    """

    def fetch() -> Fetched:
        name = role or _get(url, _PATH).decode("ascii", "replace").strip()
        if not _ROLE.fullmatch(name):
            raise AuthenticationFailed("this machine has no role")
        try:
            answer = json.loads(_get(url, _PATH + name))
            if answer["Code"] != "Success":
                raise AuthenticationFailed(f"this machine cannot act as role {name!r}")
            triple = Triple(
                str(answer["TmpSecretId"]), str(answer["TmpSecretKey"]), str(answer["Token"])
            )
            return Fetched(triple, float(answer["ExpiredTime"]))
        except (ValueError, KeyError, TypeError):
            # The native error may repeat what it could not read.
            raise Unavailable("the metadata service gave an answer that cannot be read") from None

    return Temporary("role of this machine", fetch, clock)


def _get(url: str, path: str) -> bytes:
    """What is at a path, in `METADATA_TIMEOUT` altogether.

    Neither looking up a name nor an answer that comes byte by byte can be given a limit, so a
    thread of its own waits for them, and is left behind when they take too long.
    """
    answers: SimpleQueue[bytes | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_ask(url, path))
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
            answers.put(error)

    threading.Thread(target=ask, name="kmscore-metadata", daemon=True).start()
    try:
        answer = answers.get(timeout=METADATA_TIMEOUT)
    except Empty:
        raise _silent() from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _ask(url: str, path: str) -> bytes:
    # No proxy and no redirect: the machine's identity comes from this host alone.
    address = urlsplit(url)
    connection = HTTPConnection(
        address.hostname or "", address.port or 80, timeout=METADATA_TIMEOUT
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == 404:
            raise AuthenticationFailed("this machine has no such role")
        if answer.status != 200:
            raise Unavailable(f"the metadata service answered with HTTP status {answer.status}")
        return answer.read(65536)
    except (HTTPException, OSError) as error:
        raise _silent() from error
    finally:
        connection.close()


def _silent() -> Unavailable:
    return Unavailable("the metadata service of this machine does not answer")
