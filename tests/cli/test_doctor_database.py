"""`trading-backend doctor` for everything that can be wrong with the database and the accounts in it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.cli.doctor import backups, database
from app.core.clock import now
from app.db.backup import tools
from app.db.backup.folder import Backup
from app.db.revisions import head_revision
from tests.cli.examination import STRONG, Line, findings, only
from tests.cli.support import CommandLine
from tests.features.activity.rows import add_row
from tests.support.accounts import PASSWORD
from tests.support.backups import deployment
from tests.support.deployment import BCRYPT
from tests.support.identity import add_user, execute
from tests.support.postgres import address_of, run_outside_transaction

VERIFY = "cd backend && python verify_schema.py"


@pytest.fixture
def production(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name, value in {"APP_ENV": "production", "JWT_SECRET": STRONG, "TRUSTED_PROXIES": "10.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    return examined


@pytest.fixture
def claimed(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """As `examined`, with one owner who has a password."""
    monkeypatch.delenv("API_TOKEN")
    examined("claim", "ann@example.test", stdin=PASSWORD)
    return examined


def alter(url: str, change: str) -> None:
    run_outside_transaction(url, f'ALTER DATABASE "{make_url(url).database}" {change}')


def test_a_database_that_does_not_exist(examined: CommandLine, clone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", address_of(clone_url, "nowhere"))
    (line,) = findings(examined)["database"]
    assert line.status == "fail"
    assert 'database "nowhere" does not exist' in line.detail


def test_a_database_that_can_only_be_read(examined: CommandLine, clone_url: str) -> None:
    alter(clone_url, "SET default_transaction_read_only = on")
    found = only(examined, "database")
    assert (found.status, found.remedy) == ("fail", "use the primary server's address")


def test_an_old_server(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OLDEST_SERVER", 99)
    found = only(examined, "database")
    assert (found.status, found.remedy) == ("fail", "upgrade it to 99 or newer")


def test_an_encoding_that_holds_no_names(
    examined: CommandLine, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    run_outside_transaction(server_url, f"CREATE DATABASE ascii {options}")
    try:
        monkeypatch.setenv("DATABASE_URL", address_of(server_url, "ascii"))
        found = findings(examined)
    finally:
        run_outside_transaction(server_url, "DROP DATABASE ascii WITH (FORCE)")
    assert [line.status for line in found["database"]] == ["fail"]
    assert "SQL_ASCII" in found["database"][0].detail


def test_an_empty_database(examined: CommandLine, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs its tables is left out; the remedy helps."""
    monkeypatch.setenv("DATABASE_URL", empty_url)
    found = findings(examined)
    assert found["schema"][0].detail.endswith(f", {head_revision()}")
    assert [line.remedy for line in found["schema"]] == ["trading-backend migrate"]
    assert found.keys() & {"mvp user", "owners", "passwords", "activity"} == set()
    assert found.keys() >= {"settings", "data dir", "clock", "pool", "jwt secret", "backups", "pg_dump"}
    examined("migrate")
    assert findings(examined)["schema"] == [Line("ok", f"revision {head_revision()}", None)]


@pytest.fixture
def legacy_url(server_url: str) -> Iterator[str]:
    with deployment(server_url) as url:
        yield url


def test_names_that_a_migration_would_refuse(
    examined: CommandLine, legacy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", legacy_url)
    users = execute(legacy_url, "SELECT id, email FROM users ORDER BY id LIMIT 2")
    rename = "UPDATE users SET email = :email WHERE id = :id"
    execute(legacy_url, rename, id=users[1]["id"], email=users[0]["email"].upper())
    pending, refusal = findings(examined)["schema"]
    assert (pending.status, refusal.status) == ("fail", "fail")
    assert str(users[1]["id"]) in str(refusal.remedy)
    assert str(refusal.remedy) in examined.run("migrate").told
    execute(legacy_url, rename, **users[1])
    assert [line.detail for line in findings(examined)["schema"]] == [pending.detail]


@pytest.mark.parametrize(
    ("statement", "status", "detail", "remedy"),
    [
        ("DROP INDEX ix_activity_log_timestamp_id", "warn", "ix_activity_log_timestamp_id", VERIFY),
        ("DROP INDEX ix_users_email_folded", "fail", "ix_users_email_folded", VERIFY),
        ("ALTER TABLE users DROP COLUMN full_name CASCADE", "fail", "users.full_name: missing column", VERIFY),
        ("UPDATE alembic_version SET version_num = 'f'", "warn", "its tables fit", "deploy the code that made it"),
        ("DELETE FROM alembic_version", "fail", "There are tables but no revision", "alembic stamp"),
        ("INSERT INTO alembic_version VALUES ('f')", "fail", "holds several rows", "find out which revision is true"),
    ],
)
def test_a_schema_that_was_changed(
    statement: str, status: str, detail: str, remedy: str, examined: CommandLine, clone_url: str
) -> None:
    execute(clone_url, statement)
    (found,) = findings(examined)["schema"]
    assert found.status == status
    assert detail in found.detail
    assert remedy in str(found.remedy)


def test_a_pool_that_is_too_large(examined: CommandLine, clone_url: str) -> None:
    alter(clone_url, "CONNECTION LIMIT 14")
    found = only(examined, "pool")
    assert (found.status, found.detail) == ("warn", "14 connections are allowed, and one process may use 17")
    alter(clone_url, "CONNECTION LIMIT 35")
    assert "enough for 2 processes" in only(examined, "pool").detail


def test_a_server_that_is_nearly_full(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "FULL", 0)
    assert only(examined, "pool").status == "warn"


def test_a_queue_that_somebody_keeps_full(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(examined, "queue").status == "ok"
    monkeypatch.setattr(database, "MAX_QUEUE_USAGE", -1)
    found = only(examined, "queue")
    assert (found.status, found.detail[:20]) == ("warn", "that of notification")


def test_an_mvp_user_in_production(
    production: CommandLine, tmp_path: Path, clone_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_newest", lambda _: now())
    assert only(production, "mvp user")[::2] == ("warn", "trading-backend claim")
    monkeypatch.delenv("API_TOKEN")
    assert only(production, "mvp user")[::2] == ("fail", "trading-backend claim")
    production("claim", "ann@example.test", stdin=PASSWORD)
    assert only(production, "mvp user").status == "ok"


def test_a_token_that_is_good_for_nothing(claimed: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(claimed, "mvp user").status == "ok"
    monkeypatch.setenv("API_TOKEN", "0c1e5b7a93d248f6b5a09c7e62f1d384")
    assert only(claimed, "mvp user")[::2] == ("warn", "unset API_TOKEN")


@pytest.mark.parametrize(
    "accident",
    [
        "UPDATE users SET is_active = false, password_hash = NULL",
        pytest.param("UPDATE users SET is_active = false", marks=pytest.mark.slow),
        pytest.param("UPDATE users SET password_hash = NULL", marks=pytest.mark.slow),
        pytest.param("UPDATE users SET password_hash = ''", marks=pytest.mark.slow),
        pytest.param("UPDATE users SET password_hash = 'garbage'", marks=pytest.mark.slow),
    ],
)
def test_nobody_is_locked_out(accident: str, claimed: CommandLine, clone_url: str) -> None:
    """What it says to type lets the owner in again."""
    execute(clone_url, accident)
    found = findings(claimed)
    assert [line.status for line in found["owners"]] == ["fail"]
    for remedy in str(found["owners"][0].remedy).split("; "):
        claimed(*remedy.split()[1:], stdin=PASSWORD)
    assert only(claimed, "owners").status == "ok"


def test_no_owner_at_all(claimed: CommandLine, clone_url: str) -> None:
    execute(clone_url, "UPDATE users SET role = 'trader'")
    (line,) = findings(claimed)["owners"]
    remedies = str(line.remedy).replace("USER", "ann@example.test").split("; ")
    for remedy in remedies:
        claimed(*remedy.split()[1:], stdin=PASSWORD)
    assert only(claimed, "owners").status == "ok"


def test_passwords(claimed: CommandLine, clone_url: str) -> None:
    for name in ("bob", "carl", "dora"):
        add_user(clone_url, f"{name}@example.test")
    hashes = f"UPDATE users SET password_hash = '{BCRYPT}' WHERE email LIKE 'bob@%'"
    execute(clone_url, hashes)
    counted = only(claimed, "passwords")
    assert counted.status == "ok"
    assert counted.detail == "1 hashed with Argon2id, 1 with bcrypt until the next sign-in, 2 users without one"
    execute(clone_url, "UPDATE users SET password_hash = 'plain text' WHERE email LIKE 'carl@%'")
    found = only(claimed, "passwords")
    assert found.status == "warn"
    assert found.detail == "1 have a hash that no password matches (carl@example.test)"
    execute(clone_url, "UPDATE users SET password_hash = 'plain text' WHERE email NOT LIKE 'ann@%'")
    three = "bob@example.test, carl@example.test, dora@example.test"
    assert only(claimed, "passwords").detail.endswith(f"({three})")
    execute(clone_url, "UPDATE users SET password_hash = 'plain' WHERE id = :id", id=add_user(clone_url, "eve@x.test"))
    assert only(claimed, "passwords").detail.endswith(f"({three}, …)")


def test_backups(production: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_TOKEN")
    production("claim", "ann@example.test", stdin=PASSWORD)
    assert only(production, "backups").detail == f"there is none in {tmp_path}/backups"
    taken_at = Backup(Path(production("backup", "create").printed.strip())).manifest().taken_at
    assert only(production, "backups")[:2] == ("ok", f"the newest is from {taken_at:%Y-%m-%d %H:%M} UTC")
    monkeypatch.setattr(backups, "now", lambda: taken_at + timedelta(days=8))
    assert only(production, "backups")[:2] == ("warn", "the newest is 8 days old")


@pytest.mark.parametrize(("before_migration", "status"), [("auto", "warn"), ("always", "fail")])
def test_no_pg_dump(before_migration: str, status: str, examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_BEFORE_MIGRATION", before_migration)
    monkeypatch.setattr(tools, "_folders", lambda _: [])
    found = only(examined, "pg_dump")
    assert found.status == status
    assert "install the package postgresql-client-" in str(found.remedy)


def test_retention(examined: CommandLine, clone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_row(clone_url)
    assert only(examined, "activity").status == "ok"
    monkeypatch.setenv("ACTIVITY_RETENTION_DAYS", "365")
    found = only(examined, "activity")
    assert found.status == "warn"
    assert str(found.remedy).endswith("or run `trading-backend prune`")
    examined("prune")
    assert only(examined, "activity") == Line("ok", "kept for 365 days", None)
