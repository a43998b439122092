"""The command ``envelope``: data of any size, in files, folders and pipes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kmscore.cli.pipes import ends, size_of
from kmscore.cli.progress import progress_bar
from kmscore.cli.runs import (
    OF_ONE_FILE,
    OF_ONE_MESSAGE,
    Job,
    Plan,
    Rename,
    add_suffix,
    described,
    is_done,
    only_encrypted,
    run,
    shown,
    strip_suffix,
)
from kmscore.cli.session import Session, common_options, pass_session
from kmscore.cli.streams import context_option, parse_context, standard_input
from kmscore.errors import InvalidRequest, KmsError

if TYPE_CHECKING:
    from kmscore.envelope import Batch
    from kmscore.envelope.recipients import Opener
    from kmscore.envelope.units import Progress
    from kmscore.key import Key

RUN_AGE = 86400.0
"""Seconds that the data key of a run is used: a run is one job, however long it takes."""

key_option = click.option(
    "--key", "references", metavar="KEY", multiple=True, help="A recipient; may be repeated."
)
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
resume_option = click.option("--resume", is_flag=True, help="Leave out files that are done.")
key_per_file_option = click.option(
    "--key-per-file", is_flag=True, help="A data key for each file, not for the run."
)


def _paths(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Refuse names that no file can have."""
    from kmscore.envelope.output import path_of

    for name in (value,) if isinstance(value, str) else value or ():
        path_of(name)
    return value


input_option = click.option(
    "-i", "--input", "source", metavar="FILE", callback=_paths, help="The input [stdin]"
)
output_option = click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    callback=_paths,
    help="The output; a folder for several SOURCES [stdout]",
)
sources_argument = click.argument("sources", nargs=-1, callback=_paths)


@click.group()
@common_options
def envelope() -> None:
    """Encrypt and decrypt data of any size under keys of any provider."""


@envelope.command()
@key_option
@context_option
@click.option("--suite", default="AES_256_GCM", show_default=True, help="Or SM4_GCM.")
@key_per_file_option
@input_option
@output_option
@force_option
@resume_option
@sources_argument
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
) -> int:
    """Encrypt for one or several keys; any of them opens it.

    SOURCES are files, folders and patterns; what they hold goes to the folder -o, with names that
    end in .kms. A single file becomes the file -o, unless that is a folder.
    """
    from kmscore.envelope import DataKeyCache, encrypt_file, encrypt_stream
    from kmscore.envelope.suites import suite_named

    chosen = suite_named(suite)
    plan, source = _plan(sources, source, target, add_suffix)
    keys = _keys(session, references)
    context = parse_context(pairs)
    if plan is None and _is_stream(source, target):
        with ends(session, source, target, force=force) as (reader, writer, progress):
            encrypt_stream(reader, writer, *keys, context=context, suite=chosen, progress=progress)
        return 0
    with DataKeyCache(max_age=RUN_AGE) as cache:

        def work(job: Job, progress: Progress, batch: Batch | None = None) -> None:
            encrypt_file(
                job.source,
                job.target,
                *keys,
                context=context,
                suite=chosen,
                cache=None if key_per_file else cache,
                force=force,
                progress=progress,
                batch=batch,
            )

        return _do(session, plan, work, source, target, resume=resume)


@envelope.command()
@key_option
@context_option
@input_option
@output_option
@force_option
@resume_option
@sources_argument
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
) -> int:
    """Decrypt; a file appears only when all of it is authentic.

    Without --key, all keys of the provider are tried. To a pipe, authenticated frames go out as
    they come: only exit code 0 says that the message was whole.
    """
    from kmscore.envelope import DataKeyCache, decrypt_file, decrypt_stream

    plan, source = _plan(sources, source, target, strip_suffix)
    openers = _openers(session, references)
    context = parse_context(pairs)
    if plan is None and _is_stream(source, target):
        with ends(session, source, target, force=force, private=True) as (
            reader,
            writer,
            progress,
        ):
            decrypt_stream(reader, writer, *openers, context=context, progress=progress)
        return 0
    with DataKeyCache(max_age=RUN_AGE) as cache:

        def work(job: Job, progress: Progress, batch: Batch | None = None) -> None:
            decrypt_file(
                job.source,
                job.target,
                *openers,
                context=context,
                cache=cache,
                force=force,
                progress=progress,
                batch=batch,
            )

        return _do(session, plan, work, source, target, resume=resume, of_one=OF_ONE_MESSAGE)


@envelope.command()
@key_option
@click.option(
    "--opener", "openers", metavar="KEY", multiple=True, help="A key that opens the old message."
)
@context_option
@input_option
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    callback=_paths,
    help="The new message; a folder for several SOURCES [in place, or stdout for stdin]",
)
@force_option
@resume_option
@sources_argument
@common_options
@pass_session
def rewrap(
    session: Session,
    references: tuple[str, ...],
    openers: tuple[str, ...],
    pairs: tuple[str, ...],
    source: str | None,
    target: str | None,
    force: bool,
    resume: bool,
    sources: tuple[str, ...],
) -> int:
    """Write messages anew for other recipients.

    They are those of --key, and nobody else. Each message gets a fresh data key, so that who is
    left out has no access to the new one. SOURCES are files, folders (all that ends in .kms) and
    patterns; without -o they are replaced.
    """
    from kmscore.envelope import DataKeyCache, rewrap_file, rewrap_stream

    if resume and target is None:
        raise click.UsageError("--resume goes with -o: files in place are always there")
    plan, source = _plan(sources, source, target, only_encrypted, in_place=True)
    keys = _keys(session, references)
    old = _openers(session, openers)
    context = parse_context(pairs)
    if plan is None and (source in (None, "-") or target == "-"):
        with ends(session, source, target, force=force) as (reader, writer, progress):
            rewrap_stream(reader, writer, old, keys, context=context, progress=progress)
        return 0

    told = f"is for {len(keys)} recipient{'s' * (len(keys) != 1)} now"
    goal = target or source
    with DataKeyCache(max_age=RUN_AGE) as cache:

        def work(job: Job, progress: Progress, batch: Batch | None = None) -> None:
            rewrap_file(
                job.source,
                None if target is None else job.target,
                old,
                keys,
                context=context,
                cache=cache,
                force=force,
                progress=progress,
                batch=batch,
            )

        return _do(
            session, plan, work, source, goal, resume=resume, of_one=OF_ONE_MESSAGE, told=told
        )


@envelope.command()
@input_option
@sources_argument
@common_options
@pass_session
def inspect(session: Session, source: str | None, sources: tuple[str, ...]) -> int:
    """Show all that is public in messages, without any key. None of it is authenticated.

    SOURCES are files, folders (all that ends in .kms) and patterns.
    """
    from kmscore.envelope.files import inspect_file
    from kmscore.envelope.streams import Opening
    from kmscore.envelope.whole import describe

    plan, source = _plan(sources, source, None, only_encrypted, in_place=True)
    if plan is not None:
        found: list[dict[str, Any]] = []
        failures = list(plan.unreadable)
        for job in plan.jobs:
            try:
                found.append({"file": job.source, **describe(inspect_file(job.source))})
            except OF_ONE_FILE as error:
                failures.append((job.source, error))
        texts = [f"file:       {shown(each['file'])}\n{_public(each)}" for each in found]
        for path, failure in failures:
            session.say(f"error: {shown(path)}: {failure.message}")
            found.append({"file": path, "error": described(failure)})
        session.show(found, "\n\n".join(texts))
        return 1 if failures else 0
    if source in (None, "-"):
        piped: Any = standard_input()
        one = describe(Opening(piped).read_header())
    else:
        one = describe(inspect_file(str(source)))
    session.show(one, _public(one))
    return 0


def _public(message: dict[str, Any]) -> str:
    lines = [f"suite:      {message['suite']} {message['suite_name']}"]
    lines.append(f"message id: {message['message_id']}")
    lines.append(f"commitment: {message['commitment']}")
    lines.append(f"header:     {message['header_bytes']} bytes")
    frames = message["frame_bytes"]
    lines.append(f"frames:     {frames} bytes" if frames else "frames:     none")
    lines += [
        f"context:    {_line(name)}={_line(value)}" for name, value in message["context"].items()
    ]
    lines += [
        f"recipient:  {_line(each['provider'])} {_line(each['key'])}, {each['bytes']} bytes"
        for each in message["recipients"]
    ]
    return "\n".join(lines)


def _line(text: str) -> str:
    """Anybody's text on one line: whoever wrote the message chose it."""
    return text if text.isprintable() else ascii(text)


def _keys(session: Session, references: tuple[str, ...]) -> list[Key]:
    if not references:
        raise click.UsageError("Missing option '--key'.")
    return [session.key(reference) for reference in references]


def _openers(session: Session, references: tuple[str, ...]) -> list[Opener]:
    """The keys that may open messages, or the provider with all its keys.

    A key out of reach is passed over when another is at hand, since one of them is enough.
    """
    if not references:
        return [session.open()]
    keys: list[Opener] = []
    away: list[KmsError] = []
    for reference in references:
        try:
            keys.append(session.key(reference))
        except KmsError as error:
            if not error.retryable:
                raise
            away.append(error)
    if not keys:
        raise away[0]
    for failure in away:
        session.say(f"a key is out of reach, and left out: {failure}")
    return keys


def _plan(
    sources: tuple[str, ...],
    source: str | None,
    target: str | None,
    rename: Rename,
    *,
    in_place: bool = False,
) -> tuple[Plan | None, str | None]:
    """What SOURCES ask for, or the input where there is one only."""
    if not sources:
        return None, source
    if source is not None or (target is None and not in_place):
        raise click.UsageError(
            "SOURCES go without -i"
            if in_place
            else "SOURCES need -o, and no -i; for one file: -i FILE -o FILE"
        )
    if target is not None and not _is_folder(target):
        if len(sources) == 1 and not _are_several(sources[0]):
            return None, sources[0]
        if os.path.lexists(target):
            raise InvalidRequest(
                f"{shown(target)} is no folder", hint="Name a folder with -o for several files"
            )
    return Plan(sources, target, rename), None


def _is_folder(target: str) -> bool:
    """Whether -o says so: as for cp, a name alone is a file's if nothing else is told."""
    return os.path.isdir(target) or target.endswith("/")


def _are_several(source: str) -> bool:
    """Whether one of SOURCES may stand for several files."""
    from kmscore.cli.patterns import is_pattern

    return os.path.isdir(source) or is_pattern(source)


def _do(
    session: Session,
    plan: Plan | None,
    work: Callable[..., None],
    source: str | None,
    target: str | None,
    *,
    resume: bool,
    of_one: tuple[type[KmsError], ...] = OF_ONE_FILE,
    told: str = "",
) -> int:
    """Do a plan, or one file, and tell what it is then."""
    if plan is not None:
        return run(session, plan, work, resume=resume, of_one=of_one)
    job = Job(str(source), str(target))
    skipped = resume and is_done(job)
    if not skipped:
        with progress_bar(session, lambda: size_of(job.source)) as progress:
            work(job, progress)
    if skipped or told:
        session.say(f"{shown(job.target)} {'was there already' if skipped else told}")
    if session.json:
        session.show(
            {"done": int(not skipped), "skipped": int(skipped), "outputs": [job.target]}, ""
        )
    return 0


def _is_stream(source: str | None, target: str | None) -> bool:
    return "-" in (source or "-", target or "-")
