"""How far long work is, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from kmscore.cli.session import Session, is_terminal

if TYPE_CHECKING:
    from kmscore.envelope.units import Progress


@contextmanager
def progress_bar(session: Session, total: Callable[[], int]) -> Generator[Progress]:
    """A bar on a terminal, for people; what was done where no total is known; nothing elsewhere.

    Args:
        session: Whether machines read the output.
        total: Tells how many bytes there are to do; asked only for a bar. 0 when that is unknown.
    """
    if session.json or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    length = total()
    if not length:
        yield from _counter()
        return
    with click.progressbar(length=length, file=sys.stderr) as bar:
        yield bar.update
        bar.update(length - bar.pos)  # headers and tags, and files that were left out


def _counter() -> Generator[Progress]:
    done, told = 0, 0.0

    def count(more: int) -> None:
        nonlocal done, told
        done += more
        if (now := time.monotonic()) >= told + 0.1:  # a terminal takes its time
            told = now
            click.echo(f"\r  {done >> 20} MiB", err=True, nl=False)

    try:
        yield count
    finally:
        click.echo(f"\r  {done >> 20} MiB", err=True)
