"""The provider keeps kmscore's laws, but for what the waivers say of moto."""

import subprocess
import sys
from pathlib import Path

WAIVERS = Path(__file__).parents[1] / "waivers.toml"


def test_every_law_is_kept(settings):
    """As `kmscore conformance run` sees it; a waiver that is no longer needed fails too.

    With one seed, since `life.model` comes upon what moto does not look at by chance.
    """
    command = [sys.executable, "-m", "kmscore", "--config", settings, "conformance", "run", "aws"]
    done = subprocess.run(
        [*map(str, command), "--profile", "quick", "--seed", "1", "--waivers", str(WAIVERS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
