"""The tests of every token, on opencryptoki: in namespaces of their own, where it is the only one.

It is the rude one: it ignores what an import asks for, counts wrong PINs, and has no elliptic
curves, no AES-GCM and room for 2,048 objects.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.pkcs11 import tokens

ROOM = Path(__file__).parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set up opencryptoki")
def test_the_tests_of_every_token_pass_on_opencryptoki(monkeypatch):
    """Those that it cannot do are refused, by name."""
    if not tokens.can_isolate():
        pytest.skip("this machine lets nobody make namespaces, and its own keys are left alone")
    monkeypatch.setenv("KMSCORE_TEST_TOKEN", "opencryptoki")
    done = tokens.inside_opencryptoki(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOM)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
