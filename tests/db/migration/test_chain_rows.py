"""What the revisions do to rows, whatever interrupts them; and the way back that a person must open first."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from app.core.errors import StartupError
from app.db.engine import connect
from tests.support import postgres
from tests.support.chain import (
    ACCOUNTS,
    ACTIVITY,
    API_TOKENS,
    CHAIN,
    INITIAL,
    ORDER_TEMPLATES,
    RECOMMENDATIONS,
    USERNAMES,
    Row,
    catalog,
    downgrade,
    dump,
    execute,
    revision_of,
    rows,
    rows_of,
    shell,
    upgrade,
)
from tests.support.deployment import BCRYPT

POPULATION = {
    INITIAL: """
        INSERT INTO users (email, alpaca_account_id, created_at, updated_at, preferences) VALUES
            ('first@desk.test', 'PA1', '2025-10-01 01:02:03.000004', '2025-10-01', '{"b":  1, "b": 2}'),
            (NULL, NULL, '2025-10-02', '2025-10-02', 'null'),
            (NULL, 'PA3', '2025-10-03', '2025-10-03', '[]');
        INSERT INTO users (id, email, created_at, updated_at, preferences) VALUES
            (0, NULL, '2025-10-04', '2025-10-04', '{}'), (-7, NULL, '2025-10-04', '2025-10-04', '{}');
    """,
    RECOMMENDATIONS: """
        INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, status,
            created_at) VALUES (1, 'AAPL', 'buy', 0.1, '{}', 'pending', '2025-10-07'),
            (NULL, 'TSLA', 'hold', 'NaN', '{"a":  1}', 'expired', '2025-10-08')
    """,
    ORDER_TEMPLATES: """
        INSERT INTO order_templates (user_id, name, symbol, side, quantity, order_type, created_at, updated_at)
            VALUES (2, 'two', 'AAPL', 'buy', 0.1, 'market', '2025-10-15', '2025-10-15'),
            (NULL, 'none', 'TSLA', 'sell', 3, 'market', '2025-10-16', '2025-10-16')
    """,
    ACCOUNTS: f"""
        INSERT INTO users (email, created_at, updated_at, preferences, password_hash, full_name, role, is_active) VALUES
            ('hashed@desk.test', '2025-10-23', '2025-10-23', '{{}}', '{BCRYPT}', 'Zoë', 'owner', false),
            ('blank@desk.test', '2025-10-24', '2025-10-24', '{{}}', '', '', 'beta_tester', true);
        INSERT INTO user_sessions (user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at,
            created_at) VALUES (1, 'a', 'r', '2025-11-01', '2025-10-24', '2025-10-24');
        INSERT INTO activity_log (user_id, action_type, details, timestamp) VALUES (1, 'login', '{{}}', '2025-10-24');
    """,
    USERNAMES: """
        INSERT INTO users (email, created_at, updated_at, preferences, username) VALUES
            ('named@desk.test', '2025-11-04', '2025-11-04', '{}', ''),
            ('named.too@desk.test', '2025-11-04', '2025-11-04', '{}', '')
    """,
    API_TOKENS: """
        INSERT INTO api_tokens (user_id, name, prefix, secret_hash, scopes)
            VALUES (1, 'ci', 'tb_0123456', sha256('a'), '{read,write}')
    """,
    ACTIVITY: """
        INSERT INTO activity_log (user_id, action_type, details, timestamp, user_email) VALUES
            (NULL, 'login_refused', '{}', '2026-11-24', NULL), (77, 'login', '{}', '2026-11-24', 'gone@desk.test')
    """,
}
"""Rows for the tables that each revision made or widened."""


def arrive(url: str, revision: str) -> None:
    """Bring an empty database to `revision`, with rows of every age."""
    for each in CHAIN[: CHAIN.index(revision) + 1]:
        upgrade(url, each)
        if each in POPULATION:
            execute(url, POPULATION[each])


def only(row: Row, names: Row) -> Row:
    return {name: row[name] for name in names}


def user_at_head(user: Row) -> Row:
    """What an upgrade makes of a user: an address for who had none, and no mark in place of a password."""
    changes = {"email": user["email"] or f"user-{user['id']}@placeholder.invalid"}
    return user | changes | ({"password_hash": None} if user.get("password_hash") == "!" else {})


class TestUpgrade:
    @pytest.mark.parametrize("revision", CHAIN[:-1])
    def test_from_any_revision_every_row_is_kept(self, empty_url: str, revision: str) -> None:
        arrive(empty_url, revision)
        before = rows(empty_url)
        upgrade(empty_url)
        after = rows(empty_url)
        before["users"] = [user_at_head(user) for user in before["users"]]
        for table, kept in before.items():
            assert [only(row, like) for row, like in zip(after[table], kept, strict=True)] == kept

    def test_users_from_before_accounts_cannot_sign_in(self, empty_url: str) -> None:
        arrive(empty_url, ORDER_TEMPLATES)
        given = {"role": "personal_only", "is_active": "true", "full_name": None, "last_login_at": None}
        upgrade(empty_url, ACCOUNTS)
        for user in rows_of(empty_url, "users"):
            assert only(user, given) == given
            assert user["password_hash"] == "!"
        upgrade(empty_url, USERNAMES)
        for user in rows_of(empty_url, "users"):
            assert only(user, given) == given
            assert (user["password_hash"], user["username"]) == (None, None)

    def test_an_address_invented_on_the_way_up_is_gone_on_the_way_down(self, empty_url: str) -> None:
        arrive(empty_url, ORDER_TEMPLATES)
        before = rows(empty_url)
        upgrade(empty_url, ACCOUNTS)
        assert [user["email"] for user in rows_of(empty_url, "users")] == [
            "user--7@placeholder.invalid",
            "user-0@placeholder.invalid",
            "first@desk.test",
            "user-2@placeholder.invalid",
            "user-3@placeholder.invalid",
        ]
        downgrade(empty_url, ORDER_TEMPLATES)
        assert rows(empty_url) == before

    def test_a_sequence_that_was_set_ahead_stays_ahead(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        execute(empty_url, "ALTER SEQUENCE users_id_seq RESTART WITH 500")
        upgrade(empty_url)
        assert next_id(empty_url, "users") == 500

    def test_a_sequence_one_behind_is_brought_past_the_highest_id(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        highest = max(int(user["id"] or 0) for user in rows_of(empty_url, "users"))
        execute(empty_url, f"ALTER SEQUENCE users_id_seq RESTART WITH {highest}")
        upgrade(empty_url)
        assert next_id(empty_url, "users") == highest + 1


def next_id(url: str, table: str) -> int:
    with connect(url) as connection:
        return int(connection.exec_driver_sql(f"SELECT nextval('{table}_id_seq')").scalar_one())


class TestRefusedDowngrade:
    def test_users_without_a_password_keep_it_from_changing_anything(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        before = dump(empty_url)
        done = shell(empty_url, "downgrade", "-1")
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert "7 user(s) have no password" in said
        assert "(ids: -7, 0, 1, 2, 3, 6, 7)" in said
        assert "desk.test" not in said
        assert "placeholder.invalid" not in said
        assert "Traceback" not in said
        assert dump(empty_url) == before

    def test_the_first_ten_of_many_are_named(self, empty_url: str) -> None:
        upgrade(empty_url, USERNAMES)
        execute(
            empty_url,
            "INSERT INTO users (email, created_at, updated_at, preferences) "
            "SELECT i, now(), now(), '{}' FROM generate_series(1, 12) i",
        )
        with pytest.raises(StartupError, match=r"^12 user\(s\) .* \(ids: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, \.\.\.\)"):
            downgrade(empty_url, ACCOUNTS)

    def test_what_lies_above_it_is_undone_and_it_says_where_it_stopped(self, clone_url: str) -> None:
        execute(clone_url, POPULATION[USERNAMES])
        with pytest.raises(StartupError, match=f"stays at revision {USERNAMES}"):
            downgrade(clone_url, ACCOUNTS)
        assert revision_of(clone_url) == [USERNAMES]

    def test_with_passwords_it_keeps_every_row(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        execute(empty_url, f"UPDATE users SET password_hash = '{BCRYPT}' WHERE password_hash IS NULL")
        before = rows(empty_url)
        downgrade(empty_url, ACCOUNTS)
        for user in before["users"]:
            del user["username"]
        assert rows(empty_url) == before


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


@pytest.fixture(scope="module")
def before(server_url: str) -> Iterator[str]:
    """The name of a database at the revision before, with rows."""
    with postgres.database(server_url) as url:
        arrive(url, ORDER_TEMPLATES)
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="module")
def outcome(server_url: str, before: str) -> Any:
    with postgres.database(server_url, like=before) as url:
        upgrade(url, ACCOUNTS)
        return catalog(url), rows(url)


class TestInterruptedAccounts:
    """037b216f2ed1 commits parts of itself, so it must complete from any of them."""

    @pytest.mark.slow
    def test_it_completes_whichever_statement_was_the_last(self, server_url: str, before: str, outcome: Any) -> None:
        for change in itertools.count(1):
            with postgres.database(server_url, like=before) as url:
                try:
                    with interrupted_at(change):
                        upgrade(url, ACCOUNTS)
                except Interrupted:
                    assert revision_of(url) == [ORDER_TEMPLATES]
                    upgrade(url, ACCOUNTS)
                else:
                    break
                assert (catalog(url), rows(url)) == outcome, f"interrupted at change {change}"
        assert change > 25

    def test_it_completes_over_half_of_it_and_an_invalid_index(
        self, server_url: str, before: str, outcome: Any
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
            assert revision_of(url) == [ORDER_TEMPLATES]
            upgrade(url, ACCOUNTS)
            assert (catalog(url), rows(url)) == outcome


def leave_invalid(url: str, index: str, table: str, column: str) -> None:
    """Leave what a build that was cancelled while a writer was at work leaves."""
    with connect(url) as writer, connect(url) as connection:
        writer.exec_driver_sql(f"UPDATE {table} SET {column} = {column}")
        builder = connection.execution_options(isolation_level="AUTOCOMMIT")
        builder.exec_driver_sql("SET statement_timeout = 100")
        with pytest.raises(OperationalError, match="statement timeout"):
            builder.exec_driver_sql(f"CREATE INDEX CONCURRENTLY {index} ON {table} ({column})")
        writer.rollback()
