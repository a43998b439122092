"""The matrix in Markdown, for a page of documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kmscore_conformance.outcome import CORE, Outcome
from kmscore_conformance.report.matrix import Cell, Matrix
from kmscore_conformance.report.page import MEANINGS, SIGNS, verdict

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report


def markdown(reports: Sequence[Report]) -> str:
    """One page on one or several runs."""
    matrix = Matrix(reports)
    latest = matrix.reports[-1].facts
    names = [*matrix.tested, CORE]
    peers = [*matrix.providers, *matrix.witnesses]
    witnesses = ", ".join(f"{n} {v}" for n, v in matrix.witnesses.items() if n != "kmscore")
    lines = [
        "# The matrix",
        "",
        f"{_plain(verdict(matrix))}.",
        f"{len(matrix.tried)} of {len(matrix.laws)} laws were tried, {str(latest['began'])[:10]};",
        f"kmscore {latest['kmscore']}; judged by {witnesses}.",
        "",
        "What the row makes, the column understands; cases kept of cases tried.",
        "",
        *_table(
            "from ↓ to →",
            peers,
            {
                name: ["" if peer == name else _cell(matrix.pair(name, peer)) for peer in peers]
                for name in matrix.providers
            },
        ),
        "",
        "Layer by layer; the column core is kmscore itself.",
        "",
        *_table(
            "layer",
            names,
            {
                layer: [_cell(matrix.layer(layer, name)) for name in names]
                for layer in matrix.layers
            },
        ),
        "",
    ]
    for result, cases in matrix.findings:
        where = result.provider + (f" → {result.peer}" if result.peer else "")
        where += f" ({', '.join(cases)})" if cases else ""
        text = f"`{result.law}` on {where}: {result.detail}"
        lines.append(f"- {SIGNS[result.outcome]} {_plain(text)}")
    for provider, waiver, laws, cases, count in matrix.waived:
        where = f"{provider} ({', '.join(cases)})" if cases else provider
        text = f"{count} results on {where}, {waiver}: {', '.join(f'`{law}`' for law in laws)}"
        lines.append(f"- {SIGNS[Outcome.WAIVED]} {_plain(text)}")
    if matrix.findings or matrix.waived:
        lines.append("")
    shown = {Cell.of(matrix.results).worst, *(result.outcome for result in matrix.results)}
    lines += [
        f"{sign} {MEANINGS[outcome]}  " for outcome, sign in SIGNS.items() if outcome in shown
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(first: str, heads: Sequence[str], rows: dict[str, list[str]]) -> list[str]:
    named = " | ".join(_plain(head) for head in heads)
    lines = [f"| {first} | {named} |", "|" + "---|" * (len(heads) + 1)]
    return lines + [f"| {_plain(name)} | {' | '.join(cells)} |" for name, cells in rows.items()]


def _cell(cell: Cell) -> str:
    if cell.worst is None:
        return ""
    count = f" {cell.counts[Outcome.PASS]}/{cell.tried}" if cell.tried else ""
    return f"{SIGNS[cell.worst]}{count}"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
