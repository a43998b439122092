"""Reports: JSON for machines, JUnit for CI, a page for people, and a badge."""

from __future__ import annotations

from kmscore_conformance.report.files import make_folder, write_matrix, write_report
from kmscore_conformance.report.record import Report

__all__ = ["Report", "make_folder", "write_matrix", "write_report"]
