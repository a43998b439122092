"""Which resources of cloud products use a key: such a key is not taken away from them."""

from __future__ import annotations

from typing import Any, Final

from kmscore.algorithms import KeyState
from kmscore.errors import KeyStateError
from kmscore_server import errors
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import KEY, Field, text
from kmscore_server.service import Context, table
from kmscore_server.vocabulary import STATE_NAMES


def bind(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Note that a resource uses a key; noting it twice is no error."""
    held = api.keys.use(call, given["KeyId"])
    state = held.key.describe().state
    if state is KeyState.PENDING_DELETION:
        raise KeyStateError(f"the key is {STATE_NAMES[state]}", state=state)
    api.state.bind(held.row.key_id, given["ProductId"], given["ResourceId"])
    return {}


def unbind(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Forget that a resource uses a key."""
    held = api.keys.use(call, given["KeyId"])
    if not api.state.unbind(held.row.key_id, given["ProductId"], given["ResourceId"]):
        raise ApiError(errors.NOT_BOUND, "the key is not bound to that resource")
    return {}


_BINDING: Final = (
    KEY,
    Field("ProductId", text(low=1, high=128), required=True),
    Field("ResourceId", text(low=1, high=256), required=True),
)

ACTIONS: Final = table(
    ("BindCloudResource", _BINDING, bind),
    ("UnbindCloudResource", _BINDING, unbind),
)
