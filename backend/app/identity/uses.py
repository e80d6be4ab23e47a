"""When credentials were last used, written down in batches."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, Engine, text

from app.identity.permissions import CredentialKind
from app.identity.principal_cache import Use

_BATCH: Final = 1000
_PLACES: Final = {
    CredentialKind.SESSION: ("user_sessions", "last_activity_at"),
    CredentialKind.API_TOKEN: ("api_tokens", "last_used_at"),
    CredentialKind.MVP_TOKEN: ("api_tokens", "last_used_at"),
}
_NOTE: Final = """
    WITH used AS (
        SELECT id, timezone('utc', now()) - age * interval '1 second' AS at FROM unnest(:ids, :ages) AS uses (id, age)
    ), stale AS (
        SELECT {table}.id, used.at FROM {table} JOIN used USING (id)
         WHERE {column} IS NULL OR {column} < used.at - interval '1 minute'
           FOR UPDATE OF {table} SKIP LOCKED
    )
    UPDATE {table} SET {column} = stale.at FROM stale WHERE {table}.id = stale.id
"""


def write_uses(engine: Engine, uses: Iterable[Use], now: float) -> None:
    """Note uses, each credential's at most once a minute; `now` is this moment by the steady clock.

    Rows that somebody else is at are left out. A database that can only be read is not written to.
    """
    ages: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for use in uses:
        ages.setdefault(_PLACES[use.kind], []).append((use.credential_id, now - use.at))
    with engine.connect() as connection:
        if connection.scalar(text("SELECT current_setting('transaction_read_only')::bool")):
            return
        for place, used in ages.items():
            for start in range(0, len(used), _BATCH):
                _write(connection, place, used[start : start + _BATCH])


def _write(connection: Connection, place: tuple[str, str], used: list[tuple[int, float]]) -> None:
    table, column = place
    ids, ages = zip(*used, strict=True)
    statement = text(_NOTE.format(table=table, column=column))
    connection.execute(statement, {"ids": list(ids), "ages": list(ages)})
    connection.commit()
