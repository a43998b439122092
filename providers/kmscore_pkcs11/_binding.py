"""python-pkcs11's extension module: most of what it has is in no type stub, and is Any here."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

BINDING: Final[Any] = import_module("pkcs11._pkcs11")
