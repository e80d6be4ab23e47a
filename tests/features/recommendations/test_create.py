"""Posting a recommendation: kept as it was sent, for whoever sent it, and pending."""

import re
from typing import Any

import pytest

from tests.features.recommendations.support import (
    FUTURE,
    GOOD,
    PAST,
    RECOMMENDATIONS,
    Caller,
    another_token,
    good,
    new_caller,
    spelled,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute, insufficient

pytestmark = pytest.mark.anyio

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")

PRICES = ("suggested_entry_price", "suggested_stop_loss", "suggested_take_profit", "suggested_position_size")

FULL = GOOD | {
    "analysis_data": {"model": "v7", "signals": [1, None, True, {"rsi": 31.5}], "": {"é": "☃"}},
    "suggested_entry_price": "101.5",
    "suggested_stop_loss": "99",
    "suggested_take_profit": "120.000000001",
    "suggested_position_size": "0.5",
    "reasoning": "It is cheap.\nVery.",
    "market_context": "Calm 🌊",
    "expires_at": "2050-01-31T12:00:00+02:00",
}

UNDECIDED = ("executed_at", "execution_price", "actual_pnl", "actual_pnl_percent", "accuracy_score")


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def idle(service: Service) -> Caller:
    """Has no recommendations, and gets none."""
    return new_caller(service)


async def test_everything_is_kept(caller: Caller) -> None:
    answer = await caller.post(FULL)
    new = good(answer, 201)
    assert answer.headers["location"] == f"{RECOMMENDATIONS}/{new['id']}"
    assert TIME.fullmatch(new["created_at"])
    assert new == FULL | dict.fromkeys(UNDECIDED) | {
        "id": new["id"],
        "status": "pending",
        "created_at": new["created_at"],
        "expires_at": "2050-01-31T10:00:00Z",
    }
    assert await caller.read(new["id"]) == new
    assert good(await caller.get())["items"][0] == new


async def test_what_may_be_left_out(caller: Caller) -> None:
    optional = [*PRICES, "reasoning", "market_context", "expires_at"]
    for body in (GOOD, GOOD | dict.fromkeys(optional)):
        new = good(await caller.post(body), 201)
        assert new == GOOD | dict.fromkeys([*optional, *UNDECIDED]) | {
            "id": new["id"],
            "status": "pending",
            "analysis_data": {},
            "created_at": new["created_at"],
        }


async def test_it_is_made_when_the_database_says(caller: Caller) -> None:
    number = (await caller.create())["id"]
    (row,) = execute(
        caller.service.url,
        "SELECT timezone('utc', now()) - created_at < interval '10 seconds' AS just_now, user_id, status "
        "FROM ai_recommendations WHERE id = :id",
        id=number,
    )
    assert dict(row) == {"just_now": True, "user_id": caller.id, "status": "pending"}


@pytest.mark.parametrize(
    ("symbol", "kept"),
    [
        ("a", "A"),
        ("brk.b", "BRK.B"),
        ("BTC/USD", "BTC/USD"),
        ("^spx", "^SPX"),
        ("EURUSD=X", "EURUSD=X"),
        ("AAPL261218C00190000", "AAPL261218C00190000"),
        ("x" * 20, "X" * 20),
    ],
)
async def test_symbols(caller: Caller, symbol: str, kept: str) -> None:
    assert (await caller.create(symbol=symbol))["symbol"] == kept


@pytest.mark.parametrize("kind", ["buy", "sell", "hold"])
async def test_types(caller: Caller, kind: str) -> None:
    assert (await caller.create(recommendation_type=kind))["recommendation_type"] == kind


async def test_long_texts(caller: Caller) -> None:
    new = await caller.create(reasoning="🌊" * 20_000, market_context="")
    assert (new["reasoning"], new["market_context"]) == ("🌊" * 20_000, "")


NO_SYMBOLS = [
    "",
    " ",
    "AAPL ",
    "AAPL\n",
    "x" * 21,
    "\uff21APL",
    "\u017fpy",
    "\u0131",
    "\u0410APL",
    "AA\u200bPL",
    "🚀",
    ".A",
    "-",
    "A B",
]

INVALID = [
    *[(GOOD | {"symbol": symbol}, "/symbol", "symbol") for symbol in NO_SYMBOLS],
    ({name: value for name, value in GOOD.items() if name != "symbol"}, "/symbol", "missing"),
    (GOOD | {"symbol": "A\0"}, "/symbol", "nul_character"),
    (GOOD | {"symbol": "A\ud800"}, "/symbol", "unpaired_surrogate"),
    (GOOD | {"symbol": None}, "/symbol", "string_type"),
    (GOOD | {"symbol": 7}, "/symbol", "string_type"),
    (GOOD | {"recommendation_type": "BUY"}, "/recommendation_type", "literal_error"),
    (GOOD | {"recommendation_type": "short"}, "/recommendation_type", "literal_error"),
    (GOOD | {"recommendation_type": None}, "/recommendation_type", "literal_error"),
    (GOOD | {"recommendation_type": ["buy"]}, "/recommendation_type", "literal_error"),
    ({name: value for name, value in GOOD.items() if name != "confidence_score"}, "/confidence_score", "missing"),
    (GOOD | {"analysis_data": None}, "/analysis_data", "dict_type"),
    (GOOD | {"analysis_data": []}, "/analysis_data", "dict_type"),
    (GOOD | {"analysis_data": "{}"}, "/analysis_data", "dict_type"),
    (GOOD | {"reasoning": "x" * 20_001}, "/reasoning", "string_too_long"),
    (GOOD | {"reasoning": "a\0b"}, "/reasoning", "nul_character"),
    (GOOD | {"market_context": "x" * 20_001}, "/market_context", "string_too_long"),
    (GOOD | {"market_context": 1}, "/market_context", "string_type"),
    (GOOD | {"expires_at": PAST}, "/expires_at", "in_the_past"),
    (GOOD | {"expires_at": "0001-01-01T00:00:00Z"}, "/expires_at", "in_the_past"),
    (GOOD | {"expires_at": "2050-01-01T00:00:00"}, "/expires_at", "timezone_aware"),
    (GOOD | {"expires_at": "tomorrow"}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": 2524608000}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": "9999-12-31T23:59:59-01:00"}, "/expires_at", "datetime_out_of_range"),
    (GOOD | {"status": "executed"}, "/status", "extra_forbidden"),
    (GOOD | {"user_id": 1}, "/user_id", "extra_forbidden"),
    (GOOD | {"id": 1}, "/id", "extra_forbidden"),
    (GOOD | {"actual_pnl": "1"}, "/actual_pnl", "extra_forbidden"),
    (GOOD | {"created_at": FUTURE}, "/created_at", "extra_forbidden"),
    ([GOOD], "", "model_attributes_type"),
    (None, "", "model_attributes_type"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), INVALID)
async def test_what_does_not_fit_is_named(idle: Caller, body: Any, pointer: str, code: str) -> None:
    assert faults(await idle.post(body)) == [(pointer, code)]
    assert idle.rows() == []


async def test_everything_wrong_is_said_at_once(idle: Caller) -> None:
    body = {"symbol": "", "recommendation_type": "x", "confidence_score": "many", "expires_at": "soon", "more": 1}
    assert {pointer for pointer, _ in faults(await idle.post(body))} == {f"/{name}" for name in body}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", spelled(GOOD) + b"{}", spelled(GOOD, symbol='"\xe9')])
async def test_what_is_no_json(idle: Caller, content: bytes) -> None:
    assert [pointer for pointer, _ in faults(await idle.post(content))] == [""]
    assert idle.rows() == []


async def test_another_content_type(caller: Caller) -> None:
    for media_type in ("text/plain", "application/x-ndjson", ""):
        answer = await caller.send(GOOD, {"Content-Type": media_type})
        assert faults(answer) == [("", "json_expected")]


class TestWhoMay:
    @pytest.mark.parametrize("role", ["owner", "member", "beta_tester"])
    async def test_a_token_that_may_write(self, service: Service, role: str) -> None:
        writer = new_caller(service, role, ("write",))
        new = good(await writer.post(GOOD), 201)
        assert await another_token(writer, "read").listed() == [new["id"]]

    async def test_no_other(self, service: Service) -> None:
        reader = new_caller(service, "owner", ("read", "admin"))
        answer = await reader.post(GOOD)
        assert refusal(answer) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == insufficient("write")
        stranger = reader._replace(headers={})
        assert refusal(await stranger.post(GOOD))[0] == 401
        assert reader.rows() == []

    async def test_nobody_sees_it_but_its_user(self, service: Service, caller: Caller) -> None:
        number = (await caller.create())["id"]
        for role in ("member", "owner"):
            other = new_caller(service, role)
            assert refusal(await other.get(number)) == (404, "not_found")
            assert await other.listed() == []
