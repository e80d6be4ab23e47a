"""What bodies, ids and query texts may be."""

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, ValidationError

from app.core.errors import NotFound
from app.web.schemas import MAX_DEPTH, Body, QueryText, Reply, RowId

pytestmark = pytest.mark.anyio


class Leg(Body):
    symbol: str
    quantity: Decimal | None = None


class Order(Body):
    name: str | None = None
    password: SecretStr | None = None
    legs: list[Leg] = Field(default_factory=list)
    notes: dict[str, Any] = Field(default_factory=dict)


class Seen(Reply):
    name: str


@pytest.fixture(autouse=True)
def routes(app: FastAPI) -> None:
    @app.post("/orders")
    async def order(order: Order) -> Order:
        return order

    @app.get("/rows/{row_id}")
    async def row(row_id: RowId) -> int:
        return row_id

    @app.get("/rows")
    async def rows(q: QueryText = "", user_id: RowId | None = None) -> str:
        return q


WIDE: Any = [[[]] * 60_000, [[]] * 60_000]
"""More values than a body may hold."""


async def test_a_body_with_too_many_values_is_refused_before_pydantic_sees_it(client: httpx.AsyncClient) -> None:
    deep = WIDE
    for _ in range(MAX_DEPTH - 10):
        deep = [deep]
    answer = await post(client, {"notes": {"a": deep}})
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == ["too_many_values"]


async def test_a_body_with_a_thousand_unknown_fields_is_one_error(client: httpx.AsyncClient) -> None:
    answer = await post(client, {f"field{number}": 1 for number in range(1000)})
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == ["too_many_fields"]


@pytest.mark.parametrize(("text", "status"), [("00000000001", 200), ("+1", 422), ("-1", 404), ("-0", 404), ("٣", 422)])
async def test_spellings_of_an_id(client: httpx.AsyncClient, text: str, status: int) -> None:
    assert (await client.get(f"/rows/{text}")).status_code == status


async def post(client: httpx.AsyncClient, body: Any) -> httpx.Response:
    return await client.post("/orders", content=json.dumps(body), headers={"Content-Type": "application/json"})


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


async def test_a_body_is_taken_as_it_is(client: httpx.AsyncClient) -> None:
    body = {"name": "  ü 😀 \t\n ", "notes": {"é": [1, 1.5, None, True, {"x": "\u2028"}]}}
    answer = await post(client, body)
    assert answer.status_code == 200
    assert answer.json()["name"] == body["name"]
    assert answer.json()["notes"] == body["notes"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"nmae": "x"}, "/nmae", "extra_forbidden"),
        ({"legs": [{"symbol": "A", "side": 1}]}, "/legs/0/side", "extra_forbidden"),
        ({"name": "a\0b"}, "/name", "nul_character"),
        ({"name": "a\ud800b"}, "/name", "unpaired_surrogate"),
        ({"name": "\udc00\ud800"}, "/name", "unpaired_surrogate"),
        ({"password": "a\0b"}, "/password", "nul_character"),
        ({"legs": [{"symbol": "A"}, {"symbol": "\0"}]}, "/legs/1/symbol", "nul_character"),
        ({"notes": {"a/b": [{"~": ["x", "\0"]}]}}, "/notes/a~1b/0/~0/1", "nul_character"),
        ({"notes": {"a": {"\0": 1}}}, "/notes/a", "nul_character"),
        ({"notes": {"\ud800": 1}}, "/notes", "unpaired_surrogate"),
        ({"\ud800": 1}, "", "unpaired_surrogate"),
        ({"notes": {"a": float("nan")}}, "/notes/a", "finite_number"),
        ({"notes": {"a": [float("-inf")]}}, "/notes/a/0", "finite_number"),
        ({"notes": nested(MAX_DEPTH)}, "/notes" + "/a" * (MAX_DEPTH - 1), "too_deep"),
    ],
)
async def test_what_no_column_can_hold(client: httpx.AsyncClient, body: Any, pointer: str, code: str) -> None:
    answer = await post(client, body)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


async def test_what_is_accepted_can_be_answered(client: httpx.AsyncClient) -> None:
    answer = await post(client, {"notes": nested(MAX_DEPTH - 2)})
    assert answer.status_code == 200
    assert answer.json()["notes"] == nested(MAX_DEPTH - 2)


async def test_pairs_of_surrogates_are_characters(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/orders", content=b'{"name": "\\ud83d\\ude00"}', headers={"Content-Type": "application/json"}
    )
    assert answer.json()["name"] == "😀"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_that_json_does_not_know(client: httpx.AsyncClient, number: str) -> None:
    answer = await client.post(
        "/orders",
        content=f'{{"legs": [{{"symbol": "A", "quantity": {number}}}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/legs/0/quantity"


async def test_the_faults_of_a_body_have_an_end(client: httpx.AsyncClient) -> None:
    answer = await post(client, {"notes": {"a": ["\0"] * 1000}})
    assert len(answer.json()["errors"]) == 20


def test_an_error_that_is_logged_does_not_quote() -> None:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate({"password": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=[])), children),
    max_leaves=10,
)


@given(JSON)
def test_what_is_taken_can_be_stored(value: Any) -> None:
    try:
        order = Order.model_validate({"notes": {"value": value}})
    except ValidationError:
        return
    stored = json.dumps(order.notes, ensure_ascii=False, allow_nan=False).encode()
    assert b"\\u0000" not in stored


def test_a_reply_takes_a_row() -> None:
    class Row:
        name = "x"

    assert Seen.model_validate(Row()).name == "x"


@pytest.mark.parametrize("sent", ["1", "42", "2147483647"])
async def test_ids_that_fit(client: httpx.AsyncClient, sent: str) -> None:
    answer = await client.get(f"/rows/{sent}")
    assert (answer.status_code, answer.json()) == (200, int(sent))


@pytest.mark.parametrize("sent", ["0", "-1", "-0", "2147483648", "1" + "0" * 40, "9" * 10_000, "-" + "9" * 50])
async def test_ids_no_row_can_have(client: httpx.AsyncClient, sent: str) -> None:
    for url in (f"/rows/{sent}", f"/rows?user_id={sent}"):
        answer = await client.get(url)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("sent", ["a", "1.0", "1_0", "%201", "1e3", "٣", "0x1", "%00", "null", "+"])
async def test_ids_that_are_none(client: httpx.AsyncClient, sent: str) -> None:
    answer = await client.get(f"/rows/{sent}")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"pointer": "path/row_id", "code": "int_parsing", "message": "Input should be a valid integer"}
    ]


def test_ids_from_within() -> None:
    class Holder(Body):
        id: RowId

    assert Holder(id=7).id == 7
    with pytest.raises(NotFound):
        Holder.model_validate({"id": "0"})


async def test_query_texts(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rows", params={"q": "ü 😀"})).json() == "ü 😀"
    answer = await client.get("/rows?q=a%00b")
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("query/q", "nul_character")]


async def test_the_document_says_what_an_id_is(app: FastAPI) -> None:
    (parameter,) = app.openapi()["paths"]["/rows/{row_id}"]["get"]["parameters"]
    assert parameter["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 2147483647,
        "title": "Row Id",
    }
