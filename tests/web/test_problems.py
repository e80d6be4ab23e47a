"""Every refusal, whatever raised it, is one kind of answer."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.core.errors import (
    AppError,
    BadRequest,
    DatabaseUnavailable,
    InvalidToken,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    ServiceUnavailable,
    Unauthenticated,
)

pytestmark = pytest.mark.anyio


def assert_is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:problem:{code}"
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


def raising(app: FastAPI, error: Exception) -> None:
    @app.get("/raise")
    async def fail() -> None:
        raise error


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (BadRequest("Say it differently."), {}),
        (Unauthenticated(), {"www-authenticate": 'Bearer realm="api"'}),
        (InvalidToken(), {"www-authenticate": 'Bearer realm="api", error="invalid_token"'}),
        (
            PermissionDenied("admin"),
            {"www-authenticate": 'Bearer realm="api", error="insufficient_scope", scope="admin"'},
        ),
        (NotFound(), {}),
        (PayloadTooLarge("Too much."), {}),
        (ServiceUnavailable("Later."), {"retry-after": "2"}),
        (DatabaseUnavailable(), {"retry-after": "2"}),
    ],
)
async def test_refusals_of_the_domain(
    app: FastAPI, client: httpx.AsyncClient, error: AppError, headers: dict[str, str]
) -> None:
    raising(app, error)
    answer = await client.get("/raise")
    problem = assert_is_problem(answer, error.status, error.code)
    assert problem["detail"] == str(error)
    assert headers.items() <= dict(answer.headers).items()


async def test_a_refusal_may_have_members_of_its_own(app: FastAPI, client: httpx.AsyncClient) -> None:
    class Taken(AppError):
        status, code, title = 409, "taken", "Taken"
        members = {"field": "email"}  # noqa: RUF012

    raising(app, Taken("That one is taken."))
    assert assert_is_problem(await client.get("/raise"), 409, "taken")["field"] == "email"


async def test_an_unknown_path(client: httpx.AsyncClient) -> None:
    assert_is_problem(await client.get("/nowhere?token=secret"), 404, "not_found")


async def test_a_wrong_method_is_told_all_the_right_ones(app: FastAPI, client: httpx.AsyncClient) -> None:
    async def nothing() -> None: ...

    for method in ("GET", "PATCH", "DELETE"):
        app.add_api_route("/things/{id}", nothing, methods=[method])
    answer = await client.put("/things/1")
    problem = assert_is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert "DELETE, GET, HEAD, PATCH" in problem["detail"]


@pytest.mark.parametrize(
    ("status", "code", "title"),
    [
        (400, "bad_request", "Bad request"),
        (401, "unauthorized", "Unauthorized"),
        (409, "conflict", "Conflict"),
        (413, "payload_too_large", "Payload too large"),
        (415, "unsupported_media_type", "Unsupported media type"),
        (418, "i_m_a_teapot", "I'm a teapot"),
        (422, "validation_failed", "Invalid input"),
        (429, "too_many_requests", "Too many requests"),
        (499, "error", "Error"),
        (503, "service_unavailable", "Service unavailable"),
    ],
)
async def test_refusals_of_the_framework(
    app: FastAPI, client: httpx.AsyncClient, status: int, code: str, title: str
) -> None:
    raising(app, HTTPException(status))
    answer = await client.get("/raise")
    assert assert_is_problem(answer, status, code)["title"] == title
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert ("retry-after" in answer.headers) == (status in {429, 503})


@pytest.mark.parametrize("detail", ["Nobody knows.", {"why": "a mapping"}, None])
async def test_the_detail_is_a_sentence(app: FastAPI, client: httpx.AsyncClient, detail: Any) -> None:
    raising(app, HTTPException(409, detail))
    problem = assert_is_problem(await client.get("/raise"), 409, "conflict")
    assert problem["detail"] == (detail if isinstance(detail, str) else "Conflict.")


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(app: FastAPI, client: httpx.AsyncClient, status: int) -> None:
    raising(app, HTTPException(status))
    answer = await client.get("/raise")
    assert (answer.status_code, answer.content) == (status, b"")
    assert "content-length" not in answer.headers


async def test_text_from_outside_is_always_encodable(app: FastAPI, client: httpx.AsyncClient) -> None:
    raising(app, PermissionDenied("w\ud800ü\r\nX-Evil: 1", "No \ud800 für dich"))
    answer = await client.get("/raise")
    assert_is_problem(answer, 403, "insufficient_scope")
    assert answer.json()["detail"] == "No ? für dich"
    assert "x-evil" not in answer.headers
    assert 'scope="w????X-Evil: 1"' in answer.headers["www-authenticate"]


class Broken(Exception):
    """What a driver raises, with its SQLSTATE."""

    def __init__(self, pgcode: str | None) -> None:
        super().__init__("server closed the connection\nat a bad moment")
        self.pgcode = pgcode


@pytest.mark.parametrize("sqlstate", [None, "08006", "40P01", "57P01", "57P03", "53300"])
@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
async def test_a_database_that_is_away(
    app: FastAPI,
    client: httpx.AsyncClient,
    kind: type[OperationalError],
    sqlstate: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raising(app, kind("SELECT :secret", {"secret": "hunter2"}, Broken(sqlstate)))
    answer = await client.get("/raise")
    assert_is_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert "server closed" not in answer.text
    assert "server closed" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_database_that_nobody_serves(app: FastAPI, client: httpx.AsyncClient) -> None:
    @app.get("/reach")
    async def reach() -> None:
        create_engine("postgresql+psycopg2://user:hunter2@127.0.0.1:1/app").connect()

    answer = await client.get("/reach")
    assert_is_problem(answer, 503, "database_unavailable")
    assert "127.0.0.1" not in answer.text


async def test_an_invalidated_connection_is_an_outage_whatever_its_code(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    raising(app, OperationalError("SELECT 1", {}, Broken("XX000"), connection_invalidated=True))
    assert_is_problem(await client.get("/raise"), 503, "database_unavailable")


async def test_a_statement_that_was_cancelled_is_no_outage(app: FastAPI, client: httpx.AsyncClient) -> None:
    raising(app, OperationalError("SELECT 1", {}, Broken("57014")))
    assert_is_problem(await client.get("/raise"), 500, "internal_error")


async def test_what_a_row_refers_to_was_deleted_meanwhile(app: FastAPI, client: httpx.AsyncClient) -> None:
    raising(app, IntegrityError("INSERT", {}, Broken("23503")))
    assert_is_problem(await client.get("/raise"), 409, "conflict")


async def test_an_exhausted_pool(app: FastAPI, client: httpx.AsyncClient) -> None:
    raising(app, PoolTimeoutError("QueuePool limit of size 5 overflow 10 reached"))
    answer = await client.get("/raise")
    assert_is_problem(answer, 503, "service_unavailable")
    assert "QueuePool" not in answer.text


async def test_an_answer_that_does_not_fit_its_model_leaks_nothing(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Answer(BaseModel):
        count: int

    @app.get("/answer", response_model=Answer)
    async def answer_wrongly() -> dict[str, str]:
        return {"count": "tb_a_secret_token"}

    answer = await client.get("/answer")
    assert_is_problem(answer, 500, "internal_error")
    assert "count" in caplog.text
    assert "GET /answer" in caplog.text
    assert "tb_a_secret_token" not in caplog.text + answer.text
