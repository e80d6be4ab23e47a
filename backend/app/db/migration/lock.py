"""One migration at a time, across processes and hosts."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.core.waiting import pause
from app.db.engine import application_name, connect
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

RUNNING = f"revisions {socket.gethostname()}"
"""What connections are for that run revisions."""

_IN_THE_WAY = text(
    """
    SELECT pid, application_name, coalesce(host(client_addr), 'local') AS address,
           extract(epoch FROM clock_timestamp() - xact_start)::int AS seconds
      FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
       AND (starts_with(application_name, :running) AND state IS DISTINCT FROM 'idle'
            OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = datid
                          AND (classid::bigint << 32) + objid::bigint = :key))
     ORDER BY starts_with(application_name, :running) LIMIT 1
    """
)
"""Who has the lock; or, where nobody has, the statement that somebody left behind who had it."""


@contextmanager
def migration_lock(url: str, timeout: float = WAIT_FOR_LOCK) -> Iterator[Connection]:
    """Hold the right to decide about, and change, the schema; yields the connection that holds it.

    The lock belongs to an open transaction, so that it works through a pooler in transaction mode. It is polled:
    a waiter that blocked inside the server would hold a snapshot, and CREATE INDEX CONCURRENTLY in the holder
    would wait for that waiter for ever. Between two attempts a waiter has no transaction open: waiters that kept
    a small pool's connections would keep the holder from its second one.

    Raises:
        StartupError: another process kept the lock for `timeout` seconds, or this one is asked to stop.
    """
    deadline = time.monotonic() + timeout
    next_report = time.monotonic()
    with connect(url) as connection:
        while True:
            with connection.begin():
                if _is_taken(connection):
                    yield connection
                    return
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"Another process has been migrating this database for {timeout:.0f} seconds "
                        f"({_holder(connection)}): wait for it to finish or end it, then start again."
                    )
                if time.monotonic() >= next_report:
                    log.info("waiting for a migration by another process: %s", _holder(connection))
                    next_report = time.monotonic() + _REPORT_EVERY
            pause(_POLL)


def make_sure_of(lock: Connection) -> None:
    """Do nothing while `lock`, as `migration_lock` yields it, still holds the right to go on.

    Raises:
        StartupError: its connection was lost, and with it the lock.
    """
    try:
        lock.exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        raise StartupError(
            "The migration lock was lost with its connection, so another process may be migrating: this one stopped "
            "and has not recorded the revision it was at. The server's log says who ended the connection; start again."
        ) from error


def _is_taken(connection: Connection) -> bool:
    """Take the lock if it is to be had, for the transaction, and while no lost holder's last statement still runs."""
    if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}):
        return False
    if _in_the_way(connection) is not None:
        return False
    connection.exec_driver_sql(OUTLIVE_TIMEOUTS)
    connection.execute(
        text("SELECT set_config('application_name', :name, true)"),
        {"name": application_name(f"migration {socket.gethostname()}")},
    )
    return True


def _in_the_way(connection: Connection) -> Row[Any] | None:
    return connection.execute(_IN_THE_WAY, {"key": LOCK_KEY, "running": application_name("revisions ")}).first()


def _holder(connection: Connection) -> str:
    holder = _in_the_way(connection)
    if holder is None:
        return "it has just finished"
    at = ", ".join(current_revisions(connection)) or "nothing yet"
    return (
        f"{holder.application_name}, backend {holder.pid} from {holder.address}, for {holder.seconds} s, "
        f"the database is at {at}"
    )
