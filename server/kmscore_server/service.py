"""The `Api` over a key store: finds the action, reads its parameters, and translates errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from kmscore.client import Kms
from kmscore.errors import KmsError
from kmscore_server import errors
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import Field, Parameters
from kmscore_server.keyring import Keyring
from kmscore_server.state import State
from kmscore_server.vocabulary import Edition

LOG: Final = logging.getLogger("kmscore.server")

DAY: Final = 86400


class Settings(NamedTuple):
    """How the API shall behave.

    Attributes:
        state: The file of what no key store keeps; made when it is not there.
        owner: The account (uin) that keys belong to which were not made through the API.
        edition: What symmetric keys are made of.
        regions: What ``GetRegions`` answers.
        rotation_interval: Seconds between two ``RotateKey`` of a key; 0 for no limit.
        key_limit: Most keys of an account, or None for no limit.
        data_key_limit: Most hosted data keys of an account, or None for no limit.
    """

    state: Path
    owner: int = 100000000001
    edition: Edition = Edition.FIPS
    regions: tuple[str, ...] = ("ap-guangzhou",)
    rotation_interval: int = DAY
    key_limit: int | None = None
    data_key_limit: int | None = None


class Context(NamedTuple):
    """What actions work with.

    Attributes:
        kms: The key store.
        keys: Its keys, as callers see them.
        state: What the API knows besides.
        settings: How it shall behave.
        clock: Seconds since the epoch.
    """

    kms: Kms
    keys: Keyring
    state: State
    settings: Settings
    clock: Callable[[], float]


Run = Callable[[Context, Call, dict[str, Any]], dict[str, Any]]
"""Carries an action out, given its decoded parameters; returns the fields of the response."""


class Action(NamedTuple):
    """One action of the API.

    Attributes:
        parameters: What it takes.
        run: What it does.
        served: False where it answers an error, whatever it is asked.
    """

    parameters: Parameters
    run: Run
    served: bool = True


def table(*rows: tuple[str, Sequence[Field], Run]) -> dict[str, Action]:
    """Actions by name, from the name, the parameters and the function of each."""
    return {
        name: Action(Parameters(fields, errors.value_code(name)), run) for name, fields, run in rows
    }


class KmsApi:
    """The Tencent KMS API over a key store; safe for threads, and for several processes.

    Args:
        kms: The key store. Who made it closes it.
        settings: How the API shall behave.
        clock: Seconds since the epoch; for tests.
    """

    def __init__(
        self, kms: Kms, settings: Settings, *, clock: Callable[[], float] = time.time
    ) -> None:
        from kmscore_server.actions import ACTIONS

        state = State(settings.state)
        keys = Keyring(kms, state, settings.owner)
        self.context = Context(kms, keys, state, settings, clock)
        self._actions: Mapping[str, Action] = ACTIONS

    def handle(self, call: Call) -> dict[str, Any]:
        """Carry a request out, whole or not at all; see `kmscore_server.api.Api`."""
        action = self._actions.get(call.action)
        if action is None:
            raise ApiError("InvalidAction", "there is no such action")
        given = action.parameters.read(call.parameters)
        try:
            return action.run(self.context, call, given)
        except KmsError as error:
            answer = errors.refusal(call.action, error)
            if answer.code == "InternalError":
                LOG.error("%s %s failed: %s", call.request_id, call.action, error)
            raise answer from error

    def close(self) -> None:
        """Close the state; the key store stays open."""
        self.context.state.close()
