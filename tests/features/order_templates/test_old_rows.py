"""Templates of deployments whose columns were DOUBLE PRECISION and whose code checked nothing."""

from typing import Any

import pytest

from tests.features.order_templates.support import Caller, good, new_caller, stored
from tests.support.accounts import faults
from tests.support.identity import Service

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.mark.parametrize(
    ("columns", "shown", "expected"),
    [
        ({"quantity": "NaN"}, {}, [("/quantity", "finite_number")]),
        ({"quantity": "Infinity"}, {}, [("/quantity", "finite_number")]),
        ({"quantity": "-Infinity"}, {}, [("/quantity", "finite_number")]),
        ({"quantity": "0"}, {}, [("/quantity", "greater_than")]),
        ({"quantity": "-1.5"}, {}, [("/quantity", "greater_than")]),
        ({"quantity": "0.30000000000000004"}, {}, [("/quantity", "decimal_max_places")]),
        ({"quantity": "1e300"}, {"quantity": "1" + "0" * 300}, [("/quantity", "decimal_whole_digits")]),
        ({"quantity": "5e-324"}, {"quantity": f"0.{'0' * 323}5"}, [("/quantity", "decimal_max_places")]),
        ({"order_type": "limit"}, {}, [("/limit_price", "missing")]),
        ({"order_type": "limit", "limit_price": "NaN"}, {}, [("/limit_price", "finite_number")]),
        ({"order_type": "limit", "limit_price": "Infinity"}, {}, [("/limit_price", "finite_number")]),
        ({"limit_price": "5"}, {}, [("/limit_price", "not_applicable")]),
        ({"order_type": "LIMIT", "limit_price": "5"}, {}, [("/order_type", "enum")]),
        ({"order_type": "trailing_stop"}, {}, [("/order_type", "enum")]),
        ({"side": "BUY"}, {}, [("/side", "literal_error")]),
        ({"side": ""}, {}, [("/side", "literal_error")]),
        ({"time_in_force": "gtd"}, {}, [("/time_in_force", "literal_error")]),
        ({"symbol": ""}, {}, [("/symbol", "symbol")]),
        ({"symbol": "BTC USD"}, {}, [("/symbol", "symbol")]),
        ({"symbol": "\xc5", "side": "x"}, {}, [("/symbol", "symbol"), ("/side", "literal_error")]),
    ],
)  # fmt: skip
async def test_shown_as_stored_and_never_an_order(
    caller: Caller, columns: dict[str, str], shown: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    number = caller.add(**columns)
    before = stored(caller.service.url, number)
    template = await caller.read(number)
    assert template == template | columns | shown
    assert good(await caller.send("GET", limit=1))["items"] == [template]
    assert faults(await caller.use(number)) == expected
    assert stored(caller.service.url, number) == before


@pytest.mark.parametrize(
    ("columns", "overrides", "order"),
    [
        ({"symbol": "aapl"}, {}, {"symbol": "AAPL"}),
        ({"quantity": "NaN"}, {"quantity": "1"}, {"qty": "1"}),
        ({"quantity": "0.30000000000000004"}, {"quantity": "0.3"}, {"qty": "0.3"}),
        ({"order_type": "limit"}, {"limit_price": "5"}, {"limit_price": "5"}),
        ({"limit_price": "5"}, {"limit_price": None}, {"type": "market", "limit_price": None}),
    ],
)
async def test_what_can_be_an_order_is(
    caller: Caller, columns: dict[str, str], overrides: dict[str, Any], order: dict[str, Any]
) -> None:
    made = good(await caller.use(caller.add(**columns), overrides))
    assert made == made | order


async def test_a_change_that_leaves_the_terms_alone_goes_through(caller: Caller) -> None:
    number = caller.add(quantity="NaN", order_type="limit", symbol="aapl")
    before = await caller.read(number)
    changes = {"name": "renamed", "description": "of old"}
    after = good(await caller.patch(number, changes))
    assert after == before | changes | {"updated_at": after["updated_at"]}


async def test_one_that_does_not_mends_them_all(caller: Caller) -> None:
    number = caller.add(quantity="NaN", order_type="limit", symbol="aapl")
    before = stored(caller.service.url, number)
    assert faults(await caller.patch(number, {"side": "sell"})) == [("/quantity", "finite_number")]
    assert faults(await caller.patch(number, {"quantity": "1"})) == [("/limit_price", "missing")]
    assert stored(caller.service.url, number) == before
    after = good(await caller.patch(number, {"quantity": "1", "limit_price": "2"}))
    assert (after["quantity"], after["limit_price"], after["symbol"]) == ("1", "2", "aapl")
    assert good(await caller.use(number))["symbol"] == "AAPL"
