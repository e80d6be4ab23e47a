"""Rows that are to be deleted, and rows that are not yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Engine, create_engine

from tests.support.identity import execute

YEAR = timedelta(days=365)


class Kind(NamedTuple):
    name: str
    """What the rows are counted as."""
    age: str
    """The column that tells how old they are."""
    kept_for: timedelta
    insert: str


TABLES = {
    "user_sessions": Kind(
        "sessions",
        "expires_at",
        timedelta(days=30),
        "(user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, created_at) "
        "SELECT 1, gen_random_uuid(), gen_random_uuid(), moment, moment, moment",
    ),
    "throttled_keys": Kind(
        "throttle",
        "last_failed_at",
        timedelta(hours=24),
        "(key, failures, last_failed_at, blocked_until) SELECT sha256(random()::text::bytea), 1, moment, moment",
    ),
    "known_addresses": Kind(
        "networks",
        "last_seen_at",
        YEAR,
        "(user_id, network, last_seen_at) SELECT 1, gen_random_uuid(), moment",
    ),
    "idempotency_keys": Kind(
        "idempotency_keys",
        "created_at",
        timedelta(hours=24),
        "(user_id, operation, key, fingerprint, created_at) "
        "SELECT 1, 'recommend', gen_random_uuid(), sha256(''), moment",
    ),
    "activity_log": Kind(
        "activity",
        "timestamp",
        YEAR,
        "(action_type, details, timestamp) SELECT 'signed_in', '{}', moment",
    ),
}
NOTHING = dict.fromkeys(("exchanges", *(kind.name for kind in TABLES.values())), 0)


@contextmanager
def impatient(url: str) -> Iterator[Engine]:
    """For whoever has to wait for nobody: they are not kept waiting for long."""
    engine = create_engine(url, connect_args={"options": "-c lock_timeout=2s"})
    yield engine
    engine.dispose()


def fill(url: str, *tables: str, old: int = 0, young: int = 0) -> None:
    """Rows an hour from each other, the first of them a minute too old, or not yet."""
    for table in tables or TABLES:
        kind = TABLES[table]
        for rows, sign in ((old, "-"), (young, "+")):
            moment = (
                f"SELECT timezone('utc', now()) - :kept_for {sign} interval '1 minute' {sign} n * interval '1 hour' "
                "AS moment FROM generate_series(0, :rows - 1) AS n"
            )
            execute(
                url, f"INSERT INTO {table} {kind.insert} FROM ({moment}) AS rows", kept_for=kind.kept_for, rows=rows
            )


def left(url: str) -> dict[str, int]:
    """How many rows by table."""
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in TABLES)
    return dict(execute(url, f"SELECT {counts}")[0])
