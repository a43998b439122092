"""Throw-away keystores of the software provider, for measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kmscore
from kmscore import Kms

ROOT_KEY = bytes(range(32))


def open_store(folder: Path, name: str = "keystore", *, audit: bool = False) -> Kms:
    """Open a keystore in the folder; with its audit log on, if asked for."""
    data: dict[str, Any] = {
        "providers": {
            "bench": {
                "type": "software",
                "path": str(folder / f"{name}.db"),
                "root_key": lambda: ROOT_KEY,
            }
        }
    }
    if audit:
        data["audit"] = {"path": str(folder / f"{name}.log")}
    return kmscore.connect("bench", config=data)
