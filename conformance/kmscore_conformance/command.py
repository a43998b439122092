"""The command ``kmscore conformance``: run the suite, list its laws, and merge reports."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmscore.cli.session import Session as CommandLine
from kmscore.cli.session import common_options, is_terminal, pass_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmscore_conformance.outcome import Result
    from kmscore_conformance.report import Report

if find_spec("hypothesis") is None:
    # Said now, so that whoever looks for the command is told what to install.
    raise ModuleNotFoundError("the suite needs hypothesis", name="hypothesis")

FAILED = 1


@click.group()
@common_options
def conformance() -> None:
    """Prove that a provider keeps the laws of kmscore."""


@conformance.command()
@click.option("--peer", "peers", metavar="NAME", multiple=True, help="Pair with it; repeatable.")
@click.option(
    "--profile", default="ci", show_default=True, help="quick, ci, deep or cloud.", metavar="NAME"
)
@click.option("--law", "laws", metavar="ID", multiple=True, help="This law, or sig.*; repeatable.")
@click.option(
    "--waivers", metavar="FILE", type=click.Path(path_type=Path), help="Accepted findings."
)
@click.option("--seed", type=int, metavar="N", help="What the examples follow from.")
@click.option(
    "--vectors", metavar="DIR", type=click.Path(path_type=Path), help="Wycheproof's files."
)
@click.option("--max-calls", type=int, metavar="N", help="Most calls to one provider.")
@click.option(
    "--report",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write JSON, JUnit, a page and a badge there.",
)
@click.argument("providers", nargs=-1, required=True)
@common_options
@pass_session
def run(
    line: CommandLine,
    providers: tuple[str, ...],
    peers: tuple[str, ...],
    profile: str,
    laws: tuple[str, ...],
    waivers: Path | None,
    seed: int | None,
    vectors: Path | None,
    max_calls: int | None,
    folder: Path | None,
) -> int:
    """Try every law on PROVIDERS of the configuration.

    Exits with 1 when a law is broken, a waiver accepts nothing, or nothing was tried.
    """
    from kmscore_conformance.report import Report, make_folder, write_report
    from kmscore_conformance.runner import run_laws
    from kmscore_conformance.session import Session
    from kmscore_conformance.waivers import Waivers

    if folder is not None:
        make_folder(folder)
    session = Session.configured(
        line.config(),
        providers,
        peers,
        profile=profile,
        seed=seed,
        waivers=Waivers.load(waivers) if waivers else None,
        vectors=vectors,
        max_calls=max_calls,
    )
    with session:
        results = run_laws(session, laws or None, _progress(line))
    report = Report.of(session, results)
    if folder is not None:
        write_report(report, folder)
    line.show(report.as_dict(), summary(report))
    return 0 if report.ok else FAILED


@conformance.command("laws")
@click.argument("patterns", nargs=-1)
@common_options
@pass_session
def list_laws(line: CommandLine, patterns: tuple[str, ...]) -> None:
    """List the laws, or those of PATTERNS such as ``sig.*``."""
    from kmscore_conformance.law import choose

    chosen = choose(patterns or None)
    line.show(
        [
            {
                "id": law.id,
                "title": law.title,
                "layer": law.layer.value,
                "requires": law.scope.requirement,
            }
            for law in chosen
        ],
        "\n".join(f"{law.id:34} {law.title}" for law in chosen),
    )


@conformance.command()
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the page on all animals.",
)
@click.argument("animals", nargs=-1)
@common_options
@pass_session
def zoo(line: CommandLine, animals: tuple[str, ...], target: Path | None) -> int:
    """Try the laws on providers that are broken on purpose, or on ANIMALS alone.

    Exits with 1 when one of them gets away, or is caught by a law about something else.
    """
    from kmscore_conformance.broken.animal import all_animals, animals_named
    from kmscore_conformance.broken.keeper import catch
    from kmscore_conformance.broken.page import page

    caught = [catch(animal) for animal in animals_named(animals)]
    if target is not None:
        target.write_text(page(all_animals()), encoding="utf-8")
    bad = [each for each in caught if each.missed or each.strange]
    lines = [
        f"{'WRONG' if each in bad else 'ok':6}{each.animal.id:28} {' '.join(each.laws)}"
        for each in caught
    ]
    for each in bad:
        lines += [f"{each.animal.id} gets away from {law}" for law in each.missed]
        lines += [f"{each.animal.id} is caught by {law}" for law in each.strange]
    lines.append(f"{len(caught)} animals, {len(bad)} of them wrong")
    line.show({each.animal.id: list(each.laws) for each in caught}, "\n".join(lines))
    return FAILED if bad else 0


@conformance.command()
@click.option(
    "-o",
    "--output",
    "targets",
    metavar="FILE",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Where to: .html or .md; repeatable.",
)
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@common_options
@pass_session
def matrix(line: CommandLine, reports: tuple[Path, ...], targets: tuple[Path, ...]) -> int:
    """Merge REPORTS, files report.json or folders with one, into one matrix.

    Exits with 1 when a law is broken, a waiver accepts nothing, or nothing was tried.
    """
    from kmscore_conformance.report import Report, write_matrix
    from kmscore_conformance.report.matrix import Matrix
    from kmscore_conformance.report.page import verdict

    found = [Report.load(place / "report.json" if place.is_dir() else place) for place in reports]
    merged = Matrix(found)
    for target in targets:
        write_matrix(found, target)
    line.show(
        {"reports": len(found), "ok": merged.ok, "verdict": verdict(merged)},
        f"{verdict(merged)} ({len(found)} report{'s' if len(found) > 1 else ''})",
    )
    return 0 if merged.ok else FAILED


def _progress(line: CommandLine) -> Callable[[Result], None] | None:
    if line.json or not is_terminal(sys.stderr):
        return None
    done = 0

    def tell(result: Result) -> None:
        nonlocal done
        done += 1
        click.echo(f"\r\x1b[K{done} {result.law} {result.case}"[:100], err=True, nl=False)

    def finish() -> None:
        click.echo("\r\x1b[K", err=True, nl=False)

    click.get_current_context().call_on_close(finish)
    return tell


def summary(report: Report) -> str:
    """The outcome in a few lines: what is wrong first, then the counts."""
    from kmscore_conformance.outcome import FINDINGS, Outcome

    titles = {law["id"]: law["title"] for law in report.laws}
    lines: list[str] = []
    for result in report.results:
        if result.outcome in FINDINGS:
            where = " ".join(part for part in (result.provider, result.peer, result.case) if part)
            lines.append(f"{result.outcome} {result.law} [{where}]")
            lines += [f"  law: {titles[result.law]}", f"  seen: {result.detail}"]
    lines += [f"the waiver {waiver} accepts nothing" for waiver in report.idle]
    reasons = {r.detail for r in report.results if r.outcome is Outcome.NOT_RUN}
    lines += [f"not run: {reason}" for reason in sorted(reasons)]
    for provider in report.providers:
        for key, reason in provider["keys_left"].items():
            lines.append(f"{provider['name']} keeps key {key}: {reason}")
    counts = ", ".join(
        f"{report.counts[outcome]} {outcome.value.lower().replace('_', ' ')}"
        for outcome in Outcome
        if report.counts[outcome]
    )
    facts: Any = report.facts
    lines.append(
        f"{counts}; profile {facts['profile']}, seed {facts['seed']}, {facts['seconds']} s"
    )
    return "\n".join(lines)
