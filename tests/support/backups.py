"""Databases worth a backup, and a pg_dump that can be watched or made to fail."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import make_url, text

from app.core.settings import Settings
from app.db.backup.create import back_up_before_migration
from app.db.embedded.server import EmbeddedPostgres
from app.db.engine import connect
from app.db.migration.migrate import migrate
from tests.support import postgres
from tests.support.deployment import deploy
from tests.support.service import settings_for

USERS = 7
"""Rows in `users` of a deployment."""

AWKWARD = (
    "CREATE SCHEMA ledger",
    "CREATE TYPE ledger.mood AS ENUM ('up', 'it''s \"down\"')",
    """CREATE TABLE "100%% :""odd"" name" (t text, "%%s" integer)""",
    """INSERT INTO "100%% :""odd"" name" VALUES (NULL, NULL), ('eq', 1), ('eq', 1), ('', 2), (E'a\\tb\\n\\\\N', 3)""",
    """
    CREATE TABLE ledger.entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id integer REFERENCES users, bytes bytea, names text[],
        grid integer[][], doc jsonb, raw json, amount numeric, ratio double precision, small real, at timestamptz,
        span interval, mood ledger.mood, price money, cell point, of regclass,
        twice numeric GENERATED ALWAYS AS (amount * 2) STORED
    )
    """,
    """
    INSERT INTO ledger.entries
           (user_id, bytes, names, grid, doc, raw, amount, ratio, small, at, span, mood, price, cell, of)
    VALUES (NULL, '\\x00ff27', '{NULL,"a,b","{}"}', '{{1,2},{3,4}}', '{"k":1e2}', '{"k" : 1,"k":2}', 1.10, 0.1, 1e-30,
            '2026-03-29 02:30+01', '1 mon -2 days', 'it''s "down"', 12.34, '(1,2)', 'users'),
           (1, '', '{}', '{}', 'null', '""', 'NaN', 'Infinity', '-0', 'infinity', '-1 year', NULL, NULL, NULL, NULL)
    """,
    "INSERT INTO ledger.entries (bytes) SELECT decode(md5(n::text), 'hex') FROM generate_series(1, 500) n",
    "CREATE TABLE ledger.nothing ()",
    "INSERT INTO ledger.nothing DEFAULT VALUES",
    "CREATE TABLE ledger.years (year integer, note text) PARTITION BY LIST (year)",
    "CREATE TABLE ledger.year_2025 PARTITION OF ledger.years FOR VALUES IN (2025)",
    "CREATE TABLE ledger.others PARTITION OF ledger.years DEFAULT",
    "INSERT INTO ledger.years VALUES (2025, 'a'), (2026, NULL), (NULL, 'c')",
    "CREATE SEQUENCE ledger.down INCREMENT -3 MINVALUE -1000 MAXVALUE 50",
    "SELECT nextval('ledger.down'), nextval('ledger.down')",
    "CREATE SEQUENCE ledger.fresh START 7",
    "CREATE SEQUENCE ledger.spent AS smallint MAXVALUE 2",
    "SELECT nextval('ledger.spent'), nextval('ledger.spent')",
    "CREATE VIEW ledger.names AS SELECT email FROM users",
    "CREATE MATERIALIZED VIEW ledger.counted AS SELECT count(*) FROM users",
    "GRANT SELECT ON users TO pg_monitor",
    "ALTER TABLE ledger.nothing OWNER TO pg_monitor",
)


@contextmanager
def deployment(server_url: str) -> Iterator[str]:
    """A database of the test's own as deployments have it, which goes with whatever restores leave beside it."""
    with postgres.database(server_url) as url:
        deploy(url)
        yield url
        postgres.run_outside_transaction(server_url, *(f'DROP DATABASE "{name}" WITH (FORCE)' for name in beside(url)))


def beside(url: str) -> list[str]:
    """What restoring has made beside the database at `url`, and left."""
    stem = name_of(url)[:20]
    return sorted(name for name in databases(url) if name.startswith(stem) and name != name_of(url))


def databases(url: str) -> set[str]:
    with connect(url) as connection:
        return set(connection.scalars(text("SELECT datname FROM pg_database")))


def name_of(url: str) -> str:
    return make_url(url).database or ""


def migrate_with_backup(settings: Settings, url: str) -> None:
    """As a start does it."""
    migrate(url, apply=True, before_change=partial(back_up_before_migration, settings, url))


def embedded_settings(data_dir: Path, **overrides: object) -> Settings:
    """Settings without DATABASE_URL, whose tools are the embedded server's."""
    return settings_for("", data_dir, database_url=None, **overrides)


def fake_pg_dump(folder: Path, script: str) -> Path:
    """A folder for the front of PATH, with a pg_dump that runs `script` unless it is asked for its version.

    In the script `$REAL` is the real program.
    """
    real = EmbeddedPostgres(folder).bin_path
    program = folder / "bin" / "pg_dump"
    program.parent.mkdir()
    version = '[ "$1" = --version ] && { echo "pg_dump (PostgreSQL) 18.0"; exit; }'
    program.write_text(f"#!/bin/sh\n{version}\nREAL='{real}/pg_dump'\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (program.parent / "pg_restore").symlink_to(real / "pg_restore")
    return program.parent
