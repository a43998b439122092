"""What the demonstration makes for who has no configuration, and that nothing of it stays."""

import os
import subprocess

import pytest

from kmscore.demo.throw_away import throw_away
from kmscore.errors import Unsupported


def test_a_token_lasts_as_long_as_the_run(tmp_path):
    """SoftHSM finds it by its variable, which is as it was afterwards."""
    before = os.environ.get("SOFTHSM2_CONF")
    with throw_away("hsm", tmp_path) as config:
        assert os.environ["SOFTHSM2_CONF"].startswith(str(tmp_path))
        table = config.entry("hsm").options
        shown = subprocess.run(
            ["softhsm2-util", "--show-slots"], capture_output=True, text=True, check=True
        ).stdout
        assert table["token"] in shown
    assert os.environ.get("SOFTHSM2_CONF") == before


def test_each_token_has_a_pin_of_its_own(tmp_path):
    """It is random, and given by reference."""
    pins = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        with throw_away("hsm", folder) as config:
            pin = config.entry("hsm").options["pin"]
            pins.add(pin())
            assert pin().decode() not in repr(config)
    assert len(pins) == 2


def test_without_softhsm_it_says_what_to_install(tmp_path, monkeypatch):
    """Before anything is made."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(Unsupported, match="apt-get install softhsm2"),
        throw_away("hsm", tmp_path / "none"),
    ):
        pass
    assert not (tmp_path / "none").exists()


def test_a_token_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
    """Told with the program's exit code."""
    program = tmp_path / "softhsm2-util"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="exit code 7"), throw_away("hsm", tmp_path):
        pass
