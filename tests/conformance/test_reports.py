"""Reports: what they say, and that they can be shown to anybody."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from kmscore_conformance.outcome import Outcome
from kmscore_conformance.report import Report, write_matrix, write_report
from kmscore_conformance.report.badge import badge
from kmscore_conformance.report.junit import junit
from kmscore_conformance.report.markdown import markdown
from kmscore_conformance.report.matrix import Matrix
from kmscore_conformance.report.page import page, verdict
from kmscore_conformance.runner import run_laws
from kmscore_conformance.session import Session
from kmscore_conformance.waivers import Waiver, Waivers

from kmscore.errors import ConfigError, InvalidRequest


def xml(text) -> Any:
    """What we wrote ourselves, parsed."""
    return ET.fromstring(text)  # noqa: S314


LINK = "https://example.com/tickets/3"


def says_yes(provider):
    """A provider whose verify is always True, and whose errors need care in HTML and XML."""
    provider.verify = lambda *_: True
    encrypt = provider.encrypt

    def fail(key_id, plaintext, context):
        if context:
            raise ValueError("<script>alert('&')</script>\x00\x1b[31m")
        return encrypt(key_id, plaintext, context)

    provider.encrypt = fail
    return provider


@pytest.fixture
def bad(subject):
    """The report of a provider with findings of every kind."""
    waivers = Waivers([Waiver("known-bug", "sig.other-key", "one", "<b>why</b>", LINK)])
    laws = ["sig.other-key", "sig.other-message", "sym.context-order", "fault.throttled"]
    with Session([subject(says_yes)], profile="quick", seed=3, waivers=waivers) as session:
        return Report.of(session, run_laws(session, laws))


@pytest.fixture
def good(subject):
    """The report of a sound provider."""
    with Session([subject()], profile="quick", seed=3) as session:
        return Report.of(session, run_laws(session, ["sig.other-key", "contract.random"]))


class Reader(HTMLParser):
    """Reads a page as a browser would, and keeps what it finds."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def read():
    """Reads a page."""

    def read(text):
        reader = Reader()
        reader.feed(text)
        return reader

    return read


def test_a_report_comes_back_as_it_was(bad, tmp_path):
    """JSON and back, with all results."""
    write_report(bad, tmp_path)
    again = Report.load(tmp_path / "report.json")
    assert again.counts == bad.counts
    assert [result.place for result in again.results] == [result.place for result in bad.results]
    assert again.providers == bad.providers
    assert not again.ok


def test_the_json_has_what_is_needed_to_repeat_the_run(bad):
    """Versions, profile, seed, date, timing; no name of a machine, and no path."""
    data = bad.as_dict()
    assert data["seed"] == 3
    assert data["profile"] == "quick"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data["began"])
    assert data["witnesses"]["openssl"]
    (provider,) = data["providers"]
    assert provider["role"] == "tested"
    assert provider["calls"] > 0
    import platform

    text = json.dumps(data)
    assert platform.node() not in text
    assert "/tmp" not in text  # noqa: S108 - where the keystore of this test is


def test_the_page_needs_nothing_from_elsewhere(bad, read):
    """No scripts, pictures, fonts or styles to fetch: it can be mailed and kept."""
    text = page([bad])
    reader = read(text)
    assert not {"script", "img", "link", "iframe", "object"} & set(reader.tags)
    assert set(reader.links) == {LINK}
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_shows_what_was_found(bad, read):
    """The finding with its law, the example that showed it, and the waiver with its link."""
    text = " ".join(read(page([bad])).text)
    assert "2 laws not kept: one 2" in text
    assert "sig.other-message" in text
    assert "A signature is wrong for every other message." in text
    assert "the provider finds it right for b'pay 900 to bob'" in text
    assert "known-bug: <b>why</b> (" in text


def test_nothing_that_a_provider_says_becomes_markup(bad):
    """Text of errors and of waivers is text."""
    text = page([bad])
    assert "<b>why" not in text
    assert "&lt;b&gt;why&lt;/b&gt;" in text


def test_the_page_tells_outcomes_without_colours(bad, read):
    """By signs, and by words for who cannot see them."""
    text = page([bad])
    for word in ("pass", "fail", "waived"):
        assert f'aria-label="{word}"' in text
    for sign in "✓✗~":
        assert sign in text


def test_the_page_of_a_sound_provider_says_so(good, read):
    """In its first line."""
    text = " ".join(read(page([good])).text)
    assert "✓ one keeps every law that was tried; left out: " in text
    assert re.search(r"2 of \d+ laws were tried, in \d cases", text)
    assert "Findings" not in text


def test_junit_is_xml_whatever_is_in_it(bad):
    """Control characters are replaced; failures and skips are counted."""
    (suite,) = xml(junit(bad)).findall("testsuite")
    assert suite.get("tests") == str(len(bad.results))
    assert int(suite.get("failures")) == len(suite.findall(".//failure"))
    assert int(suite.get("skipped")) == len(suite.findall(".//skipped"))
    assert "time" in suite.attrib
    assert "hostname" not in suite.attrib
    messages = " ".join(each.get("message") for each in suite.iter("failure"))
    assert "the provider finds it right" in messages


def test_an_idle_waiver_fails_in_junit(subject):
    """CI shows it as a failure of its own."""
    waivers = Waivers([Waiver("future", "contract.random", "one", "why", LINK)])
    with Session([subject()], profile="quick", waivers=waivers) as session:
        report = Report.of(session, run_laws(session, ["contract.random"]))
    failure = xml(junit(report)).find("testsuite[@name='waivers']/testcase/failure")
    assert failure is not None


def test_the_badge_says_it_in_words(good, bad):
    """Green or red, and readable."""
    assert "<title>kmscore: 2 laws kept, " in badge(good)
    assert " left out</title>" in badge(good)
    assert "<title>kmscore: 2 laws broken</title>" in badge(bad)
    for each in (good, bad):
        xml(badge(each))


def test_in_a_matrix_the_later_result_holds(good, bad, tmp_path):
    """A provider that was repaired is shown as it is now."""
    early = Report(
        {**bad.facts, "began": "2020-01-01T00:00:00Z"},
        *[getattr(bad, n) for n in bad.__slots__[1:]],
    )
    write_matrix([good, early], tmp_path / "m.md")
    text = (tmp_path / "m.md").read_text()
    assert "sig.other-key" not in text
    assert "sig.other-message" in text


def test_a_page_on_what_was_repaired_says_so(good, bad):
    """The earlier failure is nobody's verdict any more; no waiver is blamed for it either."""
    repaired = replace(good, results=[replace(r, outcome=Outcome.PASS) for r in bad.results])
    early = replace(bad, facts={**bad.facts, "began": "2020-01-01T00:00:00Z"})
    merged = Matrix([early, repaired])
    assert merged.ok
    assert verdict(merged).startswith("one keeps every law that was tried")


def test_what_was_left_out_later_stands_as_it_was_tried(good):
    """A short run after a long one takes nothing away."""
    later = replace(
        good,
        facts={**good.facts, "began": "2099-01-01T00:00:00Z"},
        results=[replace(result, outcome=Outcome.NOT_RUN) for result in good.results],
    )
    assert Matrix([good, later]).results == tuple(good.results)
    assert verdict(Matrix([later])) == "Nothing was tried"


def test_a_run_that_tried_nothing_does_not_pass(good):
    """A law that does not apply, or a budget that is too small, is no proof of anything."""
    idle = [replace(result, outcome=Outcome.NOT_RUN) for result in good.results]
    assert good.ok
    assert not replace(good, results=idle).ok
    assert not Matrix([replace(good, results=idle)]).ok


def test_only_a_run_of_every_law_keeps_every_law_that_applies(good):
    """Laws that do not apply are none that were left out; waived ones are told."""
    sample = good.results[0]
    rest = [
        replace(sample, law=law["id"], outcome=Outcome.NOT_APPLICABLE)
        for law in good.laws
        if law["id"] not in {result.law for result in good.results}
    ]
    whole = replace(good, results=[*good.results, *rest])
    assert verdict(Matrix([whole])) == "one keeps every law that applies"
    assert "<title>kmscore: 2 laws kept</title>" in badge(whole)
    rest[0] = replace(rest[0], outcome=Outcome.WAIVED, waiver=f"future: why ({LINK})")
    waived = replace(good, results=[*good.results, *rest])
    assert verdict(Matrix([waived])) == "one keeps every law that applies; waived: 1"
    rest[0] = replace(rest[0], outcome=Outcome.NOT_RUN, waiver="")
    short = replace(good, results=[*good.results, *rest])
    assert verdict(Matrix([short])) == "one keeps every law that was tried; left out: 1"


def test_two_providers_of_one_name_are_not_merged(good):
    """Their results would be taken for one provider's."""
    other = replace(good, providers=[{**good.providers[0], "type": "pkcs11"}])
    with pytest.raises(InvalidRequest, match="'one' is software in one report, and pkcs11"):
        Matrix([good, other])


def test_no_word_of_a_report_becomes_markup(good):
    """Reports that are merged come from others."""
    evil = "<img src=x>|"
    table = good.providers[0]["capabilities"]
    row = {**table["keys"][0], "spec": evil, "usage": evil, "algorithms": [evil]}
    provider = {
        **good.providers[0],
        "name": evil,
        "distribution": evil,
        "calls": evil,
        "capabilities": {**table, "keys": [row], "features": [evil]},
    }
    report = replace(
        good,
        facts={**good.facts, "seed": evil, "seconds": evil, "system": evil},
        providers=[provider],
        results=[replace(result, provider=evil, case=evil) for result in good.results],
    )
    assert "<img" not in page([report])
    text = markdown([report])
    assert "<img" not in text
    assert evil not in text


def test_a_report_of_another_format_is_refused(good, tmp_path):
    """By a version that does not know it."""
    data = good.as_dict() | {"format": 2}
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="another format: 2"):
        Report.load(tmp_path / "report.json")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("witnesses"),
        lambda data: data.update(began="yesterday"),
        lambda data: data["laws"].clear(),
        lambda data: data["results"][0].update(law="no.such"),
        lambda data: data["results"][0].update(detail=7),
        lambda data: data["results"][0].update(outcome="FINE"),
        lambda data: data["providers"].clear(),
        lambda data: data["providers"][0].pop("type"),
        lambda data: data["providers"][0]["capabilities"].pop("keys"),
    ],
    ids=("witnesses", "date", "laws", "law", "detail", "outcome", "nobody", "type", "table"),
)
def test_a_report_that_is_not_whole_is_refused(good, tmp_path, spoil):
    """Instead of a page with holes, or a traceback."""
    data = json.loads(json.dumps(good.as_dict()))
    spoil(data)
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="is no report of the conformance suite"):
        Report.load(tmp_path / "report.json")
