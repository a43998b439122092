"""What a law is given: a case, a provider, perhaps a peer, and words to say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test

from kmscore.algorithms import EncryptionAlgorithm, Origin, SigningAlgorithm
from kmscore.errors import KmsError
from kmscore.gate import Gate
from kmscore.retry import Retrier, RetryPolicy, Wait
from kmscore_conformance.outcome import BudgetSpent, Inapplicable, Violation

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from kmscore.capabilities import KeyKind
    from kmscore.client import Key, Kms
    from kmscore_conformance.profile import Profile
    from kmscore_conformance.scope import Case
    from kmscore_conformance.session import Session
    from kmscore_conformance.subject import Subject
    from kmscore_conformance.witness import Witness

Value = TypeVar("Value")
Result = TypeVar("Result")


def require(condition: object, message: str) -> None:
    """Say what is wrong, unless it is not.

    Raises:
        Violation: It is.
    """
    if not condition:
        raise Violation(message)


def refusal(
    what: str, expected: type[KmsError], call: Callable[..., Any], *arguments: Any, **options: Any
) -> KmsError:
    """The error that a call must raise.

    Args:
        what: What is refused, for the message: ``a ciphertext of another key``.
        expected: The class of the error, itself and no other.
        call: The call.
        arguments: Its arguments.
        options: Its keyword arguments.

    Raises:
        Violation: It went well, or raised something else.
    """
    try:
        call(*arguments, **options)
    except expected as error:
        # It differs from call to call, and tells nothing.
        error.request_id = ""
        return error
    except KmsError as error:
        raise Violation(
            f"{what}: {type(error).__name__} instead of {expected.__name__}: {error.message}"
        ) from error
    raise Violation(f"{what} is accepted, and {expected.__name__} was to be raised")


def told(error: KmsError) -> str:
    """What an error says of its reason: without the key, and the request's own id."""
    return f"{type(error).__name__}: {error.message} {error.hint} {error.code}"


class Waits:
    """A clock and a sleep that nobody has to wait for."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.told: list[Wait] = []
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def retrier(self, policy: RetryPolicy) -> Retrier:
        """A retrier in this time, which always waits as long as it may."""
        return Retrier(
            policy,
            sleep=self.sleep,
            monotonic=self.monotonic,
            uniform=lambda _, high: high,
            on_wait=self.told.append,
        )


class Trial:
    """One case of one law.

    Attributes:
        session: The run.
        case: The row of the provider's table.
        provider: The provider under test; laws about kmscore itself have none.
        other: The second of an ordered pair of providers.
        witness: The other implementation, where the law has one.
    """

    def __init__(
        self,
        session: Session,
        case: Case,
        provider: Subject | None = None,
        other: Subject | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.session = session
        self.case = case
        self._subject = provider
        self._other = other
        self._witness = witness

    @property
    def profile(self) -> Profile:
        """How much is to be done."""
        return self.session.profile

    @property
    def subject(self) -> Subject:
        """The provider under test."""
        return _there(self._subject)

    @property
    def kms(self) -> Kms:
        """The provider under test, open."""
        return self.subject.kms

    @property
    def other(self) -> Subject:
        """The second of the pair."""
        return _there(self._other)

    @property
    def witness(self) -> Witness:
        """The other implementation."""
        return _there(self._witness)

    @property
    def kind(self) -> KeyKind:
        """The kind of key of this case."""
        return _there(self.case.kind)

    @property
    def signing(self) -> SigningAlgorithm:
        """The signature scheme of this case."""
        return SigningAlgorithm(_there(self.case.algorithm).value)

    @property
    def encryption(self) -> EncryptionAlgorithm:
        """The encryption scheme of this case."""
        return EncryptionAlgorithm(_there(self.case.algorithm).value)

    # --- Keys ----------------------------------------------------------------------------------

    @property
    def key(self) -> Key:
        """The shared key of this case."""
        return self.subject.key(self.kind)

    @property
    def imported(self) -> Key:
        """The shared key with material that is known: `material`."""
        return self.subject.key(self.kind, Origin.EXTERNAL)

    @property
    def material(self) -> bytes:
        """The material of `imported`."""
        return self.subject.material(self.kind.spec)

    def fresh(self, origin: Origin = Origin.GENERATED) -> Key:
        """A key of this case's kind that nobody else uses."""
        return self.subject.fresh(self.kind, origin)

    def key_with(self, algorithm: SigningAlgorithm) -> Key:
        """The first shared key that signs with a scheme.

        Raises:
            Inapplicable: There is none.
        """
        for kind in self.subject.capabilities.keys:
            if algorithm in kind.algorithms and Origin.GENERATED in kind.origins:
                return self.subject.key(kind)
        raise Inapplicable(f"the table has no key for {algorithm}")

    # --- Faults --------------------------------------------------------------------------------

    def behind_gate(self, waits: Waits, policy: RetryPolicy | None = None) -> Kms:
        """The provider behind a gate that retries without waiting."""
        gate = Gate(self.subject.name, waits.retrier(policy or RetryPolicy()))
        return self.subject.kms_with(gate)

    # --- Examples ------------------------------------------------------------------------------

    def each(
        self,
        strategy: SearchStrategy[Value],
        check: Callable[[Value], None],
        *,
        dear: bool = False,
    ) -> None:
        """Try a property on examples; the smallest counterexample is reported.

        Args:
            strategy: Makes examples.
            check: Tries one.
            dear: Whether a try costs milliseconds.
        """
        count = self.profile.few if dear else self.profile.examples
        found: list[Exception] = []

        @seed(self.session.seed)
        @settings(self._settings(), max_examples=count)
        @given(strategy)
        def example(value: Value) -> None:
            try:
                check(value)
            except Exception as error:
                found.append(error)
                raise

        try:
            example()
        except BudgetSpent:
            if found:  # it was tried once more, to make it smaller or to show it
                raise found[0] from None
            raise

    def machine(self, make: Callable[[], RuleBasedStateMachine]) -> None:
        """Run a state machine against the provider."""
        chosen = settings(
            self._settings(),
            max_examples=self.profile.machines,
            stateful_step_count=self.profile.steps,
        )
        test = get_state_machine_test(make, settings=chosen)  # type: ignore[arg-type]  # or a function
        seed(self.session.seed)(test)()

    def _settings(self) -> settings:
        phases = [Phase.explicit, Phase.generate]
        if self.profile.shrink:
            phases.append(Phase.shrink)
        return settings(
            phases=phases,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
        )


def _there(value: Result | None) -> Result:
    if value is None:
        raise LookupError("a law asks for what its scope does not give")
    return value
