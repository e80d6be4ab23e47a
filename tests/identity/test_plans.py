"""Signing in, refreshing, a principal and pruning cost the same, however many sessions and failures there are."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from app.db.engine import connect
from app.identity import sessions, throttle
from app.identity.activity import Origin
from app.identity.jwt import SigningKeys
from app.identity.resolve import resolve
from app.identity.sessions import EndReason, Lifetimes, Sessions, TokenPair, end_sessions
from app.identity.throttle import forget_failures, remember_address
from app.models.database import User
from tests.support import postgres
from tests.support.plans import blocks_read, node_types, plans, rows_read

ENOUGH = 60
"""Blocks that a statement about one user may look at."""

BATCH = 50
PRUNED = 600
"""Blocks that may be looked at to delete as many: of each row those of indexes and of the row, more than once."""

SESSIONS = Sessions(SigningKeys("x" * 64, None), Lifetimes(timedelta(minutes=15), timedelta(30), timedelta(14)))

# Half of all sessions are the first user's, of which all but a few have ended. Nothing lies in order.
FILL = """
    INSERT INTO users (id, email, preferences, created_at, updated_at)
    SELECT n, 'user' || n || '@example.test', '{}', now(), now() FROM generate_series(1, 2000) AS n;
    SELECT setval('users_id_seq', 2000), setval('user_sessions_id_seq', 10000);

    CREATE TEMPORARY TABLE rows AS
    SELECT n, timezone('utc', now()) - n * interval '15 minutes' AS at, n % 40 > 0 AS ended,
           CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + n % 1999 END AS whose
    FROM generate_series(1, 10000) AS n ORDER BY md5(CAST(n AS text));

    INSERT INTO user_sessions (id, user_id, access_token_jti, refresh_token_jti, created_at, last_activity_at,
                               expires_at, ended_at)
    SELECT n, whose, n, n, at, at, at + interval '30 days', CASE WHEN ended THEN at END FROM rows;
    INSERT INTO refresh_token_exchanges SELECT n, n, n, at FROM rows;
    INSERT INTO throttled_keys SELECT sha256(CAST(CAST(n AS text) AS bytea)), 1, at, at FROM rows;
    INSERT INTO known_addresses SELECT 1 + n % 1999, n, at FROM rows;
"""
KEPT = (
    (sessions, "KEPT_AFTER_EXPIRY"),
    (sessions, "KEPT_AFTER_GRACE"),
    (throttle, "FORGOTTEN_AFTER"),
    (throttle, "UNSEEN_AFTER"),
)
TABLES = ("users", "user_sessions", "refresh_token_exchanges", "throttled_keys", "known_addresses")


@pytest.fixture(scope="module")
def filled(server_url: str, template: str) -> Iterator[str]:
    with postgres.database(server_url, like=template) as url:
        with connect(url) as connection:
            connection.execute(text("SET session_replication_role = replica"))
            connection.execute(text(FILL))
            connection.commit()
        postgres.run_outside_transaction(url, f"VACUUM ANALYZE {', '.join(TABLES)}")
        yield url


@pytest.fixture(scope="module")
def connection(filled: str) -> Iterator[Connection]:
    with connect(filled) as connection:
        yield connection


@pytest.fixture(scope="module")
def pair(connection: Connection) -> TokenPair:
    with Session(connection) as session:
        pair = SESSIONS.open(session, session.get_one(User, 1), Origin())
        session.commit()
    return pair


def open_one(session: Session, pair: TokenPair) -> None:
    SESSIONS.open(session, session.get_one(User, 1), Origin())


def refresh(session: Session, pair: TokenPair) -> None:
    SESSIONS.refresh(session, pair.refresh_token, Origin())
    # Or the exchange could not be written again, to see what that costs.
    session.execute(text("DELETE FROM refresh_token_exchanges WHERE session_id = :id"), {"id": pair.session_id})


def authenticate(session: Session, pair: TokenPair) -> None:
    resolve(session, SESSIONS, pair.access_token)


def remember(session: Session, pair: TokenPair) -> None:
    remember_address(session, 1, "198.51.100.7")


def begin_anew(session: Session, pair: TokenPair) -> None:
    forget_failures(session, session.get_one(User, 1))


def end(session: Session, pair: TokenPair) -> None:
    end_sessions(session, 1, EndReason.ENDED, only=pair.session_id)


@pytest.mark.parametrize("operation", [open_one, refresh, authenticate, remember, begin_anew, end])
def test_no_statement_looks_further_than_it_must(
    connection: Connection, pair: TokenPair, operation: Callable[[Session, TokenPair], None]
) -> None:
    found = plans(connection, lambda session: operation(session, pair))
    for plan in found:
        assert "Seq Scan" not in node_types(plan)
        assert blocks_read(plan) < ENOUGH


@pytest.mark.parametrize(
    ("kept_for", "deleted"),
    [pytest.param(timedelta(-36_500), BATCH, id="all are old"), pytest.param(timedelta(36_500), 0, id="none is")],
)
@pytest.mark.parametrize(
    "prune", [sessions.prune_sessions, sessions.prune_exchanges, throttle.prune_throttle, throttle.prune_networks]
)
def test_to_delete_the_oldest_no_other_is_looked_at(
    connection: Connection,
    prune: Callable[[Session, int], object],
    kept_for: timedelta,
    deleted: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, name in KEPT:
        monkeypatch.setattr(module, name, kept_for)
    for plan in plans(connection, lambda session: prune(session, BATCH)):
        assert plan["Actual Rows"] == deleted
        assert "Seq Scan" not in node_types(plan)
        assert rows_read(plan) <= BATCH
        assert blocks_read(plan) < (PRUNED if deleted else ENOUGH)


def test_a_refresh_writes_no_index_of_the_sessions(connection: Connection, pair: TokenPair) -> None:
    """The row's next version finds room beside it, and whatever points to the one finds the other."""
    updates = text(
        "SELECT pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid) FROM pg_class "
        "WHERE relname = 'user_sessions'"
    )
    with Session(connection) as session:
        before = session.execute(updates).one()
        SESSIONS.refresh(session, pair.refresh_token, Origin())
        after = session.execute(updates).one()
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]
