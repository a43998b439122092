"""Start-up: whole processes, from start to exit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bench.harness import Row, at_most, difference, in_turns, median, process, ratio
from bench.peers import tccli


def rows(folder: Path) -> Iterator[Row]:
    """The command line, and the import alone, beside a bare interpreter."""
    kmscore = str(Path(sys.executable).with_name("kmscore"))
    (folder / "root.key").write_text("07" * 32)
    (folder / "root.key").chmod(0o600)
    (folder / "secret").write_text("a small secret")
    (folder / "kms.toml").write_text(
        '[providers.dev]\ntype = "software"\npath = "startup.db"\n'
        'root_key = { file = "root.key" }\n'
    )
    command = [kmscore, "--config", str(folder / "kms.toml")]
    process([*command, "keys", "create", "--alias", "bench"])()
    files = ["-i", str(folder / "secret"), "-o", str(folder / "secret.kms")]
    cases = {
        "bare": process([sys.executable, "-c", "pass"]),
        "version": process([kmscore, "--version"]),
        "encrypt": process([*command, "encrypt", "--key", "bench", *files]),
        "import": process([sys.executable, "-c", "import kmscore"]),
    }
    peer = tccli()
    if peer is not None:
        cases["tccli"] = process([peer, "--version"])
    taken = in_turns(cases, rounds=15)
    bare = taken["bare"]
    yield at_most("kmscore --version, over python -c pass", ratio(taken["version"], bare), 3, " x")
    yield at_most(
        "kmscore encrypt, over python -c pass",
        ratio(taken["encrypt"], bare),
        8,
        " x",
        f"{median(taken['encrypt']) * 1e3:.0f} ms",
    )
    if peer is not None:
        yield at_most(
            "kmscore encrypt, over tccli --version",
            ratio(taken["encrypt"], taken["tccli"]),
            0.33,
            " x",
        )
    yield at_most(
        "import kmscore, more than python -c pass",
        difference(taken["import"], bare) * 1e3,
        30,
        " ms",
    )
