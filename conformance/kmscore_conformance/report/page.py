"""The page: one HTML file without outside parts, to be read, printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report


def page(reports: Sequence[Report]) -> str:
    """One page on one or several runs."""
    rows = "".join(
        f"<tr><td>{escape(r.law)}<td>{escape(r.case)}<td>{escape(r.provider)}<td>{escape(r.peer)}"
        f"<td>{r.outcome}<td>{escape(r.detail)}</tr>"
        for report in reports
        for r in report.results
    )
    return f"<!doctype html><meta charset=utf-8><title>kmscore</title><table>{rows}</table>"
