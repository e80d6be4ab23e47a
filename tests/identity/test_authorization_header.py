"""Whatever the Authorization header holds, the answer is a refusal that says what to present, or the caller."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import postgres
from tests.support.identity import CHALLENGE, INVALID, Service, checkouts, without_request_id
from tests.support.service import MVP_TOKEN, Server, bearer, uvicorn_process

ME = "/api/users/me"
GOOD = f"Bearer {MVP_TOKEN}".encode()

NO_BEARER = {
    "empty": b"",
    "blank": b"   ",
    "scheme alone": b"Bearer",
    "scheme and a space": b"Bearer ",
    "scheme and spaces": b"Bearer    ",
    "token alone": MVP_TOKEN.encode(),
    "no space": b"Bearer" + MVP_TOKEN.encode(),
    "colon": b"Bearer: " + MVP_TOKEN.encode(),
    "tab after the scheme": b"Bearer\t" + MVP_TOKEN.encode(),
    "basic": b"Basic bXZwOm12cA==",
    "digest": b'Digest username="mvp", realm="api"',
    "token scheme": b"Token " + MVP_TOKEN.encode(),
    "scheme of other letters": "Beärer ".encode() + MVP_TOKEN.encode(),
    "two schemes": b"Basic Bearer " + MVP_TOKEN.encode(),
}

BAD_TOKEN = {
    "unknown": b"Bearer " + b"a" * 40,
    "one character": b"Bearer x",
    "quoted": b'Bearer "%b"' % MVP_TOKEN.encode(),
    "in brackets": b"Bearer <%b>" % MVP_TOKEN.encode(),
    "two tokens": GOOD + b" " + MVP_TOKEN.encode(),
    "a comma": GOOD + b", Basic bXZwOm12cA==",
    "a tab before it": b"Bearer \t" + MVP_TOKEN.encode(),
    "a NUL behind it": GOOD + b"\0",
    "a NUL": b"Bearer \0",
    "a no-break space behind it": GOOD + b"\xa0",
    "a next-line character behind it": GOOD + b"\x85",
    "a unit separator before it": b"Bearer \x1f" + MVP_TOKEN.encode(),
    "a vertical tab behind it": GOOD + b"\x0b",
    "UTF-8": "Bearer gehört-mir".encode(),
    "no UTF-8": b"Bearer \xff\xfe\xfa",
    "padding alone": b"Bearer ===",
    "other case": b"Bearer " + MVP_TOKEN.swapcase().encode(),
    "cut short": GOOD[:-1],
    "a mistyped API token": b"Bearer tb_" + b"0" * 49,
    "nothing but the prefix of one": b"Bearer tb_",
    "JSON": b'Bearer {"alg":"none"}',
    "a JWT that says who it is": b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "SQL": b"Bearer ' OR ''='",
    "4 KB": b"Bearer " + b"a" * 4096,
    "4 KB and one": b"Bearer " + b"a" * 4097,
    "60 KB": b"Bearer " + b"a" * 60_000,
    "60 KB of padding": b"Bearer a" + b"=" * 60_000,
    "60 KB of API token": b"Bearer tb_" + b"0" * 60_000,
}

GOOD_TOKEN = {
    "as it should be": GOOD,
    "lower case": b"bearer " + MVP_TOKEN.encode(),
    "upper case": b"BEARER " + MVP_TOKEN.encode(),
    "mixed case": b"bEaReR " + MVP_TOKEN.encode(),
    "spaces between": b"Bearer    " + MVP_TOKEN.encode(),
    "spaces behind": GOOD + b"   ",
    "a tab behind": GOOD + b"\t",
    "spaces before": b"  " + GOOD,
}


async def ask(service: Service, *values: bytes) -> httpx.Response:
    return await service.client.get(ME, headers=[(b"Authorization", value) for value in values])


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["type"], problem["code"], problem["status"]) == (f"urn:problem:{code}", code, status)
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.anyio
class TestInProcess:
    async def test_no_header(self, service: Service) -> None:
        answer = await ask(service)
        assert_problem(answer, 401, "not_authenticated")
        assert answer.headers["www-authenticate"] == CHALLENGE

    @pytest.mark.parametrize("value", NO_BEARER.values(), ids=NO_BEARER)
    async def test_no_bearer_token_was_presented(self, service: Service, value: bytes) -> None:
        answer = await ask(service, value)
        assert_problem(answer, 401, "not_authenticated")
        assert answer.headers["www-authenticate"] == CHALLENGE

    @pytest.mark.parametrize("value", BAD_TOKEN.values(), ids=BAD_TOKEN)
    async def test_a_token_that_is_not_good(self, service: Service, value: bytes) -> None:
        answer = await ask(service, value)
        assert_problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"] == INVALID
        assert answer.headers.get_list("www-authenticate") == [INVALID]

    @pytest.mark.parametrize("value", GOOD_TOKEN.values(), ids=GOOD_TOKEN)
    async def test_spellings_of_a_good_one(self, service: Service, value: bytes) -> None:
        answer = await ask(service, value)
        assert (answer.status_code, answer.json()["username"]) == (200, "mvp")

    @pytest.mark.parametrize(
        "values",
        [(GOOD, GOOD), (GOOD, b"Basic bXZwOm12cA=="), (b"Basic bXZwOm12cA==", GOOD), (b"", GOOD), (GOOD,) * 50],
        ids=["the same twice", "a second one", "a first one", "an empty one", "fifty"],
    )
    async def test_several_headers_are_refused(self, service: Service, values: tuple[bytes, ...]) -> None:
        answer = await ask(service, *values)
        assert_problem(answer, 400, "bad_request")
        assert "www-authenticate" not in answer.headers

    async def test_the_two_refusals_are_always_the_same(self, service: Service) -> None:
        for kind in (NO_BEARER, BAD_TOKEN):
            answers = [without_request_id(await ask(service, value)) for value in kind.values()]
            assert all(answer == answers[0] for answer in answers)

    async def test_what_is_no_token_is_refused_without_a_connection(self, service: Service) -> None:
        shaped = {"unknown", "one character", "other case", "cut short", "4 KB", "a JWT that says who it is"}
        with checkouts() as seen:
            for value in (*NO_BEARER.values(), *(BAD_TOKEN[name] for name in BAD_TOKEN.keys() - shaped)):
                await ask(service, value)
        assert seen == []

    @pytest.mark.parametrize("name", ["access_token", "token", "api_token", "authorization", "Authorization"])
    async def test_a_query_string_is_no_place_for_a_token(self, service: Service, name: str) -> None:
        answer = await service.client.get(ME, params={name: MVP_TOKEN})
        assert_problem(answer, 401, "not_authenticated")
        assert MVP_TOKEN not in answer.text

    async def test_nor_are_other_headers_and_cookies(self, service: Service) -> None:
        value = f"Bearer {MVP_TOKEN}"
        headers = {"Proxy-Authorization": value, "X-Authorization": value, "X-API-Key": MVP_TOKEN}
        headers["Cookie"] = f"access_token={MVP_TOKEN}; Authorization={MVP_TOKEN}"
        assert_problem(await service.client.get(ME, headers=headers), 401, "not_authenticated")

    async def test_a_form_is_none_either(self, service: Service) -> None:
        answer = await service.client.post("/api/tokens", data={"access_token": MVP_TOKEN})
        assert_problem(answer, 401, "not_authenticated")

    async def test_the_query_does_not_spoil_a_good_header(self, service: Service) -> None:
        answer = await service.client.get(ME, params={"access_token": "other"}, headers=bearer())
        assert answer.status_code == 200


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(
    request: pytest.FixtureRequest, server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    variables = {"DATA_DIR": str(folder / "data"), "API_TOKEN": MVP_TOKEN}
    with (
        postgres.database(server_url, like=template) as url,
        uvicorn_process(folder, variables | {"DATABASE_URL": url}, "--http", request.param) as server,
    ):
        server.wait_until_up()
        yield server


def answer_of(server: Server, *values: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what the server answers to these headers as raw bytes."""
    lines = [b"GET %b HTTP/1.1" % ME.encode(), b"Host: api.test", b"Connection: close"]
    lines += [b"Authorization: " + value for value in values]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        head, _, body = b"".join(iter(lambda: peer.recv(65536), b"")).partition(b"\r\n\r\n")
    status, *headers = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in headers), body


class TestOverASocket:
    """What the HTTP parser itself refuses never reaches the application: a bare 400."""

    def test_no_bearer_token_was_presented(self, server: Server) -> None:
        for name, value in NO_BEARER.items():
            status, headers, body = answer_of(server, value)
            assert (name, status, headers["www-authenticate"]) == (name, 401, CHALLENGE.lower())
            assert json.loads(body)["code"] == "not_authenticated"

    def test_a_token_that_is_not_good(self, server: Server) -> None:
        for name, value in BAD_TOKEN.items():
            status, headers, body = answer_of(server, value)
            if status == 401:
                assert (name, headers["www-authenticate"]) == (name, INVALID.lower())
                assert json.loads(body)["code"] == "invalid_token"
            else:
                assert (name, status, any(byte < 0x20 for byte in value)) == (name, 400, True)

    def test_spellings_of_a_good_one(self, server: Server) -> None:
        assert {name: answer_of(server, value)[0] for name, value in GOOD_TOKEN.items()} == dict.fromkeys(
            GOOD_TOKEN, 200
        )

    def test_two_headers(self, server: Server) -> None:
        status, _, body = answer_of(server, GOOD, GOOD)
        assert (status, json.loads(body)["code"]) == (400, "bad_request")

    def test_no_token_is_in_the_log(self, server: Server) -> None:
        for value in (*NO_BEARER.values(), *BAD_TOKEN.values(), GOOD):
            answer_of(server, value)
        log = server.output()
        assert MVP_TOKEN not in log
        assert "Traceback" not in log
        assert " 500 " not in log
