"""What every request passes through."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.core.logging import request_id_var
from app.web.access_log import access_log
from app.web.middleware import BodyLimit, CatchAll, RequestContext
from tests.web.support import MakeApp

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024


def client_of(app: FastAPI, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, **options), base_url="http://api.test")


@pytest.fixture(autouse=True)
def routes(app: FastAPI) -> None:
    add_routes(app)


def add_routes(app: FastAPI) -> None:
    @app.get("/state")
    async def state(request: Request) -> dict[str, str | None]:
        return {
            "request_id": request.state.request_id,
            "variable": request_id_var.get(),
            "client_address": request.state.client_address,
        }

    @app.get("/bug/{secret}")
    async def bug(secret: str) -> None:
        raise LookupError("the inside")

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/json")
    async def read_json(body: dict[str, str]) -> int:
        return len(body)


class TestRequestId:
    @pytest.mark.parametrize("sent", ["a", "A.b-c_9", "x" * 64])
    async def test_a_good_one_is_echoed(self, client: httpx.AsyncClient, sent: str) -> None:
        answer = await client.get("/state", headers={"X-Request-ID": sent})
        assert answer.headers.get_list("x-request-id") == [sent]
        assert answer.json()["request_id"] == answer.json()["variable"] == sent

    @pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\tb", 'a"', "é", "a/b", "a,b"])
    async def test_another_is_replaced(self, client: httpx.AsyncClient, sent: str) -> None:
        answer = await client.get("/state", headers={b"X-Request-ID": sent.encode()})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.json()["request_id"] == answer.headers["x-request-id"]

    async def test_two_are_none(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/state", headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")])
        assert len(answer.headers["x-request-id"]) == 32

    async def test_requests_do_not_mix(self, client: httpx.AsyncClient) -> None:
        ids = [f"id-{number}" for number in range(20)]
        answers = await asyncio.gather(*(client.get("/state", headers={"X-Request-ID": id_}) for id_ in ids))
        assert [answer.json()["variable"] for answer in answers] == ids
        assert request_id_var.get() is None


SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


class TestSecurityHeaders:
    @pytest.mark.parametrize("path", ["/state", "/nowhere", "/bug/1", "/size"])
    async def test_they_are_everywhere(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
        assert "strict-transport-security" not in answer.headers

    async def test_production_adds_transport_security(self, make_app: MakeApp) -> None:
        secret = "k9J2mQ7xW4vB8nR5tY1uP6sD3fG0hL-zC"
        app = make_app(app_env="production", database_url="postgresql://db/app", jwt_secret=secret, api_token=secret)
        async with client_of(app) as client:
            answer = await client.get("/nowhere")
        assert answer.headers["strict-transport-security"].startswith("max-age=")


class TestAccessLog:
    @pytest.fixture(autouse=True)
    def _level(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

    def entries(self, caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
        access_log.write()
        records = [record for record in caplog.records if record.name == "app.access"]
        return [vars(record) | dict(record.args) for record in records if isinstance(record.args, Mapping)]

    async def test_one_line_for_each_request(
        self, app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        @app.get("/known")
        async def known(request: Request) -> None:
            request.state.principal_id = 7

        await client.get("/known")
        (entry,) = self.entries(caplog)
        assert entry["method"] == "GET"
        assert entry["path"] == "/known"
        assert entry["status"] == 200
        assert entry["duration_ms"] == round(entry["duration_ms"], 1) >= 0
        assert entry["principal_id"] == 7
        assert entry["client_address"] == "127.0.0.1"
        assert entry["levelname"] == "INFO"

    @pytest.mark.parametrize(
        ("method", "path", "template", "status"),
        [
            ("GET", "/bug/hunter2?token=hunter2", "/bug/{secret}", 500),
            ("PUT", "/bug/hunter2", "/bug/{secret}", 405),
            ("GET", "/hunter2?token=hunter2", "-", 404),
            ("GET", "/api/hunter2", "-", 404),
            ("GET", "/api/things/hunter2/parts/hunter2", "/api/things/{thing}/parts/{part}", 200),
            ("DELETE", "/api/things/hunter2/parts/hunter2", "/api/things/{thing}/parts/{part}", 405),
            ("GET", "/state/?hunter2", "-", 307),
            ("GET", "/openapi.json?hunter2", "/openapi.json", 200),
        ],
    )
    async def test_it_names_templates_and_never_what_was_sent(
        self,
        app: FastAPI,
        client: httpx.AsyncClient,
        caplog: pytest.LogCaptureFixture,
        method: str,
        path: str,
        template: str,
        status: int,
    ) -> None:
        parts, things, api = (APIRouter(prefix=prefix) for prefix in ("/parts", "/things/{thing}", "/api"))

        @parts.get("/{part}")
        async def part(thing: str, part: str) -> None: ...

        things.include_router(parts)
        api.include_router(things)
        app.include_router(api)
        await client.request(method, path, headers={"Authorization": "Bearer hunter2"})
        (entry,) = self.entries(caplog)
        assert (entry["path"], entry["status"]) == (template, status)
        assert "hunter2" not in caplog.text

    async def test_an_answer_that_breaks_off_is_logged_too(
        self, app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        @app.get("/torn")
        async def torn() -> StreamingResponse:
            async def half() -> AsyncIterator[bytes]:
                yield b"half"
                raise OSError("torn")

            return StreamingResponse(half())

        with pytest.raises(OSError, match="torn"):
            await client.get("/torn")
        (entry,) = self.entries(caplog)
        assert entry["status"] == 200
        assert [record.name for record in caplog.records] == ["app.errors", "app.access"]


class TestCatchAll:
    async def test_a_bug_says_nothing_about_the_inside(
        self, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await client.get("/bug/1")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "internal_error"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "inside" not in answer.text
        (record,) = [record for record in caplog.records if record.name == "app.errors"]
        assert "the inside" in caplog.text
        assert record.exc_info is not None

    async def test_a_client_that_leaves_is_no_bug(self, caplog: pytest.LogCaptureFixture) -> None:
        async def reader(scope: Scope, receive: Receive, send: Send) -> None:
            await Request(scope, receive).body()

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            raise AssertionError(message)

        caplog.set_level(logging.INFO)
        await CatchAll(reader)({"type": "http", "method": "POST", "headers": []}, receive, send)
        assert [record.levelname for record in caplog.records] == ["INFO"]

    async def test_cancellation_passes(self) -> None:
        async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
            raise asyncio.CancelledError

        async def nothing(*_: Any) -> Any: ...

        scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
        with pytest.raises(asyncio.CancelledError):
            await RequestContext(CatchAll(BodyLimit(cancelled)))(scope, nothing, nothing)


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65536):
        yield b"x" * 65536
    yield b"x" * (total % 65536)


class TestBodyLimit:
    async def test_a_mebibyte_is_fine(self, client: httpx.AsyncClient) -> None:
        for content in (b"x" * MEBIBYTE, chunks(MEBIBYTE)):
            answer = await client.post("/size", content=content)
            assert (answer.status_code, answer.json()) == (200, MEBIBYTE)

    @pytest.mark.parametrize("path", ["/size", "/json", "/nowhere"])
    async def test_one_byte_more_with_a_length(self, client: httpx.AsyncClient, path: str) -> None:
        assert_too_large(await client.post(path, content=b"x" * (MEBIBYTE + 1)))

    @pytest.mark.parametrize("path", ["/size", "/json"])
    async def test_one_byte_more_without_a_length(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.post(path, content=chunks(MEBIBYTE + 1), headers={"Content-Type": "application/json"})
        assert_too_large(answer)

    @pytest.mark.parametrize("length", ["9" * 10_000, "0" * 50 + "1048577"])
    async def test_a_length_alone_is_enough(self, client: httpx.AsyncClient, length: str) -> None:
        assert_too_large(await client.post("/size", content=b"", headers={"Content-Length": length}))

    @pytest.mark.parametrize("length", ["", "-1", "+1", "1.5", "0x10", "1_0", "one", "1, 1"])
    async def test_a_malformed_length(self, client: httpx.AsyncClient, length: str) -> None:
        answer = await client.post("/size", content=b"x", headers={"Content-Length": length})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")

    async def test_two_lengths(self, client: httpx.AsyncClient) -> None:
        headers = [("Content-Length", "1"), ("Content-Length", "2")]
        answer = await client.post("/size", content=b"x", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def assert_too_large(answer: httpx.Response) -> None:
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "payload_too_large"
    assert "1048576" in answer.json()["detail"]


ORIGIN = {"Origin": "https://app.test"}


class TestCors:
    @pytest.fixture
    def app(self, make_app: MakeApp) -> FastAPI:
        return make_app(cors_origins=["https://app.test"])

    @pytest.mark.parametrize("path", ["/state", "/nowhere", "/bug/1"])
    async def test_every_answer_can_be_read(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == "https://app.test"
        assert "access-control-allow-credentials" not in answer.headers
        exposed = answer.headers["access-control-expose-headers"]
        assert exposed == "X-Request-ID, Retry-After, Location, WWW-Authenticate"

    async def test_a_refused_body_too(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/size", content=b"x" * (MEBIBYTE + 1), headers=ORIGIN)
        assert_too_large(answer)
        assert answer.headers["access-control-allow-origin"] == "https://app.test"

    async def test_a_stranger_reads_nothing(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/state", headers={"Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]

    async def test_a_preflight(self, client: httpx.AsyncClient) -> None:
        asked = {
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization, content-type, x-request-id, idempotency-key",
        }
        answer = await client.options("/state", headers=ORIGIN | asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.test"
        assert "PATCH" in answer.headers["access-control-allow-methods"]

    async def test_a_refused_preflight_is_a_problem(self, client: httpx.AsyncClient) -> None:
        asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "GET"}
        answer = await client.options("/state", headers=asked)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "Disallowed CORS origin."
        assert "Origin" in answer.headers["vary"]
        assert int(answer.headers["content-length"]) == len(answer.content)

    async def test_nothing_without_origins(self, make_app: MakeApp) -> None:
        app = make_app()
        add_routes(app)
        async with client_of(app) as client:
            answer = await client.get("/state", headers=ORIGIN)
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_address_comes_through_a_trusted_proxy(make_app: MakeApp) -> None:
    app = make_app(trusted_proxies=["10.0.0.0/8"])
    add_routes(app)
    async with client_of(app, client=("10.0.0.1", 1)) as client:
        answer = await client.get("/state", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    assert answer.json()["client_address"] == "203.0.113.9"
