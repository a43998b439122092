"""The command ``envelope``: data of any size, in files, folders and pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kmscore.cli.session import Session, common_options, is_terminal, pass_session
from kmscore.cli.streams import (
    context_option,
    parse_context,
    standard_input,
    standard_output,
)
from kmscore.errors import InvalidRequest

if TYPE_CHECKING:
    from kmscore.envelope.recipients import Source
    from kmscore.key import Key

SUFFIX = ".kms"
"""What names of encrypted files in a folder end with."""

PIECE = 1 << 20

Work = Callable[[Path, Path, Callable[[int], None]], None]
"""Does one file, from here to there, and tells of its progress."""

key_option = click.option(
    "--key", "references", metavar="KEY", multiple=True, help="A recipient; may be repeated."
)
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
resume_option = click.option("--resume", is_flag=True, help="Leave out files that are done.")
input_option = click.option("-i", "--input", "source", metavar="FILE", help="The input [stdin]")
output_option = click.option(
    "-o", "--output", "target", metavar="FILE", help="The output; a folder for SOURCES [stdout]"
)


@click.group()
@common_options
def envelope() -> None:
    """Encrypt and decrypt data of any size under keys of any provider."""


@envelope.command()
@key_option
@context_option
@click.option("--suite", default="AES_256_GCM", show_default=True, help="Or SM4_GCM.")
@click.option("--key-per-file", is_flag=True, help="A data key for each file, not for the run.")
@input_option
@output_option
@force_option
@resume_option
@click.argument("sources", nargs=-1)
@common_options
@pass_session
def encrypt(
    session: Session,
    references: tuple[str, ...],
    pairs: tuple[str, ...],
    suite: str,
    key_per_file: bool,
    source: str | None,
    target: str | None,
    force: bool,
    resume: bool,
    sources: tuple[str, ...],
) -> None:
    """Encrypt for one or several keys; any of them opens it.

    SOURCES are files and folders; what they hold goes to the folder -o, with names that end in
    .kms.
    """
    from kmscore.envelope import DataKeyCache, EnvelopeEncryptor
    from kmscore.envelope.files import encrypt_file

    keys = _keys(session, references)
    context = parse_context(pairs)
    if not sources and "-" in (source or "-", target or "-"):
        with _piped(source, target, force=force) as (reader, writer):
            encryptor = EnvelopeEncryptor(*keys, context=context, suite=suite)
            _pump(reader, writer, encryptor.update, encryptor.finalize)
        return
    cache: Source | None = DataKeyCache(max_age=86400) if sources and not key_per_file else None

    def work(place: Path, goal: Path, progress: Callable[[int], None]) -> None:
        encrypt_file(
            place,
            goal,
            *keys,
            context=context,
            suite=suite,
            cache=cache,
            force=force,
            progress=progress,
        )

    _run(session, work, _jobs(source, target, sources, _add_suffix), resume=resume)


@envelope.command()
@key_option
@context_option
@input_option
@output_option
@force_option
@resume_option
@click.argument("sources", nargs=-1)
@common_options
@pass_session
def decrypt(
    session: Session,
    references: tuple[str, ...],
    pairs: tuple[str, ...],
    source: str | None,
    target: str | None,
    force: bool,
    resume: bool,
    sources: tuple[str, ...],
) -> None:
    """Decrypt; a file appears only when all of it is authentic.

    Without --key, all keys of the provider are tried. To a pipe, authenticated frames go out as
    they come: only exit code 0 says that the message was whole.
    """
    from kmscore.envelope import DataKeyCache, EnvelopeDecryptor
    from kmscore.envelope.files import decrypt_file

    openers = _keys(session, references) if references else [session.open()]
    context = parse_context(pairs)
    if not sources and "-" in (source or "-", target or "-"):
        with _piped(source, target, force=force) as (reader, writer):
            decryptor = EnvelopeDecryptor(*openers, context=context)
            _pump(reader, writer, decryptor.update, decryptor.finalize)
        return
    cache = DataKeyCache(max_age=86400) if sources else None

    def work(place: Path, goal: Path, progress: Callable[[int], None]) -> None:
        decrypt_file(
            place, goal, *openers, context=context, cache=cache, force=force, progress=progress
        )

    _run(session, work, _jobs(source, target, sources, _strip_suffix), resume=resume)


@envelope.command()
@key_option
@click.option(
    "--opener", "openers", metavar="KEY", multiple=True, help="A key that opens the old message."
)
@context_option
@click.option("-i", "--input", "source", required=True, metavar="FILE", help="The message.")
@click.option("-o", "--output", "target", metavar="FILE", help="The new message [in place]")
@force_option
@common_options
@pass_session
def rewrap(
    session: Session,
    references: tuple[str, ...],
    openers: tuple[str, ...],
    pairs: tuple[str, ...],
    source: str,
    target: str | None,
    force: bool,
) -> None:
    """Write a message anew for the recipients --key, and for nobody else.

    It gets a fresh data key, so that who is left out has no access to the new message.
    """
    from kmscore.envelope.files import rewrap_file

    keys = _keys(session, references)
    old = _keys(session, openers) if openers else [session.open()]
    rewrap_file(source, target, old, keys, context=parse_context(pairs), force=force)
    session.say(f"{target or source} is for {len(keys)} recipient(s) now")


@envelope.command()
@input_option
@common_options
@pass_session
def inspect(session: Session, source: str | None) -> None:
    """Show all that is public in a message, without any key. None of it is authenticated."""
    from kmscore.envelope import inspect as look
    from kmscore.envelope.files import inspect_file
    from kmscore.envelope.whole import describe

    if source in (None, "-"):
        shown: dict[str, Any] = look(standard_input().read(PIECE))
    else:
        shown = describe(inspect_file(str(source)))
    lines = [f"suite:      {shown['suite']} {shown['suite_name']}"]
    lines.append(f"message id: {shown['message_id']}")
    lines.append(f"frames:     {shown['frame_bytes']} bytes")
    lines += [f"context:    {name}={value}" for name, value in shown["context"].items()]
    lines += [f"recipient:  {each['provider']} {each['key']}" for each in shown["recipients"]]
    session.show(shown, "\n".join(lines))


def _keys(session: Session, references: tuple[str, ...]) -> list[Key]:
    if not references:
        raise click.UsageError("Missing option '--key'.")
    return [session.key(reference) for reference in references]


def _jobs(
    source: str | None,
    target: str | None,
    sources: tuple[str, ...],
    rename: Callable[[Path], Path],
) -> list[tuple[Path, Path]]:
    """What is to be done: pairs of input and output."""
    if not sources:
        return [(Path(str(source)), Path(str(target)))]
    if source is not None or target is None:
        raise click.UsageError("SOURCES need -o FOLDER, and no -i")
    folder = Path(target)
    jobs: list[tuple[Path, Path]] = []
    for each in sources:
        place = Path(each)
        if place.is_dir():
            files = sorted(path for path in place.rglob("*") if path.is_file())
            jobs += [(file, folder / rename(file.relative_to(place))) for file in files]
        else:
            jobs.append((place, folder / rename(Path(place.name))))
    goals = [goal for _, goal in jobs]
    if len(set(goals)) < len(goals):
        raise click.UsageError("two SOURCES would become the same file")
    return jobs


def _add_suffix(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _strip_suffix(path: Path) -> Path:
    if path.suffix != SUFFIX:
        raise click.UsageError(f"{path} does not end in {SUFFIX}: use -i and -o for it")
    return path.with_suffix("")


def _run(session: Session, work: Work, jobs: list[tuple[Path, Path]], *, resume: bool) -> None:
    done = skipped = 0
    with _progress(session, jobs) as progress:
        for place, goal in jobs:
            if resume and goal.exists():
                # A file appears only when it is complete, so one that is there is done.
                skipped += 1
                continue
            goal.parent.mkdir(parents=True, exist_ok=True)
            work(place, goal, progress)
            done += 1
    if len(jobs) > 1 or session.json:
        session.show(
            {"done": done, "skipped": skipped, "outputs": [str(goal) for _, goal in jobs]}, ""
        )
        session.say(f"{done} files done, {skipped} were there already")


@contextmanager
def _progress(
    session: Session, jobs: Iterable[tuple[Path, Path]]
) -> Generator[Callable[[int], None]]:
    if session.json or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    total = sum(place.stat().st_size for place, _ in jobs if place.is_file())
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update


@contextmanager
def _piped(
    source: str | None, target: str | None, *, force: bool
) -> Generator[tuple[BinaryIO, BinaryIO]]:
    """Streams for a command in a pipe; a file at either end is a stream too."""
    from kmscore.envelope.files import drafted

    if target is None and is_terminal(sys.stdout):
        raise click.UsageError("the output would go to a terminal: use -o FILE, a pipe, or -o -")
    with ExitStack() as stack:
        if source in (None, "-"):
            reader = standard_input()
        else:
            try:
                reader = stack.enter_context(Path(str(source)).open("rb"))
            except OSError as error:
                raise InvalidRequest(f"cannot read {source}: {error.strerror}") from error
        if target in (None, "-"):
            yield reader, standard_output()
            return
        handle = stack.enter_context(drafted(Path(str(target)), force=force))
        with os.fdopen(os.dup(handle), "wb") as writer:
            yield reader, writer


def _pump(
    reader: BinaryIO,
    writer: BinaryIO,
    update: Callable[[memoryview], bytes],
    finalize: Callable[[], bytes],
) -> None:
    buffer = bytearray(PIECE)
    with memoryview(buffer) as view:
        while count := reader.readinto(view):  # type: ignore[attr-defined]
            writer.write(update(view[:count]))
    writer.write(finalize())
    writer.flush()
