"""The front of the server: what happens to a request, step by step, before and after the API.

In this order: method, authentication, version, action, region, parameters, faults, rate; then the
API, which knows fields, values and states. What fails first is what the client is told.

Requests that are answered in the same turn of the event loop share one write to the audit log, and
are answered after it: no answer leaves before its event is in the file. What changes keys is
recorded where it is done, at once.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.audit import AuditEvent
from kmscore.audit.errand import ERRAND, Errand
from kmscore.audit.event import ERROR, OK
from kmscore.errors import KmsError
from kmscore_server import answers
from kmscore_server.access_log import Entry
from kmscore_server.api import ApiError, Call
from kmscore_server.authentication import too_large
from kmscore_server.faults import FaultKind
from kmscore_server.message import Head, Reply, Request
from kmscore_server.metrics import NO_ACTION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future

    from kmscore.client import Kms
    from kmscore_server.access_log import AccessLog
    from kmscore_server.api import Api
    from kmscore_server.authentication import Authenticated, Authenticator
    from kmscore_server.connection import Connection
    from kmscore_server.faults import Fault, FaultScript
    from kmscore_server.message import BadMessage
    from kmscore_server.metrics import Metrics
    from kmscore_server.rates import RateLimiter

VERSION: Final = "2019-01-18"

_REGION: Final = re.compile(r"[a-z]{2}(-[a-z0-9]{1,16}){1,3}", re.ASCII)
_NO_HEAD: Final = Head("", "", "", {}, 0, keep_alive=False)
"""Of bytes that are no request."""


class Rules(NamedTuple):
    """What the front goes by.

    Attributes:
        actions: Every action that there is.
        region: The region of requests that name none.
        quick: Actions that are carried out at once on the thread of the event loop; all others
            are done by the executor.
        uses: Actions that change nothing, so that what they did may be recorded after they did it,
            as long as it is before they are answered.
    """

    actions: frozenset[str]
    region: str
    quick: frozenset[str]
    uses: frozenset[str]


class _Visit:
    """A request on its way."""

    __slots__ = ("action", "began", "done", "peer", "region", "request", "request_id", "secret_id")

    def __init__(
        self,
        request: Request,
        peer: Connection,
        done: Callable[[Reply | None], None] = lambda _: None,
    ) -> None:
        self.request = request
        self.peer = peer
        self.done = done
        self.began = time.perf_counter()
        self.request_id = answers.request_id()
        self.action = NO_ACTION
        self.region = ""
        self.secret_id = ""


class _Done(NamedTuple):
    """A request that was carried out or refused, and is answered once its events are recorded."""

    visit: _Visit
    outcome: str
    body: bytes
    lose: bool
    events: Sequence[AuditEvent]


class Front:
    """Answers requests.

    Args:
        api: Carries actions out.
        kms: The provider behind it, for health and the audit trail.
        authenticator: Knows who sends requests.
        rules: What it goes by.
        loop: The event loop.
        executor: Does what takes time.
        metrics: Counts.
        clock: Seconds since the epoch.
        faults: What shall go wrong.
        limiter: Says what is too much, or None.
        log: The access log, or None.
    """

    def __init__(
        self,
        api: Api,
        kms: Kms,
        authenticator: Authenticator,
        rules: Rules,
        *,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        metrics: Metrics,
        clock: Callable[[], float],
        faults: FaultScript,
        limiter: RateLimiter | None,
        log: AccessLog | None,
    ) -> None:
        self._api = api
        self._kms = kms
        self._authenticator = authenticator
        self._rules = rules
        self._loop = loop
        self._executor = executor
        self._metrics = metrics
        self._clock = clock
        self._faults = faults
        self._limiter = limiter
        self._log = log
        self._turn: list[_Done] = []
        self._done: deque[_Done] = deque()  # by the executor's threads, and not yet collected

    # --- What connections call ---------------------------------------------------------------

    def answer(
        self, request: Request, peer: Connection, done: Callable[[Reply | None], None]
    ) -> None:
        """Answer a request, at once or later."""
        method = request.head.method
        if method == "GET" and request.head.path in ("/healthz", "/metrics"):
            self._look(request.head.path, done)
            return
        if method == "HEAD":
            done(Reply(b"", 405))
            return
        visit = _Visit(request, peer, done)
        try:
            if method not in ("POST", "GET"):
                raise ApiError("UnsupportedProtocol", "Only GET and POST are supported.")
            asked = self._authenticator.authenticate(request)
            visit.secret_id = asked.credential.secret_id
            call = self._call(asked, visit)
        except ApiError as error:
            self._refuse(visit, error)
            return
        except Exception as error:  # noqa: BLE001 - a defect must not end the server
            self._refuse(visit, answers.defect(error))
            return
        faults = tuple(self._faults.strike(call.action)) if self._faults else ()
        delay = sum(fault.seconds for fault in faults)
        if delay:
            self._loop.call_later(delay, self._proceed, visit, call, faults)
        else:
            self._proceed(visit, call, faults)

    def refuse(self, error: BadMessage, peer: Connection) -> Reply:
        """The answer to bytes that are no request."""
        refusal = ApiError("InvalidRequest", f"Bad request: {error.message}.")
        visit = _Visit(Request(_NO_HEAD, b""), peer)
        return self._turn_away(visit, refusal)._replace(status=error.status)

    def refuse_size(self, head: Head, peer: Connection) -> Reply:
        """The answer to a request whose body is too large."""
        return self._turn_away(_Visit(Request(head, b""), peer), too_large())

    # --- Steps -------------------------------------------------------------------------------

    def _call(self, asked: Authenticated, visit: _Visit) -> Call:
        if asked.version != VERSION:
            raise answers.missing("Version", asked.version) or ApiError(
                "NoSuchVersion", f"There is no version {asked.version[:32]!r}; use {VERSION}."
            )
        if asked.action not in self._rules.actions:
            raise answers.missing("Action", asked.action) or ApiError(
                "InvalidAction", f"There is no action {asked.action[:64]!r}."
            )
        visit.action = asked.action
        if asked.region and not _REGION.fullmatch(asked.region):
            raise ApiError("UnsupportedRegion", f"There is no region {asked.region[:32]!r}.")
        visit.region = asked.region or self._rules.region
        return Call(
            asked.action, asked.parameters(), asked.credential, visit.region, visit.request_id
        )

    def _proceed(self, visit: _Visit, call: Call, faults: tuple[Fault, ...]) -> None:
        """Let happen what shall go wrong, then what is left."""
        fault = faults[-1] if faults else None
        kind = fault.kind if fault else None
        if fault is not None and kind is FaultKind.STATUS:
            self._end(visit, "other", Reply(b"", fault.status))
        elif kind is FaultKind.DROP:
            self._end(visit, "dropped", None)
        elif kind is FaultKind.THROTTLE or not self._admits(call):
            refusal = f"The rate of requests for {call.action} exceeds its limit."
            self._refuse(visit, ApiError("RequestLimitExceeded", refusal))
        elif fault is not None and kind is FaultKind.ERROR:
            self._refuse(visit, ApiError(fault.code, "A fault that was asked for."))
        else:
            self._work(visit, call, lose=kind is FaultKind.LOSE)

    def _admits(self, call: Call) -> bool:
        return self._limiter is None or self._limiter.admits(call.caller.uin, call.action)

    def _work(self, visit: _Visit, call: Call, *, lose: bool) -> None:
        if call.action in self._rules.quick:
            held: list[AuditEvent] = []
            self._hold(_Done(visit, *self._carry_out(call, held), lose, held))
        else:
            self._executor.submit(self._work_elsewhere, visit, call, lose)

    def _work_elsewhere(self, visit: _Visit, call: Call, lose: bool) -> None:
        """Carry a request out on a thread of the executor, and have it answered by the loop's."""
        held: list[AuditEvent] = []
        outcome = self._carry_out(call, held if call.action in self._rules.uses else None)
        self._done.append(_Done(visit, *outcome, lose, held))
        self._later(self._collect)

    def _collect(self) -> None:
        """Answer what the executor has done, all of it with one write to the audit log."""
        while self._done:
            self._turn.append(self._done.popleft())
        self._end_turn()

    def close(self) -> None:
        """Record what the executor did when nobody could be answered any more."""
        self._record([event for done in self._done for event in done.events])

    def _carry_out(self, call: Call, held: list[AuditEvent] | None = None) -> tuple[str, bytes]:
        """Have the API do it; returns outcome and body. Runs on any thread, and never raises.

        Args:
            call: The request.
            held: Takes its events, which are recorded before it is answered; without it they are
                recorded at once.
        """
        errand = Errand(call.caller.secret_id, call.request_id, held)
        token = ERRAND.set(errand)
        try:
            fields = self._api.handle(call)
            body = answers.result(call.request_id, fields)
            outcome = "ok"
        except ApiError as error:
            body = answers.refusal(call.request_id, error)
            outcome = error.code
        except Exception as error:  # noqa: BLE001 - a defect must not end the server
            refusal = answers.defect(error)
            body = answers.refusal(call.request_id, refusal)
            outcome = refusal.code
        finally:
            ERRAND.reset(token)
        if not errand.recorded and self._kms.is_audited:
            event = self._event(call.action, errand.caller, call.request_id, outcome)
            if held is not None:
                held.append(event)
            elif not self._record((event,)):
                return answers.unrecorded(call.request_id)
        return outcome, body

    def _hold(self, done: _Done) -> None:
        """Answer when all events of this turn of the event loop are recorded."""
        self._turn.append(done)
        if done.visit.peer.is_alone or not self._kms.is_audited:
            self._end_turn()  # there is nobody to share a write with, or no write
        elif len(self._turn) == 1:
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, []
        recorded = self._record([event for done in turn for event in done.events])
        for visit, outcome, body, lose, _ in turn:
            if not recorded:
                outcome, body = answers.unrecorded(visit.request_id)
            self._finish(visit, outcome, body, lose)

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call on the thread of the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(call, *arguments)

    def _finish(self, visit: _Visit, outcome: str, body: bytes, lose: bool) -> None:
        if lose:
            self._end(visit, "dropped", None)
        else:
            self._end(visit, outcome, Reply(body))

    def _refuse(self, visit: _Visit, error: ApiError) -> None:
        """Answer what has not come as far as the API."""
        event = self._event(visit.action, visit.secret_id, visit.request_id, error.code)
        body = answers.refusal(visit.request_id, error)
        self._hold(_Done(visit, error.code, body, False, (event,)))

    def _turn_away(self, visit: _Visit, error: ApiError) -> Reply:
        """The answer to what is no whole request, recorded at once."""
        outcome, body = error.code, answers.refusal(visit.request_id, error)
        if not self._record((self._event(NO_ACTION, "", visit.request_id, outcome),)):
            outcome, body = answers.unrecorded(visit.request_id)
        self._note(visit, outcome)
        return Reply(body)

    def _end(self, visit: _Visit, outcome: str, reply: Reply | None) -> None:
        self._note(visit, outcome)
        visit.done(reply)

    def _note(self, visit: _Visit, outcome: str) -> None:
        """Count a request, and write its line."""
        seconds = time.perf_counter() - visit.began
        self._metrics.count(visit.action, outcome, seconds)
        if self._log is not None:
            fields = visit.request.head.fields
            client = fields.get("x-tc-requestclient") or fields.get("user-agent", "")
            self._log.write(
                Entry(
                    round(self._clock(), 6),
                    visit.request_id,
                    visit.peer.address,
                    visit.secret_id,
                    visit.action,
                    visit.region,
                    client[:128],
                    outcome,
                    len(visit.request.body),
                    round(seconds * 1000, 3),
                )
            )

    def _event(self, action: str, caller: str, request_id: str, outcome: str) -> AuditEvent:
        """What the audit trail is told of a request that no provider has told it of."""
        return AuditEvent(
            time=self._clock(),
            provider=self._kms.name,
            operation=action,
            key="",
            outcome=OK if outcome == "ok" else ERROR,
            error="" if outcome == "ok" else outcome,
            request_id=request_id,
            caller=caller,
        )

    def _record(self, events: Sequence[AuditEvent]) -> bool:
        """Whether events are recorded, or may go unrecorded."""
        try:
            self._kms.record(*events)
        except KmsError:
            return False
        except Exception as error:  # noqa: BLE001 - nor may it end the others' turn
            answers.defect(error)
            return False
        return True

    # --- Health and metrics ------------------------------------------------------------------

    def _look(self, path: str, done: Callable[[Reply | None], None]) -> None:
        if path == "/metrics":
            text = self._metrics.text().encode()
            done(Reply(text, content_type="text/plain; version=0.0.4; charset=utf-8"))
            return

        def finished(future: Future[bool]) -> None:
            ok = future.exception() is None and future.result()
            body, status = (b'{"status":"ok"}', 200) if ok else (b'{"status":"failing"}', 503)
            self._later(done, Reply(body, status))

        self._executor.submit(lambda: self._kms.health().ok).add_done_callback(finished)
