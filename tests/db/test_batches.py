"""A batch costs what its rows cost, also where an old snapshot keeps those of the batches before it."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.batches import delete_older
from app.db.engine import connect
from app.models.base import database_now
from app.models.database import ActivityLog
from tests.support.identity import execute
from tests.support.plans import blocks_read, plans
from tests.support.postgres import run_outside_transaction

ROWS, MANY, BATCH = 10_000, 500, 50

# Nothing lies in order.
FILL = """
    INSERT INTO activity_log (action_type, details, timestamp)
    SELECT 'signed_in', '{}', timezone('utc', now()) - n * interval '1 minute'
    FROM generate_series(1, :rows) AS n ORDER BY md5(CAST(n AS text))
"""


def delete(session: Session, batch: int, since: datetime | None) -> list[datetime]:
    return delete_older(session, ActivityLog.timestamp, database_now, batch, since)


def test_the_last_batch_beneath_an_old_snapshot_costs_what_the_first_does(clone_url: str) -> None:
    execute(clone_url, FILL, rows=ROWS)
    run_outside_transaction(clone_url, "VACUUM ANALYZE activity_log")
    with connect(clone_url) as dump, connect(clone_url) as connection:
        dump.execution_options(isolation_level="REPEATABLE READ").execute(text("SELECT count(*) FROM activity_log"))
        (first,) = plans(connection, lambda session: delete(session, BATCH, None))
        since = None
        for _ in range(ROWS // MANY - 1):
            with Session(connection) as session, session.begin():
                since = max(delete(session, MANY, since))
        (last,) = plans(connection, lambda session: delete(session, BATCH, since))
    assert first["Actual Rows"] == last["Actual Rows"] == BATCH
    assert blocks_read(last) < 2 * blocks_read(first)
