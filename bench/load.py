"""The load generator: one request over some connections again and again, and counts of answers.

It is written in C (`load.c`), so that it leaves the processors to the server that is measured.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("load.c")


class Load(NamedTuple):
    """What a run has shown.

    Attributes:
        rate: Answers per second.
        p50: Seconds that half of them took at most.
        p99: Seconds that 99 of 100 took at most.
        wrong: Answers that were not what was asked for.
    """

    rate: float
    p50: float
    p99: float
    wrong: int


class LoadGenerator:
    """The program, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        self._program = folder / "load"
        subprocess.run(
            ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", self._program], check=True
        )

    def run(
        self, port: int, connections: int, seconds: float, request: bytes, *, other: int = 0
    ) -> Load:
        """Send the request over every connection as soon as the last answer has come.

        Args:
            port: Where on this machine.
            connections: How many.
            seconds: For how long.
            request: The bytes of the request.
            other: A second port, for every other connection.

        Raises:
            subprocess.CalledProcessError: The server refuses a connection, ends it in the middle of
                an answer, or does not answer.
            RuntimeError: Some answers were errors.
        """
        words = [str(port), str(connections), str(seconds), *([str(other)] if other else [])]
        done = subprocess.run(
            [self._program, *words], input=request, stdout=subprocess.PIPE, check=True
        )
        load = Load(*json.loads(done.stdout))
        if load.wrong:
            raise RuntimeError(f"{load.wrong} answers were errors")
        return load
