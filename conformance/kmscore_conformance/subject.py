"""A provider under test: opened, metered, with keys that are made once and deleted at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.algorithms import TRAITS, KeySpec, KeyUsage, Origin, WrappingAlgorithm
from kmscore.capabilities import Capabilities, Feature, KeyKind
from kmscore.client import Key, Kms, connect
from kmscore.errors import KmsError
from kmscore.gate import Gate
from kmscore.retry import Retrier, RetryPolicy
from kmscore.spi import Provider
from kmscore_conformance.line import Budget, Line
from kmscore_conformance.outcome import BudgetSpent, Inapplicable
from kmscore_conformance.owner import deliver

if TYPE_CHECKING:
    from kmscore.config import Config, ProviderEntry

DAY: Final = 86400.0


class Clock:
    """The time that a provider is given: the computer's, moved."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead


class Conditions(NamedTuple):
    """What a provider is opened with.

    Attributes:
        clock: Its time.
        line: What stands before it. Whoever opens a provider that has something of its own
            between the gate and the store, such as retries, wraps the store with `Line.wrap`;
            otherwise the suite wraps what it gets.
    """

    clock: Callable[[], float]
    line: Line


Opener = Callable[[Conditions], Provider]


class Subject:
    """A provider under test.

    Args:
        name: Its name in results.
        opener: Opens it; called again where a law opens it once more.
        policy: How the core retries for it.
        source: The configuration that it comes from, and its entry, or None.
        identity: Distribution and version, for the report.

    Attributes:
        kms: The open provider.
        line: Counts the calls to it.
        leftovers: Keys that could not be scheduled for deletion, with the reason.
    """

    def __init__(
        self,
        name: str,
        opener: Opener,
        *,
        policy: RetryPolicy | None = None,
        source: tuple[Config, ProviderEntry] | None = None,
        identity: str = "",
    ) -> None:
        self.name = name
        self.identity = identity
        self.source = source
        self.budget = Budget()
        self.leftovers: dict[str, str] = {}
        self._opener = opener
        self._policy = policy or RetryPolicy()
        self._lines: list[Line] = []
        self._keys: dict[tuple[KeySpec, KeyUsage, Origin], Key] = {}
        self._materials: dict[KeySpec, bytes] = {}
        self._clock_moves: bool | None = None
        self.kms, self.line = self._open(Clock())

    @classmethod
    def of(cls, name: str, provider: Provider) -> Subject:
        """A provider that is open already; laws that open it once more do not apply."""
        given: list[Provider] = [provider]

        def opener(_: Conditions) -> Provider:
            if not given:
                raise Inapplicable("the provider was handed over open, and cannot be opened again")
            return given.pop()

        return cls(name, opener)

    @classmethod
    def configured(cls, config: Config, name: str) -> Subject:
        """A provider of a configuration.

        Raises:
            KmsError: It cannot be opened.
        """
        entry = config.entry(name)
        # The laws on audit bring their own log: the user's stays clean.
        quiet = config._replace(audit=None, plugins=())

        def opener(conditions: Conditions) -> Provider:
            return connect(name, config=quiet, clock=conditions.clock).provider

        return cls(
            name,
            opener,
            policy=config.retry,
            source=(quiet, entry),
            identity=_identity(entry.type),
        )

    @property
    def capabilities(self) -> Capabilities:
        """The provider's own table."""
        return self.kms.capabilities

    def kms_with(self, gate: Gate) -> Kms:
        """The same provider behind another gate."""
        return Kms(self.kms.provider, gate)

    # --- Keys ----------------------------------------------------------------------------------

    def key(self, kind: KeyKind, origin: Origin = Origin.GENERATED) -> Key:
        """The one key of that kind that laws share; it is enabled, and must be left so."""
        place = (kind.spec, kind.usage, origin)
        if place not in self._keys:
            key = self.fresh(kind, origin)
            if origin is Origin.EXTERNAL:
                deliver(key, self.material(kind.spec), self.wrapping)
            self._keys[place] = key
        return self._keys[place]

    def fresh(
        self, kind: KeyKind, origin: Origin = Origin.GENERATED, alias: str | None = None
    ) -> Key:
        """A key of one's own; external ones wait for material."""
        return self.kms.create_key(
            kind.spec,
            usage=kind.usage,
            origin=origin,
            alias=alias,
            description="kmscore conformance",
        )

    def material(self, spec: KeySpec) -> bytes:
        """The material of the shared external key of that spec; it begins and ends with zeros."""
        if spec not in self._materials:
            size = TRAITS[spec].bits // 8
            self._materials[spec] = b"\0" + os.urandom(size - 2) + b"\0"
        return self._materials[spec]

    @property
    def wrapping(self) -> WrappingAlgorithm:
        """The best wrapping algorithm of the table."""
        for algorithm in WrappingAlgorithm:
            if algorithm in self.capabilities.wrapping:
                return algorithm
        raise Inapplicable("the table has no wrapping algorithm")

    # --- Opening once more ---------------------------------------------------------------------

    @contextmanager
    def reopened(self, clock: Clock | None = None) -> Generator[Kms]:
        """The same store, opened once more; with a clock, at that time."""
        kms, _ = self._open(clock or Clock())
        with kms:
            yield kms

    @contextmanager
    def at_another_time(self) -> Generator[tuple[Kms, Clock]]:
        """The same store, with a clock that can be moved.

        Raises:
            Inapplicable: The provider takes its time from somewhere else.
        """
        if self._clock_moves is False:
            raise Inapplicable("the provider's clock cannot be set")
        clock = Clock()
        with self.reopened(clock) as kms:
            if self._clock_moves is None:
                self._clock_moves = self._follows(kms, clock)
                if not self._clock_moves:
                    raise Inapplicable("the provider's clock cannot be set")
            yield kms, clock

    def _follows(self, kms: Kms, clock: Clock) -> bool:
        kind = next((k for k in kms.capabilities.keys if Origin.GENERATED in k.origins), None)
        if kind is None:
            return False
        clock.ahead = 40 * DAY
        try:
            created = kms.create_key(kind.spec, usage=kind.usage).describe().created_at
        except KmsError:
            return False
        finally:
            clock.ahead = 0.0
        return created.timestamp() - time.time() > 39 * DAY

    # --- Beginning and end ---------------------------------------------------------------------

    def close(self) -> None:
        """Schedule all keys for deletion that were made, and close the provider."""
        self.budget.release()
        self.line.fail()
        try:
            if Feature.DELETION in self.capabilities.features:
                days = self.capabilities.limits.deletion_days[0]
                for key_id in dict.fromkeys(i for line in self._lines for i in line.created):
                    self._delete(key_id, days)
        finally:
            with suppress(Exception):  # contract.close-twice tells of it; the report must be made
                self.kms.close()

    def _delete(self, key_id: str, days: int) -> None:
        from kmscore.errors import KeyNotFound

        try:
            key = self.kms.key(key_id)
            state = key.describe().state
            if state == "PENDING_DELETION":
                return
            if state == "ARCHIVED":
                key.restore()
            if state == "PENDING_IMPORT":
                # Some providers schedule such keys, others keep an empty shell: both are fine.
                with suppress(KmsError):
                    key.schedule_deletion(days)
                return
            key.disable()
            key.schedule_deletion(days)
        except KeyNotFound:
            return
        except KmsError as error:
            self.leftovers[key_id] = f"{type(error).__name__}: {error.message}"
        except BudgetSpent as reason:
            self.leftovers[key_id] = str(reason)

    def _open(self, clock: Clock) -> tuple[Kms, Line]:
        line = Line(self.budget)
        provider = self._opener(Conditions(clock, line))
        if not line.is_used:
            provider = line.wrap(provider)
        self._lines.append(line)
        return Kms(provider, Gate(self.name, Retrier(self._policy), clock=clock)), line

    def __repr__(self) -> str:
        return f"<Subject {self.name}>"


def _identity(kind: str) -> str:
    from kmscore.discovery import installed

    for plugin in installed():
        if plugin.name == kind:
            return f"{plugin.distribution} {plugin.version}"
    return ""


def plain(value: Any) -> str:
    """A value as results show it: short, and without the addresses of objects."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
