"""The chain of migrations as tests walk it, and what it leaves in a database."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text

from app.db.embedded.server import EmbeddedPostgres
from app.db.engine import connect
from app.db.migration.migrate import ALEMBIC_INI
from app.db.revisions import VERSIONS, current_revisions
from tests.support.service import clone, environment

INITIAL = "0952a611cdfb"
RECOMMENDATIONS = "c8e4f9b52d31"
ORDER_TEMPLATES = "ad76030fa92e"
ACCOUNTS = "037b216f2ed1"
USERNAMES = "50b91afc8456"
API_TOKENS = "7c1f0a9de482"
SEQUENCES = "e93b5d27f610"
NAMES = "b41d6f0c92e7"
SESSIONS = "74e7f4b7c3a3"
ACTIVITY = "b6790272e292"
WAYS_IN = "6b87f3b9445b"
THROTTLING = "ce36ee4acc80"
DECIMALS = "d94b1c6e7a05"
TRADING_LISTS = "5a0f3e8bd217"
IDEMPOTENCY = "f3c61b7de940"
REVOCATIONS = "a17d5e90c3f8"
SCALE = "e2f80b6c4d19"

CHAIN = [script.revision for script in reversed([*ScriptDirectory(str(VERSIONS.parent)).walk_revisions()])]
"""Every revision, oldest first, as Alembic reads them."""

Row = dict[str, str | None]

FLOATS = {
    "order_templates": ("quantity", "limit_price"),
    "ai_recommendations": (
        "confidence_score",
        "suggested_entry_price",
        "suggested_stop_loss",
        "suggested_take_profit",
        "suggested_position_size",
        "execution_price",
        "actual_pnl",
        "actual_pnl_percent",
        "accuracy_score",
    ),
}
"""Columns that are DOUBLE PRECISION before DECIMALS, and NUMERIC since."""

_CATALOG = text(
    """
    WITH tables AS (
        SELECT oid, relname::text AS name FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    ), lines AS (
        SELECT attrelid AS "table", 1 AS part, lpad(attnum::text, 4) AS place, concat_ws(' ', attname,
                   upper(replace(replace(format_type(atttypid, atttypmod), 'character varying', 'varchar'),
                                 ' without time zone', '')),
                   CASE WHEN attnotnull THEN 'NOT NULL' ELSE 'NULL' END,
                   'DEFAULT ' || pg_get_expr(adbin, adrelid)) AS line
          FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT conrelid, 2, conname, concat_ws(' ', 'CONSTRAINT', conname, pg_get_constraintdef(oid))
          FROM pg_constraint WHERE contype <> 'n'
        UNION ALL
        SELECT indrelid, 3, indexrelid::regclass::text,
               regexp_replace(pg_get_indexdef(indexrelid), '^CREATE | ON [^ ]+ USING btree|"', '', 'g')
                   || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
          FROM pg_index
         WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
        UNION ALL
        SELECT refobjid, 4, seqrelid::regclass::text,
               concat_ws(' ', 'SEQUENCE', seqrelid::regclass, 'AS', seqtypid::regtype,
                         'FROM', seqmin, 'TO', seqmax, 'START', seqstart, 'BY', seqincrement,
                         'OWNED BY', attname)
          FROM pg_sequence
          JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = seqrelid AND deptype = 'a'
          JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    )
    SELECT name, line FROM tables JOIN lines ON "table" = oid ORDER BY name, part, place COLLATE "C"
    """
)


def upgrade(url: str, revision: str = "head") -> None:
    command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    command.downgrade(_config(url), revision)


def rendered(direction: str, revisions: str) -> str:
    """What `alembic upgrade|downgrade revisions --sql` prints."""
    output = io.StringIO()
    config = Config(ALEMBIC_INI, output_buffer=output)
    getattr(command, direction)(config, revisions, sql=True)
    return output.getvalue()


def shell(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m alembic …`, given in backend/."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=clone() / "backend",
        env=environment({"DATABASE_URL": url}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def execute(url: str, *scripts: str) -> None:
    """Run each script, of one statement or several, in a transaction of its own."""
    with connect(url) as connection:
        for script in scripts:
            connection.exec_driver_sql(script)
            connection.commit()


def fetch(url: str, query: str) -> list[Row]:
    with connect(url) as connection:
        return [dict(row) for row in connection.exec_driver_sql(query).mappings()]


def revision_of(url: str) -> list[str]:
    with connect(url) as connection:
        return current_revisions(connection)


def catalog(url: str) -> dict[str, list[str]]:
    """Of each table in `public` but `alembic_version`: columns in order, constraints, indexes, sequences."""
    found: dict[str, list[str]] = {}
    with connect(url) as connection:
        for name, line in connection.execute(_CATALOG):
            found.setdefault(name, []).append(line)
    return found


def rows(url: str) -> dict[str, list[Row]]:
    """Every row of each of these tables by its key, each value as PostgreSQL writes it."""
    return {table: rows_of(url, table) for table in catalog(url)}


def rows_of(url: str, table: str) -> list[Row]:
    columns = fetch(
        url,
        f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 "
        "AND NOT attisdropped ORDER BY attnum",
    )
    as_text = ", ".join(f'"{column["attname"]}"::text' for column in columns)
    key = fetch(
        url,
        "SELECT attname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) "
        f"WHERE conrelid = '{table}'::regclass AND contype = 'p'",
    )
    order = ", ".join(f't."{column["attname"]}"' for column in key) or "t.id"
    return fetch(url, f"SELECT {as_text} FROM {table} AS t ORDER BY {order}")


def in_decimals(tables: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Rows from before DECIMALS, each value as PostgreSQL has to write it since."""
    return {table: [_in_decimals(row, FLOATS.get(table, ())) for row in found] for table, found in tables.items()}


def _in_decimals(row: Row, floats: Sequence[str]) -> Row:
    return row | {column: _as_decimal(row[column]) for column in floats}


def _as_decimal(number: str | None) -> str | None:
    """A DOUBLE PRECISION is written with an exponent where that is shorter, and has a -0; a NUMERIC has neither."""
    if number is not None and "e" in number:
        return f"{Decimal(number):f}"
    return "0" if number == "-0" else number


def dump(url: str) -> bytes:
    """What pg_dump writes; skips the test where no pg_dump is at hand."""
    return _client("pg_dump", url, "--restrict-key=test")


def run_script(url: str, sql: str) -> None:
    """Run SQL as a person would, with psql, up to the first error; skips the test where no psql is at hand."""
    _client("psql", url, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", given=sql)


def _client(program: str, url: str, *options: str, given: str = "") -> bytes:
    own = None if os.environ.get("TEST_DATABASE_URL") else EmbeddedPostgres(Path()).bin_path / program
    path = own or shutil.which(program)
    if path is None:
        pytest.skip(f"TEST_DATABASE_URL is set and there is no {program}")
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    done = subprocess.run([path, *options, address], input=given.encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _config(url: str) -> Config:
    config = Config(ALEMBIC_INI)
    config.attributes["url"] = url
    return config
