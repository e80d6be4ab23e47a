"""How revisions run against a live database: under the lock, with short lock waits, tried again when they collide."""

import logging
import time
from contextlib import closing, nullcontext
from functools import partial
from typing import Any

import psycopg2
from alembic import command, context
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from app.core.waiting import pause
from app.db.engine import connect, make_engine, wait_for_database
from app.db.migration.autogenerate import process_directives, render_item
from app.db.migration.lock import OUTLIVE_TIMEOUTS, RUNNING, make_sure_of, migration_lock
from app.db.migration.refusal import explain
from app.models.base import Base

log = logging.getLogger(__name__)

LOCK_TIMEOUT = "500ms"
"""A statement that waits for a table's lock makes every later reader of that table wait behind it."""

GIVE_UP_AFTER = 300.0
_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED = "55P03", "40P01"

_BLOCKERS = text(
    """
    SELECT DISTINCT a.pid, a.application_name, c.relname,
           extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds
      FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
     WHERE l.granted AND c.relname = ANY(:tables) AND a.datname = current_database() AND a.pid <> pg_backend_pid()
     ORDER BY seconds DESC NULLS LAST LIMIT 3
    """
)


def run_revisions(url: str, lock: Connection | None = None) -> None:
    """Run what the Alembic command at hand asks for; each revision is a transaction of its own.

    `lock` is the connection that holds the migration lock, where the caller has it already.

    A revision that cannot have a lock within half a second, or loses a deadlock, is rolled back and tried again for
    up to five minutes; those committed before it stay.

    Raises:
        StartupError: the database cannot be reached, another process keeps the migration lock, or a revision failed
            or refused.
    """
    engine = make_engine(url, pooled=False, purpose="maintenance" if _only_reads() else RUNNING)
    try:
        wait_for_database(engine)
        with nullcontext(lock) if lock or _only_reads() else migration_lock(url) as held:
            event.listen(engine, "begin", partial(_begin, held))
            _run_until_done(engine, url, held)
    except DBAPIError as error:
        raise explain(error, url) from error
    finally:
        engine.dispose()


def _only_reads() -> bool:
    """Whether the command needs no lock: asking for the revision must not wait for a migration."""
    asked = getattr(context.config.cmd_opts, "cmd", (None,))
    return asked[0] in {command.current, command.check}


def _run_until_done(engine: Engine, url: str, lock: Connection | None) -> None:
    deadline = time.monotonic() + GIVE_UP_AFTER
    interval = 0.25
    while True:
        try:
            with engine.connect() as connection:
                _run(connection, lock)
            return
        except OperationalError as error:
            if not _collided(error) or time.monotonic() > deadline:
                raise
            log.warning("a revision could not have its lock, trying again in %.2g s; %s", interval, _blockers(url))
        pause(interval)
        interval = min(interval * 2, 5.0)


def _run(connection: Connection, lock: Connection | None) -> None:
    def before_a_revision_is_recorded(*_: Any, **__: Any) -> None:
        if lock is not None:
            make_sure_of(lock)

    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        include_name=_is_managed,
        render_item=render_item,
        process_revision_directives=process_directives,
        on_version_apply=before_a_revision_is_recorded,
    )
    with context.begin_transaction():
        context.run_migrations()


def _begin(lock: Connection | None, connection: Connection) -> None:
    """Prepare each transaction, on the driver's cursor: a statement through SQLAlchemy here would begin another.

    The lock is looked after once this transaction can be seen: whoever takes the lock later waits for its end.
    """
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(OUTLIVE_TIMEOUTS)
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    except psycopg2.Error as error:
        raise OperationalError("BEGIN", None, error) from error
    if lock is not None:
        make_sure_of(lock)


def _is_managed(name: str | None, kind: str, parents: Any) -> bool:
    return kind != "table" or name in Base.metadata.tables


def _collided(error: DBAPIError) -> bool:
    return getattr(error.orig, "pgcode", None) in (_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED)


def _blockers(url: str) -> str:
    with connect(url) as connection:
        rows = connection.execute(_BLOCKERS, {"tables": list(Base.metadata.tables)}).all()
    held = [f"backend {row.pid} ({row.application_name}) holds {row.relname} for {row.seconds} s" for row in rows]
    return "; ".join(held) or "whoever held it has just finished"
