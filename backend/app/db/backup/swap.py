"""One database in the place of another, by renaming both; the one that was there is kept."""

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from app.core.clock import now
from app.core.errors import StartupError
from app.core.waiting import pause
from app.db.backup.scratch import databases_named, quoted, suffixed

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 15.0
"""Seconds in which the sessions of a database that is to be renamed have to end."""

_KEPT = "_before_restore_"
_IN_USE = "55006"
_SESSIONS = text(
    "SELECT pid, usename, coalesce(application_name, '') AS program FROM pg_stat_activity "
    "WHERE datname = :name AND backend_type IS DISTINCT FROM 'autovacuum worker' ORDER BY pid"
)


def swap(server: Connection, current: str, replacement: str) -> str:
    """Give the name `current` to the database `replacement`; return the name that the present `current` is kept under.

    Sessions of both are ended and new ones refused meanwhile: for the time of two renames, which are one transaction.

    Raises:
        StartupError: a session could not be ended; nothing was renamed.
    """
    kept = _free_name(server, current)
    server.exec_driver_sql(f"ALTER DATABASE {quoted(server, current)} ALLOW_CONNECTIONS false")
    try:
        _rename(server, current, replacement, kept)
    except BaseException:
        server.exec_driver_sql(f"ALTER DATABASE {quoted(server, current)} ALLOW_CONNECTIONS true")
        raise
    return kept


def kept_databases(server: Connection, current: str) -> list[str]:
    """Those that restores have put aside, the newest first."""
    stem, mark, _ = _kept_name(current, now()).rpartition(_KEPT)
    return databases_named(server, stem + mark)


def _kept_name(current: str, at: datetime) -> str:
    return suffixed(current, f"{_KEPT}{at:%Y%m%dT%H%M%SZ}")


def _free_name(server: Connection, current: str) -> str:
    at = now()
    while databases_named(server, name := _kept_name(current, at)):
        at += timedelta(seconds=1)
    return name


def _rename(server: Connection, current: str, replacement: str, kept: str) -> None:
    here, there, aside = (quoted(server, name) for name in (current, replacement, kept))
    deadline = time.monotonic() + GIVE_UP_AFTER
    while True:
        sessions = _end_sessions(server, current) + _end_sessions(server, replacement)
        try:
            # Sent as one message, which is one transaction.
            server.exec_driver_sql(
                f"ALTER DATABASE {here} RENAME TO {aside}; ALTER DATABASE {aside} ALLOW_CONNECTIONS true; "
                f"ALTER DATABASE {there} RENAME TO {here}"
            )
            return
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != _IN_USE:
                raise
            if time.monotonic() > deadline:
                raise StartupError(
                    f"The database {current} is in use and was left as it is ({'; '.join(sessions)}): end these "
                    "sessions, then try again."
                ) from error
        pause(0.2)


def _end_sessions(server: Connection, name: str) -> list[str]:
    """End what may be ended; return what there was."""
    sessions = server.execute(_SESSIONS, {"name": name}).all()
    for session in sessions:
        try:
            server.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": session.pid})
        except ProgrammingError as error:
            log.warning("session %d of %s cannot be ended: %s", session.pid, session.usename, error.orig)
    return [f"{session.program} of {session.usename}, process {session.pid}" for session in sessions]
