"""What only a real connection shows."""

import http.client
import json
import socket
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request

from tests.web.support import served

TWO_MEGABYTES = 2_000_000


@pytest.fixture(params=["h11", "httptools"])
def port(request: pytest.FixtureRequest, app: FastAPI) -> Iterator[int]:
    @app.get("/bug")
    async def bug() -> None:
        raise LookupError("the inside")

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    @app.post("/json")
    async def read_json(body: dict[str, str]) -> int:
        return len(body)

    @app.post("/unread")
    async def unread() -> str:
        return "unread"

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    with served(app, request.param) as port:
        yield port


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield connection
    connection.close()


def ask(port: int, request: bytes) -> bytes:
    """Everything the server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(request)
        return b"".join(iter(lambda: peer.recv(65536), b""))


def test_the_connection_survives_a_bug(connection: http.client.HTTPConnection) -> None:
    connection.connect()
    line = connection.sock
    for path, status in (("/bug", 500), ("/fine", 200), ("/bug", 500), ("/nowhere", 404), ("/fine", 200)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert connection.sock is line


def test_a_refused_head_has_no_body(connection: http.client.HTTPConnection) -> None:
    for path, status in (("/nowhere", 404), ("/json", 405)):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")
    connection.request("GET", "/fine")
    assert connection.getresponse().read() == b'"fine"'


def test_head_answers_as_get_does_without_its_body(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/fine")
    get = connection.getresponse()
    length = len(get.read())
    connection.request("HEAD", "/fine")
    head = connection.getresponse()
    assert (head.status, head.read(), head.getheader("Content-Length")) == (200, b"", str(length))


@pytest.mark.parametrize("path", ["/json", "/raw"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with a length"])
def test_two_megabytes(connection: http.client.HTTPConnection, path: str, chunked: bool) -> None:
    pieces = (b"x" * 50_000 for _ in range(TWO_MEGABYTES // 50_000))
    body = pieces if chunked else b"".join(pieces)
    connection.request("POST", path, body, headers={"Content-Type": "application/json"}, encode_chunked=chunked)
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.read())["code"] == "payload_too_large"


def test_an_endless_body_is_cut_short(port: int) -> None:
    """The client is answered while it still sends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(b"POST /raw HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(TWO_MEGABYTES // 50_000):
            peer.sendall(b"c350\r\n" + b"x" * 50_000 + b"\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_length_is_refused_before_the_body_is_sent(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(b"POST /unread HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2000000\r\n\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("lengths", [b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: one"])
def test_lengths_that_make_no_sense(port: int, lengths: bytes) -> None:
    head = b"POST /raw HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n%b\r\n\r\nx" % lengths
    assert ask(port, head).startswith(b"HTTP/1.1 400 ")


def test_two_request_ids_are_replaced_by_one(port: int) -> None:
    answer = ask(
        port,
        b"GET /fine HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n"
        b"X-Request-ID: first\r\nX-Request-ID: second\r\n\r\n",
    )
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert head.count(b"x-request-id:") == 1
    assert b"first" not in head
    assert b"second" not in head
