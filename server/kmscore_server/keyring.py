"""The keys of the key store as the API has them: which id, whose, and what the caller may do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from kmscore import KeyInfo
from kmscore.client import Key, Kms
from kmscore.errors import CiphertextInvalid, InvalidRequest, KeyNotFound
from kmscore_server import blob, errors
from kmscore_server.api import ApiError, Call
from kmscore_server.state import State
from kmscore_server.tables import KeyRow
from kmscore_server.vocabulary import usage_name

FRESH_SECONDS: Final = 1.0
"""For how long a key's alias is believed, which permissions go by; what this server changes itself
holds at once. Whether a key may be used by its state, the key store says at every use."""

CLAIM_SECONDS: Final = 600
"""How long after it was announced a key may appear in the key store."""

_CACHED: Final = 10_000
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Held(NamedTuple):
    """A key, ready for use.

    Attributes:
        row: Its id in the API, its id in the key store, and whose it is.
        key: The key of the key store.
        usage: ``KeyUsage``.
        alias: As it was a moment ago; may be empty.
        head: What stands before the ciphertext in its blobs.
        generation: Of the state, when it was looked up.
        until: When it must be looked up again, in monotonic seconds.
    """

    row: KeyRow
    key: Key
    usage: str
    alias: str
    head: bytes
    generation: int
    until: float


class Listed(NamedTuple):
    """A key of a listing.

    Attributes:
        row: What the server keeps of it.
        info: What the key store knows of it now.
        usage: ``KeyUsage``.
    """

    row: KeyRow
    info: KeyInfo
    usage: str


class Keyring:
    """Finds keys for callers.

    Args:
        kms: The key store.
        state: What the API knows besides.
        owner: The account that keys belong to which were not made here.
        clock: Monotonic seconds.
    """

    def __init__(
        self, kms: Kms, state: State, owner: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kms = kms
        self._state = state
        self._owner = owner
        self._clock = clock
        self._held: dict[str, Held] = {}

    def use(self, call: Call, key_id: str) -> Held:
        """A key of the caller's account, for an action that the caller may carry out with it.

        Raises:
            ApiError: There is no such key, or the caller may not.
        """
        held = self._find(key_id)
        caller = call.caller
        if held is None or held.row.uin != caller.uin:
            # Whether there is such a key is for those to know who may use it.
            caller.require(call.action, key_id)
            raise self._missing(key_id)
        caller.require(call.action, key_id, held.alias)
        return held

    def use_all(self, call: Call, key_ids: list[str]) -> list[Held]:
        """Several keys, as in `use`."""
        return [self.use(call, key_id) for key_id in key_ids]

    def use_for_blob(self, call: Call, text: str) -> tuple[Held, bytes]:
        """The key of a ``CiphertextBlob``, and the ciphertext in it.

        Raises:
            CiphertextInvalid: It is no blob, or of no key of the caller's account.
            ApiError: The caller may not use the key.
        """
        key_id, ciphertext = blob.unseal(text)
        try:
            held = self.use(call, key_id)
        except ApiError as error:
            if error.code in (errors.NOT_FOUND, errors.INVALID_KEY_ID):
                raise CiphertextInvalid from error
            raise
        blob.require_made_by(held.row.provider_id, ciphertext)
        return held, ciphertext

    def add(self, key: Key, key_id: str, uin: int, alias: str, tags: dict[str, str]) -> None:
        """Keep whose a new key is."""
        self._state.add_key(KeyRow(key_id, key.key_id, uin), alias, tags)

    def listed(self, uin: int) -> list[Listed]:
        """All keys of an account that the API has words for, the oldest first."""
        rows = {row.provider_id: row for row in self._state.all_keys()}
        taken = {row.key_id for row in rows.values() if row.key_id != row.provider_id}
        found: list[Listed] = []
        for info in self._kms.keys():  # noqa: SIM118 - no mapping
            usage = usage_name(info.spec, info.usage)
            if usage is None or (info.key_id in taken and info.key_id not in rows):
                continue
            row = rows.get(info.key_id) or self._row_of_stranger(info)
            if row is not None and row.uin == uin:
                found.append(Listed(row, info, usage))
        found.sort(key=lambda one: one.info.created_at)
        return found

    def permit(self, call: Call, key_id: str) -> None:
        """Refuse what the caller may not do with a key, which may be gone by now.

        Raises:
            ApiError: The caller may not.
        """
        held = self._find(key_id)
        call.caller.require(call.action, key_id, held.alias if held else "")

    # --- Inside ------------------------------------------------------------------------------

    def _find(self, key_id: str) -> Held | None:
        held = self._held.get(key_id)
        if (
            held is None
            or held.until <= self._clock()
            or held.generation != self._state.generation()
        ):
            return self._look_up(key_id)
        return held

    def _look_up(self, key_id: str) -> Held | None:
        generation = self._state.generation()
        until = self._clock() + FRESH_SECONDS
        row = self._state.key(key_id)
        if row is None and self._state.key_of_provider(key_id) is not None:
            return None  # it has another id here
        try:
            key = self._kms.key(row.provider_id if row else key_id)
            info = key.describe()
        except (KeyNotFound, InvalidRequest):
            self._held.pop(key_id, None)
            return None
        # Key stores find keys by alias too; the API does not.
        if info.key_id != (row.provider_id if row else key_id):
            return None
        row = row or self._row_of_stranger(info)
        usage = usage_name(key.spec, key.usage)
        if row is None or usage is None:
            return None
        held = Held(row, key, usage, info.alias or "", blob.head(key_id), generation, until)
        if len(self._held) >= _CACHED:
            self._held.clear()
        self._held[key_id] = held
        return held

    def _row_of_stranger(self, info: KeyInfo) -> KeyRow | None:
        """Whose a key is that nothing is kept of: somebody may be making it at this moment."""
        made = info.created_at.timestamp()
        claims = self._state.claims(info.alias) if info.alias else []
        owners = [uin for uin, since in claims if since - 60 <= made <= since + CLAIM_SECONDS]
        if len(owners) > 1:
            return None
        return KeyRow(info.key_id, info.key_id, owners[0] if owners else self._owner)

    def _missing(self, key_id: str) -> ApiError:
        if _UUID.fullmatch(key_id):
            return ApiError(errors.NOT_FOUND, f"there is no key {key_id}")
        return ApiError(errors.INVALID_KEY_ID, "KeyId must be the id of a key")
