"""Creating an order template: terms that an order could have, kept as they were sent."""

import re
from itertools import chain, combinations
from typing import Any

import pytest

from tests.features.order_templates.support import (
    GOOD,
    PRICES,
    PRICES_OF,
    TEMPLATES,
    Caller,
    another_token,
    good,
    new_caller,
    spelled,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, insufficient

pytestmark = pytest.mark.anyio

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
EACH_CHOICE = list(chain.from_iterable(combinations(PRICES, size) for size in range(3)))


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def idle(service: Service) -> Caller:
    """Has no templates, and gets none."""
    return new_caller(service)


async def test_the_answer(caller: Caller) -> None:
    answer = await caller.post(GOOD)
    new = good(answer, 201)
    assert answer.headers["location"] == f"{TEMPLATES}/{new['id']}"
    assert new == GOOD | {
        "id": new["id"],
        "description": None,
        "limit_price": None,
        "stop_price": None,
        "time_in_force": "day",
        "created_at": new["created_at"],
        "updated_at": new["created_at"],
        "last_used_at": None,
    }
    assert TIME.fullmatch(new["created_at"])
    assert await caller.read(new["id"]) == new


async def test_all_that_can_be_said(caller: Caller) -> None:
    body = {
        "name": "Ausstieg \U0001f4c9",
        "description": "two\nlines,\tand \u202eothers\u202c",
        "symbol": "BRK.B",
        "side": "sell",
        "quantity": "0.5",
        "order_type": "stop_limit",
        "limit_price": "410.25",
        "stop_price": "412",
        "time_in_force": "gtc",
    }
    new = await caller.create(**body)
    assert {field: new[field] for field in body} == body
    assert await caller.read(new["id"]) == new


@pytest.mark.parametrize("order_type", PRICES_OF)
async def test_each_type_has_exactly_its_prices(idle: Caller, caller: Caller, order_type: str) -> None:
    wanted = PRICES_OF[order_type]
    for given in EACH_CHOICE:
        body = GOOD | {"order_type": order_type} | dict.fromkeys(given, "12.5")
        if given == wanted:
            new = await caller.create(**body)
            assert [new[field] for field in PRICES] == ["12.5" if field in wanted else None for field in PRICES]
            continue
        expected = [(f"/{field}", "missing") for field in wanted if field not in given]
        expected += [(f"/{field}", "not_applicable") for field in given if field not in wanted]
        assert sorted(faults(await idle.post(body))) == sorted(expected)
        nulls = dict.fromkeys(PRICES) | body
        assert sorted(faults(await idle.post(nulls))) == sorted(expected)
    assert idle.rows() == []


async def test_null_is_no_price(caller: Caller) -> None:
    new = await caller.create(order_type="stop", stop_price="1", limit_price=None)
    assert (new["limit_price"], new["stop_price"]) == (None, "1")


@pytest.mark.parametrize("time_in_force", ["day", "gtc", "opg", "cls", "ioc", "fok"])
async def test_each_time_in_force(caller: Caller, time_in_force: str) -> None:
    assert (await caller.create(time_in_force=time_in_force))["time_in_force"] == time_in_force


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"name": "  dip\t"}, {"name": "dip"}),
        ({"name": "x" * 255}, {"name": "x" * 255}),
        ({"name": " " + "\U0001f4c9" * 255}, {"name": "\U0001f4c9" * 255}),
        ({"description": ""}, {"description": ""}),
        ({"description": " x "}, {"description": " x "}),
        ({"description": "\xe4" * 2000}, {"description": "\xe4" * 2000}),
    ],
)
async def test_texts_at_their_limits(caller: Caller, sent: dict[str, str], kept: dict[str, str]) -> None:
    new = await caller.create(**sent)
    assert {field: new[field] for field in kept} == kept
    assert await caller.read(new["id"]) == new


def without(field: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name != field}


INVALID_BODIES: list[tuple[Any, list[tuple[str, str]]]] = [
    *((without(field), [(f"/{field}", "missing")]) for field in GOOD),
    *((GOOD | {field: None}, [(f"/{field}", code)]) for field, code in {
        "name": "string_type", "symbol": "string_type", "side": "literal_error", "quantity": "decimal_type",
        "order_type": "enum", "time_in_force": "literal_error",
    }.items()),
    (GOOD | {"name": ""}, [("/name", "string_too_short")]),
    (GOOD | {"name": " \t\n\u3000"}, [("/name", "string_too_short")]),
    (GOOD | {"name": "x" * 256}, [("/name", "string_too_long")]),
    (GOOD | {"name": "a\0b"}, [("/name", "nul_character")]),
    (GOOD | {"name": "a\ud800b"}, [("/name", "unpaired_surrogate")]),
    (GOOD | {"name": 7}, [("/name", "string_type")]),
    (GOOD | {"name": ["dip"]}, [("/name", "string_type")]),
    (GOOD | {"description": "x" * 2001}, [("/description", "string_too_long")]),
    (GOOD | {"description": "\0"}, [("/description", "nul_character")]),
    (GOOD | {"description": "\udc00\ud800"}, [("/description", "unpaired_surrogate")]),
    (GOOD | {"description": {}}, [("/description", "string_type")]),
    (GOOD | {"side": "BUY"}, [("/side", "literal_error")]),
    (GOOD | {"side": "short"}, [("/side", "literal_error")]),
    (GOOD | {"side": ["buy"]}, [("/side", "literal_error")]),
    (GOOD | {"order_type": "trailing_stop"}, [("/order_type", "enum")]),
    (GOOD | {"order_type": "Market"}, [("/order_type", "enum")]),
    (GOOD | {"time_in_force": "gtd"}, [("/time_in_force", "literal_error")]),
    (GOOD | {"user_id": 1}, [("/user_id", "extra_forbidden")]),
    (GOOD | {"id": 1}, [("/id", "extra_forbidden")]),
    (GOOD | {"last_used_at": "2020-01-01T00:00:00Z"}, [("/last_used_at", "extra_forbidden")]),
    (GOOD | {"a\0": 1}, [("", "nul_character")]),
    ([], [("", "model_attributes_type")]),
    ("x", [("", "model_attributes_type")]),
    (None, [("", "model_attributes_type")]),
    ({"name": "", "side": "x", "more": 1}, [
        ("/name", "string_too_short"), ("/symbol", "missing"), ("/side", "literal_error"), ("/quantity", "missing"),
        ("/order_type", "missing"), ("/more", "extra_forbidden"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), INVALID_BODIES)
async def test_what_does_not_fit_is_named(idle: Caller, body: Any, expected: list[tuple[str, str]]) -> None:
    answer = await idle.post(body)
    assert sorted(faults(answer)) == sorted(expected)
    assert await idle.listed() == []


@pytest.mark.parametrize("body", [b"", b"{", b"{'name': 'dip'}", b'{"name": "\xff"}', b'{"name": "dip",}', b"[" * 9000])
async def test_what_is_no_json(idle: Caller, body: bytes) -> None:
    assert [pointer for pointer, _ in faults(await idle.post(body))] == [""]


async def test_a_huge_body(idle: Caller) -> None:
    answer = await idle.post(spelled(GOOD, description=f'"{"x" * 2_000_000}"'))
    assert refusal(answer) == (413, "payload_too_large")


async def test_who_may(service: Service, caller: Caller) -> None:
    before = caller.rows()
    answer = await another_token(caller, "read", "admin").post(GOOD)
    assert refusal(answer) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == insufficient("write")
    answer = await service.client.post(TEMPLATES, json=GOOD)
    assert refusal(answer) == (401, "not_authenticated")
    assert caller.rows() == before
    assert (await another_token(caller, "write").post(GOOD)).status_code == 201
