"""The suite in pytest: options, outcomes, reports, and what the plugin costs everybody else."""

import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

import kmscore


@pytest.fixture
def run_pytest(folder):
    """Runs pytest in the folder; gives the finished process."""

    def run(*arguments, suite=True):
        what = ["-W", "error", "-p", "no:cacheprovider"]
        what += ["--pyargs", "kmscore_conformance.suite"] if suite else []
        return subprocess.run(
            [sys.executable, "-m", "pytest", *what, *arguments],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "KMSCORE"))},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


QUICK = ("--kms-profile", "quick", "--kms-seed", "5")


def test_every_case_is_a_test(run_pytest, report):
    """Passed, skipped with a reason, and written to the report."""
    ran = run_pytest(
        *("--kms-provider", "one", "--kms-peer", "two", *QUICK, "--kms-report", "out", "-rs"),
        *("--kms-law", "sig.rsa-size", "--kms-law", "pair.envelope", "-v"),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "kmscore conformance: one, two; profile quick, seed 5" in ran.stdout
    assert "test_law[sig.rsa-size[one RSA_2048 RSA_PSS_SHA_256]] PASSED" in ran.stdout
    assert "test_law[pair.envelope[two>one AES_128]] PASSED" in ran.stdout
    assert "NOT_RUN: profile quick takes the smallest key" in ran.stdout
    assert report()["counts"]["PASS"] == 4


def test_the_report_has_four_files(run_pytest, folder):
    """JSON, JUnit, the page and the badge."""
    run_pytest("--kms-provider", "one", *QUICK, "--kms-report", "out", "--kms-law", "sym.hides")
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"report.json", "junit.xml", "report.html", "badge.svg"}
    root = ET.parse(folder / "out" / "junit.xml").getroot()  # noqa: S314
    assert [suite.get("name") for suite in root] == ["one"]


def test_what_pytest_leaves_out_is_not_run(run_pytest, report):
    """Deselected cases are in the report, and nothing claims that they were kept."""
    run_pytest(
        *("--kms-provider", "one", *QUICK, "--kms-report", "out", "-k", "ED25519"),
        *("--kms-law", "sig.deterministic", "--kms-law", "sig.long-message"),
    )
    data = report()
    assert data["counts"]["PASS"] == 2
    reasons = {each["detail"] for each in data["results"] if each["outcome"] == "NOT_RUN"}
    assert reasons == {"deselected, or pytest stopped before it"}


def test_a_list_of_the_tests_is_no_report(run_pytest, folder):
    """Nothing was tried, so nothing is written."""
    ran = run_pytest(
        *("--kms-provider", "one", *QUICK, "--kms-report", "out"),
        *("--kms-law", "sig.deterministic", "--collect-only"),
    )
    assert ran.returncode == 0
    assert list((folder / "out").iterdir()) == []


def test_a_waived_case_is_xfailed_and_an_idle_waiver_fails(run_pytest, folder):
    """The exit code is 1 although no test failed, and the waiver is named."""
    (folder / "w.toml").write_text(
        '[[future]]\nlaw = "sym.hides"\nprovider = "one"\nreason = "r"\nlink = "https://x/1"\n'
    )
    ran = run_pytest(
        *("--kms-provider", "one", *QUICK, "--kms-waivers", "w.toml", "--kms-law", "sym.hides")
    )
    assert ran.returncode == 1
    assert "the waiver sym.hides on one accepts nothing" in ran.stdout


def test_a_run_that_tried_nothing_fails(run_pytest):
    """Here for want of calls; a law that does not apply is no success either."""
    ran = run_pytest(
        *("--kms-provider", "one", *QUICK, "--kms-law", "sym.hides", "--kms-max-calls", "1")
    )
    assert ran.returncode == 1
    assert "kmscore: nothing was tried" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no provider is named: name one with --kms-provider"),
        (("--kms-provider", "three"), "has no provider 'three'"),
        (("--kms-provider", "one", "--kms-profile", "slow"), "no profile 'slow'"),
        (("--kms-provider", "one", "-n", "2"), "the suite runs in one process: leave out -n"),
        (("--kms-provider", "one", "--kms-config", "absent.toml"), "absent.toml cannot be read"),
    ],
)
def test_mistakes_are_told(run_pytest, arguments, told):
    """As a usage error, without a traceback."""
    ran = run_pytest(*arguments)
    expected = pytest.ExitCode.USAGE_ERROR if arguments else pytest.ExitCode.INTERRUPTED
    assert ran.returncode == expected
    assert told in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_keys_are_deleted_when_pytest_ends(run_pytest, folder):
    """Also when somebody stops at the first failure."""
    run_pytest("--kms-provider", "one", *QUICK, "--kms-law", "sym.hides")
    with kmscore.connect("one", config=folder / "kms.toml") as kms:
        assert {info.state.value for info in list(kms.keys())} == {"PENDING_DELETION"}


def test_other_peoples_tests_load_nothing_of_the_suite(run_pytest, folder):
    """The plugin is in every run of pytest; hypothesis and the core are not."""
    (folder / "test_theirs.py").write_text(
        "import sys\n\n\n"
        "def test_theirs():\n"
        "    ours = {n for n in sys.modules if n.startswith(('kmscore', 'cryptography'))}\n"
        "    assert ours == {'kmscore_conformance', 'kmscore_conformance.pytest_plugin'}\n"
    )
    ran = run_pytest("-p", "no:hypothesispytest", "test_theirs.py", suite=False)
    assert ran.returncode == 0, ran.stdout
