"""What does not fit is named, and never repeated."""

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import Body as BodyParam
from fastapi import FastAPI, Header, Query
from pydantic import AnyUrl, BaseModel, Field, field_validator

pytestmark = pytest.mark.anyio

SECRET = "hunter2-hunter2"


class Point(BaseModel):
    x: int
    y: float


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: Annotated[float, Field(gt=0)]


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Drawing(BaseModel):
    points: list[Point] = []
    named: dict[str, int] = Field({}, alias="named/by~key")
    shape: Annotated[Circle | Square, Field(discriminator="kind")] | None = None
    size: int | list[int] | None = None
    id: UUID | None = None
    link: AnyUrl | None = None
    password: str | None = Field(None, min_length=20)

    @field_validator("size")
    @classmethod
    def _is_even(cls, value: Any) -> Any:
        if value == 3:
            raise ValueError("must be even")
        return value


@pytest.fixture(autouse=True)
def routes(app: FastAPI) -> None:
    @app.post("/drawings")
    async def draw(drawing: Drawing) -> None: ...

    @app.post("/batch")
    async def draw_many(drawings: list[Drawing]) -> None: ...

    @app.post("/shape")
    async def shape(shape: Annotated[Circle | Square, BodyParam(discriminator="kind")]) -> None: ...

    @app.get("/search/{number}")
    async def search(
        number: int,
        page: Annotated[int, Query(ge=1)] = 1,
        tag: Annotated[list[int] | None, Query()] = None,
        x_count: Annotated[int, Header()] = 1,
    ) -> None: ...


async def faults(client: httpx.AsyncClient, url: str, body: Any) -> list[tuple[str, str]]:
    answer = await client.post(url, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "validation_failed"
    assert SECRET not in answer.text
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"points": [{"x": 1, "y": 2}, {"x": SECRET, "y": 1}]}, "/points/1/x", "int_parsing"),
        ({"points": [{"x": 1}]}, "/points/0/y", "missing"),
        ({"points": SECRET}, "/points", "list_type"),
        ({"named/by~key": {"a/b~c": SECRET}}, "/named~1by~0key/a~1b~0c", "int_parsing"),
        ({"shape": {"kind": "circle", "radius": -1}}, "/shape/radius", "greater_than"),
        ({"shape": {"kind": "square"}}, "/shape/side", "missing"),
        ({"shape": {"kind": SECRET}}, "/shape/kind", "union_tag_invalid"),
        ({"shape": {"kind": [SECRET]}}, "/shape/kind", "union_tag_invalid"),
        ({"shape": {}}, "/shape/kind", "missing"),
        ({"shape": SECRET}, "/shape", "model_attributes_type"),
        ({"id": SECRET}, "/id", "uuid_parsing"),
        ({"link": SECRET}, "/link", "url_parsing"),
        ({"password": SECRET}, "/password", "string_too_short"),
        ({"size": 3}, "/size", "value_error"),
        ({"points": [{"x": float("nan"), "y": 1}]}, "/points/0/x", "finite_number"),
        ({"password": "\ud800"}, "/password", "string_unicode"),
        ([], "", "model_attributes_type"),
        (SECRET, "", "model_attributes_type"),
        (None, "", "model_attributes_type"),
    ],
)
async def test_pointers_lead_into_the_body_that_was_sent(
    client: httpx.AsyncClient, body: Any, pointer: str, code: str
) -> None:
    assert await faults(client, "/drawings", body) == [(pointer, code)]


async def test_the_members_of_a_union_are_no_steps(client: httpx.AsyncClient) -> None:
    assert await faults(client, "/drawings", {"size": ["a"]}) == [
        ("/size", "int_type"),
        ("/size/0", "int_parsing"),
    ]


async def test_a_batch_begins_with_the_index(client: httpx.AsyncClient) -> None:
    assert await faults(client, "/batch", [{}, {}, {"id": 1.5}]) == [("/2/id", "uuid_type")]


async def test_a_tag_at_the_top_is_no_step(client: httpx.AsyncClient) -> None:
    assert await faults(client, "/shape", {"kind": "circle"}) == [("/radius", "missing")]
    assert await faults(client, "/shape", {"kind": SECRET}) == [("/kind", "union_tag_invalid")]
    assert await faults(client, "/shape", {}) == [("/kind", "missing")]


async def test_parameters_are_named_by_place(client: httpx.AsyncClient) -> None:
    answer = await client.get("/search/one", params={"page": 0, "tag": [1, SECRET]}, headers={"X-Count": SECRET})
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "path/number",
        "query/page",
        "query/tag",
        "header/x-count",
    }
    assert SECRET not in answer.text


async def test_the_words_of_our_own_validators_arrive(client: httpx.AsyncClient) -> None:
    answer = await client.post("/drawings", json={"size": 3})
    assert answer.json()["errors"] == [{"pointer": "/size", "code": "value_error", "message": "must be even"}]


@pytest.mark.parametrize("body", [b"{", b'{"password": "hunter2-hunter2', b'{"a": hunter2-hunter2}'])
async def test_json_that_is_none(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/drawings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("", "json_invalid")
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"9" * 10_000,
        b'{"password": "\xff\xfe"}',
    ],
    ids=["open brackets", "brackets", "braces", "a long number", "not UTF-8"],
)
async def test_bodies_that_break_the_parser(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/drawings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 1000
    assert "password" not in answer.text


async def test_a_body_that_is_not_declared_as_json(client: httpx.AsyncClient) -> None:
    answer = await client.post("/drawings", content=json.dumps({"password": SECRET}))
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == ["json_expected"]
    assert SECRET not in answer.text


async def test_no_body_at_all(client: httpx.AsyncClient) -> None:
    answer = await client.post("/drawings")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["pointer"], error["code"]) == (422, "", "missing")


async def test_the_list_of_errors_has_an_end(client: httpx.AsyncClient) -> None:
    assert len(await faults(client, "/batch", [1] * 1000)) == 50
