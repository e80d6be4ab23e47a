"""A page costs what its rows cost, however many there are."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from app.db.engine import connect
from app.features.order_templates.service import templates
from app.models.database import OrderTemplate
from app.web.paging import PageParams, Place, encode_cursor
from tests.support import postgres
from tests.support.plans import blocks_read, node_types, page_plan, rows_read

ROWS = 20_000

USERS = """
    INSERT INTO users (id, email, preferences, created_at, updated_at)
    SELECT n, 'user' || n || '@example.test', '{}', now(), now() FROM generate_series(1, 3) AS n
"""
# Fourteen thousand are of user 1, twenty of user 2, four thousand of nobody and the rest of user 3.
# They lie in no order, or passing most rows by in the order they lie in would be the cheaper way at times.
FILL = """
    INSERT INTO order_templates (id, user_id, symbol, name, side, quantity, order_type, created_at, updated_at)
    SELECT n, CASE WHEN n % 1000 = 1 THEN 2 WHEN n % 10 = 1 THEN 3 WHEN n % 5 > 0 THEN 1 END,
           CASE WHEN n <= 400 THEN 'OLD' WHEN n % 7 < 4 THEN 'AAPL' ELSE 'S' || n % 7 END,
           'template', 'buy', 1, 'market', now(), now()
    FROM generate_series(1, :rows) AS n ORDER BY md5(CAST(n AS text))
"""
ENOUGH = 150
"""Rows and blocks that may be looked at for a page of 50."""


@pytest.fixture(scope="module")
def connection(server_url: str, template: str) -> Iterator[Connection]:
    with postgres.database(server_url, like=template) as url, connect(url) as connection:
        connection.execute(text(USERS))
        connection.execute(text(FILL), {"rows": ROWS})
        connection.execute(text("ANALYZE order_templates"))
        connection.commit()
        yield connection


@pytest.mark.parametrize("user_id", [1, 2, None])
@pytest.mark.parametrize("symbol", [None, "AAPL", "S5", "OLD", "NONE"])
@pytest.mark.parametrize("deep", [False, True], ids=["first page", "deep page"])
def test_no_more_is_read_than_a_page_needs(
    connection: Connection, deep: bool, symbol: str | None, user_id: int | None
) -> None:
    page = PageParams(50, encode_cursor(Place("order_templates", (ROWS // 2,))) if deep else None)
    found = page_plan(connection, templates(user_id, symbol), OrderTemplate.id, page)
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) < ENOUGH
    assert blocks_read(found) < ENOUGH
