"""Numbers at the edges of what is kept, and beyond; never a digit more or less than was sent."""

import pytest

from tests.features.recommendations.support import (
    CLOSE,
    EXECUTE,
    GOOD,
    Caller,
    change,
    good,
    new_caller,
    spelled,
)
from tests.support.accounts import faults
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

LARGEST = "999999999999999999.999999999"
PRICES = ["suggested_entry_price", "suggested_stop_loss", "suggested_take_profit", "suggested_position_size"]


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def idle(service: Service) -> Caller:
    """Has no recommendations, and gets none."""
    return new_caller(service)


@pytest.mark.parametrize(
    ("literal", "kept"),
    [
        ("12.5", "12.5"),
        ("12.50", "12.50"),
        ('"12.50"', "12.50"),
        ("0.1", "0.1"),
        ("1e-9", "0.000000001"),
        ('"1E-9"', "0.000000001"),
        ("1e17", "100000000000000000"),
        ("1.5e3", "1500"),
        (LARGEST, LARGEST),
        (f'"{LARGEST}"', LARGEST),
        ("9007199254740993", "9007199254740993"),
        ("0.123456789", "0.123456789"),
        ('"007"', "7"),
    ],
)
async def test_prices(caller: Caller, literal: str, kept: str) -> None:
    new = good(await caller.post(spelled(GOOD, **dict.fromkeys(PRICES, literal))), 201)
    assert [new[field] for field in PRICES] == [kept] * 4
    assert await caller.read(new["id"]) == new
    text = ", ".join(f"{field}::text AS {field}" for field in PRICES)
    (row,) = execute(caller.service.url, f"SELECT {text} FROM ai_recommendations WHERE id = :id", id=new["id"])
    assert dict(row) == dict.fromkeys(PRICES, kept)


NO_PRICES = [
    ("NaN", "finite_number"),
    ("Infinity", "finite_number"),
    ("-Infinity", "finite_number"),
    ("1e400", "finite_number"),
    ('"NaN"', "decimal_parsing"),
    ('"sNaN"', "decimal_parsing"),
    ('"Infinity"', "decimal_parsing"),
    ('"-inf"', "decimal_parsing"),
    ('"1e400"', "decimal_whole_digits"),
    ('"1e4000"', "decimal_parsing"),
    ('"1e-400"', "decimal_max_places"),
    ("1e-400", "decimal_max_places"),
    ("0", "greater_than"),
    ("-0", "greater_than"),
    ("-0.0", "greater_than"),
    ('"-0"', "greater_than"),
    ("0e999", "greater_than"),
    ("-1", "greater_than"),
    ("-0.000000001", "greater_than"),
    ("9" * 30, "decimal_whole_digits"),
    (f'"{"9" * 30}"', "decimal_whole_digits"),
    ("9" * 4000, "decimal_whole_digits"),
    ("1e18", "decimal_whole_digits"),
    ("1000000000000000000", "decimal_whole_digits"),
    ("0.0000000001", "decimal_max_places"),
    ("0.1234567891", "decimal_max_places"),
    ("0.3000000000", "decimal_max_places"),
    ("0.1000000000000000055511151231257827", "decimal_max_places"),
    ("0.30000000000000004", "decimal_max_places"),
    (f'"{"1" * 65}"', "decimal_parsing"),
    ('""', "decimal_parsing"),
    ('" 1"', "decimal_parsing"),
    ('"1\\n"', "decimal_parsing"),
    ('"+1"', "decimal_parsing"),
    ('".5"', "decimal_parsing"),
    ('"1."', "decimal_parsing"),
    ('"1,5"', "decimal_parsing"),
    ('"1_000"', "decimal_parsing"),
    ('"0x10"', "decimal_parsing"),
    ('"\uff11"', "decimal_parsing"),
    ('"\u0663"', "decimal_parsing"),
    ('"1\\u0000"', "nul_character"),
    ("true", "decimal_type"),
    ('["1"]', "decimal_type"),
    ("{}", "decimal_type"),
]


@pytest.mark.parametrize(("literal", "code"), NO_PRICES)
async def test_what_is_no_price(idle: Caller, literal: str, code: str) -> None:
    answer = await idle.post(spelled(GOOD, **dict.fromkeys(PRICES, literal)))
    assert sorted(faults(answer)) == sorted((f"/{field}", code) for field in PRICES)
    answer = await idle.patch(1, spelled({"status": "executed"}, execution_price=literal))
    assert faults(answer) == [("/execution_price", code)]
    assert idle.rows() == []


async def test_a_number_too_long_to_be_read(caller: Caller) -> None:
    answer = await caller.post(spelled(GOOD, suggested_entry_price="9" * 5000))
    assert [pointer for pointer, _ in faults(answer)] == [""]


@pytest.mark.parametrize(
    ("literal", "kept"),
    [
        ("0", "0"),
        ("-0", "0"),
        ('"-0.0"', "0"),
        ("1e-9", "0.000000001"),
        ("70", "70"),
        ('"70.0"', "70.0"),
        ("99.999999999", "99.999999999"),
        ("100", "100"),
        ("1e2", "100"),
        ("100.000000000", "100.000000000"),
    ],
)
async def test_confidence(caller: Caller, literal: str, kept: str) -> None:
    new = good(await caller.post(spelled(GOOD, confidence_score=literal)), 201)
    assert new["confidence_score"] == kept == (await caller.read(new["id"]))["confidence_score"]


@pytest.mark.parametrize(
    ("literal", "code"),
    [
        ("100.000000001", "out_of_range"),
        ('"100.000000001"', "out_of_range"),
        ("-1", "out_of_range"),
        ("-0.000000001", "out_of_range"),
        ("100.0000000001", "decimal_max_places"),
        ("1e400", "finite_number"),
        ("NaN", "finite_number"),
        ('"NaN"', "decimal_parsing"),
        ("9" * 30, "decimal_whole_digits"),
        ("null", "decimal_type"),
        ('"70%"', "decimal_parsing"),
    ],
)
async def test_what_is_no_confidence(caller: Caller, literal: str, code: str) -> None:
    assert faults(await caller.post(spelled(GOOD, confidence_score=literal))) == [("/confidence_score", code)]


class TestOutcome:
    @pytest.mark.parametrize(
        ("literal", "kept"),
        [
            ("12.50", "12.50"),
            ("-12.5", "-12.5"),
            ("0", "0"),
            ("-0", "0"),
            (f"-{LARGEST}", f"-{LARGEST}"),
            ('"-1e-9"', "-0.000000001"),
        ],
    )
    async def test_profit_and_loss(self, caller: Caller, literal: str, kept: str) -> None:
        number = caller.add(status="executed")
        body = spelled({"status": "closed"}, actual_pnl=literal, actual_pnl_percent=literal)
        closed = good(await caller.patch(number, body))
        assert (closed["actual_pnl"], closed["actual_pnl_percent"]) == (kept, kept)
        assert await caller.read(number) == closed

    @pytest.mark.parametrize(
        ("confidence", "pnl", "score"),
        [
            ("100", "0.000000001", "100.000000000"),
            ("100", "0", "0.000000000"),
            ("100", "-5", "0.000000000"),
            ("0", "-5", "100.000000000"),
            ("0", "5", "0.000000000"),
            ("50", "5", "75.000000000"),
            ("50", "-5", "75.000000000"),
            ("70", "1", "91.000000000"),
            ("70", "-1", "51.000000000"),
            ("33.333333333", "-1", "88.888888889"),
            ("0.000000001", LARGEST, "0.000000002"),
            ("99.999999999", "-1", "0.000000002"),
        ],
    )
    async def test_accuracy_score(self, caller: Caller, confidence: str, pnl: str, score: str) -> None:
        number = (await caller.create(confidence_score=confidence))["id"]
        assert (await caller.move(number, EXECUTE))["accuracy_score"] is None
        closed = await caller.move(number, CLOSE | {"actual_pnl": pnl})
        assert closed["accuracy_score"] == score == (await caller.read(number))["accuracy_score"]

    @pytest.mark.parametrize("confidence", ["NaN", "Infinity", "-Infinity", "-1", "100.5", "1e300"])
    async def test_no_score_where_the_confidence_is_none(self, caller: Caller, confidence: str) -> None:
        number = caller.add(status="executed", confidence_score=confidence, accuracy_score="7")
        closed = await caller.move(number, CLOSE)
        assert (closed["status"], closed["accuracy_score"]) == ("closed", None)

    async def test_the_confidence_of_an_old_row(self, service: Service, caller: Caller) -> None:
        number = caller.add(status="executed")
        change(service.url, number, "confidence_score = 66.66666666666667")
        assert (await caller.move(number, CLOSE))["accuracy_score"] == "88.888888889"
