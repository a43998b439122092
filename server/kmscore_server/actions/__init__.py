"""The actions of the API, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kmscore_server.actions import (
    asymmetric,
    bindings,
    data_keys,
    elsewhere,
    hosted,
    importing,
    keys,
    listing,
    rotation,
    status,
    symmetric,
)
from kmscore_server.service import Action

ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        name: action
        for room in (
            *(keys, listing, rotation, bindings, importing),
            *(symmetric, data_keys, hosted, asymmetric, status, elsewhere),
        )
        for name, action in room.ACTIONS.items()
    }
)
