"""Runs over many files: which ones, where each goes, and how it went."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kmscore.cli.session import Session, is_terminal
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    IntegrityError,
    InvalidRequest,
    KeyNotFound,
    KmsError,
    LimitExceeded,
    Unsupported,
)

if TYPE_CHECKING:
    from kmscore.envelope import Batch
    from kmscore.envelope.units import Progress

SUFFIX = ".kms"
"""What names of encrypted files in a folder end with."""

OF_ONE_FILE = (
    AlreadyExists,
    CiphertextInvalid,
    IntegrityError,
    InvalidRequest,
    KeyNotFound,
    LimitExceeded,
    Unsupported,
)
"""Errors that say something of one file: the run goes on with the others."""


class Job(NamedTuple):
    """A file, and what is made of it."""

    source: str
    target: str


Work = Callable[[Job, "Progress", "Batch"], None]
"""Does one job."""

Rename = Callable[[str], str | None]
"""The name of the output for one of the input; None for a file that is left out."""


class Plan:
    """What a run is to do.

    Attributes:
        jobs: In the order of the names.
        left_out: What was found in folders and is not touched, with the reason.
    """

    def __init__(self, sources: Iterable[str], folder: str | None, rename: Rename) -> None:
        """Find the files.

        Args:
            sources: Files, folders, and patterns as of a shell.
            folder: Where the outputs go; None when files are replaced.
            rename: Names the outputs.

        Raises:
            click.UsageError: Two files would become the same, or a named file cannot be done.
            InvalidRequest: A pattern matches nothing.
        """
        self._folder = folder
        self._rename = rename
        self._output = _identity(folder) if folder is not None else None
        self.jobs: list[Job] = []
        self.left_out: list[tuple[str, str]] = []
        for source in sources:
            for path in _expanded(source):
                if os.path.isdir(path):
                    self._add_folder(path, "")
                else:
                    self._add(path, os.path.basename(path), named=True)
        targets = {job.target for job in self.jobs}
        if len(targets) < len(self.jobs):
            raise click.UsageError("two SOURCES would become the same file")

    def _add_folder(self, path: str, inside: str) -> None:
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            raise InvalidRequest(
                f"cannot read {_shown(path)}: {error.strerror}", hint="Check the path and its mode"
            ) from error
        for entry in entries:
            place = os.path.join(inside, entry.name)
            if entry.is_symlink():
                self.left_out.append((entry.path, "is a symbolic link"))
            elif entry.is_dir():
                if _identity(entry.path) != self._output:
                    self._add_folder(entry.path, place)
            elif entry.is_file():
                self._add(entry.path, place, named=False)
            else:
                self.left_out.append((entry.path, "is no regular file"))

    def _add(self, path: str, place: str, *, named: bool) -> None:
        name = self._rename(place)
        if name is None:
            if named:
                raise click.UsageError(
                    f"{_shown(path)} does not end in {SUFFIX}: use -i and -o for it"
                )
            self.left_out.append((path, f"does not end in {SUFFIX}"))
            return
        target = path if self._folder is None else os.path.join(self._folder, name)
        self.jobs.append(Job(path, target))


def add_suffix(name: str) -> str:
    """The name of an encrypted file."""
    return name + SUFFIX


def strip_suffix(name: str) -> str | None:
    """The name that an encrypted file had; None when it does not look like one."""
    plain = name.removesuffix(SUFFIX)
    return plain if plain != name and os.path.basename(plain) else None


def only_encrypted(name: str) -> str | None:
    """The same name, if it is that of an encrypted file."""
    return name if strip_suffix(name) else None


def run(session: Session, plan: Plan, work: Work, *, resume: bool) -> int:
    """Do all jobs; returns the exit code.

    What goes wrong with one file is told, and the others are done all the same. What would go
    wrong with all of them, such as a provider that does not answer, ends the run.

    Args:
        session: Where messages go.
        plan: The jobs.
        work: Does one.
        resume: Whether outputs that exist are left as they are: they are complete.
    """
    from kmscore.envelope import Batch

    failures: list[tuple[str, KmsError]] = []
    done: list[Job] = []
    skipped = 0
    folders: set[str] = set()
    for path, reason in plan.left_out:
        session.say(f"left out: {_shown(path)} {reason}")
    with progress_bar(session, _total(plan.jobs)) as progress, Batch() as batch:
        for job in plan.jobs:
            if resume and os.path.lexists(job.target):
                skipped += 1
                continue
            try:
                _make_folder(os.path.dirname(job.target), folders)
                work(job, progress, batch)
            except OF_ONE_FILE as error:
                failures.append((job.source, error))
            else:
                done.append(job)
    failures += _published(done, batch)
    for source, failure in failures:
        session.say(f"error: {_shown(source)}: {failure.message}")
    lost = {source for source, _ in failures}
    session.show(
        {
            "done": len(done) - sum(job.source in lost for job in done),
            "skipped": skipped,
            "failed": [
                {"file": source, "error": {"type": type(each).__name__, "message": each.message}}
                for source, each in failures
            ],
            "left_out": [path for path, _ in plan.left_out],
            "outputs": [job.target for job in done if job.source not in lost],
        },
        "",
    )
    counts = f"{len(done) - len(lost & {job.source for job in done})} files done"
    counts += f", {skipped} were there already"
    session.say(counts + (f", {len(failures)} failed" if failures else ""))
    return 1 if failures else 0


def _published(done: list[Job], batch: Batch) -> Iterator[tuple[str, KmsError]]:
    sources = {job.target: job.source for job in done}
    for target, error in batch.failures:
        if not isinstance(error, OF_ONE_FILE):
            raise error
        yield sources[target], error


@contextmanager
def progress_bar(session: Session, total: int) -> Generator[Progress]:
    """A bar on a terminal, for people; nothing elsewhere."""
    if session.json or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update


def _total(jobs: Iterable[Job]) -> int:
    total = 0
    for job in jobs:
        try:
            total += os.stat(job.source).st_size
        except OSError:
            continue  # told when its turn comes
    return total


def _make_folder(folder: str, known: set[str]) -> None:
    if folder in known or not folder:
        return
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"cannot make the folder {_shown(folder)}: {error.strerror}",
            hint="Check the path and its mode",
        ) from error
    known.add(folder)


def _expanded(source: str) -> list[str]:
    """The files that a pattern stands for, when there is none of that very name."""
    import glob

    if os.path.lexists(source) or not glob.has_magic(source):
        return [source]
    found = sorted(glob.glob(source, recursive=True))
    if not found:
        raise InvalidRequest(f"nothing matches {_shown(source)}", hint="Check the pattern")
    return found


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _shown(path: Any) -> str:
    from kmscore.envelope.output import shown

    return shown(str(path))
