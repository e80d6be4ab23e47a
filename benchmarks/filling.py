"""Databases with as many sessions and rows of the activity log as are asked for, filled as fast as may be."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection, make_url, text

from app.db.engine import connect
from app.db.migration.migrate import migrate
from benchmarks.servers import empty_database

SPAN_DAYS = 70
"""How far back the rows go; a seventh of them are of no use any more, where the log is kept for RETENTION_DAYS."""

RETENTION_DAYS = 60
MEASURED, HEAVY = 1, 2
"""The ids of two users, the first with 120 living sessions and 200 rows in the log, however many others have."""

ROWS_PER_USER = 100

_USERS = """
INSERT INTO users (id, email, role, is_active, preferences, created_at, updated_at)
SELECT n, 'user' || n || '@scale.test', 'member', true, '{}', timezone('utc', now()), timezone('utc', now())
FROM generate_series(1, :users) AS n
"""

# Rows come in the order of time, as they do in life. OFFSET has each value made once, however often it is used.
_ROWS = f"""
SELECT n, timezone('utc', now()) - (1 - n / CAST(:rows AS float8)) * interval '{SPAN_DAYS} days' AS at,
       CASE WHEN n % (:rows / :measured) = 0 THEN {MEASURED} WHEN n % (:rows / :heavy) = 1 THEN {HEAVY}
            ELSE {HEAVY} + 1 + (hashint4(n) & 2147483647) % (:users - {HEAVY}) END AS whose,
       'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' AS agent
FROM generate_series(1, :rows) AS n OFFSET 0
"""
_SESSIONS = f"""
INSERT INTO user_sessions (id, user_id, access_token_jti, refresh_token_jti, created_at, last_activity_at, expires_at,
                           ip_address, user_agent, ended_at, end_reason)
SELECT n, whose, left(md5('access' || n), 22), left(md5('refresh' || n), 22), at, used_at, used_at + interval '30 days',
       '198.51.100.7', agent, CASE WHEN ended THEN at END, CASE WHEN ended THEN 'logout' END
FROM (
    SELECT *, CASE WHEN whose <= {HEAVY} THEN timezone('utc', now()) ELSE at END AS used_at,
           whose > {HEAVY} AND n % 2 = 0 AS ended
    FROM ({_ROWS}) AS each
) AS sessions
"""
_EVENTS = f"""
INSERT INTO activity_log (id, user_id, user_email, action_type, resource_type, resource_id, details, ip_address,
                          user_agent, timestamp, actor_id, actor_email, actor_kind, request_id)
SELECT n, whose, 'user' || whose || '@scale.test', kind, 'session', n, '{{}}', '198.51.100.7',
       agent, at, whose, 'user' || whose || '@scale.test', 'proven', md5('' || n)
FROM (
    SELECT *, CASE WHEN whose > {HEAVY} AND n % 100 = 99 THEN 'session_ended'
                   WHEN hashint4(-n) % 3 = 0 THEN 'signed_in' ELSE 'session_refreshed' END AS kind
    FROM ({_ROWS}) AS each
) AS events
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = CAST(:name AS regclass) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
_AT_SPEED = "SET session_replication_role = replica; SET synchronous_commit = off; SET maintenance_work_mem = '1GB'"


@contextmanager
def filled(url: str, sizes: tuple[int, int]) -> Iterator[tuple[tuple[str, str], str]]:
    """The addresses of two databases beside the one at `url`, with so many rows, and what they cost.

    Ten million of both kinds take 9 GB, and as much again for the log of their writing.
    """
    with ExitStack() as stack:
        few, many = (stack.enter_context(empty_database(url, f"scale_{rows}")) for rows in sizes)
        server = stack.enter_context(connect(url)).execution_options(isolation_level="AUTOCOMMIT")
        began = time.perf_counter()
        with _rare_checkpoints(server):
            for each, rows in zip((few, many), sizes, strict=True):
                migrate(each, apply=True)
                _fill(each, rows)
        taken = time.perf_counter() - began
        size = server.execute(text("SELECT pg_database_size(:name) / 1e9"), {"name": make_url(many).database})
        yield (few, many), f"The larger database takes {size.scalar_one():.1f} GB; filling both took {taken:.0f} s."


@contextmanager
def _rare_checkpoints(server: Connection) -> Iterator[None]:
    """One at the end: others in the middle of filling would write many a page twice."""
    server.execute(text("ALTER SYSTEM SET max_wal_size = '16GB'"))
    server.execute(text("SELECT pg_reload_conf()"))
    yield
    server.execute(text("ALTER SYSTEM RESET max_wal_size"))
    server.execute(text("SELECT pg_reload_conf()"))
    server.execute(text("CHECKPOINT"))


def _fill(url: str, rows: int) -> None:
    users = max(10, rows // ROWS_PER_USER)
    with connect(url) as connection, connection.begin():
        connection.execute(text(_USERS), {"users": users})
        connection.execute(text("SELECT setval('users_id_seq', :users)"), {"users": users})
    values = {"rows": rows, "users": users}
    sessions = values | {"measured": 120, "heavy": min(1_000, rows // 10)}
    events = values | {"measured": 200, "heavy": rows // 10}
    with ThreadPoolExecutor(2) as pool:
        others = pool.submit(_fill_table, url, "user_sessions", _SESSIONS, sessions)
        _fill_table(url, "activity_log", _EVENTS, events)
        others.result()


def _fill_table(url: str, name: str, insert: str, values: dict[str, int]) -> None:
    """Without its indexes, which are made again afterwards, and without looking each user up."""
    with connect(url) as connection:
        connection.execute(text(_AT_SPEED))
        indexes = connection.execute(text(_INDEXES), {"name": name}).tuples().all()
        for index, _ in indexes:
            connection.execute(text(f"DROP INDEX {index}"))
        connection.execute(text(insert), values)
        connection.execute(text(f"SELECT setval('{name}_id_seq', :rows)"), values)
        for _, definition in indexes:
            connection.exec_driver_sql(definition)
        connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f"VACUUM ANALYZE {name}"))
