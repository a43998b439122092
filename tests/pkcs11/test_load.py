"""Eight threads that do everything at once: for some seconds, by `make stress` for a minute.

python-pkcs11 as it comes crashes SoftHSM within a second of this.
"""

import json
import os
import sys

import pytest

from tests.pkcs11.tokens import Token

SECONDS = float(os.environ.get("KMSCORE_STRESS_SECONDS", "2"))
THREADS = 8


@pytest.fixture
def config(tmp_path, token, connect):
    """A configuration file for another process, on a token that was tried already."""
    connect(token).close()
    file = tmp_path / "kms.toml"
    file.write_text(token.toml(tmp_path / "keys.db"))
    return file


def test_eight_threads_do_everything(token: Token, config):
    """No crash, no wrong result, and no error."""
    done = token.start("-m", "tests.pkcs11.load", config, SECONDS, THREADS, timeout=SECONDS + 120)
    counts = json.loads(done)
    assert counts["sign"] > 0
    assert counts["decrypt"] > 0
    sys.stderr.write(f"{token.kind}: {sum(counts.values())} operations\n")
