"""JUnit's XML, which every CI shows: a suite for each provider, a case for each result."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from kmscore_conformance.outcome import Outcome, Result

if TYPE_CHECKING:
    from kmscore_conformance.report.record import Report


def junit(report: Report) -> bytes:
    """The report as JUnit XML, in UTF-8. Waived results are skipped cases with their reason."""
    root = ET.Element("testsuites", name="kmscore conformance")
    ordered = sorted(report.results, key=lambda each: each.provider)
    for provider, group in groupby(ordered, key=lambda each: each.provider):
        _suite(root, provider, list(group))
    if report.idle:
        suite = ET.SubElement(root, "testsuite", name="waivers", tests=str(len(report.idle)))
        suite.set("failures", str(len(report.idle)))
        for waiver in report.idle:
            case = ET.SubElement(suite, "testcase", classname="waivers", name=waiver)
            ET.SubElement(case, "failure", message="the waiver accepts nothing")
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _suite(root: ET.Element, provider: str, results: list[Result]) -> None:
    failures = sum(result.outcome is Outcome.FAIL for result in results)
    skipped = sum(result.outcome not in (Outcome.FAIL, Outcome.PASS) for result in results)
    suite = ET.SubElement(root, "testsuite", name=provider, tests=str(len(results)))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    suite.set("time", f"{sum(result.seconds for result in results):.3f}")
    for result in results:
        words = (result.case, f"with {result.peer}" if result.peer else "")
        name = " ".join(word for word in (result.law, *words) if word)
        case = ET.SubElement(suite, "testcase", classname=result.law, name=_printable(name))
        case.set("time", f"{result.seconds:.3f}")
        text = _printable(f"{result.outcome}: {result.waiver or result.detail}")
        if result.outcome is Outcome.FAIL:
            ET.SubElement(case, "failure", message=text, type=result.outcome.value)
        elif result.outcome is not Outcome.PASS:
            ET.SubElement(case, "skipped", message=text)


def _printable(text: str) -> str:
    """XML 1.0 has no place for control characters, and counterexamples are full of them."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
