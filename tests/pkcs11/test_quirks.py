"""What the provider knows of modules is still true of those that are installed."""

import json
import os
import subprocess
import sys

import pytest

from tests.pkcs11.quirks import QUESTIONS, RECORDED
from tests.pkcs11.tokens import Token


@pytest.fixture(scope="session")
def answers(token: Token) -> dict[str, str]:
    """What the module answers today."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.pkcs11.quirks"),
            *(str(token.module), token.init_args, token.label, token.pin),
        ],
        env={**os.environ, **token.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_module_answers_as_it_was_recorded(token, answers, question):
    """A new version that answers otherwise needs a look at the provider, and a new record."""
    recorded = RECORDED[token.kind]
    versions = f"recorded from version {recorded['version']}, this is {answers['version']}"
    assert answers[question] == recorded[question], versions
