"""Data in and out of commands: bounded reading, whole files or none, nothing binary to a person."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kmscore.cli.session import DISK_FULL, Session, stdout_is_terminal
from kmscore.errors import InvalidRequest, KmsError, LimitExceeded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MAX_INPUT = 64 << 20
"""Most bytes that a command reads into memory: 64 MiB."""


def standard_input() -> BinaryIO:
    """Standard input, which whoever started the process may have closed."""
    if sys.stdin is None:
        raise InvalidRequest("standard input is closed", hint="Name a file with -i")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Standard output, which whoever started the process may have closed."""
    if sys.stdout is None:
        raise InvalidRequest("standard output is closed", hint="Name a file with -o")
    return sys.stdout.buffer


def input_option(help_text: str) -> Callable[[Any], Any]:
    """``-i FILE``: where data comes from."""
    return click.option("-i", "--input", "source", metavar="FILE", help=f"{help_text} [stdin]")


def output_option(help_text: str) -> Callable[[Any], Any]:
    """``-o FILE``: where data goes."""
    return click.option("-o", "--output", "target", metavar="FILE", help=f"{help_text} [stdout]")


def read_input(source: str | None, limit: int = MAX_INPUT, more: str = "") -> bytes:
    """All of a file or of standard input.

    Args:
        source: The file; None or ``-`` for standard input.
        limit: Most bytes; no more than one more is read.
        more: What to do with more, for the error.

    Raises:
        InvalidRequest: The file cannot be read.
        LimitExceeded: There is more.
    """
    try:
        if source in (None, "-"):
            data = standard_input().read(limit + 1)
        else:
            with Path(str(source)).open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {source}: {error.strerror}", hint="Check the path and its mode"
        ) from error
    if len(data) > limit:
        raise LimitExceeded(
            f"the input has more than {limit} bytes",
            hint=f"At most {limit} are allowed here{more}",
        )
    return data


def refuse_same_file(source: str | None, *targets: str | None) -> None:
    """Refuse to write over what is being read."""
    for target in targets:
        if None in (source, target) or "-" in (source, target):
            continue
        same = Path(str(source)).absolute() == Path(str(target)).absolute()
        with contextlib.suppress(OSError):
            same = same or Path(str(source)).samefile(str(target))
        if same:
            raise click.UsageError(f"input and output are the same file: {source}")


def write_output(data: bytes, target: str | None, *, secret: bool = False) -> None:
    """Write data to a file, whole or not at all, or to standard output.

    Args:
        data: What is written.
        target: The file; None or ``-`` for standard output.
        secret: Whether only the owner may read the file.

    Raises:
        Unavailable: The disk is full.
        InvalidRequest: The file cannot be written.
    """
    if target is None and stdout_is_terminal() and not _is_text(data):
        raise click.UsageError(
            "the output is binary, and would go to a terminal: use -o FILE, a pipe, or -o -"
        )
    if target in (None, "-"):
        output = standard_output()
        output.write(data)
        output.flush()
        return
    write_file(Path(str(target)), data, secret=secret)


def deliver(
    session: Session,
    data: bytes,
    target: str | None,
    shown: Callable[[], dict[str, str]],
    *,
    secret: bool = False,
) -> None:
    """Write a result; for machines, say what it is, or where it was written.

    Args:
        session: Whether machines read.
        data: The result.
        target: As in `write_output`.
        shown: Gives the same as JSON.
        secret: As in `write_output`.
    """
    if session.json and target is None:
        session.show(shown(), "")
        return
    write_output(data, target, secret=secret)
    if target not in (None, "-"):
        session.show({"output": target, "bytes": len(data)}, "")


def write_file(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Write a file so that it is there as a whole, durably, or not at all."""
    with written(path, data, secret=secret):
        pass


@contextlib.contextmanager
def written(path: Path, data: bytes, *, secret: bool = False) -> Generator[None]:
    """Write a file that takes its name when the block is left, and not when that fails.

    Until then a file that had the name before is untouched, and the new one is on the disk.

    Raises:
        Unavailable: The disk is full.
        InvalidRequest: The file cannot be written.
    """
    draft = None
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb") as file:
                file.write(data)
        else:
            draft = _draft(path, data, 0o600 if secret else 0o666)
    except OSError as error:
        raise _unwritten(path, error) from error
    if draft is None:
        yield
        return
    try:
        yield
        _rename(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: str) -> Generator[Path]:
    """Files for a folder, which is made if it is not there: they get into it together, or none.

    That files can be written there is known before the work begins.

    Yields:
        Where to write them meanwhile.

    Raises:
        Unavailable: The disk is full.
        InvalidRequest: The folder cannot be made, or not written.
    """
    from tempfile import TemporaryDirectory

    folder = Path(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=folder) as draft:
            yield Path(draft)
            for path in list(Path(draft).iterdir()):
                path.replace(folder / path.name)
    except OSError as error:
        raise _unwritten(folder, error) from error


def _unwritten(path: Path, error: OSError) -> KmsError:
    if error.errno in DISK_FULL:
        return Unavailable(
            f"cannot write {path}: {error.strerror}", hint="Make room; nothing was left behind"
        )
    return InvalidRequest(
        f"cannot write {path}: {error.strerror}", hint="Check the folder and its mode"
    )


def _rename(draft: Path, path: Path) -> None:
    try:
        draft.replace(path)
    except OSError as error:
        raise _unwritten(path, error) from error


def _draft(path: Path, data: bytes, mode: int) -> Path:
    """A file beside it, on the disk as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\t\r" for character in text)


def parse_context(pairs: tuple[str, ...]) -> dict[str, str]:
    """``--context k=v`` as a map.

    Raises:
        click.UsageError: A pair has no ``=``, or a key is given twice.
    """
    context: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--context {pair!r} is not of the form KEY=VALUE")
        if key in context:
            raise click.UsageError(f"--context {key!r} is given twice")
        context[key] = value
    return context


context_option = click.option(
    "--context",
    "pairs",
    metavar="K=V",
    multiple=True,
    help="Encryption context, bound to the ciphertext; may be repeated.",
)
