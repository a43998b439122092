"""The demonstration: a key service's jobs, done for real and checked by somebody else's code."""

from __future__ import annotations

from kmscore.demo.run import run_demo
from kmscore.demo.throw_away import MAKERS

__all__ = ["MAKERS", "run_demo"]
