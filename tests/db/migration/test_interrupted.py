"""Revisions that commit parts of themselves complete from any of them, on the way up and on the way down."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from app.db.engine import connect
from tests.support import postgres
from tests.support.chain import (
    ACCOUNTS,
    ACTIVITY,
    CHAIN,
    DECIMALS,
    ORDER_TEMPLATES,
    SEQUENCES,
    THROTTLING,
    Row,
    catalog,
    downgrade,
    execute,
    revision_of,
    rows,
    upgrade,
)
from tests.support.population import arrive


class Interrupted(Exception):
    pass


@contextmanager
def interrupted_at(change: int) -> Iterator[None]:
    """Fail instead of sending the statement that would be the change number `change`, from 1."""
    sent = itertools.count(1)

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith("SELECT") and next(sent) == change:
            raise Interrupted

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)


class Way(NamedTuple):
    start: str
    go: Callable[[str, str], None]
    end: str
    changes: int = 20
    """It makes more than so many."""

    def between(self) -> set[str]:
        first, last = sorted((CHAIN.index(self.start), CHAIN.index(self.end)))
        return set(CHAIN[first : last + 1])


WAYS = {
    "to accounts": Way(ORDER_TEMPLATES, upgrade, ACCOUNTS),
    "to the activity log": Way(SEQUENCES, upgrade, ACTIVITY),
    "back from the activity log": Way(ACTIVITY, downgrade, SEQUENCES),
    "to decimals": Way(THROTTLING, upgrade, DECIMALS, changes=6),
}


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture(scope="module")
def before(server_url: str, way: Way) -> Iterator[str]:
    """The name of a database where the way begins, with rows."""
    with postgres.database(server_url) as url:
        arrive(url, way.start)
        yield url.partition("?")[0].rpartition("/")[2]


def state(url: str) -> tuple[dict[str, list[str]], dict[str, list[Row]]]:
    """All there is, but for when a session ended."""
    found = rows(url)
    for session in found.get("user_sessions", []):
        if session.get("end_reason") == "legacy":
            del session["ended_at"]
    return catalog(url), found


@pytest.fixture(scope="module")
def outcome(server_url: str, before: str, way: Way) -> Any:
    with postgres.database(server_url, like=before) as url:
        way.go(url, way.end)
        return state(url)


@pytest.mark.slow
def test_it_completes_whichever_statement_was_the_last(server_url: str, before: str, way: Way, outcome: Any) -> None:
    for change in itertools.count(1):
        with postgres.database(server_url, like=before) as url:
            try:
                with interrupted_at(change):
                    way.go(url, way.end)
            except Interrupted:
                (stopped,) = revision_of(url)
                assert stopped in way.between() - {way.end}
                way.go(url, way.end)
            else:
                break
            assert state(url) == outcome, f"interrupted at change {change}"
    assert change > way.changes


@pytest.mark.parametrize("way", ["to accounts"], indirect=True)
def test_it_completes_over_half_of_it_and_an_invalid_index(
    server_url: str, before: str, way: Way, outcome: Any
) -> None:
    with postgres.database(server_url, like=before) as url:
        execute(
            url,
            "UPDATE users SET email = 'user-' || id || '@placeholder.invalid' WHERE email IS NULL",
            "ALTER TABLE users ADD CONSTRAINT users_email_is_not_null CHECK (email IS NOT NULL) NOT VALID",
            "ALTER TABLE users ADD COLUMN password_hash VARCHAR(255) NOT NULL DEFAULT '!'",
            "ALTER TABLE users ADD COLUMN full_name VARCHAR(255)",
            "ALTER TABLE users ADD COLUMN role VARCHAR(50) NOT NULL DEFAULT 'personal_only'",
        )
        leave_invalid(url, "ix_users_role", "users", "role")
        assert "INDEX ix_users_role (role) INVALID" in catalog(url)["users"]
        assert revision_of(url) == [way.start]
        way.go(url, way.end)
        assert state(url) == outcome


def leave_invalid(url: str, index: str, table: str, column: str) -> None:
    """Leave what a build that was cancelled while a writer was at work leaves."""
    with connect(url) as writer, connect(url) as connection:
        writer.exec_driver_sql(f"UPDATE {table} SET {column} = {column}")
        builder = connection.execution_options(isolation_level="AUTOCOMMIT")
        builder.exec_driver_sql("SET statement_timeout = 100")
        with pytest.raises(OperationalError, match="statement timeout"):
            builder.exec_driver_sql(f"CREATE INDEX CONCURRENTLY {index} ON {table} ({column})")
        writer.rollback()
