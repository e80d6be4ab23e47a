"""The schema report: what it says of a database, and that saying so disturbs nobody."""

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from app.db.engine import connect
from app.db.revisions import UPGRADE, head_revision
from app.db.schema.report import inspect_schema
from app.db.schema.text import render, verdict
from tests.db.support import lines, staged

USERS = [
    (1, "id", "INTEGER", False),
    (2, "email", "VARCHAR(255)", False),
    (3, "alpaca_account_id", "VARCHAR(100)", True),
    (4, "created_at", "TIMESTAMP", False),
    (5, "updated_at", "TIMESTAMP", False),
    (6, "preferences", "JSON", False),
    (7, "password_hash", "VARCHAR(255)", True),
    (8, "full_name", "VARCHAR(255)", True),
    (9, "role", "VARCHAR(50)", False),
    (10, "is_active", "BOOLEAN", False),
    (11, "last_login_at", "TIMESTAMP", True),
    (12, "username", "VARCHAR(255)", True),
]


def test_untouched_schema_is_what_the_code_expects(clone_url: str) -> None:
    with connect(clone_url) as connection:
        report = inspect_schema(connection)

    assert report.ok
    assert not report.drift
    assert not report.unmanaged
    assert report.revisions.current == (head_revision(),)
    assert {column.mark for table in report.tables for column in table.columns} == {"ok"}
    users = next(table for table in report.tables if table.name == "users")
    assert [(column.number, column.name, column.type, column.nullable) for column in users.columns] == USERS


def test_inspection_only_reads_and_asks_little(clone_url: str) -> None:
    statements: list[str] = []
    with connect(clone_url) as connection:
        event.listen(connection.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
        connection.execute(text("SET TRANSACTION READ ONLY"))
        inspect_schema(connection)
        assert connection.in_transaction()

    assert len(statements) <= 16


def test_tables_of_others_are_named_and_do_not_count(clone_url: str) -> None:
    tables = [
        f"CREATE TABLE {name} (id serial PRIMARY KEY, user_id integer REFERENCES users (id))"
        for name in ("trades", "performance", "equity_snapshots", "strategies")
    ]
    with staged(clone_url, *tables) as connection:
        report = inspect_schema(connection)

    assert report.ok
    assert report.unmanaged == ("equity_snapshots", "performance", "strategies", "trades")
    assert "Not managed here\n----------------\n  equity_snapshots\n  performance" in render(report)


def test_tables_are_looked_for_along_the_search_path(clone_url: str) -> None:
    with connect(clone_url) as connection:
        tables = [table.name for table in inspect_schema(connection).tables]
    moves = [f"ALTER TABLE {name} SET SCHEMA service" for name in tables]
    with staged(clone_url, "CREATE SCHEMA service", *moves) as connection:
        assert lines(inspect_schema(connection)) == [f"breaking {name}: missing table" for name in sorted(tables)]
        connection.execute(text("SET search_path TO service, public"))
        report = inspect_schema(connection)
        assert report.ok
        assert report.server.schemas == ("service", "public")


def test_table_of_the_same_name_in_a_nearer_schema_is_the_one_that_counts(clone_url: str) -> None:
    with staged(clone_url, "CREATE SCHEMA nearer", "CREATE TABLE nearer.users (id integer)") as connection:
        assert inspect_schema(connection).ok
        connection.execute(text("SET search_path TO nearer, public"))
        drift = lines(inspect_schema(connection))

    assert "breaking users.email: missing column" in drift
    assert "breaking api_tokens.api_tokens_user_id_fkey: different foreign key" in drift


def test_role_is_told_which_rights_it_lacks(clone_url: str) -> None:
    # A predefined role: grants to it live and die with this database, a role of the test's own would not.
    grants = (
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO pg_checkpoint",
        "GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO pg_checkpoint",
        "REVOKE USAGE ON SEQUENCE api_tokens_id_seq FROM pg_checkpoint",
        "REVOKE SELECT ON SEQUENCE order_templates_id_seq FROM pg_checkpoint",
        "REVOKE DELETE ON activity_log FROM pg_checkpoint",
        "REVOKE UPDATE ON users FROM pg_checkpoint",
        f"GRANT UPDATE ({', '.join(column for _, column, *_ in USERS[:-1])}) ON users TO pg_checkpoint",
        "REVOKE SELECT ON alembic_version FROM pg_checkpoint",
    )
    with staged(clone_url, *grants) as connection:
        connection.execute(text("SET ROLE pg_checkpoint"))
        report = inspect_schema(connection)

    assert [(drift.table, drift.object, drift.expected) for drift in report.drift if drift.breaking] == [
        ("activity_log", "activity_log", "DELETE"),
        ("users", "username", "UPDATE"),
        ("api_tokens", "api_tokens_id_seq", "USAGE"),
        ("alembic_version", "alembic_version", "SELECT"),
    ]
    assert [drift.object for drift in report.drift if not drift.breaking] == ["order_templates_id_seq"]
    assert "grant SELECT on alembic_version to pg_checkpoint" in verdict(report)


def test_role_that_may_not_use_the_schema_finds_no_table(clone_url: str) -> None:
    with staged(clone_url, "REVOKE USAGE ON SCHEMA public FROM PUBLIC") as connection:
        connection.execute(text("SET ROLE pg_checkpoint"))
        report = inspect_schema(connection)

    assert {drift.what for drift in report.drift} == {"missing table"}
    assert "Search path: no schema that this role may use" in render(report)


def test_table_that_somebody_locked_is_waited_for_no_longer_than_the_caller_allows(clone_url: str) -> None:
    with connect(clone_url) as other, connect(clone_url) as connection:
        other.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        connection.execute(text("SET statement_timeout = '200ms'"))
        with pytest.raises(OperationalError, match="statement timeout"):
            inspect_schema(connection)


@pytest.mark.parametrize(
    ("statement", "usable", "advice"),
    [
        ("UPDATE alembic_version SET version_num = '50b91afc8456'", True, f"run `{UPGRADE}`"),
        ("UPDATE alembic_version SET version_num = 'feedfacecafe'", True, "deploy the code that made it"),
        ("INSERT INTO alembic_version VALUES ('50b91afc8456')", True, "several rows"),
        ("DELETE FROM alembic_version", True, "alembic stamp"),
        ("DROP TABLE alembic_version", True, "alembic stamp"),
        ("ALTER TABLE users DROP COLUMN username", False, "mend what is marked breaking"),
        ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", False, f"run `{UPGRADE}`"),
    ],
)
def test_verdict_says_what_to_do(clone_url: str, statement: str, usable: bool, advice: str) -> None:
    with staged(clone_url, statement) as connection:
        report = inspect_schema(connection)

    assert (report.ok, report.usable) == (False, usable)
    assert advice in verdict(report)
    assert render(report).endswith(f"[FAIL] {verdict(report)}")


def test_report_shows_each_difference_where_a_person_looks_for_it(clone_url: str) -> None:
    statements = (
        "ALTER TABLE users DROP COLUMN full_name",
        "ALTER TABLE users DROP COLUMN username",
        "ALTER TABLE users ALTER COLUMN password_hash SET NOT NULL",
        "ALTER TABLE users ADD COLUMN nickname text",
        "DROP INDEX ix_activity_log_timestamp_id",
        "UPDATE alembic_version SET version_num = '7c1f0a9de482'",
    )
    with staged(clone_url, *statements) as connection:
        shown = render(inspect_schema(connection))

    assert (
        "   6  preferences        JSON          NOT NULL\n"
        "   7  password_hash      VARCHAR(255)  NOT NULL  DIFFERENT, expected VARCHAR(255) NULL\n"
        "   -  full_name          VARCHAR(255)  NULL      MISSING\n"
        "   8  role               VARCHAR(50)   NOT NULL\n"
        "   9  is_active          BOOLEAN       NOT NULL\n"
        "  10  last_login_at      TIMESTAMP     NULL\n"
        "   -  username           VARCHAR(255)  NULL      MISSING\n"
        "  11  nickname           TEXT          NULL      EXTRA\n"
        "\n"
        "[FAIL] users.username exists\n"
        "[FAIL] users.username is nullable\n"
        "[OK]   users.password_hash exists\n"
        "[FAIL] users.password_hash is nullable\n"
    ) in shown
    assert "[FAIL] activity_log             14 columns, 1 difference, see below\n" in shown
    assert "  [breaking] users.username: missing column, expected VARCHAR(255) NULL\n" in shown
    assert "  [harmless] users.nickname: extra column, found TEXT NULL\n" in shown
    assert "  current  7c1f0a9de482\n" in shown
