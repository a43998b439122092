"""The badge: how many laws were kept, in a line of SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kmscore_conformance.outcome import Outcome
from kmscore_conformance.report.matrix import Matrix

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report

_HEIGHT: Final = 20
_WIDTH_OF_A_LETTER: Final = 6.6


def badge(report: Report) -> str:
    """An SVG without outside parts; its title says the same in words."""
    matrix = Matrix([report])
    broken, waived = matrix.laws_with(Outcome.FAIL), matrix.laws_with(Outcome.WAIVED)
    exceptions = {"waived": len(waived), "left out": len(matrix.left_out)}
    told = [f"{count} {name}" for name, count in exceptions.items() if count]
    if broken:
        said, colour = f"{len(broken)} {_laws(len(broken))} broken", "#b42318"
    elif not report.ok:
        said, colour = "idle waivers", "#b42318"
    else:
        said = ", ".join([f"{len(matrix.kept)} {_laws(len(matrix.kept))} kept", *told])
        colour = "#8a6100" if told else "#1a7f37"
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


def _laws(count: int) -> str:
    return "law" if count == 1 else "laws"
