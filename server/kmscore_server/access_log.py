"""The access log: one line of JSON for each request, without anything that it carries."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class Entry(NamedTuple):
    """A request that has ended.

    Attributes:
        time: When, in seconds since the epoch.
        request_id: The id that the response carries.
        peer: Address of the client.
        secret_id: The credential whose signature was right; empty where none was.
        action: What was asked for; empty where that is no action.
        region: The region.
        client: What the client calls itself.
        outcome: ``ok``, ``dropped``, or the error code.
        bytes: Length of the request's body.
        milliseconds: From its last byte to the answer.
    """

    time: float
    request_id: str
    peer: str
    secret_id: str
    action: str
    region: str
    client: str
    outcome: str
    bytes: int
    milliseconds: float


class AccessLog:
    """Appends lines to a file, each in one write, so that workers may share it.

    Args:
        path: The file, made with mode 0600; None for standard output.

    Raises:
        ConfigError: It cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.missed = 0
        if path is None:
            self._fd = os.dup(1)
            return
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the access log {path} cannot be opened: {error.strerror}"
            ) from error

    def write(self, entry: Entry) -> None:
        """Append a line; what cannot be written is counted, and told once."""
        line = json.dumps(entry._asdict(), separators=(",", ":")) + "\n"
        try:
            os.write(self._fd, line.encode("ascii"))
        except OSError as error:
            self.missed += 1
            if self.missed == 1:
                sys.stderr.write(f"the access log cannot be written: {error.strerror}\n")

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)
