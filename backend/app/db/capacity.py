"""Whether the database admits as many connections as a process may open."""

import logging
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from app.db.engine import MAX_OVERFLOW, POOL_SIZE

log = logging.getLogger(__name__)

PROCESS_CONNECTIONS: Final = POOL_SIZE + MAX_OVERFLOW + 2
"""Those of the pool, the one on which revocations are heard, and the one on which it is proved that they are."""

# A superuser is bound by max_connections alone; -1 is no limit.
_LIMITS: Final = text(
    """
    SELECT whose, allowed
      FROM pg_roles AS me JOIN pg_database ON datname = current_database(),
           LATERAL (
               SELECT CASE WHEN rolsuper THEN 0 ELSE
                          current_setting('superuser_reserved_connections')::int
                          + CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections'
                                                 AND pg_has_role(me.oid, oid, 'USAGE'))
                                 THEN 0 ELSE coalesce(current_setting('reserved_connections', true)::int, 0) END
                      END AS reserved
           ) AS others,
           LATERAL (VALUES
               ('max_connections', false, current_setting('max_connections')::int - reserved),
               (format('the CONNECTION LIMIT of the role %I', rolname), rolsuper, rolconnlimit),
               (format('the CONNECTION LIMIT of the database %I', datname), rolsuper, datconnlimit)
           ) AS limits (whose, is_waived, allowed)
     WHERE rolname = session_user AND NOT is_waived AND allowed >= 0
     ORDER BY allowed LIMIT 1
    """
)


def check_connections(engine: Engine) -> None:
    """Warn in the log if this process alone may want more connections than the server, its role or database allow.

    Behind a pooler nothing is said: how many there are is for the pooler to decide.
    """
    with engine.connect() as connection:
        if _is_pooled(connection):
            return
        whose, allowed = connection.execute(_LIMITS).one()
    if allowed < PROCESS_CONNECTIONS:
        log.warning(
            "this process opens up to %d connections to the database, as does every replica, but %s admits %d in all: "
            "raise it, or requests will be refused when they are many",
            *(PROCESS_CONNECTIONS, whose, allowed),
        )


def _is_pooled(connection: Connection) -> bool:
    """Whether PgBouncer or its like is in between: they tell libpq of a backend that they made up."""
    driver: Any = connection.connection.driver_connection
    return bool(connection.scalar(text("SELECT pg_backend_pid()")) != driver.get_backend_pid())
