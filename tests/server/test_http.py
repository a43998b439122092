"""HTTP/1.1 on the wire: connections, lengths, limits, and bytes that are no requests at all."""

import json
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DRAW = {"NumberOfBytes": 8}


def test_an_answer_is_what_the_sdks_need(server):
    """Status 200, and a content type without a charset, for successes and for refusals."""
    for answer in (server.call("GenerateRandom", DRAW), server.call("GenerateRandom", {})):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert len(answer.response["RequestId"]) == 36


def test_a_connection_serves_many_requests(server):
    """It is kept alive without being asked for."""
    with server.wire() as wire:
        for _ in range(3):
            wire.send(server.bytes("GenerateRandom", DRAW))
            assert wire.answer().code == "ok"


def test_nagle_does_not_hold_answers_back(server):
    """The server's side of the connection has TCP_NODELAY: its peer sees no delayed second part."""
    with server.wire() as wire:
        wire.send(server.bytes("GenerateRandom", DRAW))
        head_and_body = wire.socket.recv(65536)
    assert head_and_body.partition(b"\r\n\r\n")[2].endswith(b"}}")


def test_requests_that_are_sent_ahead_are_answered_in_their_order(server):
    """Quick ones and slow ones: making an RSA key takes a thread, and its time."""
    make = {"Alias": "ahead", "KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"}
    steps = [
        ("GenerateRandom", DRAW),
        ("CreateKey", make),
        ("GenerateRandom", DRAW),
        ("CreateKey", make),
        ("GenerateRandom", {}),
        ("NoSuchAction", {}),
    ]
    with server.wire() as wire:
        wire.send(b"".join(server.bytes(*step) for step in steps))
        answers = [wire.answer() for _ in steps]
    assert [answer.code for answer in answers] == [
        *("ok", "ok", "ok"),
        "InvalidParameterValue.AliasAlreadyExists",
        "InvalidParameter" if answers[4].code == "InvalidParameter" else "MissingParameter",
        "InvalidAction",
    ]
    assert "KeyId" in answers[1].response


def test_a_request_may_arrive_byte_by_byte(server):
    """Whatever the network does to it."""
    with server.wire() as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in server.bytes("GenerateRandom", DRAW):
            wire.send(bytes([byte]))
        assert wire.answer().code == "ok"


def test_a_client_that_wants_to_close_is_told_that_it_is_done(server, http, signed):
    """Connection: close, and HTTP/1.0."""
    body = json.dumps(DRAW).encode()
    headers = {"Host": server.host} | signed(body, server.host)
    for data in (
        http(headers | {"Connection": "close"}, body),
        http(headers, body).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    ):
        with server.wire() as wire:
            wire.send(data + data)
            answer = wire.answer()
            assert (answer.code, answer.headers["Connection"]) == ("ok", "close")
            assert wire.incoming == b""
            assert wire.is_closed()


def test_a_client_that_stops_sending_still_gets_its_answer(server):
    """It closes its half of the connection as soon as it has sent its request."""
    with server.wire() as wire:
        wire.send(server.bytes("CreateKey", {"Alias": "half-closed"}))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.answer().code == "ok"


def test_all_that_was_sent_ahead_of_the_end_is_answered(server):
    """Requests that a client sent before it closed its half of the connection."""
    with server.wire() as wire:
        wire.send(server.bytes("CreateKey", {"Alias": "half-closed-1"}))
        wire.send(server.bytes("CreateKey", {"Alias": "half-closed-2"}))
        wire.send(server.bytes("ListKeys", {}) + b"POST / HT")
        wire.socket.shutdown(socket.SHUT_WR)
        assert [wire.answer().code for _ in range(3)] == ["ok"] * 3
        assert wire.is_closed()


def test_chunks_are_put_together(server, signed):
    """A chunked body, with extensions and trailers, byte by byte and at once; then another one."""
    body = json.dumps(DRAW).encode()
    headers = {"Host": server.host} | signed(body, server.host)
    headers["Transfer-Encoding"] = "chunked"
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    chunks = b"5;name=value\r\n" + body[:5] + b"\r\n"
    chunks += f"{len(body) - 5:X}\r\n".encode() + body[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
    with server.wire() as wire:
        wire.send(head + chunks + server.bytes("GenerateRandom", DRAW))
        assert [wire.answer().code for _ in range(2)] == ["ok", "ok"]
        wire.send(head)
        for byte in chunks:
            wire.send(bytes([byte]))
        assert wire.answer().code == "ok"


def test_a_large_body_may_ask_first(server, http, signed):
    """Expect: 100-continue."""
    body = json.dumps(DRAW).encode()
    headers = {"Host": server.host, "Expect": "100-continue"} | signed(body, server.host)
    data = http(headers, body)
    head, _, rest = data.partition(b"\r\n\r\n")
    with server.wire() as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.answer().status == 100
        wire.send(rest)
        assert wire.answer().code == "ok"


def test_the_target_may_be_whole_and_the_path_any(server, http, signed):
    """Proxies send the whole address; endpoints may carry a path."""
    body = json.dumps(DRAW).encode()
    headers = {"Host": server.host} | signed(body, server.host)
    for target in ("/", "/?", "/gateway", server.url, f"{server.url}/", f"{server.url}/?"):
        assert server.ask(http(headers, body, target=target)).code == "ok"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_supported(server, http, method):
    """The documented code."""
    assert server.ask(http({"Host": server.host}, method=method)).code == "UnsupportedProtocol"


def test_head_has_no_body(server, http):
    """Or the next answer would begin in its middle."""
    with server.wire() as wire:
        wire.send(http({"Host": server.host}, method="HEAD"))
        answer = wire.answer()
        assert (answer.status, answer.body) == (405, b"")
        wire.send(server.bytes("GenerateRandom", DRAW))
        assert wire.answer().code == "ok"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET elsewhere HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 300,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a:b\r\n" * 40,
        b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    ],
    ids=range(26),
)
def test_what_two_programs_could_understand_differently_is_refused(server, data):
    """Status 400 with the API's JSON, and the end of the connection."""
    with server.wire() as wire:
        wire.send(data)
        answer = wire.answer()
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        assert answer.headers["Connection"] == "close"
        assert wire.is_closed()


def test_a_body_in_crumbs_is_refused(server):
    """Chunks of a byte would cost more to take apart than all the rest of a request."""
    with server.wire() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        answer = wire.answer()
        assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_an_endless_head_is_refused(server):
    """In one line or in many."""
    for part in (b"x" * 4096, b"Name: value\r\n" * 300):
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            try:
                for _ in range(20):
                    wire.send(part)
            except ConnectionError:
                continue
            assert wire.answer().status == 431


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(server, http):
    """The client, which sends first and reads then, sees the documented code."""
    size = 10 * 1024 * 1024 + 1
    for headers in ({"Content-Length": size}, {"Transfer-Encoding": "chunked"}):
        with server.wire() as wire:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            wire.send(f"POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
            if "Content-Length" in headers:
                wire.send(bytes(size))
            else:
                wire.send(f"{size:x}\r\n".encode() + bytes(65536))
            answer = wire.answer()
            assert (answer.status, answer.code) == (200, "RequestSizeLimitExceeded")


def test_a_body_of_ten_megabytes_is_read(server, http, signed):
    """The limit itself is no mistake: the action says what it thinks of it."""
    body = b'{"Plaintext": "' + b"A" * (10 * 1024 * 1024 - 17) + b'"}'
    headers = {"Host": server.host} | signed(body, server.host, action="Encrypt")
    assert server.ask(http(headers, body)).code == "MissingParameter"


def test_forms_and_queries_have_limits_of_their_own(server, http):
    """A form of more than 1 MB, and a query of more than 32 KB."""
    headers = {"Host": server.host, "Content-Type": "application/x-www-form-urlencoded"}
    assert server.ask(http(headers, b"a" * (1024**2 + 1))).code == "RequestSizeLimitExceeded"
    query = "/?a=" + "b" * (32 * 1024)
    answer = server.ask(http(headers, method="GET", target=query))
    assert answer.code == "RequestSizeLimitExceeded"


def test_many_clients_at_once_all_get_their_own_answers(server):
    """Sixteen threads, each with its own connection and its own key's name."""
    wrong = []

    def use(number):
        with server.wire() as wire:
            for turn in range(10):
                alias = f"thread-{number}-{turn}"
                wire.send(server.bytes("CreateKey", {"Alias": alias}))
                if wire.answer().response.get("Alias") != alias:
                    wrong.append(alias)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- Anything at all -------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        b"POST / HTTP/1.1\r\n",
        b"GET /metrics HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Authorization: TC3-HMAC-SHA256 Credential=AKIDtest/2026-01-01/kms/tc3_request, ",
        b"SignedHeaders=content-type;host, Signature=" + b"0" * 64 + b"\r\n",
        b"X-TC-Timestamp: 1\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"Signature=a&SecretId=AKIDtest&Timestamp=1",
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(LINES, st.binary(max_size=40)), max_size=12))
def test_no_bytes_end_the_server(server, pieces):
    """What comes back is HTTP without a server's error, or nothing; and the server lives."""
    with server.wire() as wire:
        try:
            for piece in pieces:
                wire.send(piece)
            wire.socket.shutdown(socket.SHUT_WR)
            data = b""
            while received := wire.socket.recv(65536):
                data += received
        except OSError:  # it was closed under our hands, or is not connected any more
            data = b""
    assert data == b"" or data.startswith((b"HTTP/1.1 1", b"HTTP/1.1 2", b"HTTP/1.1 4"))
    assert b"InternalError" not in data
    assert server.process.poll() is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["KeyId", "KeyIds", "Plaintext", "NumberOfBytes", "Tags", "Alias", "Limit"])


@settings(max_examples=100, deadline=None)
@given(
    action=st.sampled_from(["Encrypt", "Decrypt", "CreateKey", "DescribeKeys", "ListKeyDetail"]),
    parameters=st.dictionaries(NAMES | st.text(max_size=8), JSON, max_size=5),
)
def test_no_parameters_are_a_defect(server, action, parameters):
    """Signed requests with anything in them get a documented answer, never InternalError."""
    answer = server.call(action, parameters)
    assert (answer.status, answer.code != "InternalError") == (200, True)
