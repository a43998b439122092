"""docs/server-coverage.md says what each action of the SDK is answered with, and no more."""

import inspect
from importlib import import_module
from pathlib import Path

from kmscore_server.actions import ACTIONS
from kmscore_server.errors import COMMON, DOCUMENTED, LOCAL

PAGE = Path(__file__).parents[3] / "docs/server-coverage.md"
client = import_module("tencentcloud.kms.v20190118.kms_client")


def wanted():
    """The table, from the methods of the SDK's client and from what the server has for them."""
    lines = ["| action | | codes beside the common ones |", "|---|---|---|"]
    methods = inspect.getmembers(client.KmsClient, inspect.isfunction)
    for action in sorted(name for name, _ in methods if name[0].isupper()):
        local = LOCAL.get(action, frozenset())
        codes = sorted(DOCUMENTED[action] | local)
        shown = ", ".join(f"`{code}`" + ("*" if code in local else "") for code in codes)
        served = "served" if ACTIONS[action].served else "**error**"
        lines.append(f"| `{action}` | {served} | {shown} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_every_action_of_the_sdk_with_its_codes():
    """Whoever changes one of them changes the page: the table belongs between the markers."""
    between = PAGE.read_text().split("<!-- actions -->\n")[1]
    assert between == wanted(), f"the table should be:\n\n{wanted()}"


def test_the_page_has_the_codes_that_any_action_may_answer():
    """In the sentence above the table."""
    text = PAGE.read_text()
    assert all(f"`{code}`" in text.split("<!-- actions -->\n")[0] for code in COMMON)


def test_codes_are_those_of_the_sdk():
    """All but the few that every product of the cloud has."""
    codes_of_sdk = vars(import_module("tencentcloud.kms.v20190118.errorcodes"))
    known = {code for name, code in codes_of_sdk.items() if name.isupper()}
    for codes in (DOCUMENTED, LOCAL):
        for action, found in codes.items():
            assert found <= known, action
            assert action in ACTIONS
