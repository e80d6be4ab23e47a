"""Bringing a database to the code's revision: what is decided, under which lock, and how a refusal reads."""

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.core.settings import REPOSITORY
from app.db.engine import connect
from app.db.migration.lock import migration_lock
from app.db.migration.refusal import explain
from app.db.revisions import UPGRADE, current_revisions, head_revision, revisions
from app.db.schema.report import inspect_schema

log = logging.getLogger(__name__)

ALEMBIC_INI = REPOSITORY / "alembic.ini"

_one_upgrade_in_this_process = threading.Lock()


def migrate(url: str, *, apply: bool, before_change: Callable[[Connection], None] = lambda _: None) -> None:
    """Bring the database at `url` to the code's revision; at head this is one SELECT.

    With `apply=False` nothing is changed, and a database that is behind is refused. Before anything is changed, the
    pending revisions' preconditions are asked, and then `before_change` is called with the connection that holds the
    migration lock; what it raises ends the migration.

    Raises:
        StartupError: the database is in a state that a person has to decide about, or the migration failed; says
            which, and what to type. What was committed before a failure stays, and the next attempt resumes there.
    """
    try:
        with connect(url) as connection:
            if current_revisions(connection) == [head_revision()]:
                return
        with _one_upgrade_in_this_process, migration_lock(url) as connection:
            if needs_upgrade(connection, apply=apply):
                _upgrade(url, connection, before_change)
    except DBAPIError as error:
        raise explain(error, url) from error


def needs_upgrade(connection: Connection, *, apply: bool) -> bool:
    """Decide, under the lock, whether to upgrade; refuse what a person has to decide."""
    found = current_revisions(connection)
    if found == [head_revision()]:
        return False
    if len(found) > 1:
        raise StartupError(
            f"alembic_version holds {len(found)} rows ({', '.join(found)}) where one belongs: find out with "
            "`cd backend && python verify_schema.py` which revision the tables are at, and delete the other rows."
        )
    if found and found[0] not in revisions():
        _accept_newer(connection, found[0])
        return False
    if not found:
        _refuse_unversioned(connection)
    if not apply:
        state = found[0] if found else "empty"
        raise StartupError(
            f"The database is at revision {state}, the code at {head_revision()}, and MIGRATE_ON_START is false: "
            f"run `{UPGRADE}`, then start again."
        )
    _refuse_split_schemas(connection)
    return True


def _accept_newer(connection: Connection, revision: str) -> None:
    """A revision this code does not know: newer code was here, and an older replica may go on if the tables fit."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
    misfits = [entry for entry in inspect_schema(connection).drift if entry.misfit]
    if misfits:
        raise StartupError(
            f"The database is at revision {revision}, which this code does not know, and its tables do not fit: "
            f"{misfits[0]}. Deploy the code that made it, or downgrade with that code first."
        )
    log.warning(
        "the database is at revision %s, which this code does not know; its tables fit, so it goes on",
        revision,
    )


def _refuse_unversioned(connection: Connection) -> None:
    """Tables of ours without a revision: migrating would collide with them, stamping is a person's decision."""
    likely = _likely_revision(connection)
    if likely is not None:
        raise StartupError(
            "The database has this service's tables but no revision in alembic_version. They look like revision "
            f"{likely}: check with `cd backend && python verify_schema.py`, adopt them with "
            f"`cd backend && python -m alembic stamp {likely}`, then start again."
        )


def _refuse_split_schemas(connection: Connection) -> None:
    """The tables are found along the whole search path, but new ones are made in its first schema."""
    found = connection.execute(
        text(
            "SELECT relnamespace::regnamespace::text AS theirs, quote_ident(current_schema()) AS ours "
            "FROM pg_class WHERE oid = to_regclass('users')"
        )
    ).first()
    if found is not None and found.theirs != found.ours:
        raise StartupError(
            f"The tables are in schema {found.theirs}, but new ones would be made in {found.ours}: put the first one "
            f"first with `ALTER ROLE CURRENT_USER SET search_path = {found.theirs}`, then start again."
        )


_MARKS = {
    "users": "0952a611cdfb",
    "ai_recommendations": "c8e4f9b52d31",
    "order_templates": "ad76030fa92e",
    "users.role": "037b216f2ed1",
    "users.username": "50b91afc8456",
    "api_tokens": "7c1f0a9de482",
    "ix_users_username_folded": "b41d6f0c92e7",
    "user_sessions.ended_at": "74e7f4b7c3a3",
    "activity_log.request_id": "b6790272e292",
    "mvp_claim": "6b87f3b9445b",
    "throttled_keys": "ce36ee4acc80",
    "order_templates.time_in_force": "d94b1c6e7a05",
    "ix_order_templates_user_id_id": "5a0f3e8bd217",
    "idempotency_keys": "f3c61b7de940",
    "ix_ai_recommendations_overdue": "e2f80b6c4d19",
}
"""What each revision was the first to make, oldest first."""


def _likely_revision(connection: Connection) -> str | None:
    tables = connection.execute(
        text(
            "SELECT c.relname, c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p', 'i') AND a.attnum > 0 AND NOT a.attisdropped"
        )
    )
    present = {name for row in tables for name in row}
    return next((revision for mark, revision in reversed(_MARKS.items()) if mark in present), None)


def _upgrade(url: str, lock: Connection, before_change: Callable[[Connection], None]) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from app.db.migration.preconditions import check_preconditions

    config = Config(ALEMBIC_INI)
    config.attributes["url"] = url
    config.attributes["lock"] = lock
    check_preconditions(lock, ScriptDirectory.from_config(config), "head")
    before_change(lock)
    log.info("migrating the database to revision %s", head_revision())
    command.upgrade(config, "head")
    log.info("the database is at revision %s", head_revision())
