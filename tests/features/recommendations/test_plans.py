"""A page costs what its rows cost, however many there are and whatever is asked for; medians sort nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from app.db.engine import connect
from app.features.recommendations import service
from app.features.recommendations.accuracy import accuracy
from app.features.recommendations.schemas import RecommendationFilter, RecommendationType, Status
from app.web.paging import PageParams, Place, encode_cursor
from tests.support import postgres
from tests.support.plans import blocks_read, node_types, nodes, page_plan, plans, rows_read

pytestmark = pytest.mark.slow

ROWS = 20_000
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
MIDDLE = FIRST + timedelta(hours=ROWS // 2)
LATE = FIRST + timedelta(hours=ROWS // 10)
OVERDUE = 666
"""Rows of user 1 that are pending though their end has passed; more than four times as many live."""

USERS = """
    INSERT INTO users (id, email, preferences, created_at, updated_at)
    SELECT n, 'user' || n || '@example.test', '{}', now(), now() FROM generate_series(1, 3) AS n
"""
# A row each hour: fourteen thousand are of user 1, twenty of user 2, four thousand of nobody and the rest of user 3.
# What is common alone is rare together: no sale is pending, and of AAPL the newer half are purchases and dismissed.
# Far down are the symbol OLD, of which nothing came, and all ends that are over.
# They lie in no order, or passing most rows by in the order they lie in would be the cheaper way at times.
FILL = """
    INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, status, expires_at, created_at, analysis_data,
                                    confidence_score, actual_pnl)
    SELECT CASE WHEN n % 1000 = 1 THEN 2 WHEN n % 10 = 1 THEN 3 WHEN n % 5 > 0 THEN 1 END,
           CASE WHEN n <= 400 THEN 'OLD' WHEN n % 7 < 4 THEN 'AAPL' ELSE 'S' || n % 7 END,
           CASE WHEN one_sided THEN 'buy' WHEN n % 3 = 0 THEN 'sell' WHEN n % 3 = 1 THEN 'buy' ELSE 'hold' END,
           CASE WHEN one_sided THEN 'dismissed'
                WHEN n <= 2000 THEN CASE WHEN n % 3 = 0 OR n % 4 = 0 THEN 'expired' ELSE 'pending' END
                WHEN n % 4 < 2 THEN CASE n % 3 WHEN 0 THEN 'executed' ELSE 'pending' END
                WHEN n % 4 = 2 THEN 'dismissed' ELSE 'closed' END,
           CASE WHEN n <= 2000 THEN now() - interval '1 day' WHEN n % 8 < 4 THEN now() + interval '1 day' END,
           CAST(:first AS timestamp) + n * interval '1 hour', '{}',
           n % 101, CASE WHEN n > 2000 THEN n % 1000 - 500 END
    FROM (SELECT n, n > :rows / 2 AND n % 7 < 4 AS one_sided FROM generate_series(1, :rows) AS n) AS rows
    ORDER BY md5(CAST(n AS text))
"""
ENOUGH = 150
"""Rows and blocks that may be looked at for a page of 50."""


@pytest.fixture(scope="module")
def connection(server_url: str, template: str) -> Iterator[Connection]:
    with postgres.database(server_url, like=template) as url, connect(url) as connection:
        connection.execute(text(USERS))
        connection.execute(text(FILL), {"first": FIRST.replace(tzinfo=None), "rows": ROWS})
        connection.commit()
        postgres.run_outside_transaction(url, "VACUUM ANALYZE ai_recommendations")
        yield connection


def cursor(time: datetime) -> str:
    microseconds = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return encode_cursor(Place("ai_recommendations", (microseconds, 1)))


@pytest.mark.parametrize("user_id", [1, 2, None])
@pytest.mark.parametrize("symbol", [None, "AAPL", "OLD"])
@pytest.mark.parametrize("kind", [None, "sell"])
@pytest.mark.parametrize("status", [None, Status.PENDING, Status.EXECUTED, Status.CLOSED])
@pytest.mark.parametrize(
    ("since", "page"),
    [
        pytest.param(None, PageParams(50), id="first page"),
        pytest.param(None, PageParams(50, cursor(MIDDLE)), id="deep page"),
        pytest.param(MIDDLE, PageParams(50, cursor(MIDDLE + timedelta(hours=100))), id="last page"),
    ],
)
def test_no_more_is_read_than_a_page_needs(
    connection: Connection,
    page: PageParams,
    since: datetime | None,
    status: Status | None,
    kind: RecommendationType | None,
    symbol: str | None,
    user_id: int | None,
) -> None:
    rows = service.recommendations(user_id, RecommendationFilter(symbol, status, kind, since))
    found = page_plan(connection, rows, service.NEWEST_FIRST, page)
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) < ENOUGH
    assert blocks_read(found) < ENOUGH


@pytest.mark.parametrize("user_id", [1, 2, None])
@pytest.mark.parametrize("symbol", [None, "AAPL", "OLD"])
@pytest.mark.parametrize("kind", [None, "buy"])
@pytest.mark.parametrize(
    ("status", "page"),
    [
        pytest.param(Status.EXPIRED, PageParams(50), id="expired, first page"),
        pytest.param(Status.EXPIRED, PageParams(50, cursor(MIDDLE)), id="expired, deep page"),
        pytest.param(Status.PENDING, PageParams(50, cursor(LATE)), id="pending, last page"),
    ],
)
def test_of_what_is_pending_only_the_overdue_are_passed_by(
    connection: Connection,
    status: Status,
    page: PageParams,
    kind: RecommendationType | None,
    symbol: str | None,
    user_id: int | None,
) -> None:
    rows = service.recommendations(user_id, RecommendationFilter(symbol, status, kind))
    found = page_plan(connection, rows, service.NEWEST_FIRST, page)
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) < OVERDUE + ENOUGH


def test_medians_are_halves_of_indexes(connection: Connection) -> None:
    asked = plans(connection, lambda session: accuracy(session, 1))
    medians = [node for plan in asked for node in nodes(plan) if node.get("Parent Relationship") == "SubPlan"]
    scans = [node for median in medians for node in nodes(median) if node["Node Type"] == "Index Only Scan"]
    assert [scan["Index Name"].removeprefix("ix_ai_recommendations_") for scan in scans] == [
        "outcomes",
        "outcomes_by_symbol",
        "outcomes_by_type",
        "outcomes_by_month",
    ]
    assert not any("Sort" in node_types(median) for median in medians)
