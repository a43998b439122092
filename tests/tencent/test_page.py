"""The page on Tencent Cloud KMS says what is so."""

import ast
import inspect
import re
from pathlib import Path

from kmscore_tencent import OPTIONS, _health, _keys, _provider, _vocabulary
from tencentcloud.kms.v20190118.kms_client import KmsClient

from kmscore.algorithms import TRAITS, KeySpec

PAGE = (Path(__file__).parents[2] / "docs/tencent.md").read_text()


def section(title):
    """The text below a heading."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_action_is_on_the_page():
    """And no other: those are the actions that the provider's code names."""
    shown = {
        name
        for row in re.findall(r"^\|[^|]*\|([^|]*)\|$", section("What is sent"), re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    named = set()
    for module in (_provider, _keys, _health):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named.add(node.value)
    actions = {name for name in named if hasattr(KmsClient, name)}
    assert shown == actions


def test_every_source_of_credentials_is_on_the_page():
    """Those that the option names."""
    (option,) = (option for option in OPTIONS if option.name == "credentials")
    named = set(re.findall(r"[a-z]+(?:-[a-z]+)?(?::NAME)?", option.help.partition("one of ")[2]))
    rows = re.findall(r"^\| (.*) \| .* \|$", section("Credentials"), re.MULTILINE)
    shown = {name for row in rows for name in re.findall(r'`"([^"]+)"`', row)}
    assert shown == named


def test_every_kind_of_key_is_on_the_page():
    """With the service's words for it."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|(.*)\|$", PAGE, re.MULTILINE)
    assert {row[:3] for row in rows} == {
        (spec.value, usage.value, native) for (spec, usage), native in _vocabulary.USAGES.items()
    }
    algorithms = {name for row in rows for name in re.findall(r"`(\w+)`", row[3])}
    assert algorithms == {*_vocabulary.ALGORITHMS.values(), *TRAITS[KeySpec.RSA_2048].encryption}
