"""Using a template: the order that it stands for, another one each time, and a note of when that was."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import connect
from app.features.order_templates import service as order_templates
from app.models.database import OrderTemplate
from app.web.session import transaction
from tests.features.order_templates.support import Caller, good, new_caller, stored, until_blocked
from tests.support.accounts import faults
from tests.support.identity import Service, application, execute

pytestmark = pytest.mark.anyio

CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,48}")
NOW = "SELECT timezone('utc', clock_timestamp()) AS now"
LIMIT = {"order_type": "limit", "limit_price": "9.50"}
STOP = {"order_type": "stop", "stop_price": "10"}
STOP_LIMIT = LIMIT | STOP | {"order_type": "stop_limit"}


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


def now(caller: Caller) -> datetime:
    (row,) = execute(caller.service.url, NOW)
    moment: datetime = row["now"]
    return moment


def last_used(caller: Caller, number: int) -> datetime:
    (row,) = execute(caller.service.url, "SELECT last_used_at FROM order_templates WHERE id = :id", id=number)
    moment: datetime = row["last_used_at"]
    return moment


@pytest.mark.parametrize("body", [[], [None], [{}], [b""]], ids=["none", "null", "object", "empty"])
async def test_the_order(caller: Caller, body: list[Any]) -> None:
    template = await caller.create(**STOP_LIMIT, symbol="btc/usd", side="sell", quantity="0.10", time_in_force="gtc")
    order = good(await caller.use(template["id"], *body))
    assert CLIENT_ORDER_ID.fullmatch(order["client_order_id"])
    assert order == {
        "symbol": "BTC/USD",
        "side": "sell",
        "type": "stop_limit",
        "time_in_force": "gtc",
        "qty": "0.10",
        "limit_price": "9.50",
        "stop_price": "10",
        "client_order_id": order["client_order_id"],
    }


@pytest.mark.parametrize(
    ("terms", "overrides", "expected"),
    [
        ({}, {"quantity": "0.000000001"}, {"qty": "0.000000001"}),
        ({}, {"limit_price": None, "stop_price": None}, {}),
        (LIMIT, {"limit_price": "9.5"}, {"limit_price": "9.5"}),
        (STOP, {"stop_price": "11", "limit_price": None}, {"stop_price": "11"}),
        (
            STOP_LIMIT,
            {"quantity": "3", "limit_price": "1", "stop_price": "2"},
            {"qty": "3", "limit_price": "1", "stop_price": "2"},
        ),
    ],
)
async def test_overrides_are_for_this_order_alone(
    caller: Caller, terms: dict[str, Any], overrides: dict[str, Any], expected: dict[str, str]
) -> None:
    template = await caller.create(**terms)
    plain = good(await caller.use(template["id"]))
    order = good(await caller.use(template["id"], overrides))
    assert order == plain | expected | {"client_order_id": order["client_order_id"]}
    after = await caller.read(template["id"])
    assert after == template | {"last_used_at": after["last_used_at"]}


@pytest.mark.parametrize(
    ("terms", "overrides", "expected"),
    [
        ({}, {"limit_price": "5"}, [("/limit_price", "not_applicable")]),
        ({}, {"stop_price": "5"}, [("/stop_price", "not_applicable")]),
        (LIMIT, {"limit_price": None}, [("/limit_price", "missing")]),
        (LIMIT, {"stop_price": "5"}, [("/stop_price", "not_applicable")]),
        (
            STOP,
            {"limit_price": "5", "stop_price": None},
            [("/limit_price", "not_applicable"), ("/stop_price", "missing")],
        ),
        (STOP_LIMIT, {"stop_price": None}, [("/stop_price", "missing")]),
        ({}, {"quantity": None}, [("/quantity", "decimal_type")]),
        ({}, {"quantity": "0"}, [("/quantity", "greater_than")]),
        ({}, {"symbol": "MSFT"}, [("/symbol", "extra_forbidden")]),
        ({}, {"side": "sell"}, [("/side", "extra_forbidden")]),
        ({}, {"order_type": "market"}, [("/order_type", "extra_forbidden")]),
        ({}, {"client_order_id": "mine"}, [("/client_order_id", "extra_forbidden")]),
        ({}, {"qty": "1"}, [("/qty", "extra_forbidden")]),
        ({}, [], [("", "model_attributes_type")]),
        ({}, "1", [("", "model_attributes_type")]),
    ],
)  # fmt: skip
async def test_what_makes_no_order_is_no_use(
    caller: Caller, terms: dict[str, Any], overrides: Any, expected: list[tuple[str, str]]
) -> None:
    number = caller.add(**terms)
    before = stored(caller.service.url, number)
    assert faults(await caller.use(number, overrides)) == expected
    assert stored(caller.service.url, number) == before


async def test_each_order_has_an_id_of_its_own(caller: Caller) -> None:
    numbers = [caller.add(), caller.add(id=2**31 - 1)]
    answers = await asyncio.gather(*(caller.use(number) for number in numbers * 5))
    ids = {good(answer)["client_order_id"] for answer in answers}
    assert len(ids) == 10
    assert all(CLIENT_ORDER_ID.fullmatch(each) for each in ids)


async def test_a_use_is_noted_by_the_databases_clock_and_is_no_change(caller: Caller) -> None:
    number = caller.add()
    execute(
        caller.service.url,
        "UPDATE order_templates SET updated_at = '2020-01-01', last_used_at = '2020-01-02' WHERE id = :id",
        id=number,
    )
    before = stored(caller.service.url, number)
    earliest = now(caller)
    good(await caller.use(number))
    used = last_used(caller, number)
    assert earliest < used < now(caller)
    as_stored = f"{used:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    assert stored(caller.service.url, number) == before.replace("2020-01-02 00:00:00", as_stored)
    assert (await caller.read(number))["last_used_at"] == f"{used.isoformat()}Z"


async def test_who_waited_for_the_row_uses_it_when_it_comes_to_it(caller: Caller) -> None:
    """Not when it began to wait, or the one that is served last could be noted as the earlier one."""
    url, number = caller.service.url, caller.add()
    with connect(url) as connection, connection.begin():
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '15s'"))
        connection.execute(text("SELECT FROM order_templates WHERE id = :id FOR UPDATE"), {"id": number})
        uses = [asyncio.create_task(caller.use(number)) for _ in range(2)]
        await until_blocked(url, 2)
        released = now(caller)
    orders = [good(answer) for answer in await asyncio.gather(*uses)]
    assert len({order["client_order_id"] for order in orders}) == 2
    assert released < last_used(caller, number)


async def test_of_two_at_once_the_later_is_noted(caller: Caller) -> None:
    engine, number = application(caller.service.client).state.engine, caller.add()

    def use(quantity: str) -> tuple[Decimal, datetime]:
        with transaction(engine) as session:
            order = order_templates.use(session, caller.id, number, {"quantity": Decimal(quantity)})
            template = session.get_one(OrderTemplate, number, populate_existing=True)
            assert template.last_used_at is not None
            return order.qty, template.last_used_at

    with ThreadPoolExecutor(1) as threads:
        with transaction(engine) as session:
            order_templates.use(session, caller.id, number, {})
            earlier = session.get_one(OrderTemplate, number, populate_existing=True).last_used_at
            later = threads.submit(use, "2")
            await until_blocked(caller.service.url)
        quantity, moment = later.result(20)
    assert quantity == 2
    assert earlier is not None
    assert earlier < moment
    assert last_used(caller, number) == moment.replace(tzinfo=None)
