"""Patterns of file names, as of a shell: ``*``, ``?``, ``[…]``, and ``**`` for any depth."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import suppress
from glob import escape, glob, has_magic

from kmscore.errors import InvalidRequest


def is_pattern(source: str) -> bool:
    """Whether it is a pattern, and no file has that very name."""
    return has_magic(source) and not os.path.lexists(source)


def expanded(source: str) -> list[str]:
    """The files that a pattern stands for, when there is none of that very name.

    Raises:
        InvalidRequest: There are none.
    """
    if not is_pattern(source):
        return [source]
    found = sorted(set(_matches(source)))
    if not found:
        from kmscore.envelope.output import shown

        raise InvalidRequest(f"nothing matches {shown(source)}", hint="Check the pattern")
    return found


def _matches(pattern: str) -> Generator[str]:
    """What there is. Unlike `glob`, ``**`` follows no links: they may lead back, for ever."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob(pattern)
        return
    place = parts.index("**")
    before, rest = "/".join(parts[:place]), "/".join(parts[place + 1 :])
    bases = glob(before or "/") if place else [os.curdir]
    if place and not rest:
        yield from bases  # a folder is all that is in it
        return
    for base in bases:
        for folder in _folders(base):
            yield from _matches(os.path.join(escape(folder), rest or "*").removeprefix("./"))


def _folders(base: str) -> Generator[str]:
    """A folder and those below it, however deep they are, but hidden ones and links."""
    waiting = [base]
    while waiting:
        folder = waiting.pop()
        yield folder
        with suppress(OSError), os.scandir(folder) as entries:
            waiting += [
                entry.path
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]
