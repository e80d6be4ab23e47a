"""A user's own templates: listed page by page, by symbol, and read one by one."""

from typing import Any

import pytest

from tests.features.order_templates.support import (
    NO_ID,
    Caller,
    another_token,
    good,
    new_caller,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute, insufficient, without_request_id

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def other(service: Service) -> Caller:
    """An owner with a template."""
    caller = new_caller(service, "owner")
    caller.add()
    return caller


async def test_newest_first_and_only_ones_own(caller: Caller, other: Caller) -> None:
    assert good(await caller.send("GET")) == {"items": [], "next_cursor": None}
    made = [await caller.create(symbol=symbol) for symbol in ("MSFT", "AAPL", "MSFT")]
    assert good(await caller.send("GET")) == {"items": made[::-1], "next_cursor": None}
    assert good(await caller.send("GET", owner="me")) == {"items": made[::-1], "next_cursor": None}
    assert not {template["id"] for template in made} & set(await other.listed())


async def test_by_symbol(caller: Caller, other: Caller) -> None:
    numbers = {symbol: caller.add(symbol=symbol) for symbol in ("AAPL", "BRK.B", "BTC/USD", "AA")}
    for symbol, number in numbers.items():
        assert await caller.listed(symbol=symbol) == [number]
        assert await caller.listed(symbol=symbol.lower()) == [number]
    assert await caller.listed(symbol="AAP") == []


@pytest.mark.parametrize("symbol", [None, "AAPL"])
async def test_a_client_that_pages_sees_each_once(caller: Caller, symbol: str | None) -> None:
    numbers = [caller.add(symbol=name) for name in ("AAPL", "MSFT") * 3]
    there = numbers[::2] if symbol else numbers
    given = {} if symbol is None else {"symbol": symbol}
    seen: list[int] = []
    cursor: dict[str, str] = {}
    for _ in there:
        page = good(await caller.send("GET", limit=2, **given, **cursor))
        seen += [item["id"] for item in page["items"]]
        caller.add()
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == there[::-1]


def many(caller: Caller, number: int) -> list[int]:
    """The ids, as they are listed."""
    caller.add()
    columns = "user_id, name, symbol, side, quantity, order_type, created_at, updated_at"
    copy = (
        f"INSERT INTO order_templates ({columns}) SELECT {columns} FROM order_templates, generate_series(2, :number) "
        "WHERE user_id = :id"
    )
    execute(caller.service.url, copy, number=number, id=caller.id)
    found = execute(caller.service.url, "SELECT id FROM order_templates WHERE user_id = :id", id=caller.id)
    return sorted((row["id"] for row in found), reverse=True)


async def test_fifty_unless_asked_otherwise(caller: Caller) -> None:
    numbers = many(caller, 51)
    page = good(await caller.send("GET"))
    assert [item["id"] for item in page["items"]] == numbers[:50]
    assert await caller.listed(cursor=page["next_cursor"]) == numbers[50:]
    assert await caller.listed(limit=200) == numbers
    full = good(await caller.send("GET", limit=51))
    assert (len(full["items"]), full["next_cursor"]) == (51, None)


async def test_what_is_deleted_meanwhile_is_no_stumbling_block(caller: Caller) -> None:
    numbers = [caller.add() for _ in range(4)]
    page = good(await caller.send("GET", limit=2))
    for number in numbers[1:3]:
        assert (await caller.send("DELETE", number)).status_code == 204
    assert await caller.listed(limit=2, cursor=page["next_cursor"]) == numbers[:1]


async def test_anothers_cursor_shows_nothing_of_theirs(caller: Caller, other: Caller) -> None:
    for _ in range(2):
        caller.add()
    cursor = good(await caller.send("GET", limit=1))["next_cursor"]
    shown = await other.listed(cursor=cursor)
    assert not set(shown) & set(await caller.listed())
    assert set(shown) <= set(await other.listed())


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"limit": 0}, "query/limit"),
        ({"limit": 201}, "query/limit"),
        ({"limit": "1e1"}, "query/limit"),
        ({"cursor": "nonsense"}, "query/cursor"),
        ({"cursor": ""}, "query/cursor"),
        ({"owner": "all"}, "query/owner"),
        ({"owner": ""}, "query/owner"),
        ({"owner": "1"}, "query/owner"),
    ],
)
async def test_pages_there_are_not(other: Caller, params: dict[str, Any], pointer: str) -> None:
    assert [where for where, _ in faults(await other.send("GET", **params))] == [pointer]


async def test_a_cursor_of_another_list(other: Caller) -> None:
    url = "/api/recommendations"
    body = {"symbol": "AAPL", "recommendation_type": "buy", "confidence_score": "1"}
    for _ in range(2):
        await other.service.client.post(url, headers=other.headers, json=body)
    page = await other.service.client.get(url, headers=other.headers, params={"limit": 1})
    answer = await other.send("GET", cursor=good(page)["next_cursor"])
    assert faults(answer) == [("query/cursor", "invalid_cursor")]


ROUTES: list[tuple[Any, ...]] = [
    ("GET", "{}"),
    ("PATCH", "{}", {"name": "mine"}),
    ("DELETE", "{}"),
    ("POST", "{}/use"),
    ("POST", "{}/use", {"quantity": "1"}),
]
"""Method, path and body of every operation on one template."""


async def test_anothers_is_not_there(service: Service, other: Caller) -> None:
    theirs = other.add()
    before = other.rows()
    for caller in (new_caller(service), new_caller(service, "owner")):
        for method, path, *body in ROUTES:
            foreign = await caller.send(method, path.format(theirs), *body)
            assert refusal(foreign) == (404, "not_found")
            missing = await caller.send(method, path.format(NO_ID), *body)
            assert without_request_id(foreign) == without_request_id(missing)
    assert other.rows() == before


async def test_ids_nothing_can_have(other: Caller) -> None:
    for method, path, *body in ROUTES:
        for number in ("0", "-1", "2147483648", "9" * 30, "9" * 5000):
            assert refusal(await other.send(method, path.format(number), *body)) == (404, "not_found")
        for number in ("abc", "1.0", "1e3", "%D9%A1", "1%00"):
            answer = await other.send(method, path.format(number), *body)
            assert faults(answer) == [("path/template_id", "int_parsing")]


async def test_who_may(other: Caller) -> None:
    theirs = other.add()
    before = other.rows()
    without = {scope: another_token(other, *({"read", "write", "admin"} - {scope})) for scope in ("read", "write")}
    for method, path, *body in [("GET", ""), ("POST", "", {}), *ROUTES]:
        needed = "read" if method == "GET" else "write"
        answer = await without[needed].send(method, path.format(theirs), *body)
        assert refusal(answer) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == insufficient(needed)
        answer = await other._replace(headers={}).send(method, path.format(theirs), *body)
        assert refusal(answer) == (401, "not_authenticated")
    assert other.rows() == before
