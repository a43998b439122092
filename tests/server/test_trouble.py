"""Trouble that is asked for: faults, rate limits; and clients that are slow, or too many."""

import asyncio
import contextlib
import copy
import os
import socket
import threading

import pytest
from kmscore_server.faults import FaultKind, FaultScript
from kmscore_server.hall import Timeouts
from kmscore_server.listener import Listener
from kmscore_server.message import Reply
from kmscore_server.metrics import Metrics
from kmscore_server.rates import DOCUMENTED, RateLimiter, parse_rates
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

from kmscore.errors import ConfigError

DRAW = {"NumberOfBytes": 8}


# --- Faults ----------------------------------------------------------------------------------


def test_faults_happen_as_scripted(serve):
    """Each kind, for the actions that it names; then everything is as usual."""
    running = serve(
        *("--fault", "CreateKey: lose once"),
        *("--fault", "CreateKey: drop once"),
        *("--fault", "Encrypt, Decrypt: throttle 2 times"),
        *("--fault", "ListKeys: status 503 once"),
        *("--fault", "*: latency 10ms 50%"),
        *("--fault", "GenerateRandom: InternalError once"),
        *("--fault", "GenerateRandom: ResourceUnavailable.CmkDisabled once"),
    )
    with pytest.raises((EOFError, ConnectionError)):
        running.call("CreateKey", {"Alias": "lost"})
    with pytest.raises((EOFError, ConnectionError)):
        running.call("CreateKey", {"Alias": "dropped"})
    found = running.call("ListKeyDetail").response["KeyMetadatas"]
    assert [key["Alias"] for key in found] == ["lost"]  # its answer was lost, it was not
    codes = [running.call("Encrypt").code, running.call("Decrypt").code]
    assert codes == ["RequestLimitExceeded"] * 2
    assert running.call("Encrypt").code != "RequestLimitExceeded"
    assert running.call("ListKeys").status == 503
    assert running.call("ListKeys").code == "ok"
    codes = [running.call("GenerateRandom", DRAW).code for _ in range(3)]
    assert codes == ["InternalError", "ResourceUnavailable.CmkDisabled", "ok"]
    assert 'outcome="dropped"} 2' in running.get("/metrics").body.decode()


def test_only_authenticated_requests_are_struck(serve):
    """A stranger learns nothing, and uses nothing up."""
    running = serve("--fault", "GenerateRandom: throttle once")
    assert running.call("GenerateRandom", DRAW, secret="no").code == "AuthFailure.SignatureFailure"
    assert running.call("GenerateRandom", DRAW).code == "RequestLimitExceeded"
    assert running.call("GenerateRandom", DRAW).code == "ok"


def test_the_sdk_meets_faults_as_it_meets_the_cloud(serve):
    """A lost connection and a status are its own errors, a code is the service's."""
    running = serve(
        *("--fault", "GenerateRandom: drop once"),
        *("--fault", "GenerateRandom: status 500 once"),
        *("--fault", "GenerateRandom: throttle once"),
    )
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=running.host))
    sdk = kms_client.KmsClient(Credential("AKIDtest", "topsecretkey"), "ap-guangzhou", profile)
    request = models.GenerateRandomRequest()
    request.NumberOfBytes = 8
    codes = []
    for _ in range(3):
        with pytest.raises(TencentCloudSDKException) as caught:
            sdk.GenerateRandom(request)
        codes.append(caught.value.code)
    assert codes == ["ClientNetworkError", "ServerNetworkError", "RequestLimitExceeded"]
    assert sdk.GenerateRandom(request).Plaintext


def strikes(texts, seed, count=400):
    """What a script does to many requests of one action."""
    script = FaultScript(texts, seed)
    return [[fault.kind for fault in script.strike("Encrypt")] for _ in range(count)]


def test_the_same_seed_makes_the_same_faults():
    """And another one makes others."""
    texts = ["Encrypt: throttle 30%", "*: drop 5%"]
    assert strikes(texts, 7) == strikes(texts, 7)
    assert strikes(texts, 7) != strikes(texts, 8)


def test_faults_happen_as_often_as_they_say():
    """30 % of 400, within what chance allows; and the first that strikes is what happens."""
    found = strikes(["Encrypt: throttle 30%", "*: latency 1ms", "*: drop 50%"], 1)
    throttled = [each for each in found if each == [FaultKind.THROTTLE]]
    assert 80 < len(throttled) < 160
    rest = [each for each in found if each != [FaultKind.THROTTLE]]
    assert all(each[0] is FaultKind.LATENCY for each in rest)
    assert 80 < sum(each == [FaultKind.LATENCY, FaultKind.DROP] for each in rest) < 200


@pytest.mark.parametrize(
    "text",
    [
        *("", "Encrypt", "Encrypt:", "Encrypt: explode", "Encrypt: throttle 101%"),
        *("Encrypt: latency", "Encrypt: latency 5", "Encrypt: status 200", "E n: drop"),
        *("Encrypt: drop -1%", "Encrypt: drop often", "*, : drop"),
        *("Encrypt: Throttle 30%", "Encrypt: Drop"),
    ],
)
def test_a_fault_that_is_not_understood_is_refused(text):
    """With examples of what is."""
    with pytest.raises(ConfigError, match="is no fault"):
        FaultScript([text])


# --- Rate limits -----------------------------------------------------------------------------


def limits(*texts, monotonic=lambda: 0.0):
    """Rate limits for the accounts 1 and 2."""
    limiter = RateLimiter(parse_rates(texts), ["Decrypt", "Encrypt"], monotonic)
    limiter.expect([1, 2])
    return limiter


def test_an_account_has_so_many_requests_in_a_second():
    """By action, and apart from other accounts; the bucket fills again."""
    now = [0.0]
    limiter = limits("Encrypt: 3", "*: 1", monotonic=lambda: now[0])
    assert [limiter.admits(1, "Encrypt") for _ in range(5)] == [True] * 3 + [False] * 2
    assert limiter.admits(2, "Encrypt")
    assert [limiter.admits(1, "Decrypt"), limiter.admits(1, "Decrypt")] == [True, False]
    now[0] = 0.34
    assert [limiter.admits(1, "Encrypt"), limiter.admits(1, "Encrypt")] == [True, False]
    now[0] = 100.0
    assert [limiter.admits(1, "Encrypt") for _ in range(4)] == [True] * 3 + [False]


def test_what_has_no_limit_is_not_limited():
    """Neither by default, nor where only others are named."""
    limiter = limits("Encrypt: 1")
    assert all(limiter.admits(1, "Decrypt") for _ in range(1000))


def test_a_limit_is_reached_exactly():
    """However many fractions of seconds have been added up."""
    for rate in (3, 7, 300, 999):
        limiter = limits(f"Encrypt: {rate}", monotonic=lambda: 1e6 / 3)
        assert sum(limiter.admits(1, "Encrypt") for _ in range(rate + 10)) == rate


def test_processes_share_a_limit():
    """Together they grant what one would; one that comes later finds what the others have used."""
    limiter = limits("Encrypt: 500")
    children: list[int] = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            limiter.expect([3])
            granted = [sum(limiter.admits(uin, "Encrypt") for _ in range(300)) for uin in (1, 3)]
            os._exit(sum(granted) == 0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    limiter.expect([3])
    assert [limiter.admits(uin, "Encrypt") for uin in (1, 2, 3)] == [False, True, False]


def test_accounts_without_end_have_no_limits_to_be_held_to():
    """That is told before any of them is served."""
    with pytest.raises(ConfigError, match="more than 4096 accounts"):
        limits("Encrypt: 1").expect(range(1, 5000))


def test_the_documented_limits_can_be_changed_one_by_one():
    """What comes later wins."""
    rates = parse_rates(["documented", "Encrypt: 5"])
    assert rates == DOCUMENTED | {"Encrypt": 5.0}


@pytest.mark.parametrize("text", ["", "Encrypt", "Encrypt: 0", "Encrypt: many", "A B: 1", "*: -1"])
def test_a_limit_that_is_not_understood_is_refused(text):
    """With examples of what is."""
    with pytest.raises(ConfigError, match="is no rate limit"):
        parse_rates([text])


def test_too_many_requests_are_told_so(serve):
    """By the documented code, over the wire."""
    running = serve("--rate-limit", "GenerateRandom: 2")
    codes = [running.call("GenerateRandom", DRAW).code for _ in range(3)]
    assert codes == ["ok", "ok", "RequestLimitExceeded"]
    assert running.call("ListKeys").code == "ok"


def test_workers_share_a_limit(serve):
    """Whichever of them an SDK happens to be connected to."""
    running = serve("--rate-limit", "GenerateRandom: 0.001", "--workers", "3")
    profile = ClientProfile(
        httpProfile=HttpProfile(protocol="http", endpoint=running.host, keepAlive=True)
    )
    clients = [
        kms_client.KmsClient(Credential("AKIDtest", "topsecretkey"), "ap-guangzhou", profile)
        for _ in range(9)
    ]
    asked = models.GenerateRandomRequest()
    asked.NumberOfBytes = 8
    codes = ["ok"] * len(clients)
    for number, client in enumerate(clients):
        try:
            client.GenerateRandom(asked)
        except TencentCloudSDKException as error:
            codes[number] = error.get_code()
    assert codes == ["ok"] + ["RequestLimitExceeded"] * 8


# --- Slow clients, and many ------------------------------------------------------------------


class Echo:
    """A desk that answers each request with its path, large ones with many bytes."""

    def answer(self, request, peer, done):
        """Answer at once."""
        size = 40_000_000 if request.head.path == "/large" else 4
        done(Reply(b"x" * size))

    def refuse(self, error, peer):
        """Say the status."""
        return Reply(b"", error.status)

    def refuse_size(self, head, peer):
        """Say nothing."""
        return Reply(b"")


@pytest.fixture
def lobby():
    """Runs a listener in a thread, with times that tests can wait for; returns its port."""
    stops = []

    def run(most=10, desk=None, **seconds):
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        ready = threading.Event()

        async def serve():
            stop = asyncio.Event()
            listener = Listener(
                listening, desk or Echo(), Metrics([]), most=most, timeouts=Timeouts(**seconds)
            )
            stops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await listener.run(stop, 5.0)
            listening.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        threads.append(thread)
        assert ready.wait(10)
        return listening.getsockname()[1]

    threads: list[threading.Thread] = []
    yield run
    for loop, stop in stops:
        loop.call_soon_threadsafe(stop.set)
    for thread in threads:
        thread.join()


def connect(port):
    """A connection with little room for what arrives."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    return client


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


def test_a_client_that_never_ends_its_request_is_told_so(lobby):
    """Status 408, for a head and for a body."""
    port = lobby(idle=60, head=0.1, body=0.1)
    for part in (HEAD[:20], HEAD + b"1234"):
        with connect(port) as client:
            client.sendall(part)
            assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
            assert client.recv(4096) == b""


def test_a_client_that_sends_a_byte_now_and_then_is_told_so_too(lobby):
    """The time is that of the whole head, not of the next byte."""
    port = lobby(idle=60, head=0.1, body=60)
    with connect(port) as client:
        client.setblocking(False)
        answer = b""
        while not answer:
            try:
                threading.Event().wait(0.01)
                client.send(b"x")
                answer = client.recv(4096)
            except BlockingIOError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_requests_ends(lobby):
    """One that never had any, and one that had; without a word."""
    port = lobby(idle=0.1, head=0.1)
    with connect(port) as silent, connect(port) as former:
        former.sendall(HEAD + b"12345")
        assert former.recv(4096).endswith(b"xxxx")
        assert former.recv(4096) == b""
        assert silent.recv(4096) == b""


def test_a_client_that_does_not_take_its_answer_is_dropped(lobby):
    """It holds no memory for long."""
    port = lobby(idle=60, write=0.1)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(HEAD.replace(b"/ ", b"/large ") + b"12345")
        received = 0
        try:
            while True:
                threading.Event().wait(0.02)  # slower than the server will stand
                data = client.recv(65536)
                if not data:
                    break
                received += len(data)
        except ConnectionError:
            pass
        assert received < 40_000_000


def test_a_client_that_is_slow_but_not_too_slow_gets_all_of_its_answer(lobby):
    """As long as it takes what it is given, it may take its time."""
    port = lobby()
    with connect(port) as client:
        client.sendall(HEAD.replace(b"/ ", b"/large ") + b"12345")
        client.shutdown(socket.SHUT_WR)
        received = 0
        while data := client.recv(1 << 20):
            received += len(data)
    assert received > 40_000_000


def test_more_clients_than_connections_wait_for_their_turn(lobby):
    """Nobody is refused: the next one is served when one has gone."""
    port = lobby(most=2)
    first, second, third = (connect(port) for _ in range(3))
    for client in (first, second):
        client.sendall(HEAD + b"12345")
        assert client.recv(4096).endswith(b"xxxx")
    third.sendall(HEAD + b"12345")
    third.settimeout(0.2)
    with pytest.raises(TimeoutError):
        third.recv(4096)
    third.settimeout(20)
    first.close()
    assert third.recv(4096).endswith(b"xxxx")
    second.close()
    third.close()


async def ask(port):
    """A connection that is open, as its first answer shows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"12345")
    await reader.readuntil(b"xxxx")
    return writer


@pytest.mark.parametrize(("workers", "connections"), [(2, [4, 4]), (1, [8])])
def test_workers_have_as_many_clients_each(workers, connections):
    """A worker whose only fellow is busy, or dead, has them all."""

    async def serve():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port, stop, metrics = listening.getsockname()[1], asyncio.Event(), Metrics([], 2)
            listeners: list[Listener] = []
            for number in range(workers):
                own = copy.copy(metrics)
                own.take_part(number)
                shared = listening.dup()
                shared.setblocking(False)
                listeners.append(Listener(shared, Echo(), own, most=10, timeouts=Timeouts()))
            tasks = [asyncio.create_task(listener.run(stop, 5.0)) for listener in listeners]
            writers = [await ask(port) for _ in range(8)]
            counts = [listener.count for listener in listeners]
            stop.set()
            await asyncio.gather(*tasks)
            for writer in writers:
                writer.close()
                await writer.wait_closed()
        return counts

    assert asyncio.run(serve()) == connections


def test_requests_sent_ahead_without_end_do_not_fill_the_memory(lobby):
    """A client that sends and never receives is stopped by its own unread answers."""
    port = lobby(idle=60, write=0.1)
    with connect(port) as client:
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 200_000_000:
                sent += client.send((HEAD + b"12345") * 1000)
        assert sent < 200_000_000


class Turns(Echo):
    """Counts answers, and how many there were when others had their turn for the first time."""

    def __init__(self):
        self.answered = 0
        self.before_others = 0

    def answer(self, request, peer, done):
        """Answer at once."""
        if not self.answered:
            asyncio.get_running_loop().call_soon(self._look)
        self.answered += 1
        super().answer(request, peer, done)

    def _look(self):
        self.before_others = self.answered


def test_requests_sent_ahead_do_not_hold_up_other_clients(lobby):
    """Each client has its turn, however many requests one of them has sent at once."""
    desk = Turns()
    with connect(lobby(desk=desk)) as client:
        client.sendall((HEAD + b"12345") * 500)
        answers = b""
        while answers.count(b"xxxx") < 500:
            answers += client.recv(65536)
    assert (desk.answered, desk.before_others < 50) == (500, True), desk.before_others


class Later(Echo):
    """Answers two thousand requests later, and then no more."""

    def __init__(self):
        self.asked = 0

    def answer(self, request, peer, done):
        """Answer when everything else has had its turn."""
        self.asked += 1
        if self.asked <= 2000:
            asyncio.get_running_loop().call_soon(super().answer, request, peer, done)


def test_slow_requests_sent_ahead_do_not_fill_the_memory(lobby):
    """An answer makes room for another request, not for many of them."""
    with connect(lobby(desk=Later())) as client:
        client.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 20_000_000:
                sent += client.send((HEAD + b"12345") * 1000)
        assert sent < 20_000_000


def test_nobody_works_for_a_client_that_has_gone(serve):
    """Its further requests are not carried out, and nothing is complained of."""
    running = serve("--access-log", "access.jsonl")
    with running.wire() as wire:
        wire.send(running.bytes("GenerateRandom", {"NumberOfBytes": 5}) * 450)
    assert running.call("GenerateRandom", {"NumberOfBytes": 5}).code == "ok"
    code, errors = running.stop()
    assert (code, errors) == (0, "")
    assert len((running.folder / "access.jsonl").read_text().splitlines()) < 300
