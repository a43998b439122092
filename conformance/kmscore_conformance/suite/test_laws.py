"""Every law, on every case of every provider and pair that the options name."""

from __future__ import annotations

import pytest

from kmscore_conformance.outcome import Outcome
from kmscore_conformance.pytest_plugin import run_of
from kmscore_conformance.runner import Item, plan, run_item


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each item of the plan."""
    if not metafunc.config.getoption("--kms-provider"):
        raise pytest.Collector.CollectError("no provider is named: name one with --kms-provider")
    run = run_of(metafunc.config)
    run.items = list(plan(run.session, metafunc.config.getoption("--kms-law") or None))
    metafunc.parametrize("item", run.items, ids=[item.label for item in run.items])


def test_law(item: Item, request: pytest.FixtureRequest) -> None:
    """The law is kept."""
    run = run_of(request.config)
    result = run_item(run.session, item)
    run.results.append(result)
    if result.outcome is Outcome.WAIVED:
        pytest.xfail(f"{result.waiver}: {result.detail}")
    if result.outcome not in (Outcome.PASS, Outcome.FAIL):
        pytest.skip(f"{result.outcome}: {result.detail}")
    if result.outcome is Outcome.FAIL:
        pytest.fail(f"{result.outcome}: {item.law.title} {result.detail}", pytrace=False)
