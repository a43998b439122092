"""The key registry: life cycle, versions, aliases and import jobs of keys that are kept here."""

from kmscore.registry.manager import RegisteredKeys
from kmscore.registry.material import Destroy, MakeMaterial, Material
from kmscore.registry.registry import Registry
from kmscore.registry.rules import Purpose
from kmscore.registry.sqlite import SqliteStore

__all__ = [
    "Destroy",
    "MakeMaterial",
    "Material",
    "Purpose",
    "RegisteredKeys",
    "Registry",
    "SqliteStore",
]
