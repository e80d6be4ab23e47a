"""Changing and deleting a template: what is left out stays, and the terms are an order's as a whole."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import connect
from tests.features.order_templates.support import PRICES, Caller, good, new_caller, stored, until_blocked
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

STOP_LIMIT = {"order_type": "stop_limit", "limit_price": "9.5", "stop_price": "10.50"}


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


class TestChange:
    @pytest.mark.parametrize(
        ("old", "changes", "new"),
        [
            ({}, {"name": " rally "}, {"name": "rally"}),
            ({}, {"description": "why"}, {"description": "why"}),
            ({"description": "why"}, {"description": None}, {"description": None}),
            ({"description": "why"}, {"description": ""}, {"description": ""}),
            ({"description": None}, {"description": "None"}, {"description": "None"}),
            ({}, {"symbol": "brk.b"}, {"symbol": "BRK.B"}),
            ({}, {"side": "sell"}, {"side": "sell"}),
            ({}, {"quantity": "0.000000001"}, {"quantity": "0.000000001"}),
            ({"quantity": "12.50"}, {"quantity": "12.5"}, {"quantity": "12.5"}),
            ({"quantity": "12.5"}, {"quantity": "12.50"}, {"quantity": "12.50"}),
            ({}, {"time_in_force": "gtc"}, {"time_in_force": "gtc"}),
            ({"time_in_force": "gtc"}, {"time_in_force": "day"}, {"time_in_force": "day"}),
            ({}, {"order_type": "limit", "limit_price": "5"}, {"order_type": "limit", "limit_price": "5"}),
            ({}, {"limit_price": None}, {}),
            (STOP_LIMIT, {"limit_price": "9"}, {"limit_price": "9"}),
            (STOP_LIMIT, {"order_type": "stop", "limit_price": None}, {"order_type": "stop", "limit_price": None}),
            (
                STOP_LIMIT,
                {"order_type": "market", "limit_price": None, "stop_price": None},
                {"order_type": "market", "limit_price": None, "stop_price": None},
            ),
        ],
    )
    async def test_what_is_left_out_stays(
        self, caller: Caller, old: dict[str, Any], changes: dict[str, Any], new: dict[str, Any]
    ) -> None:
        before = await caller.create(**old)
        after = good(await caller.patch(before["id"], changes))
        assert after == before | new | {"updated_at": after["updated_at"]}
        assert (after["updated_at"] > before["updated_at"]) == bool(new)
        assert await caller.read(before["id"]) == after

    @pytest.mark.parametrize("changes", [{}, {"name": "dip"}, {"quantity": "10", "side": "buy"}])
    async def test_what_changes_nothing(self, caller: Caller, changes: dict[str, Any]) -> None:
        before = await caller.create()
        assert good(await caller.patch(before["id"], changes)) == before
        assert await caller.read(before["id"]) == before

    @pytest.mark.parametrize(
        ("old", "changes", "expected"),
        [
            ({}, {"limit_price": "5"}, [("/limit_price", "not_applicable")]),
            ({}, {"order_type": "limit"}, [("/limit_price", "missing")]),
            ({}, {"order_type": "stop_limit"}, [("/limit_price", "missing"), ("/stop_price", "missing")]),
            (
                {},
                {"order_type": "stop", "limit_price": "5"},
                [("/limit_price", "not_applicable"), ("/stop_price", "missing")],
            ),
            (STOP_LIMIT, {"order_type": "market"}, [(f"/{field}", "not_applicable") for field in PRICES]),
            (STOP_LIMIT, {"order_type": "limit"}, [("/stop_price", "not_applicable")]),
            (STOP_LIMIT, {"limit_price": None}, [("/limit_price", "missing")]),
            (STOP_LIMIT, {"name": "rally", "stop_price": None}, [("/stop_price", "missing")]),
            ({}, {"name": None}, [("/name", "string_type")]),
            ({}, {"name": "  "}, [("/name", "string_too_short")]),
            ({}, {"name": "x" * 256}, [("/name", "string_too_long")]),
            ({}, {"name": "a\0"}, [("/name", "nul_character")]),
            ({}, {"description": "x" * 2001}, [("/description", "string_too_long")]),
            ({}, {"description": "\ud800"}, [("/description", "unpaired_surrogate")]),
            ({}, {"symbol": None}, [("/symbol", "string_type")]),
            ({}, {"symbol": "\u0131"}, [("/symbol", "symbol")]),
            ({}, {"side": None}, [("/side", "literal_error")]),
            ({}, {"quantity": None}, [("/quantity", "decimal_type")]),
            ({}, {"quantity": "0"}, [("/quantity", "greater_than")]),
            ({}, {"order_type": None}, [("/order_type", "enum")]),
            ({}, {"time_in_force": None}, [("/time_in_force", "literal_error")]),
            ({}, {"user_id": 1}, [("/user_id", "extra_forbidden")]),
            ({}, {"last_used_at": None}, [("/last_used_at", "extra_forbidden")]),
            ({}, [], [("", "model_attributes_type")]),
            ({}, None, [("", "model_attributes_type")]),
        ],
    )  # fmt: skip
    async def test_what_does_not_fit_changes_nothing(
        self, caller: Caller, old: dict[str, Any], changes: Any, expected: list[tuple[str, str]]
    ) -> None:
        number = caller.add(**old)
        before = stored(caller.service.url, number)
        assert faults(await caller.patch(number, changes)) == expected
        assert stored(caller.service.url, number) == before

    async def test_no_other_template_is_touched(self, caller: Caller) -> None:
        number, other = caller.add(), caller.add()
        before = stored(caller.service.url, other)
        good(await caller.patch(number, {"name": "changed"}))
        assert stored(caller.service.url, other) == before

    async def test_of_two_at_once_the_later_is_measured_by_what_the_earlier_left(self, caller: Caller) -> None:
        """Each alone would do; both together would leave a market order with a price."""
        url = caller.service.url
        number = caller.add(order_type="limit", limit_price="5")
        with connect(url) as connection, connection.begin():
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '15s'"))
            connection.execute(text("SELECT FROM order_templates WHERE id = :id FOR UPDATE"), {"id": number})
            first = asyncio.create_task(caller.patch(number, {"order_type": "market", "limit_price": None}))
            await until_blocked(url)
            second = asyncio.create_task(caller.patch(number, {"limit_price": "6"}))
            await until_blocked(url, 2)
        assert (await first).status_code == 200
        assert faults(await second) == [("/limit_price", "not_applicable")]
        after = await caller.read(number)
        assert (after["order_type"], after["limit_price"]) == ("market", None)


class TestDelete:
    async def test_it_is_gone(self, caller: Caller) -> None:
        keeper, goer = caller.add(), caller.add()
        answer = await caller.send("DELETE", goer)
        assert (answer.status_code, answer.content) == (204, b"")
        for answer in (
            await caller.send("GET", goer),
            await caller.patch(goer, {}),
            await caller.use(goer),
            await caller.send("DELETE", goer),
        ):
            assert refusal(answer) == (404, "not_found")
        assert execute(caller.service.url, "SELECT FROM order_templates WHERE id = :id", id=goer) == []
        assert keeper in await caller.listed()

    async def test_of_two_at_the_same_moment_one_succeeds(self, caller: Caller) -> None:
        number = caller.add()
        answers = await asyncio.gather(*(caller.send("DELETE", number) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 4

    async def test_who_waits_for_a_deletion_finds_nothing(self, caller: Caller) -> None:
        url = caller.service.url
        number = caller.add()
        with connect(url) as deletion, deletion.begin():
            deletion.execute(text("SET LOCAL idle_in_transaction_session_timeout = '15s'"))
            deletion.execute(text("DELETE FROM order_templates WHERE id = :id"), {"id": number})
            waiting = [
                asyncio.create_task(request)
                for request in (caller.use(number), caller.patch(number, {"name": "x"}), caller.send("DELETE", number))
            ]
            await until_blocked(url, 3)
        for answer in await asyncio.gather(*waiting):
            assert refusal(answer) == (404, "not_found")
