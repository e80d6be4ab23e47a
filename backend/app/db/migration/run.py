"""How revisions run against a live database: under the lock, with short lock waits, tried again when they collide."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from functools import partial
from itertools import dropwhile
from typing import Any

import psycopg2
from alembic import command, context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from app.core.waiting import pause
from app.db.engine import connect, make_engine, wait_for_database
from app.db.migration.autogenerate import is_told_alike, process_directives, render_item
from app.db.migration.lock import OUTLIVE_TIMEOUTS, RUNNING, make_sure_of, migration_lock
from app.db.migration.migrate import needs_upgrade
from app.db.migration.preconditions import check_preconditions
from app.db.migration.refusal import explain
from app.models.database import User

log = logging.getLogger(__name__)

_MANAGED = User.metadata

LOCK_TIMEOUT = "500ms"
"""A statement that waits for a table's lock makes every later reader of that table wait behind it."""

GIVE_UP_AFTER = 300.0
"""Seconds of collisions without any progress."""

_LONG_ATTEMPT = 10.0
"""Seconds; an attempt that worked for so long has come further, though no revision was finished."""

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


class _Plan:
    """The steps that the command asks for, worked out once.

    An attempt after a collision goes on where the database is: `-2` counts from where the command found it.
    """

    def __init__(self, work: Callable[..., Iterable[Any]]) -> None:
        self._work = work
        self._steps: list[Any] | None = None
        self.at: tuple[str, ...] = ()
        """The revision that the latest attempt began at."""

    def __call__(self, heads: tuple[str, ...], migrations: MigrationContext) -> Iterable[Any]:
        self.at = heads
        if self._steps is None:
            self._steps = list(self._work(heads, migrations))
            return self._steps
        return dropwhile(lambda step: set(step.from_revisions) != set(heads), self._steps)


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
            if held is not None and _asked() is command.upgrade and needs_upgrade(held, apply=True):
                check_preconditions(held, context.script, _option("revision"))
            event.listen(engine, "begin", partial(_begin, held))
            _run_until_done(engine, url, held)
    except DBAPIError as error:
        raise explain(error, url) from error
    finally:
        engine.dispose()


def _asked() -> object:
    """The function of `alembic.command` that runs; None where no shell gave it."""
    return (_option("cmd") or (None,))[0]


def _option(name: str) -> Any:
    return getattr(context.config.cmd_opts, name, None)


def _only_reads() -> bool:
    """Whether the command needs no lock: asking for the revision must not wait for a migration."""
    return _asked() in {command.current, command.check}


def _run_until_done(engine: Engine, url: str, lock: Connection | None) -> None:
    plan: _Plan | None = None
    at: tuple[str, ...] | None = None
    deadline, interval = 0.0, 0.25
    while True:
        began = time.monotonic()
        try:
            with engine.connect() as connection:
                plan = _configure(connection, lock, plan)
                with context.begin_transaction():
                    context.run_migrations()
            return
        except OperationalError as error:
            if not _collided(error) or plan is None:
                raise
            now = time.monotonic()
            if plan.at != at or now - began > _LONG_ATTEMPT:
                at, deadline, interval = plan.at, now + GIVE_UP_AFTER, 0.25
            if now > deadline:
                raise
            log.warning("a revision could not have its lock, trying again in %.2g s; %s", interval, _blockers(url))
        pause(interval)
        interval = min(interval * 2, 5.0)


def _configure(connection: Connection, lock: Connection | None, plan: _Plan | None) -> _Plan:
    """Prepare Alembic for one attempt at `plan`; the first attempt makes it from what the command does."""

    def before_a_revision_is_recorded(*_: Any, **__: Any) -> None:
        if lock is not None:
            make_sure_of(lock)

    if plan is None:
        context.configure(connection=connection)
        plan = _Plan(context.get_context().opts["fn"])
    context.configure(
        connection=connection,
        target_metadata=_MANAGED,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        include_name=_is_managed,
        include_object=is_told_alike,
        render_item=render_item,
        process_revision_directives=None if _asked() is command.check else process_directives,
        on_version_apply=before_a_revision_is_recorded,
        fn=plan,
    )
    return plan


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
    return kind != "table" or name in _MANAGED.tables


def _collided(error: DBAPIError) -> bool:
    return getattr(error.orig, "pgcode", None) in (_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED)


def _blockers(url: str) -> str:
    with connect(url) as connection:
        rows = connection.execute(_BLOCKERS, {"tables": list(_MANAGED.tables)}).all()
    held = [f"backend {row.pid} ({row.application_name}) holds {row.relname} for {row.seconds} s" for row in rows]
    return "; ".join(held) or "whoever held it has just finished"
