"""JSON numbers by their digits, and routes that read their bodies so."""

import asyncio
import copy
import json
import math
import threading
from typing import Annotated, Any

import anyio
import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.web import routing
from app.web.exact_json import JsonNumber, loads
from app.web.routing import ExactJsonRoute
from tests.support.accounts import faults
from tests.support.identity import Service

LITERALS = [
    "123456789012345678.123456789",
    "0.1000000000000000055511151231257827",
    "0.30000000000000004",
    "1.50",
    "-0.0",
    "1e400",
    "-1E-400",
    "1e5",
    "1E+05",
]
NUMBER = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


@pytest.mark.parametrize("literal", LITERALS)
def test_a_fraction_keeps_its_text_and_is_the_float_it_always_was(literal: str) -> None:
    found = loads(f'{{"legs": [{{"price": {literal}}}]}}')["legs"][0]["price"]
    assert isinstance(found, JsonNumber)
    assert found.text == literal
    assert repr(float(found)) == repr(json.loads(literal))
    assert json.dumps(found) == json.dumps(json.loads(literal))


@given(NUMBER)
def test_no_number_loses_a_digit(literal: str) -> None:
    found = loads(literal)
    if any(sign in literal for sign in ".eE"):
        assert (type(found), found.text) == (JsonNumber, literal)
    else:
        assert (type(found), found) == (int, int(literal))


def test_a_copy_keeps_its_value() -> None:
    found = loads("1.50")
    for copied in (copy.copy(found), copy.deepcopy([found])[0]):
        assert (copied, copied.text) == (1.5, "1.50")


def test_everything_else_is_as_ever() -> None:
    value = {"a": [1, -1, 10**100, True, False, None, "1.5", "\0", "\U0001f4c9"], "": {"a": {}, "b": []}}
    text = json.dumps(value, ensure_ascii=False)
    assert loads(text) == loads(text.encode()) == value
    assert loads('{"a": 1, "a": 2}') == {"a": 2}


def test_what_python_takes_for_numbers_is_left_to_whoever_validates() -> None:
    found = loads("[NaN, Infinity, -Infinity]")
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]
    assert not any(isinstance(number, JsonNumber) for number in found)


@pytest.mark.parametrize("text", ["", "{", "01", ".5", "1.", "+1", "1e", "0x1", "1_0", "'a'", "9" * 4301, b'"\xff"'])
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_what_is_nested_too_deeply() -> None:
    with pytest.raises(RecursionError):
        loads("[" * 100_000)


@pytest.mark.anyio
class TestRoute:
    @pytest.fixture(autouse=True)
    def routes(self, app: FastAPI) -> None:
        router = APIRouter(route_class=ExactJsonRoute)

        async def spell(body: Annotated[Any, Body()]) -> list[str]:
            return [getattr(number, "text", repr(number)) for number in body["numbers"]]

        router.post("/exact")(spell)
        app.post("/rounded")(spell)
        app.include_router(router)

    async def post(self, client: httpx.AsyncClient, path: str, content: bytes, **headers: str) -> httpx.Response:
        return await client.post(path, content=content, headers={"Content-Type": "application/json"} | headers)

    async def test_its_body_keeps_every_digit(self, client: httpx.AsyncClient) -> None:
        body = f'{{"numbers": [{", ".join(LITERALS)}, 12345678901234567890, true, "1.50"]}}'.encode()
        answer = await self.post(client, "/exact", body)
        assert answer.json() == [*LITERALS, "12345678901234567890", "True", "'1.50'"]

    async def test_no_other_routes_does(self, client: httpx.AsyncClient) -> None:
        answer = await self.post(client, "/rounded", b'{"numbers": [1.50]}')
        assert answer.json() == ["1.5"]

    @pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/problem+json"])
    async def test_whatever_json_is_called(self, client: httpx.AsyncClient, content_type: str) -> None:
        answer = await client.post("/exact", content=b'{"numbers": [1.50]}', headers={"Content-Type": content_type})
        assert answer.json() == ["1.50"]

    @pytest.mark.parametrize("path", ["/exact", "/rounded"])
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "missing"),
            (b'{"numbers": [1.50}', "json_invalid"),
            (b'{"numbers": [.5]}', "json_invalid"),
            (b'{"numbers": ["\xff"]}', "json_invalid"),
            (b'{"numbers": [' + b"9" * 5000 + b"]}", "json_invalid"),
            (b"[" * 100_000, "json_invalid"),
        ],
        ids=["empty", "broken", "no fraction", "no text", "endless", "deep"],
    )
    async def test_what_is_no_json_is_refused_alike(
        self, client: httpx.AsyncClient, path: str, body: bytes, code: str
    ) -> None:
        assert faults(await self.post(client, path, body)) == [("", code)]


@pytest.mark.anyio
async def test_big_bodies_are_read_in_no_thread_that_a_connection_waits_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_read, begun = threading.Event(), threading.Event()

    def read(body: bytes) -> Any:
        begun.set()
        is_read.wait(10)
        return loads(body)

    monkeypatch.setattr(routing, "loads", read)
    body: Any = {"content": b"[" + b" " * 100_000 + b"]", "headers": {"Content-Type": "application/json"}}
    sent = [asyncio.create_task(service.client.post("/api/recommendations", **body)) for _ in range(5)]
    await anyio.to_thread.run_sync(begun.wait, 10)
    assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    is_read.set()
    assert {answer.status_code for answer in await asyncio.gather(*sent)} == {401}
