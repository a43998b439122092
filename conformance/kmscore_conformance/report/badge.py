"""The badge: how many laws were kept, in a line of SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kmscore_conformance.outcome import Outcome

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report

_HEIGHT: Final = 20
_WIDTH_OF_A_LETTER: Final = 6.6


def badge(report: Report) -> str:
    """An SVG without outside parts; its title says the same in words."""
    kept = {result.law for result in report.results if result.outcome is Outcome.PASS}
    broken = {result.law for result in report.results if result.outcome is Outcome.FAIL}
    waived = {result.law for result in report.results if result.outcome is Outcome.WAIVED}
    if not report.ok:
        said = f"{len(broken)} laws broken" if broken else "idle waivers"
        colour = "#b42318"
    else:
        said = f"{len(kept)} laws kept" + (f", {len(waived)} waived" if waived else "")
        colour = "#1a7f37" if not waived else "#8a6100"
    left = round(12 + _WIDTH_OF_A_LETTER * len("kmscore"))
    right = round(12 + _WIDTH_OF_A_LETTER * len(said))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" '
        f'role="img" aria-label="kmscore: {said}"><title>kmscore: {said}</title>'
        f'<rect width="{left + right}" height="{_HEIGHT}" rx="3" fill="#3d4450"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" '
        f'fill="{colour}"/><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" '
        f'font-size="11" text-anchor="middle"><text x="{left / 2}" y="14">kmscore</text>'
        f'<text x="{left + right / 2}" y="14">{said}</text></g></svg>\n'
    )
