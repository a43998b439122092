"""The page on tokens says what was measured, and its examples are right."""

import re
import tomllib
from pathlib import Path

import pytest

from kmscore.config import Config
from kmscore.discovery import Plugins
from tests.pkcs11.expectations import EXPECTED
from tests.pkcs11.quirks import RECORDED

PAGE = (Path(__file__).parents[2] / "docs/pkcs11.md").read_text()


def table():
    """Cells by row and column."""
    lines = re.findall(r"^\|(.*)\|$", PAGE, re.MULTILINE)
    head, _, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_table_is_what_was_measured(kind):
    """Line by line, for each token."""
    expected = EXPECTED[kind]
    signing = {name for names in expected.signing.values() for name in names}
    known = {
        "AES_128, AES_256": bool(expected.symmetric),
        "RSA_PKCS1_SHA_256, RSA_PSS_SHA_256": "RSA_PSS_SHA_256" in signing,
        "ECDSA_SHA_256, ECDSA_SHA_384": "ECDSA_SHA_384" in signing,
        "ED25519": "ED25519" in signing,
        "the token refuses disabled keys itself": RECORDED[kind]["use_of_a_disabled_key"]
        != "accepted",
    }
    for scheme in ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"):
        known[scheme] = scheme in expected.decryption
        known[f"import by {scheme}"] = scheme in expected.wrapping
    assert {name: row[kind] == "yes" for name, row in table().items()} == known


def test_the_examples_are_right():
    """As configurations of this provider."""
    examples = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    kind = Plugins().provider_type("pkcs11")
    for example in examples:
        config = Config.from_mapping(tomllib.loads(example))
        for entry in config.providers.values():
            assert config.setting(entry, kind).options["module"]
