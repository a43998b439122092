"""Waivers: a finding is accepted with a reason and a link, and a waiver that is idle fails."""

from dataclasses import replace

import pytest
from kmscore_conformance.outcome import Outcome, Result
from kmscore_conformance.report import Report
from kmscore_conformance.runner import run_laws
from kmscore_conformance.session import Session
from kmscore_conformance.waivers import Waivers

from kmscore.errors import ConfigError

GOOD = """
[[known-bug]]
law = "sig.other-message"
provider = "one"
case = "EC_P256 ECDSA_SHA_256"
reason = "The token says yes to everything"
link = "https://example.com/tickets/7"
"""


@pytest.fixture
def load(tmp_path):
    """Reads a waivers file with that content."""

    def load(text):
        (tmp_path / "waivers.toml").write_text(text)
        return Waivers.load(tmp_path / "waivers.toml")

    return load


def says_yes(provider):
    """A provider whose verify is always True."""
    provider.verify = lambda *_: True
    return provider


@pytest.fixture
def run(subject):
    """Tries a law on a provider, with waivers; gives the report."""

    def run(spoil, waivers, *ids, profile="quick"):
        with Session([subject(spoil)], profile=profile, seed=1, waivers=waivers) as session:
            return Report.of(session, run_laws(session, ids))

    return run


def test_a_waived_finding_says_why(load, run):
    """The one case is WAIVED, with list, reason and link; the others fail."""
    report = run(says_yes, load(GOOD), "sig.other-message")
    by_case = {result.case: result for result in report.results}
    waived = by_case["EC_P256 ECDSA_SHA_256"]
    assert waived.outcome is Outcome.WAIVED
    assert waived.waiver == (
        "known-bug: The token says yes to everything (https://example.com/tickets/7)"
    )
    assert waived.detail == "the provider finds it right for b'pay 900 to bob'"
    assert by_case["ED25519"].outcome is Outcome.FAIL
    assert not report.ok


def test_without_a_case_all_cases_are_waived(load, run):
    """Then the run passes."""
    text = GOOD.replace('case = "EC_P256 ECDSA_SHA_256"\n', "")
    report = run(says_yes, load(text), "sig.other-message")
    assert report.counts[Outcome.FAIL] == 0
    assert report.counts[Outcome.WAIVED] == 5
    assert report.ok


def test_a_waiver_for_what_is_repaired_fails_the_run(load, run):
    """All results pass, and the run does not."""
    report = run(lambda provider: provider, load(GOOD), "sig.other-message")
    assert report.counts[Outcome.PASS] == 5
    assert report.idle == ("sig.other-message on one EC_P256 ECDSA_SHA_256",)
    assert not report.ok


def test_a_waiver_for_a_case_that_does_not_exist_fails_the_run(load, run):
    """A misspelt case waives nothing, and somebody believes that it does."""
    report = run(says_yes, load(GOOD.replace("EC_P256 E", "P256 E")), "sig.other-message")
    assert report.idle == ("sig.other-message on one P256 ECDSA_SHA_256",)


def test_a_waiver_whose_case_was_not_run_is_not_judged(load, run):
    """The profile left it out: nobody knows."""
    text = GOOD.replace("EC_P256 ECDSA_SHA_256", "RSA_4096 RSA_PSS_SHA_256")
    assert run(lambda p: p, load(text), "sig.other-message").idle == ()


def test_a_waiver_is_not_judged_where_the_rest_does_not_apply(load):
    """As when the calls are spent before a law, and one of its witnesses lacks the algorithm."""
    first = Result("sig.other-message", "EC_P256 ECDSA_SHA_256", "one", "", Outcome.NOT_RUN)
    other = replace(first, peer="gmssl", outcome=Outcome.NOT_APPLICABLE)
    waivers = load(GOOD)
    assert waivers.idle([first, other]) == ()
    assert waivers.idle([other]) == waivers.all


def test_a_waiver_for_a_peer_that_was_not_there_is_not_judged(load):
    """One file serves runs with different peers; a peer that nobody knows is refused."""
    waivers = load(GOOD + 'peer = "two"\n')
    first = Result("sig.other-message", "EC_P256 ECDSA_SHA_256", "one", "three", Outcome.PASS)
    assert waivers.idle([first]) == ()
    assert waivers.idle([first, replace(first, peer="two")]) == waivers.all
    waivers.require_providers(["one", "two"])
    load(GOOD + 'peer = "openssl"\n').require_providers(["one"])
    with pytest.raises(ConfigError, match="names peer 'two', which is not configured"):
        waivers.require_providers(["one"])


def test_a_waiver_of_a_law_that_was_not_tried_is_not_judged(load, run):
    """As when somebody looks at one law alone."""
    assert run(lambda provider: provider, load(GOOD), "sig.other-key").idle == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("known-bug", "known_bug"), "unknown list 'known_bug'"),
        (('law = "sig.other-message"', 'law = "sig.other"'), "no law 'sig.other'"),
        (('law = "sig.other-message"\n', ""), "lacks 'law'"),
        (("https://example.com/tickets/7", "see Bob"), "is no link"),
        (("The token says yes to everything", " "), "'reason' of a waiver is empty"),
        (('link = "https', 'url = "https'), "unknown key 'url'"),
        (("[[known-bug]]", "[known-bug]"), "is no list"),
        (('reason = "The', "reason = 7 #"), "'reason' of a waiver is empty, or no string"),
        (("[[known-bug]]", "known-bug = [1]\n[[future]]"), "is no table"),
        (("[[known-bug]]", "[[known-bug"), "are not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_told(load, change, told):
    """Strict: a waiver that is not understood waives nothing."""
    with pytest.raises(ConfigError, match=told):
        load(GOOD.replace(*change))


def test_a_missing_file_is_told(tmp_path):
    """By its name."""
    with pytest.raises(ConfigError, match="cannot be read"):
        Waivers.load(tmp_path / "absent.toml")


def test_a_waiver_for_a_provider_that_is_not_configured_is_refused(load, config):
    """Its provider was renamed, perhaps."""
    waivers = load(GOOD.replace('"one"', '"three"'))
    with pytest.raises(ConfigError, match="provider 'three', which is not configured"):
        Session.configured(config, ["one"], waivers=waivers)
