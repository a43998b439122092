"""Writes reports to files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kmscore.errors import InvalidRequest
from kmscore_conformance.report.badge import badge
from kmscore_conformance.report.junit import junit
from kmscore_conformance.report.markdown import markdown
from kmscore_conformance.report.page import page

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report


def make_folder(folder: Path) -> None:
    """Make the folder for a report, where there is none: before the run, which may take hours.

    Raises:
        InvalidRequest: It cannot be made, or nothing can be written to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be made for the report: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidRequest(f"the report cannot be written to {folder}: it is read-only")


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write ``report.json``, ``junit.xml``, ``report.html`` and ``badge.svg``.

    Raises:
        InvalidRequest: They cannot be written.
    """
    content = {
        "report.json": (json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n").encode(),
        "junit.xml": junit(report),
        "report.html": page([report]).encode(),
        "badge.svg": badge(report).encode(),
    }
    make_folder(folder)
    try:
        for name, data in content.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise InvalidRequest(
            f"the report cannot be written to {folder}: {error.strerror}"
        ) from error
    return tuple(folder / name for name in content)


def write_matrix(reports: Sequence[Report], target: Path) -> None:
    """Write one page on several runs, as HTML or as Markdown by the file's name.

    Raises:
        InvalidRequest: It cannot be written, or its name ends otherwise.
    """
    if target.suffix not in (".html", ".md"):
        raise InvalidRequest(f"{target} is neither .html nor .md", hint="Say which you want")
    text = page(reports) if target.suffix == ".html" else markdown(reports)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}") from error
