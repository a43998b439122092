"""The page: one HTML file without outside parts, to be read, printed and kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from kmscore_conformance.outcome import CORE, Outcome
from kmscore_conformance.report.matrix import Accepted, Cell, Finding, Matrix

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report

SIGNS: Final = {
    Outcome.PASS: "✓",
    Outcome.FAIL: "✗",
    Outcome.UNDECLARED: "!",
    Outcome.WAIVED: "~",
    Outcome.NOT_RUN: "○",
    Outcome.NOT_APPLICABLE: "–",
}
"""Outcomes are told by signs and words, not by colours alone."""

MEANINGS: Final = {
    Outcome.PASS: "kept: every case that applies",
    Outcome.FAIL: "broken: a declared capability does not keep the law",
    Outcome.UNDECLARED: "undeclared: it works, and the provider's table does not have it",
    Outcome.WAIVED: "waived: broken, and accepted with a reason and a link",
    Outcome.NOT_RUN: "not run: left out by the profile, or for want of a tool",
    Outcome.NOT_APPLICABLE: "does not apply: the provider's table does not have it",
}


def page(reports: Sequence[Report]) -> str:
    """One page on one or several runs."""
    matrix = Matrix(reports)
    body = "".join(
        (
            _head(matrix),
            _pairs(matrix),
            _layers(matrix),
            _findings(matrix),
            _capabilities(matrix),
            _laws(matrix),
            _runs(matrix),
        )
    )
    style = (files("kmscore_conformance.report") / "page.css").read_text(encoding="utf-8")
    names = ", ".join(matrix.tested)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>kmscore conformance: {escape(names)}</title><style>\n{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def verdict(matrix: Matrix) -> str:
    """The result in a sentence."""
    names = matrix.tested
    listed = " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
    verb = "keeps" if len(names) == 1 else "keep"
    if not matrix.tried:
        return "Nothing was tried"
    if matrix.ok:
        said = f"{listed} {verb} every law that {'was tried' if matrix.left_out else 'applies'}"
        exceptions = {
            "waived": len(matrix.laws_with(Outcome.WAIVED)),
            "left out": len(matrix.left_out),
        }
        told = ", ".join(f"{name}: {count}" for name, count in exceptions.items() if count)
        return f"{said}; {told}" if told else said
    broken = {(each.provider, each.law) for each in matrix.results if each.outcome is Outcome.FAIL}
    if not broken:
        return "A waiver accepts nothing"
    laws = len({law for _, law in broken})
    by_name = Counter(name for name, _ in broken)
    blamed = ", ".join(f"{name} {count}" for name, count in by_name.most_common())
    return f"{laws} law{'s' if laws > 1 else ''} not kept: {blamed}"


# --- Parts of the page ---------------------------------------------------------------------------


def _head(matrix: Matrix) -> str:
    total = Cell.of(matrix.results)
    counts = total.counts
    figures = (
        (len(matrix.kept), "laws kept"),
        (len(matrix.laws_with(Outcome.FAIL)), "laws not kept"),
        (len(matrix.laws_with(Outcome.WAIVED)), "laws waived"),
        (len(matrix.left_out), "laws left out"),
        (counts[Outcome.UNDECLARED], "undeclared"),
        (counts[Outcome.PASS], "cases passed"),
        (counts[Outcome.WAIVED], "cases waived"),
        (counts[Outcome.NOT_RUN], "cases not run"),
        (counts[Outcome.NOT_APPLICABLE], "do not apply"),
    )
    latest = matrix.reports[-1].facts
    facts = (
        ("Date (UTC)", str(latest["began"]).replace("T", " ").rstrip("Z")),
        ("Profile", ", ".join(sorted({str(each.facts["profile"]) for each in matrix.reports}))),
        ("kmscore", str(latest["kmscore"])),
        ("Python", str(latest["python"])),
        ("System", str(latest["system"])),
        ("Judged by", ", ".join(f"{n} {v}" for n, v in matrix.witnesses.items() if n != "kmscore")),
    )
    state = "good" if matrix.ok else "bad"
    return (
        "<header><h1>kmscore conformance report</h1>"
        f'<p class="verdict {state}">{SIGNS[Outcome.PASS] if matrix.ok else SIGNS[Outcome.FAIL]} '
        f"{escape(verdict(matrix))}</p>"
        f'<p class="lead">{len(matrix.tried)} of {len(matrix.laws)} laws were tried, in '
        f"{total.tried} cases. Signatures and ciphertexts are judged by other implementations, "
        "never by the provider itself.</p>"
        f'<ul class="figures">{"".join(f"<li><b>{n}</b><span>{w}</span></li>" for n, w in figures)}'
        f'</ul><dl class="facts">'
        + "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in facts)
        + "</dl></header>"
    )


def _findings(matrix: Matrix) -> str:
    idle = any(report.idle for report in matrix.reports)
    if not matrix.findings and not matrix.waived and not idle:
        return ""
    parts = [_finding(each, matrix) for each in matrix.findings]
    parts += [_accepted(each) for each in matrix.waived]
    parts += [
        f'<div class="finding fail-edge"><p>The waiver <span class="id">{escape(waiver)}</span> '
        "accepts nothing: remove it.</p></div>"
        for report in matrix.reports
        for waiver in report.idle
    ]
    return f"<section><h2>Findings</h2>{''.join(parts)}</section>"


def _finding(finding: Finding, matrix: Matrix) -> str:
    result, cases = finding
    name = _class(result.outcome)
    where = result.provider + (f" → {result.peer}" if result.peer else "")
    tag = f'<span class="tag {name}">{_word(result.outcome)}</span>'
    lines = [
        f'{tag}<span class="id">{escape(result.law)}</span> · {escape(where)}',
        f"<b>{escape(matrix.laws[result.law]['title'])}</b>",
        f"Seen: {escape(result.detail)}",
    ]
    if cases:
        lines.append(f"Cases: {_words(cases)}")
    return _block(name, lines)


def _accepted(accepted: Accepted) -> str:
    tag = '<span class="tag waived">waived</span>'
    results = f"{accepted.results} result{'s' if accepted.results > 1 else ''}"
    laws = ", ".join(f'<span class="id">{escape(law)}</span>' for law in accepted.laws)
    lines = [
        f"{tag}{escape(accepted.provider)} · {results}",
        f"<b>{_linked(accepted.waiver)}</b>",
        f"Laws: {laws}",
    ]
    if accepted.cases:
        lines.append(f"Cases: {_words(accepted.cases)}")
    return _block("waived", lines)


def _block(name: str, lines: Sequence[str]) -> str:
    body = "".join(f"<p>{line}</p>" for line in lines)
    return f'<div class="finding {name}-edge">{body}</div>'


def _linked(text: str) -> str:
    """A waiver's text, with its address in brackets as a link."""
    found = re.fullmatch(r"(.*) \((https?://[^\s()]+)\)", text, re.DOTALL)
    if found is None:
        return escape(text)
    address = escape(found[2])
    return f'{escape(found[1])} (<a href="{address}" rel="noreferrer">{address}</a>)'


def _pairs(matrix: Matrix) -> str:
    peers = [*matrix.providers, *matrix.witnesses]
    rows: list[str] = []
    for name in matrix.providers:
        cells = [
            '<td class="cell self" aria-label="itself"></td>'
            if peer == name
            else _cell(matrix.pair(name, peer))
            for peer in peers
        ]
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col">{escape(peer)}</th>' for peer in peers)
    return (
        "<section><h2>Who understands whom</h2>"
        '<p class="lead">What the row makes, the column understands: it opens ciphertexts of the '
        "same imported key, reads envelopes that were rewrapped to it, and takes no signature of "
        "the row for one of its own. The other implementations verify the row's signatures, and "
        "the row decrypts what they encrypted for its public keys.</p>"
        f'<div class="wide"><table><thead><tr><th scope="col">from ↓ to →</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{_legend()}</section>"
    )


def _layers(matrix: Matrix) -> str:
    names = [*matrix.tested, CORE]
    rows = "".join(
        f'<tr><th scope="row">{escape(layer)}</th>'
        + "".join(_cell(matrix.layer(layer, name)) for name in names)
        + "</tr>"
        for layer in matrix.layers
    )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return (
        "<section><h2>Layer by layer</h2>"
        '<p class="lead">Cases kept of cases tried. The column core is kmscore itself: what users '
        "of every provider rely on.</p>"
        f'<div class="wide"><table><thead><tr><th scope="col">layer</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _capabilities(matrix: Matrix) -> str:
    tables = {name: each["capabilities"] for name, each in matrix.providers.items()}
    kinds = sorted(
        {(row["spec"], row["usage"]) for table in tables.values() for row in table["keys"]}
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(spec)}'
        f"<small>{escape(usage.lower().replace('_', ' '))}</small></th>"
        + "".join(_kind(table, spec, usage) for table in tables.values())
        + "</tr>"
        for spec, usage in kinds
    )
    for name in ("wrapping", "features"):
        rows += f'<tr><th scope="row">{name}</th>' + "".join(
            f"<td>{_words(table[name])}</td>" for table in tables.values()
        )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in tables)
    return (
        "<section><h2>What each provider declares</h2>"
        '<p class="lead">The provider\'s own table. What it lists is tried; what it does not list '
        "is tried too, and must be refused.</p>"
        f'<div class="wide"><table><thead><tr><th scope="col">keys</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _kind(table: dict[str, Any], spec: str, usage: str) -> str:
    for row in table["keys"]:
        if (row["spec"], row["usage"]) == (spec, usage):
            words = ["made" if origin == "GENERATED" else "imported" for origin in row["origins"]]
            return f"<td>{' or '.join(sorted(words, reverse=True))}{_small(row['algorithms'])}</td>"
    return '<td class="not-applicable">–</td>'


def _small(words: Iterable[str]) -> str:
    text = _words(words)
    return f"<small>{text}</small>" if text else ""


def _words(words: Iterable[str]) -> str:
    return ", ".join(escape(word) for word in words)


def _laws(matrix: Matrix) -> str:
    names = [*matrix.tested, CORE]
    rows: list[str] = []
    for layer in matrix.layers:
        rows.append(
            f'<tr class="layer"><th colspan="{len(names) + 1}" scope="colgroup">{escape(layer)}'
            "</th></tr>"
        )
        for law in matrix.laws.values():
            if law["layer"] != layer:
                continue
            cells = "".join(_cell(Cell.of(matrix.law(law["id"], name))) for name in names)
            needs = (
                "" if law["requires"] == "nothing" else f"<small>{escape(law['requires'])}</small>"
            )
            rows.append(
                f'<tr><th scope="row"><span class="id">{escape(law["id"])}</span>'
                f"<div>{escape(law['title'])}</div>{needs}</th>{cells}</tr>"
            )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return (
        "<section><h2>Every law</h2>"
        '<p class="lead">Its id, what it says, what it requires, and how many of its cases were '
        "kept.</p>"
        f'<div class="wide"><table class="laws"><thead><tr><th scope="col">law</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _runs(matrix: Matrix) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(each["name"])}<small>{escape(each["role"])}</small></th>'
        f"<td>{escape(each['type'])}<small>{escape(each['distribution'])}</small></td>"
        f"<td>{escape(str(each['calls']))}</td><td>{len(each['keys_left'])}</td>"
        f"<td>{escape(report.facts['profile'])}</td><td>{escape(str(report.facts['seed']))}</td>"
        f"<td>{escape(report.facts['began'])}</td>"
        f"<td>{escape(str(report.facts['seconds']))}</td></tr>"
        for report in matrix.reports
        for each in report.providers
    )
    heads = ("provider", "type", "calls", "keys left", "profile", "seed", "began", "seconds")
    return (
        "<section><h2>The runs</h2>"
        '<p class="lead">A run with the same seed, versions and profile tries the same examples.'
        '</p><div class="wide"><table><thead><tr>'
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
        "<footer>Made by kmscore conformance. Nothing on this page comes from elsewhere: it can be "
        "kept, printed and mailed as it is.</footer>"
    )


# --- Cells ---------------------------------------------------------------------------------------


def _cell(cell: Cell) -> str:
    outcome = cell.worst
    if outcome is None:
        return '<td class="cell" aria-label="nothing to try"></td>'
    words = ", ".join(f"{cell.counts[each]} {_word(each)}" for each in Outcome if cell.counts[each])
    count = f" {cell.counts[Outcome.PASS]}/{cell.tried}" if cell.tried else ""
    return (
        f'<td class="cell {_class(outcome)}" title="{words}"><span role="img" '
        f'aria-label="{_word(outcome)}">{SIGNS[outcome]}</span>{count}</td>'
    )


def _legend() -> str:
    items = "".join(
        f'<li><i class="{_class(outcome)}">{sign}</i>{MEANINGS[outcome]}</li>'
        for outcome, sign in SIGNS.items()
    )
    return f'<ul class="legend" aria-label="legend">{items}</ul>'


def _word(outcome: Outcome) -> str:
    return outcome.value.lower().replace("_", " ")


def _class(outcome: Outcome) -> str:
    return outcome.value.lower().replace("_", "-")
