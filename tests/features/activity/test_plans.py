"""A page costs what its rows cost, however long the log is and whatever is asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.db.engine import connect
from app.features.activity import service
from app.identity.activity import Action
from app.web.paging import PageParams, Place, encode_cursor
from tests.support import postgres
from tests.support.plans import blocks_read, node_types, page_plan, plans, rows_read

ROWS = 20_000
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
MIDDLE = FIRST + timedelta(minutes=ROWS // 2)

# A row each minute: half of them tell of user 1, twenty of user 2, and some five hundred of each of the others.
# They lie in no order, or going back in time and passing most rows by would be the cheaper way at times.
FILL = """
    INSERT INTO activity_log (user_id, action_type, details, timestamp)
    SELECT CASE WHEN n % 2 = 0 THEN 1 WHEN n % 1000 = 1 THEN 2 ELSE 3 + n % 19 END,
           CASE WHEN n % 40 = 0 THEN 'claimed' WHEN n % 3 = 0 THEN 'sign_in_failed' ELSE 'signed_in' END,
           '{}', CAST(:first AS timestamp) + n * interval '1 minute'
    FROM generate_series(1, :rows) AS n ORDER BY md5(CAST(n AS text))
"""
ENOUGH = 150
"""Rows and blocks that may be looked at for a page of 50."""

PRUNED = 500
"""Blocks that may be looked at to delete 50: of each row those of indexes and of the row, more than once."""


@pytest.fixture(scope="module")
def connection(server_url: str, template: str) -> Iterator[Connection]:
    with postgres.database(server_url, like=template) as url, connect(url) as connection:
        connection.execute(text(FILL), {"first": FIRST.replace(tzinfo=None), "rows": ROWS})
        connection.execute(text("ANALYZE activity_log"))
        connection.commit()
        yield connection


@pytest.mark.parametrize("deep", [False, True], ids=["first page", "deep page"])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"user_id": 1},
        {"user_id": 2},
        {"user_id": 10},
        {"user_id": 4_000},
        {"action": Action.SIGNED_IN},
        {"action": Action.CLAIMED},
        {"action": Action.TOKEN_REVOKED},
        {"since": FIRST},
        {"until": MIDDLE},
        {"since": MIDDLE, "until": MIDDLE + timedelta(hours=1)},
        {"user_id": 1, "since": FIRST, "until": MIDDLE},
        {"user_id": 10, "since": MIDDLE},
        {"action": Action.SIGN_IN_FAILED, "since": FIRST, "until": MIDDLE},
        {"user_id": 1, "action": Action.SIGNED_IN},
        {"user_id": 1, "action": Action.SIGN_IN_FAILED, "since": FIRST, "until": MIDDLE},
        {"user_id": 1, "action": Action.CLAIMED},
        {"user_id": 1, "action": Action.TOKEN_REVOKED},
        {"user_id": 10, "action": Action.CLAIMED},
        {"user_id": 4_000, "action": Action.SIGNED_IN},
    ],
    ids=lambda filters: " ".join(f"{name}={str(value)[:10]}" for name, value in filters.items()) or "none",
)
def test_no_more_is_read_than_a_page_needs(connection: Connection, filters: dict[str, Any], deep: bool) -> None:
    place = Place("activity_log", ((MIDDLE - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), 10_000))
    page = PageParams(50, encode_cursor(place) if deep else None)
    found = page_plan(connection, service.activity(**filters), service.NEWEST_FIRST, page)
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) < ENOUGH
    assert blocks_read(found) < ENOUGH


@pytest.mark.parametrize(
    "age", [timedelta(0), datetime.now(UTC) - MIDDLE, timedelta(36_500)], ids=["all", "half", "none"]
)
def test_to_delete_the_oldest_no_other_is_looked_at(connection: Connection, age: timedelta) -> None:
    (found,) = plans(connection, lambda session: service.prune_activity(age, session, 50))
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) <= 50
    assert blocks_read(found) < PRUNED
