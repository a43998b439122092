"""The pytest plugin: options, one run for a session of pytest, and its report.

Every pytest run on a machine with kmscore imports this module: it imports pytest, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kmscore_conformance.outcome import Result
    from kmscore_conformance.runner import Item
    from kmscore_conformance.session import Session

_RUN = pytest.StashKey["Run"]()


class Run:
    """The run that a session of pytest makes, once a test of the suite is collected."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.items: list[Item] = []
        self.results: list[Result] = []
        self.complaints: list[str] = []

    def every_result(self) -> list[Result]:
        """A result for each item: pytest may have deselected some, or stopped before them."""
        from kmscore_conformance.outcome import Outcome

        done = {result.place for result in self.results}
        others = [
            item.result(Outcome.NOT_RUN, "deselected, or pytest stopped before it")
            for item in self.items
        ]
        return self.results + [result for result in others if result.place not in done]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the conformance suite."""
    group = parser.getgroup("kmscore", "kmscore's conformance suite (kmscore_conformance.suite)")
    add = group.addoption
    add("--kms-config", metavar="FILE", help="The configuration, as for kmscore.")
    several: dict[str, Any] = {"metavar": "NAME", "action": "append", "default": []}
    add("--kms-provider", help="Test this provider; may be repeated.", **several)
    add("--kms-peer", help="Pair it with this provider; may be repeated.", **several)
    add("--kms-law", help="Try this law, or all that begin so: sig.*; may be repeated.", **several)
    add("--kms-profile", metavar="NAME", default="ci", help="quick, ci, deep or cloud [ci].")
    add("--kms-waivers", metavar="FILE", help="Findings that are accepted.")
    add("--kms-seed", metavar="N", type=int, help="What the examples follow from.")
    add("--kms-vectors", metavar="DIR", help="A folder with Wycheproof's files.")
    add("--kms-max-calls", metavar="N", type=int, help="Most calls to one provider.")
    add("--kms-report", metavar="DIR", help="Write JSON, JUnit, a page and a badge there.")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse several processes: keys, calls, waivers and the report belong to one run."""
    if config.getoption("--kms-provider") and config.getoption("dist", "no") != "no":
        raise pytest.UsageError("kmscore: the suite runs in one process: leave out -n")


def run_of(config: pytest.Config) -> Run:
    """The run of this session of pytest; the providers are opened when it is first asked for."""
    if _RUN not in config.stash:
        from kmscore.errors import KmsError

        try:
            config.stash[_RUN] = Run(_open(config))
        except KmsError as error:
            raise pytest.UsageError(f"kmscore: {error}") from None
    return config.stash[_RUN]


def _open(config: pytest.Config) -> Session:
    from pathlib import Path

    from kmscore.config import Config
    from kmscore_conformance.report import make_folder
    from kmscore_conformance.session import Session
    from kmscore_conformance.waivers import Waivers

    def option(name: str) -> Any:
        return config.getoption(name)

    if option("--kms-report"):
        make_folder(Path(option("--kms-report")))
    waivers, vectors = option("--kms-waivers"), option("--kms-vectors")
    return Session.configured(
        Config.load(option("--kms-config")),
        option("--kms-provider"),
        option("--kms-peer"),
        profile=option("--kms-profile"),
        seed=option("--kms-seed"),
        waivers=Waivers.load(Path(waivers)) if waivers else None,
        vectors=Path(vectors) if vectors else None,
        max_calls=option("--kms-max-calls"),
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Which providers are tested, and the seed to repeat it with."""
    if not config.getoption("--kms-provider"):
        return None
    session = run_of(config).session
    names = ", ".join(subject.name for subject in session.everybody)
    return f"kmscore conformance: {names}; profile {session.profile.name}, seed {session.seed}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Delete the keys, write the report, and fail for what no test is to blame for."""
    run = session.config.stash.get(_RUN, None)
    if run is None:
        return
    run.session.close()
    if session.config.option.collectonly:
        return
    from pathlib import Path

    from kmscore_conformance.report import Report, write_report

    report = Report.of(run.session, run.every_result())
    run.complaints = [f"the waiver {waiver} accepts nothing" for waiver in report.idle]
    if not report.tried:
        run.complaints.append("nothing was tried")
    folder = session.config.getoption("--kms-report")
    if folder:
        write_report(report, Path(folder))
    if run.complaints and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what no test is to blame for, and name the keys that were left behind."""
    run = config.stash.get(_RUN, None)
    if run is None:
        return
    for complaint in run.complaints:
        terminalreporter.write_line(f"kmscore: {complaint}", red=True)
    for subject in run.session.everybody:
        for key, reason in subject.leftovers.items():
            terminalreporter.write_line(f"kmscore: {subject.name} keeps key {key}: {reason}")
