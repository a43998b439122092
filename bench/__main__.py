"""Measures every speed goal and prints one table: ``make bench``."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import (
    envelope_files,
    envelope_inside,
    envelope_messages,
    keystore,
    messages,
    peers,
    pkcs11,
    server,
    sm2,
    startup,
    tencent,
)
from bench.harness import Row, show

PARTS = {
    "messages": messages,
    "envelope_messages": envelope_messages,
    "envelope_inside": envelope_inside,
    "envelope_files": envelope_files,
    "sm2": sm2,
    "startup": startup,
    "keystore": keystore,
    "pkcs11": pkcs11,
    "tencent": tencent,
    "server": server,
}


def main() -> int:
    """Measure the parts named on the command line, or all; 1 when a goal is missed."""
    import cryptography

    from kmscore.sm2 import load_engine

    print(
        f"Python {platform.python_version()}, cryptography {cryptography.__version__}, "
        f"SM2 by {load_engine().description}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} processors, {platform.machine()}\n"
    )
    show(iter([Row("measured", "goal", "result")]))
    show(iter([Row("-" * 58, "-" * 15, "-" * 26)]))
    missed = 0
    with TemporaryDirectory() as folder:
        for name in sys.argv[1:] or PARTS:
            missed += show(PARTS[name].rows(Path(folder)))
    if peers.missing:
        print(f"\nNot installed, and so left out: {', '.join(peers.missing)}")
    print(f"\n{missed} goals missed" if missed else "\nAll goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
