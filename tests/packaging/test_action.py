"""The GitHub action: its steps are run here as a runner would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def action():
    """The action."""
    return yaml.safe_load((ROOT / "action.yml").read_text())


@pytest.fixture
def step(action, tmp_path):
    """Runs the step that tries the laws, in a folder with two software providers."""
    (tmp_path / "root.key").write_text("07" * 32)
    (tmp_path / "root.key").chmod(0o600)
    (tmp_path / "kms.toml").write_text(
        "".join(
            f'[providers.{name}]\ntype = "software"\npath = "{name}.db"\n'
            'root_key = { file = "root.key" }\n'
            for name in ("dev", "other")
        )
    )

    def run(**inputs):
        (found,) = (each for each in action["runs"]["steps"] if each["name"] == "Try every law")
        given = {name: spec.get("default", "") for name, spec in action["inputs"].items()} | inputs
        steering = ("KMSCORE", "PYTEST")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
        environment |= {name: given[name.lower()] for name in found["env"]}
        environment["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            # As GitHub runs `shell: bash`.
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_provider_is_tried_and_the_report_is_kept(step, tmp_path):
    """In the folder that the next step uploads, with a summary on the run's page."""
    done = step(provider="dev", profile="quick", peer="other")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "kms-conformance" / "report.html").exists()
    assert " pass" in (tmp_path / "summary.md").read_text()


def test_a_finding_fails_the_job(step, tmp_path):
    """So does a waiver that accepts nothing."""
    (tmp_path / "waivers.toml").write_text(
        '[[known-bug]]\nlaw = "sym.context"\nprovider = "dev"\nreason = "none"\n'
        'link = "https://example.com/1"\n'
    )
    assert step(provider="dev", profile="quick", waivers="waivers.toml").returncode == 1
    assert step(provider="nobody").returncode == 3


def test_inputs_reach_the_shell_as_data(action):
    """A pull request must not be able to write a command into one of them."""
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
