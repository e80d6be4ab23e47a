"""Lists: what is asked for, newest first, page by page."""

from typing import Any, NamedTuple

import pytest

from tests.features.recommendations.support import (
    FUTURE,
    GOOD,
    Caller,
    add_row,
    change,
    good,
    let_expire,
    new_caller,
)
from tests.support.accounts import faults
from tests.support.identity import Service

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller(service: Service) -> Caller:
    return new_caller(service)


class Rows(NamedTuple):
    reader: Caller
    ids: dict[str, int]


@pytest.fixture(scope="module")
def rows(service: Service) -> Rows:
    """A day apart, the first one on 2024-01-01."""
    kinds = {
        "pending": {"symbol": "AAPL"},
        "forever": {"symbol": "BRK.B", "recommendation_type": "sell"},
        "executed": {"symbol": "AAPL", "status": "executed"},
        "closed": {"symbol": "AAPL", "recommendation_type": "hold", "status": "closed"},
        "dismissed": {"symbol": "BTC/USD", "status": "dismissed"},
        "expired": {"symbol": "AAPL", "status": "expired"},
        "overdue": {"symbol": "AAPL", "recommendation_type": "sell"},
    }
    reader = new_caller(service)
    ids = {name: reader.add(**columns) for name, columns in kinds.items()}
    change(service.url, ids["pending"], "expires_at = :at", at=FUTURE.rstrip("Z"))
    let_expire(service.url, ids["overdue"])
    for day, number in enumerate(ids.values(), 1):
        change(service.url, number, "created_at = :at", at=f"2024-01-{day:02}T12:00:00")
    add_row(service.url, new_caller(service).id)
    return Rows(reader, ids)


class TestFilters:
    @pytest.mark.parametrize(
        ("params", "found"),
        [
            ({}, "overdue expired dismissed closed executed forever pending"),
            ({"owner": "me"}, "overdue expired dismissed closed executed forever pending"),
            ({"symbol": "AAPL"}, "overdue expired closed executed pending"),
            ({"symbol": "brk.b"}, "forever"),
            ({"symbol": "BTC/USD"}, "dismissed"),
            ({"symbol": "MSFT"}, ""),
            ({"status": "pending"}, "forever pending"),
            ({"status": "executed"}, "executed"),
            ({"status": "dismissed"}, "dismissed"),
            ({"status": "expired"}, "overdue expired"),
            ({"status": "closed"}, "closed"),
            ({"type": "sell"}, "overdue forever"),
            ({"type": "hold"}, "closed"),
            ({"type": "buy", "symbol": "AAPL", "status": "expired"}, "expired"),
            ({"type": "buy", "status": "closed"}, ""),
            ({"since": "2024-01-06T12:00:00Z"}, "overdue expired"),
            ({"since": "2024-01-06T12:00:00.000001Z"}, "overdue"),
            ({"since": "2024-01-06T14:00:00+02:00"}, "overdue expired"),
            ({"since": "2024-01-06T12:00:00Z", "status": "expired", "symbol": "aapl", "type": "sell"}, "overdue"),
            ({"since": "9999-12-31T23:59:59Z"}, ""),
            ({"since": "0001-01-01T00:00:00Z", "limit": 1}, "overdue"),
        ],
    )
    async def test_filters(self, rows: Rows, params: dict[str, Any], found: str) -> None:
        assert await rows.reader.listed(**params) == [rows.ids[name] for name in found.split()]

    @pytest.mark.parametrize(
        ("params", "pointer", "code"),
        [
            ({"symbol": ""}, "query/symbol", "symbol"),
            ({"symbol": "\uff21APL"}, "query/symbol", "symbol"),
            ({"symbol": "A\0"}, "query/symbol", "symbol"),
            ({"symbol": "x" * 21}, "query/symbol", "symbol"),
            ({"status": "overdue"}, "query/status", "enum"),
            ({"status": "PENDING"}, "query/status", "enum"),
            ({"status": ""}, "query/status", "enum"),
            ({"type": "short"}, "query/type", "literal_error"),
            ({"type": "buy,sell"}, "query/type", "literal_error"),
            ({"since": "2024-01-01"}, "query/since", "datetime_parsing"),
            ({"since": "1704067200"}, "query/since", "datetime_parsing"),
            ({"since": "2024-01-01T00:00:00"}, "query/since", "timezone_aware"),
            ({"since": "0001-01-01T00:00:00+01:00"}, "query/since", "datetime_out_of_range"),
            ({"owner": "1"}, "query/owner", "enum"),
            ({"owner": "None"}, "query/owner", "enum"),
            ({"limit": 0}, "query/limit", "greater_than_equal"),
            ({"limit": 201}, "query/limit", "less_than_equal"),
            ({"cursor": ""}, "query/cursor", "invalid_cursor"),
            ({"cursor": "nonsense"}, "query/cursor", "invalid_cursor"),
        ],
    )
    async def test_what_there_is_not(self, rows: Rows, params: dict[str, Any], pointer: str, code: str) -> None:
        assert faults(await rows.reader.get(**params)) == [(pointer, code)]


class TestPages:
    async def test_each_is_seen_once(self, caller: Caller) -> None:
        there = [caller.add() for _ in range(3)]
        batch = await caller.send([GOOD] * 4, {}, batch=True)
        there += good(batch, 201)["ids"]
        seen, cursor = [], None
        for _ in range(4):
            page = good(await caller.get(limit=2, **({"cursor": cursor} if cursor else {})))
            seen += [item["id"] for item in page["items"]]
            caller.add()
            cursor = page["next_cursor"]
        assert seen == sorted(there, reverse=True)
        assert cursor is None

    async def test_a_filter_holds_on_every_page(self, caller: Caller) -> None:
        there = [caller.add(status=status) for status in ("executed", "pending", "executed", "closed", "executed")]
        first = good(await caller.get(status="executed", limit=2))
        second = good(await caller.get(status="executed", limit=2, cursor=first["next_cursor"]))
        assert [item["id"] for item in first["items"] + second["items"]] == [there[4], there[2], there[0]]
        assert second["next_cursor"] is None

    async def test_what_is_overdue_stands_among_what_has_expired(self, service: Service, caller: Caller) -> None:
        there = [caller.add(status=status) for status in ("pending", "expired") * 3]
        for number in there:
            let_expire(service.url, number)
        caller.add()
        seen: list[tuple[int, str]] = []
        params: dict[str, Any] = {"status": "expired", "limit": 2}
        for _ in range(3):
            page = good(await caller.get(**params))
            seen += [(item["id"], item["status"]) for item in page["items"]]
            params["cursor"] = page["next_cursor"]
        assert params["cursor"] is None
        assert seen == [(number, "expired") for number in reversed(there)]

    async def test_as_many_as_asked_for(self, caller: Caller) -> None:
        ids = good(await caller.send([GOOD] * 201, {}, batch=True), 201)["ids"]
        assert await caller.listed() == ids[:-51:-1]
        assert await caller.listed(limit=200) == ids[:0:-1]

    async def test_another_ones_cursor_is_only_a_place(self, service: Service, caller: Caller) -> None:
        mine = [caller.add() for _ in range(3)]
        other = new_caller(service)
        theirs = [other.add() for _ in range(2)]
        cursor = good(await other.get(limit=1))["next_cursor"]
        assert await caller.listed(cursor=cursor) == mine[::-1]
        cursor = good(await caller.get(limit=1))["next_cursor"]
        assert theirs[0] > mine[1]
        assert await other.listed(cursor=cursor) == []


class TestOldRows:
    async def test_are_shown_as_they_are(self, service: Service, caller: Caller) -> None:
        number = caller.add(
            symbol="aapl ",
            recommendation_type="STRONG_BUY",
            confidence_score="NaN",
            analysis_data='["old", NULL]'.replace("NULL", "null"),
            status="open",
            suggested_entry_price="-Infinity",
            suggested_stop_loss="0.1000000000000000055511151231257827",
            actual_pnl="Infinity",
            execution_price="1e-20",
            accuracy_score="1e20",
        )
        shown = await caller.read(number)
        assert await caller.listed() == [number]
        assert {name: value for name, value in shown.items() if value is not None} == {
            "id": number,
            "symbol": "aapl ",
            "recommendation_type": "STRONG_BUY",
            "confidence_score": "NaN",
            "analysis_data": ["old", None],
            "suggested_entry_price": "-Infinity",
            "suggested_stop_loss": "0.1000000000000000055511151231257827",
            "status": "open",
            "execution_price": "0.00000000000000000001",
            "actual_pnl": "Infinity",
            "accuracy_score": "100000000000000000000",
            "created_at": shown["created_at"],
        }
        assert shown.keys() > {"expires_at", "reasoning"}
