"""One migration at a time, across processes and hosts."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from app.core.errors import StartupError
from app.core.waiting import pause
from app.db.engine import connect
from app.db.revisions import current_revisions

log = logging.getLogger(__name__)

LOCK_KEY = 0x7462_6D69_6772
"""The advisory lock's number: "tbmigr" in ASCII; pg_locks shows its halves as classid and objid."""

OUTLIVE_TIMEOUTS = """
SELECT set_config(name, CASE name WHEN 'client_connection_check_interval' THEN '2s' ELSE '0' END, true)
  FROM pg_settings WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
                                  'client_connection_check_interval')
"""
"""For the transaction it begins: no timeout of the server ends it, and the client's death does within 2 s.

Reads pg_settings, because older servers lack some of them.
"""

WAIT_FOR_LOCK = 600.0
_POLL = 0.2
_REPORT_EVERY = 10.0

_HOLDER = text(
    """
    SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'local') AS address,
           extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds
      FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database
            WHERE datname = current_database())
       AND (l.classid::bigint << 32) + l.objid::bigint = :key
    """
)


@contextmanager
def migration_lock(url: str, timeout: float = WAIT_FOR_LOCK) -> Iterator[Connection]:
    """Hold the right to decide about, and change, the schema; yields the connection that holds it.

    The lock belongs to an open transaction, so that it works through a pooler in transaction mode. It is polled:
    a waiter that blocked inside the server would hold a snapshot, and CREATE INDEX CONCURRENTLY in the holder
    would wait for that waiter for ever.

    Raises:
        StartupError: another process kept the lock for `timeout` seconds, or this one is asked to stop.
    """
    with connect(url) as connection, connection.begin():
        connection.exec_driver_sql(OUTLIVE_TIMEOUTS)
        _acquire(connection, timeout)
        yield connection


def _acquire(connection: Connection, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    next_report = time.monotonic()
    while not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}):
        if time.monotonic() > deadline:
            raise StartupError(
                f"Another process has been migrating this database for {timeout:.0f} seconds ({_holder(connection)}): "
                "wait for it to finish or end it, then start again."
            )
        if time.monotonic() >= next_report:
            log.info("waiting for a migration by another process: %s", _holder(connection))
            next_report = time.monotonic() + _REPORT_EVERY
        pause(_POLL)
    connection.execute(
        text("SELECT set_config('application_name', :name, true)"),
        {"name": f"trading-backend migration {socket.gethostname()}"[:63]},
    )


def _holder(connection: Connection) -> str:
    holder = connection.execute(_HOLDER, {"key": LOCK_KEY}).first()
    if holder is None:
        return "it has just finished"
    at = ", ".join(current_revisions(connection)) or "nothing yet"
    return (
        f"{holder.application_name}, backend {holder.pid} from {holder.address}, for {holder.seconds} s, "
        f"the database is at {at}"
    )
