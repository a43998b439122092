"""Animals that send calls again when they should not, or do not when they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from kmscore.errors import (
    KmsError,
    LimitExceeded,
    Throttled,
    Timeout,
    Unavailable,
)
from kmscore.spi import INTERFACES, Provider
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore_conformance.subject import Conditions

Call = Callable[..., Any]


class _Sender(Sound):
    """Stands before the line to the store, as the retries of an SDK do."""

    failed: dict[str, KmsError]

    @classmethod
    def open(cls, path: Path, conditions: Conditions) -> Provider:
        """The store at the end of the line, and this before it."""
        store = conditions.line.wrap(Sound(path, conditions.clock))
        sender = cls.__new__(cls)
        sender.failed = {}

        def sent(name: str) -> Call:
            call = getattr(store, name)

            def method(_self: object, *arguments: Any) -> Any:
                return sender.send(name, call, arguments)

            return method

        names = {
            name
            for kind in INTERFACES
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }
        body = {name: sent(name) for name in names}
        return cast("Provider", type("Sender", INTERFACES, body)())

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Send a call."""
        return call(*arguments)


@animal(
    "creation-repeated",
    "The creation of a key is sent again when its reply is lost.",
    "The Tencent SDK's own retryer, which repeats even what has succeeded.",
    caught_by="fault.create-once",
)
class CreationRepeated(_Sender):
    """Makes two."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Creations, until one answers."""
        if name != "create_key":
            return call(*arguments)
        try:
            return call(*arguments)
        except (Timeout, Unavailable, Throttled):
            return call(*arguments)


@animal(
    "rotation-repeated",
    "A rotation is sent again when its reply is lost.",
    "Retries by HTTP status, whatever the call.",
    caught_by="fault.rotate-once",
)
class RotationRepeated(_Sender):
    """Rotates twice."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Rotations, until one answers."""
        try:
            return call(*arguments)
        except Timeout:
            if name != "rotate_key":
                raise
            return call(*arguments)


@animal(
    "deletion-repeated",
    "Scheduling and cancelling a deletion are sent again when their reply is lost.",
    "A list of calls that are safe to repeat, made in a hurry.",
    caught_by="fault.unsafe-once",
)
class DeletionRepeated(_Sender):
    """Cancels what was cancelled."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Deletions, until one answers."""
        try:
            return call(*arguments)
        except Timeout:
            if name not in ("schedule_key_deletion", "cancel_key_deletion"):
                raise
            return call(*arguments)


@animal(
    "given-up-early",
    "Throttling is reported as a limit, and not tried again.",
    "Equality with one code, where the service has four.",
    caught_by="fault.throttled",
    also="fault.retry-after fault.create-once fault.unsafe-once fault.deadline audit.retries",
)
class GivenUpEarly(_Sender):
    """Takes it for final."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """LimitExceeded."""
        try:
            return call(*arguments)
        except Throttled as error:
            raise LimitExceeded("too many requests") from error


@animal(
    "drop-is-final",
    "A dropped connection is reported as a defect, and not tried again.",
    "SDKs that raise whatever their HTTP library raises.",
    caught_by="fault.unavailable",
    also="fault.create-once fault.unsafe-once fault.given-up audit.retries",
)
class DropIsFinal(_Sender):
    """Has no name for it."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """ConnectionError."""
        try:
            return call(*arguments)
        except Unavailable as error:
            raise ConnectionResetError from error


@animal(
    "wait-forgotten",
    "How long the service asks to wait is lost.",
    "Headers that nobody reads.",
    caught_by="fault.retry-after",
    also="fault.deadline",
)
class WaitForgotten(_Sender):
    """Does not pass it on."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Throttled, and no more."""
        try:
            return call(*arguments)
        except Throttled as error:
            raise Throttled("too many requests") from error


@animal(
    "retries-of-its-own",
    "The provider tries three times by itself, for each of the core's attempts.",
    "Retries in every layer.",
    caught_by="fault.given-up fault.throttled",
    also="fault.retry-after fault.create-once fault.rotate-once fault.unsafe-once fault.deadline",
)
class RetriesOfItsOwn(_Sender):
    """Three times five."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Up to three times."""
        for _ in range(2):
            try:
                return call(*arguments)
            except (Throttled, Unavailable, Timeout):
                continue
        return call(*arguments)


@animal(
    "final-errors-repeated",
    "Errors that will not go away are tried again.",
    "Retries of everything that is not a success.",
    caught_by="fault.final",
)
class FinalErrorsRepeated(_Sender):
    """Hopes."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Twice, unless the core will try again."""
        try:
            return call(*arguments)
        except KmsError as error:
            if error.retryable:
                raise
            return call(*arguments)


@animal(
    "failure-remembered",
    "A failure is cached, and answers for ever after.",
    "kroxylicious cached a failed data key; the Tencent SDK keeps the first error.",
    caught_by="fault.throttled fault.unavailable",
    also="fault.retry-after fault.lost-reply fault.signature fault.unsafe-once fault.rotate-once "
    "fault.create-once fault.import-replayed fault.given-up fault.deadline *",
)
class FailureRemembered(_Sender):
    """Never forgets."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """What it answered the last time."""
        if name in self.failed:
            raise self.failed[name]
        try:
            return call(*arguments)
        except (Throttled, Unavailable, Timeout) as error:
            self.failed[name] = error
            raise


@animal(
    "decryption-unattributed",
    "A decryption does not say which key it used.",
    "Answers without a key id.",
    caught_by="audit.key-of-decryption",
)
class DecryptionUnattributed(_Sender):
    """Keeps it to itself."""

    def send(self, name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        """Without the id."""
        result = call(*arguments)
        return result._replace(key_id="") if name == "decrypt" else result
