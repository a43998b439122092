"""Both ends of a command in a pipe, where either of them may be a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kmscore.cli.progress import progress_bar
from kmscore.cli.runs import shown
from kmscore.cli.session import Session, is_terminal
from kmscore.cli.streams import standard_input, standard_output
from kmscore.errors import InvalidRequest

if TYPE_CHECKING:
    from kmscore.envelope.streams import Reader, Writer
    from kmscore.envelope.units import Progress

PIPE_BYTES = 1 << 18
"""Room that is asked for in pipes at either end: fewer switches between processes, and all of it
stays in the processor's cache."""


@contextmanager
def ends(
    session: Session, source: str | None, target: str | None, *, force: bool, private: bool = False
) -> Generator[tuple[Reader, Writer, Progress]]:
    """Both ends of a command in a pipe; a file at either end is a stream too.

    Args:
        session: Where progress goes.
        source: The input.
        target: The output.
        force: Whether an output that exists is replaced.
        private: Whether an output that is a file is its owner's alone.
    """
    from io import FileIO

    from kmscore.envelope.output import drafted

    if target is None and is_terminal(sys.stdout):
        raise click.UsageError("the output would go to a terminal: use -o FILE, a pipe, or -o -")
    with ExitStack() as stack:
        reader: Any = standard_input()
        if source not in (None, "-"):
            try:
                reader = stack.enter_context(Path(str(source)).open("rb", buffering=0))
            except OSError as error:
                raise InvalidRequest(
                    f"cannot read {shown(str(source))}: {error.strerror}"
                ) from error
        if target in (None, "-"):
            writer: Any = standard_output()
            _refuse_same(reader, writer, source)
        else:
            _refuse_same(reader, str(target), source)
            draft = stack.enter_context(drafted(str(target), force=force))
            if private:
                os.fchmod(draft.handle, 0o600)
            writer = FileIO(draft.handle, "wb", closefd=False)
        for end in (reader, writer):
            _widen(end)
        progress = stack.enter_context(progress_bar(session, lambda: size_of(source)))
        yield reader, writer, progress
        writer.flush()


def size_of(source: str | None) -> int:
    """Bytes of a file; 0 for what has none."""
    try:
        return Path(str(source)).stat().st_size if source not in (None, "-") else 0
    except OSError:
        return 0


def _refuse_same(reader: BinaryIO, output: BinaryIO | str, source: str | None) -> None:
    with contextlib.suppress(OSError):
        ours = os.fstat(reader.fileno())
        theirs = Path(output).stat() if isinstance(output, str) else os.fstat(output.fileno())
        if stat.S_ISREG(ours.st_mode) and os.path.samestat(ours, theirs):
            raise click.UsageError(f"input and output are the same file: {source or 'stdin'}")


def _widen(end: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(end.fileno()).st_mode):
            fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
