"""Runs over many files: which ones, where each goes, and how it went."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import click

from kmscore.cli.progress import progress_bar
from kmscore.cli.session import Session
from kmscore.errors import (
    AccessDenied,
    AlreadyExists,
    CiphertextInvalid,
    IntegrityError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KeyUsageMismatch,
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

OF_ONE_MESSAGE = (*OF_ONE_FILE, AccessDenied, KeyStateError, KeyUsageMismatch)
"""Those of one message: the others may be for other keys."""


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
        jobs: Folder by folder, in the order of the names.
        left_out: What was found in folders or by patterns and is not touched, with the reason.
        folders: What folders become, and their permissions.
        unreadable: Folders that cannot be looked into.
    """

    def __init__(self, sources: Iterable[str], folder: str | None, rename: Rename) -> None:
        """Find the files.

        Args:
            sources: Files, folders, and patterns as of a shell.
            folder: Where the outputs go; None when files are replaced.
            rename: Names the outputs.

        Raises:
            click.UsageError: Two files would become the same, a file would become another one of
                them or itself, or a named file cannot be done.
            InvalidRequest: A pattern matches nothing.
        """
        from kmscore.cli.patterns import expanded

        self._folder = folder if folder is None else folder.rstrip("/") or "/"
        self._rename = rename
        self._output = _identity(folder) if folder is not None else None
        self._found: set[str] = set()
        self.jobs: list[Job] = []
        self.left_out: list[tuple[str, str]] = []
        self.folders: dict[str, int] = {}
        self.unreadable: list[tuple[str, KmsError]] = []
        for source in sources:
            for path in expanded(source):
                absolute = os.path.abspath(path)
                if self._is_new(absolute):
                    if path != source and os.path.islink(path):
                        self.left_out.append((path, "is a symbolic link"))
                    elif os.path.isdir(path):
                        self._add_folder(path, absolute)
                    else:
                        self._add(path, os.path.basename(path), named=path == source)
        if folder is not None:
            self._leave_out_outputs()

    def _leave_out_outputs(self) -> None:
        """Leave out what a run before this one made: outputs may be beside the inputs.

        What became of a file that is there is no news; the rest is named.
        """
        places = _Places()
        targets = {places.of(job.target) for job in self.jobs}
        if len(targets) < len(self.jobs):
            raise click.UsageError("two SOURCES would become the same file")
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            place, goal = places.of(job.source), places.of(job.target)
            if place == goal:
                raise click.UsageError(f"input and output are the same file: {shown(job.source)}")
            encrypts = goal == (place[0], add_suffix(place[1]))
            if encrypts and strip_suffix(place[1]) and _is_message(job.source):
                if place not in targets:
                    self.left_out.append((job.source, "is encrypted already"))
            elif place not in targets:
                self.jobs.append(job)
            elif encrypts:
                raise click.UsageError(
                    f"{shown(job.source)} is no message, and another file would become it:"
                    " name another folder with -o"
                )
            else:
                self.left_out.append((job.source, "is what another file becomes"))

    def _is_new(self, path: str) -> bool:
        """Whether that was not found before: a pattern may match a folder and what is in it."""
        known = path in self._found
        self._found.add(path)
        return not known

    def _add_folder(self, path: str, absolute: str) -> None:
        """All that is in a folder, and in those below it, however deep they are."""
        waiting = [(path, "")]
        while waiting:
            path, inside = waiting.pop()
            try:
                entries = sorted(os.scandir(path), key=lambda entry: entry.name)
                mode = os.stat(path).st_mode & 0o777 | 0o700
            except OSError as error:
                self.unreadable.append((path, _cannot_read(path, error)))
                continue
            if self._folder is not None:
                target = os.path.join(self._folder, inside) if inside else self._folder
                # Where several become one, nobody sees more than was to be seen in each.
                self.folders[target] = self.folders.get(target, mode) & mode
            deeper: list[tuple[str, str]] = []
            for entry in entries:
                place = os.path.join(inside, entry.name)
                if not self._is_new(os.path.join(absolute, place)):
                    continue
                if entry.is_symlink():
                    self.left_out.append((entry.path, "is a symbolic link"))
                elif entry.is_dir():
                    if _identity(entry.path) != self._output:
                        deeper.append((entry.path, place))
                elif entry.is_file():
                    self._add(entry.path, place, named=False)
                else:
                    self.left_out.append((entry.path, "is no regular file"))
            waiting += reversed(deeper)

    def _add(self, path: str, place: str, *, named: bool) -> None:
        name = self._rename(place)
        if name is None:
            if named and not os.path.lexists(path):
                raise InvalidRequest(f"there is no {shown(path)}", hint="Check the path")
            if named:
                raise click.UsageError(
                    f"{shown(path)} does not end in {SUFFIX}: use -i and -o for it"
                )
            self.left_out.append((path, f"does not end in {SUFFIX}"))
            return
        target = path if self._folder is None else os.path.join(self._folder, name)
        self.jobs.append(Job(path, target))


def _cannot_read(path: str, error: OSError) -> InvalidRequest:
    return InvalidRequest(
        f"cannot read {shown(path)}: {error.strerror}", hint="Check the path and its mode"
    )


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


def is_done(job: Job) -> bool:
    """Whether the output of a job is there; outputs are complete when they are there."""
    from kmscore.envelope.output import is_same

    try:
        target = os.lstat(job.target)
    except OSError:
        return False
    return stat.S_ISREG(target.st_mode) and not is_same(target, job.source)


def run(
    session: Session,
    plan: Plan,
    work: Work,
    *,
    resume: bool,
    of_one: tuple[type[KmsError], ...] = OF_ONE_FILE,
) -> int:
    """Do all jobs; returns the exit code.

    What goes wrong with one file is told, and the others are done all the same. What would go
    wrong with all of them, such as a provider that does not answer, ends the run.

    Args:
        session: Where messages go.
        plan: The jobs.
        work: Does one.
        resume: Whether outputs that exist are left as they are: they are complete.
        of_one: Errors after which the run goes on.
    """
    from kmscore.envelope import Batch

    failures = list(plan.unreadable)
    done: list[Job] = []
    skipped = 0
    batch, folders = Batch(), _Folders(plan.folders)
    for path, reason in plan.left_out:
        session.say(f"left out: {shown(path)} {reason}")
    try:
        with progress_bar(session, lambda: _total(plan.jobs)) as progress, ExitStack() as last:
            last.callback(batch.flush)
            for job in plan.jobs:
                if resume and is_done(job):
                    skipped += 1
                    continue
                try:
                    folders.make(os.path.dirname(job.target))
                    work(job, progress, batch)
                except of_one as error:
                    failures.append((job.source, error))
                else:
                    done.append(job)
            for folder in plan.folders:
                try:
                    folders.make(folder)
                except InvalidRequest as error:
                    failures.append((folder, error))
        folders.sync()
    finally:
        # Also when the run ends early: what was done, and what went wrong until then.
        lost = _lost(done, dict(batch.failures))
        failures += [
            (job.source, error) for job, error in lost.items() if isinstance(error, OF_ONE_FILE)
        ]
        if resume:  # another run made some of them meanwhile
            found = len(failures)
            failures = [each for each in failures if not isinstance(each[1], AlreadyExists)]
            skipped += found - len(failures)
        _report(session, plan, [job for job in done if job not in lost], skipped, failures)
    for failure in lost.values():
        if not isinstance(failure, OF_ONE_FILE):
            raise failure
    return 1 if failures else 0


def _lost(done: list[Job], failed: dict[str, KmsError]) -> dict[Job, KmsError]:
    """The jobs whose output could not be published; in place, it goes where links lead to."""
    if not failed:
        return {}
    names = {name: job for job in done for name in (job.target, os.path.realpath(job.target))}
    return {names[name]: error for name, error in failed.items() if name in names}


def _report(
    session: Session,
    plan: Plan,
    done: list[Job],
    skipped: int,
    failures: list[tuple[str, KmsError]],
) -> None:
    for source, failure in failures:
        session.say(f"error: {shown(source)}: {failure.message}")
    session.show(
        {
            "done": len(done),
            "skipped": skipped,
            "failed": [{"file": source, "error": described(each)} for source, each in failures],
            "left_out": [path for path, _ in plan.left_out],
            "outputs": [job.target for job in done],
        },
        "",
    )
    were = "was" if skipped == 1 else "were"
    counts = f"{len(done)} file{'s' * (len(done) != 1)} done, {skipped} {were} there already"
    session.say(counts + (f", {len(failures)} failed" if failures else ""))


def described(error: KmsError) -> dict[str, str]:
    """What went wrong with one file, in plain values for JSON."""
    return {"type": type(error).__name__, "message": error.message}


def _total(jobs: Iterable[Job]) -> int:
    total = 0
    for job in jobs:
        try:
            total += os.stat(job.source).st_size
        except OSError:
            continue  # told when its turn comes
    return total


class _Folders:
    """Makes the folders of outputs, with the permissions of the folders that they come from."""

    def __init__(self, modes: dict[str, int]) -> None:
        self._modes = modes
        self._there = {""}
        self._changed: set[str] = set()

    def make(self, folder: str) -> None:
        """Make a folder and those above it, if they are not there.

        Raises:
            InvalidRequest: It cannot be made.
        """
        missing: list[str] = []
        while folder not in self._there and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        self._there.add(folder)
        for each in reversed(missing):
            try:
                os.mkdir(each, self._modes.get(each, 0o777))
            except OSError as error:
                raise InvalidRequest(
                    f"cannot make the folder {shown(each)}: {error.strerror}",
                    hint="Check the path and its mode",
                ) from error
            self._there.add(each)
            self._changed.add(os.path.dirname(each) or os.curdir)

    def sync(self) -> None:
        """Bring the names of the folders that were made to the disk."""
        from kmscore.envelope.output import sync_folder

        for folder in self._changed:
            sync_folder(folder)


class _Places:
    """Tells files apart by their folder and their name there, however their paths are written."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[int, int] | str] = {}

    def of(self, path: str) -> tuple[tuple[int, int] | str, str]:
        """The folder, and the name."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = _identity(folder or os.curdir) or folder
        return self._folders[folder], name


def _is_message(path: str) -> bool:
    """Whether a file is an envelope message; its name does not count."""
    from kmscore.envelope.files import inspect_file

    if not os.path.isfile(path):
        return False
    try:
        inspect_file(path)
    except KmsError:
        return False
    return True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def shown(path: str) -> str:
    """A path on one line, whatever its name."""
    from kmscore.envelope import output

    return output.shown(path)
