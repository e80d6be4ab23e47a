"""Quantities and prices at the edges of what is kept, and beyond; never a digit more or less than was sent."""

from typing import Any

import pytest

from tests.features.order_templates.support import GOOD, PRICES, Caller, good, new_caller, spelled
from tests.support.accounts import faults
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

LARGEST = "123456789012345678.123456789"
"""As many digits as are kept; a double has room for the first sixteen."""

FIELDS = ("quantity", *PRICES)
BODY: dict[str, Any] = GOOD | {"order_type": "stop_limit", "limit_price": "1", "stop_price": "1"}


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def idle(service: Service) -> Caller:
    """Has no templates, and gets none."""
    return new_caller(service)


@pytest.mark.parametrize(
    ("literal", "kept"),
    [
        (LARGEST, LARGEST),
        (f'"{LARGEST}"', LARGEST),
        ("999999999999999999.999999999", "999999999999999999.999999999"),
        ("9007199254740993", "9007199254740993"),
        ("0.1", "0.1"),
        ("0.300000000", "0.300000000"),
        ("12.50", "12.50"),
        ('"12.50"', "12.50"),
        ("1.0", "1.0"),
        ("1", "1"),
        ("0.000000001", "0.000000001"),
        ("1e-9", "0.000000001"),
        ('"1E-9"', "0.000000001"),
        ("1e17", "100000000000000000"),
        ("1.5E+3", "1500"),
        ("123456789012345678123456789e-9", LARGEST),
        ('"007"', "7"),
        ("1e0", "1"),
    ],
)
async def test_every_digit_comes_back(caller: Caller, literal: str, kept: str) -> None:
    literals = dict.fromkeys(FIELDS, literal)
    new = good(await caller.post(spelled(BODY, **literals)), 201)
    assert [new[field] for field in FIELDS] == [kept] * 3
    text = ", ".join(f"{field}::text AS {field}" for field in FIELDS)
    (row,) = execute(caller.service.url, f"SELECT {text} FROM order_templates WHERE id = :id", id=new["id"])
    assert dict(row) == dict.fromkeys(FIELDS, kept)
    order = good(await caller.use(new["id"], spelled({}, **literals)))
    assert [order[field] for field in ("qty", *PRICES)] == [kept] * 3


REFUSED = {
    "NaN": "finite_number",
    "Infinity": "finite_number",
    "-Infinity": "finite_number",
    "1e400": "finite_number",
    "-1e400": "finite_number",
    '"NaN"': "decimal_parsing",
    '"nan"': "decimal_parsing",
    '"sNaN"': "decimal_parsing",
    '"Infinity"': "decimal_parsing",
    '"-inf"': "decimal_parsing",
    '"1e400"': "decimal_whole_digits",
    '"1e4000"': "decimal_parsing",
    "1e-400": "decimal_max_places",
    "0": "greater_than",
    "-0": "greater_than",
    "0.0": "greater_than",
    "-0.0": "greater_than",
    '"0"': "greater_than",
    '"-0"': "greater_than",
    "0e999": "greater_than",
    "-1": "greater_than",
    '"-0.000000001"': "greater_than",
    "0.30000000000000004": "decimal_max_places",
    '"0.30000000000000004"': "decimal_max_places",
    "0.1000000000000000055511151231257827": "decimal_max_places",
    "0.1000000000": "decimal_max_places",
    "1e-10": "decimal_max_places",
    "1.5e-9": "decimal_max_places",
    "9" * 30: "decimal_whole_digits",
    f'"{"9" * 30}"': "decimal_whole_digits",
    "1" + "0" * 18: "decimal_whole_digits",
    "1e18": "decimal_whole_digits",
    "1000000000000000000.5": "decimal_whole_digits",
    "9" * 4300: "decimal_whole_digits",
    f'"{"0" * 64}1"': "decimal_parsing",
    f"0.{'1' * 5000}": "decimal_parsing",
    '""': "decimal_parsing",
    '" 1"': "decimal_parsing",
    '"1 "': "decimal_parsing",
    '"1\\n"': "decimal_parsing",
    '"+1"': "decimal_parsing",
    '"--1"': "decimal_parsing",
    '".5"': "decimal_parsing",
    '"1."': "decimal_parsing",
    '"1,5"': "decimal_parsing",
    '"1_000"': "decimal_parsing",
    '"0x10"': "decimal_parsing",
    '"1e"': "decimal_parsing",
    '"1\\u00a0"': "decimal_parsing",
    '"\uff11\uff12"': "decimal_parsing",
    '"\u0661"': "decimal_parsing",
    '"\xbd"': "decimal_parsing",
    '"\u22121"': "decimal_parsing",
    '"1\\u0000"': "nul_character",
    '"\\ud800"': "unpaired_surrogate",
    "true": "decimal_type",
    "false": "decimal_type",
    '["1"]': "decimal_type",
    '{"1": 1}': "decimal_type",
}


async def test_what_is_no_price(idle: Caller) -> None:
    found = {
        literal: sorted(faults(await idle.post(spelled(BODY, **dict.fromkeys(FIELDS, literal))))) for literal in REFUSED
    }
    assert found == {literal: sorted((f"/{field}", code) for field in FIELDS) for literal, code in REFUSED.items()}
    assert idle.rows() == []


@pytest.mark.parametrize("literal", ["NaN", "0.30000000000000004", "-0", "true", '""'])
async def test_nor_is_it_later(caller: Caller, literal: str) -> None:
    new = good(await caller.post(BODY), 201)
    body = spelled({}, **dict.fromkeys(FIELDS, literal))
    for answer in (await caller.patch(new["id"], body), await caller.use(new["id"], body)):
        assert sorted(pointer for pointer, _ in faults(answer)) == sorted(f"/{field}" for field in FIELDS)
    assert await caller.read(new["id"]) == new


@pytest.mark.parametrize("literal", ["9" * 5000, f"-{'9' * 5000}"])
async def test_an_integer_too_long_to_be_read(idle: Caller, literal: str) -> None:
    answer = await idle.post(spelled(GOOD, quantity=literal))
    assert [pointer for pointer, _ in faults(answer)] == [""]
    assert len(answer.content) < 1000


async def test_no_answer_repeats_what_was_sent(idle: Caller) -> None:
    for literal in ('"31415-sent"', "31415.00000000001", "-31415"):
        answer = await idle.post(spelled(GOOD, quantity=literal))
        assert faults(answer)
        assert "31415" not in answer.text
