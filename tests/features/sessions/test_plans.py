"""A page costs what its rows cost, however many sessions there are and have been, the user's own and others'."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from app.db.engine import connect
from app.identity.sessions import live_sessions
from app.models.database import UserSession
from app.web.paging import PageParams, Place, encode_cursor
from tests.support import postgres
from tests.support.plans import blocks_read, node_types, page_plan, rows_read

ROWS = 20_000
ENOUGH = 150
"""Rows and blocks that may be looked at for a page of 50."""

USERS = """
    INSERT INTO users (id, email, preferences, created_at, updated_at)
    SELECT n, 'user' || n || '@example.test', '{}', now(), now() FROM generate_series(1, 50) AS n
"""
# Half of them are of user 1, of which all but 600 have ended; twenty of user 2, and some two hundred of each other.
# They lie in no order, or passing most rows by would be the cheaper way at times.
FILL = """
    INSERT INTO user_sessions (id, user_id, access_token_jti, refresh_token_jti, created_at, last_activity_at,
                               expires_at, ended_at)
    SELECT n, CASE WHEN n % 2 = 0 THEN 1 WHEN n % 1000 = 1 THEN 2 ELSE 3 + n % 47 END, n, n,
           now, now, now + interval '30 days', CASE WHEN n % 2 = 0 AND n % 33 > 1 THEN now END
    FROM generate_series(1, :rows) AS n, timezone('utc', now()) AS now
    ORDER BY md5(CAST(n AS text))
"""


@pytest.fixture(scope="module")
def connection(server_url: str, template: str) -> Iterator[Connection]:
    with postgres.database(server_url, like=template) as url, connect(url) as connection:
        connection.execute(text(USERS))
        connection.execute(text(FILL), {"rows": ROWS})
        connection.commit()
        postgres.run_outside_transaction(url, "VACUUM ANALYZE user_sessions")
        yield connection


@pytest.mark.parametrize("user_id", [1, 2, 10, 4_000])
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(PageParams(50), id="first page"),
        pytest.param(PageParams(50, encode_cursor(Place("user_sessions", (ROWS // 2,)))), id="deep page"),
        pytest.param(PageParams(50, encode_cursor(Place("user_sessions", (100,)))), id="last page"),
    ],
)
def test_no_more_is_read_than_a_page_needs(connection: Connection, page: PageParams, user_id: int) -> None:
    found = page_plan(connection, live_sessions(user_id, timedelta(14)), UserSession.id, page)
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) < ENOUGH
    assert blocks_read(found) < ENOUGH
