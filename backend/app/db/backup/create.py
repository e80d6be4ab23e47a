"""Making backups, and that there is one before a migration changes anything."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from app.core.clock import now
from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.contents import read_contents, read_sequences
from app.db.backup.folder import Backup, BackupFolder, Manifest, Origin
from app.db.backup.tools import find_tools, read_server, refuse_pooler
from app.db.engine import connect, describe
from app.db.migration.lock import OUTLIVE_TIMEOUTS, make_sure_of
from app.db.revisions import current_revisions

log = logging.getLogger(__name__)


def back_up_before_migration(settings: Settings, url: str, lock: Connection) -> None:
    """Back the database up where BACKUP_BEFORE_MIGRATION asks for it; `lock` is what holds the migration lock.

    Raises:
        StartupError: the backup failed, or the lock was lost meanwhile.
        sqlalchemy.exc.DBAPIError: `users` is locked by somebody for too long.
    """
    policy = settings.backup_before_migration
    if policy == "never" or (policy == "auto" and not _holds_users(url)):
        return
    if policy == "auto" and settings.database_url is not None:
        log.info("migrating without a backup: BACKUP_BEFORE_MIGRATION=always takes one where DATABASE_URL is set, too")
        return
    try:
        backup = make_backup(settings, url, "migration")
    except StartupError as error:
        raise StartupError(
            f"The backup before the migration failed, so nothing was changed: {error} "
            "(BACKUP_BEFORE_MIGRATION=never migrates without one.)"
        ) from error
    log.info("backed the database up to %s", backup.path)
    _prune(settings)
    make_sure_of(lock)


def make_backup(settings: Settings, url: str, made_by: Origin) -> Backup:
    """Dump the database at `url` and describe it, both from one snapshot, whatever others write meanwhile.

    Raises:
        StartupError: it cannot be read or dumped, or the backup cannot be written.
    """
    try:
        with connect(url) as connection, _snapshot(connection) as snapshot:
            return _dump(settings, connection, snapshot, made_by)
    except OSError as error:
        raise StartupError(
            f"The backup cannot be written to {settings.data.backups} ({error.strerror}): make room and give this "
            "user write access there, or set DATA_DIR to another folder."
        ) from error
    except DBAPIError as error:
        raise failure("The backup", error, url) from error


def failure(what: str, error: DBAPIError, url: str) -> StartupError:
    """The refusal that `error` amounts to; never holds the password of `url`."""
    message = (str(error.orig).strip() or "the connection was lost").splitlines()[0]
    return StartupError(f"{what} of {describe(make_url(url))} failed: {message.rstrip('.')}.")


def _holds_users(url: str) -> bool:
    """Ask on a connection of its own: the migration lock's would keep `users` locked against the migration."""
    with connect(url) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
        if connection.scalar(text("SELECT to_regclass('users') IS NULL")):
            return False
        return bool(connection.scalar(text("SELECT EXISTS (SELECT FROM users)")))


def _prune(settings: Settings) -> None:
    try:
        BackupFolder(settings.data).prune()
    except OSError as error:
        log.warning("an old backup could not be deleted: %s", error)


@contextmanager
def _snapshot(connection: Connection) -> Iterator[str]:
    """A transaction that sees one moment throughout, and the name by which pg_dump can see the same."""
    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with connection.begin():
        connection.exec_driver_sql(OUTLIVE_TIMEOUTS)
        yield connection.scalars(text("SELECT pg_export_snapshot()")).one()


def _dump(settings: Settings, connection: Connection, snapshot: str, made_by: Origin) -> Backup:
    refuse_pooler(connection)
    taken_at = now()
    server = read_server(connection)
    tools = find_tools(settings, server.major)
    revision = "+".join(current_revisions(connection)) or None
    contents = read_contents(connection)
    with BackupFolder(settings.data).draft(taken_at, revision) as draft:
        sha256 = tools.dump(connection.engine.url, snapshot, draft.file)
        return draft.publish(
            Manifest(
                made_by=made_by,
                taken_at=taken_at,
                database=server.database,
                revision=revision,
                server_major=server.major,
                server_version=server.version,
                pg_dump_major=tools.major,
                size=draft.file.tell(),
                sha256=sha256,
                contents=contents.until(read_sequences(connection)),
            )
        )
