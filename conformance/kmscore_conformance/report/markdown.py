"""The matrix in Markdown, for a page of documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kmscore_conformance.report.matrix import Matrix

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report


def markdown(reports: Sequence[Report]) -> str:
    """One page on one or several runs."""
    return str(Matrix(reports))
