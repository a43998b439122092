"""Envelopes: data of any size under the provider's keys, and messages that others wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from kmscore import envelope
from kmscore.envelope.frames import FRAME_BYTES
from kmscore.envelope.recipients import Source
from kmscore.errors import (
    CiphertextInvalid,
    IntegrityError,
    InternalError,
    KmsError,
    Unsupported,
)
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Violation
from kmscore_conformance.scope import CORE, SYMMETRIC
from kmscore_conformance.strategies import contexts, flipped
from kmscore_conformance.trial import Trial, refusal, require
from kmscore_conformance.vectors import load

if TYPE_CHECKING:
    from kmscore.client import Key

CONTEXT = {"file": "report.csv", "表": "1"}


def _refuses(what: str, message: bytes, opener: Key) -> None:
    """Most changes are found by a tag; some name a key, a suite or a size that is not there."""
    try:
        envelope.decrypt(message, opener, context=CONTEXT)
    except KmsError as error:
        if isinstance(error, InternalError) or error.retryable:
            raise Violation(f"{what}: {type(error).__name__}: {error.message}") from error
        return
    raise Violation(f"{what} is accepted")


class Known(Source):
    """Knows the data key."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key

    def open(self, recipients: object, openers: object, context: object) -> bytearray:
        """The data key, whoever asks."""
        del recipients, openers, context
        return bytearray(self._data_key)


@law(
    "envelope.roundtrip",
    "Data of every size comes back, in its context and in no other.",
    Layer.ENVELOPE,
    SYMMETRIC,
)
def roundtrip(trial: Trial) -> None:
    """No byte, one, and around the ends of frames."""
    key = trial.key
    sizes = st.sampled_from([0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1])

    def check(example: tuple[int, dict[str, str]]) -> None:
        size, context = example
        plaintext = os.urandom(size)
        message = envelope.encrypt(plaintext, key, context=context)
        require(envelope.decrypt(message, key, context=context) == plaintext, "other data")
        require(envelope.decrypt(message, trial.kms, context=context) == plaintext, "other data")
        other = {**context, "another": "context"}
        refusal("another context", CiphertextInvalid, envelope.decrypt, message, key, context=other)

    trial.each(st.tuples(sizes, contexts()), check, dear=True)


@law(
    "envelope.data-key",
    "The data key of a message is under the provider's key, in the message's context.",
    Layer.ENVELOPE,
    SYMMETRIC,
)
def data_key(trial: Trial) -> None:
    """One data key for each message, and 32 bytes of it."""
    key = trial.key
    spent = trial.subject.line.attempts["generate_data_key"]
    messages = [envelope.encrypt(b"data", key, context=CONTEXT) for _ in range(2)]
    made = trial.subject.line.attempts["generate_data_key"] - spent
    require(made == 2, f"{made} data keys for 2 messages")
    require(messages[0] != messages[1], "two messages are the same")
    shown = envelope.inspect(messages[0])["recipients"]
    require([each["key"] for each in shown] == [key.key_id], "the message names another key")
    for message in messages:
        require(b"data" not in message, "the data can be read in the message")


@law(
    "envelope.tampering",
    "A message with a bit changed, cut or extended is refused, and nothing of it comes out.",
    Layer.ENVELOPE,
    SYMMETRIC,
)
def tampering(trial: Trial) -> None:
    """Header, recipients, frames and tags."""
    key = trial.key
    message = envelope.encrypt(b"d" * 200, key, context=CONTEXT)
    size = len(message)

    def check(damage: tuple[int, int]) -> None:
        _refuses(f"byte {damage[0]} of {size} changed", flipped(message, *damage), key)

    trial.each(st.tuples(st.integers(0, size - 1), st.integers(0, 7)), check)
    for cut in (1, 16, 17, size // 2, size - 1):
        _refuses(f"a message without {cut} bytes", message[:-cut], key)
    _refuses("a byte more", message + b"\0", key)
    _refuses("a message twice", message + message, key)


@law(
    "envelope.other-key",
    "A message does not open with another key.",
    Layer.ENVELOPE,
    SYMMETRIC,
)
def other_key(trial: Trial) -> None:
    """Not even when the message is made to name it."""
    other = trial.fresh()
    message = envelope.encrypt(b"data", trial.key, context=CONTEXT)
    old, new = trial.key.key_id.encode(), other.key_id.encode()
    renamed = message.replace(old, new) if len(old) == len(new) else message
    for each in (message, renamed):
        _refuses("a message for another key", each, other)


@law(
    "envelope.vectors",
    "Messages that the AWS Encryption SDK wrote are read.",
    Layer.ENVELOPE,
    CORE,
)
def vectors(trial: Trial) -> None:
    """The committing suite 0x0478, frozen."""
    del trial
    for row in load("envelopes.json")["valid"]:
        known = Known(bytes.fromhex(row["data_key"]))
        message = bytes.fromhex(row["message"])
        opened = envelope.decrypt(message, context=row["context"], cache=known)
        require(opened.hex() == row["plaintext"], f"{row['comment']}: other data came out")


@law(
    "envelope.invalid-vectors",
    "The same messages, altered in each of their parts, are IntegrityError.",
    Layer.ENVELOPE,
    CORE,
)
def invalid_vectors(trial: Trial) -> None:
    """Frames exchanged, left out and repeated; commitment, tags and lengths."""
    del trial
    for row in load("envelopes.json")["invalid"]:
        known = Known(bytes.fromhex(row["data_key"]))
        message = bytes.fromhex(row["message"])
        try:
            envelope.decrypt(message, context=row["context"], cache=known)
        except (IntegrityError, CiphertextInvalid, Unsupported):
            continue
        raise Violation(f"{row['comment']} is accepted")
