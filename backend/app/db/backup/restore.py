"""Restoring a backup: into a new database, compared with its manifest, and only then in the place of the old."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.contents import Contents, Finding, compare, read_contents
from app.db.backup.create import failure
from app.db.backup.folder import Backup
from app.db.backup.scratch import drop, maintenance, scratch_database
from app.db.backup.swap import kept_databases, swap
from app.db.backup.tools import find_tools, read_server, refuse_pooler
from app.db.engine import connect
from app.db.migration.lock import OUTLIVE_TIMEOUTS


class Restored(NamedTuple):
    """What a backup holds, restored into the database `scratch`, beside the one that is in use."""

    server: Connection
    current: str
    scratch: str
    url: str
    findings: list[Finding]


def verify_backup(settings: Settings, url: str, backup: Backup) -> list[Finding]:
    """Restore into a scratch database, dropped afterwards, and compare every table and sequence with the manifest.

    Raises:
        StartupError: the dump is damaged or cannot be restored.
    """
    with _restored(settings, url, backup) as restored:
        return restored.findings


def restore_backup(settings: Settings, url: str, backup: Backup) -> str:
    """Put what the backup holds in the place of the database at `url`; return the name under which that is kept.

    Raises:
        StartupError: something is in the way, or what is restored is not what the manifest describes; the database
            in use is the one it was.
    """
    with _restored(settings, url, backup) as restored:
        differing = [finding.name for finding in restored.findings if not finding.agrees]
        if differing:
            raise StartupError(
                f"What {backup.name} restores to is not what its manifest describes ({', '.join(differing)}), so "
                f"nothing was changed: see `trading-backend backup verify {backup.name}`."
            )
        _analyze(restored.url)
        return swap(restored.server, restored.current, restored.scratch)


def undo_restore(url: str) -> str:
    """Put what the newest restore replaced back in its place; return the name under which the other is kept.

    Raises:
        StartupError: there is none, or the databases cannot be renamed.
    """
    with _server(url) as (server, current):
        kept = kept_databases(server, current)
        if not kept:
            raise StartupError(f"No restore has replaced the database {current}: there is nothing to go back to.")
        return swap(server, current, kept[0])


def discard_kept(url: str, name: str) -> None:
    """Drop the database `name`, which a restore or its undoing has put aside.

    Raises:
        StartupError: there is none of that name.
    """
    with _server(url) as (server, current):
        kept = kept_databases(server, current)
        if name not in kept:
            raise StartupError(f"{name} is not kept from a restore; these are: {', '.join(kept) or 'none'}.")
        drop(server, name)


@contextmanager
def _server(url: str) -> Iterator[tuple[Connection, str]]:
    """A connection to the server of `url`, and the name of the database there."""
    try:
        with connect(url) as connection:
            refuse_pooler(connection)
            name = read_server(connection).database
        with maintenance(url) as server:
            yield server, name
    except DBAPIError as error:
        raise failure("Restoring a backup", error, url) from error
    except OSError as error:
        raise StartupError(f"The backup cannot be restored: {error}.") from error


@contextmanager
def _restored(settings: Settings, url: str, backup: Backup) -> Iterator[Restored]:
    manifest = backup.intact_manifest()
    with _server(url) as (server, current):
        here = read_server(server)
        if manifest.server_major > here.major:
            raise StartupError(
                f"{backup.name} was made on PostgreSQL {manifest.server_major} and cannot be restored on {here.major}."
            )
        tools = find_tools(settings, here.major, manifest.pg_dump_major)
        with scratch_database(server, current) as scratch:
            address = make_url(url).set(database=scratch)
            scratch_url = address.render_as_string(hide_password=False)
            tools.restore(address, backup.path)
            findings = compare(manifest.contents, _read(scratch_url))
            yield Restored(server, current, scratch, scratch_url, findings)


def _read(url: str) -> Contents:
    with connect(url) as connection, connection.begin():
        return read_contents(connection)


def _analyze(url: str) -> None:
    """Tell the planner what there is, which a dump does not."""
    with connect(url) as connection, connection.begin():
        connection.exec_driver_sql(OUTLIVE_TIMEOUTS)
        connection.exec_driver_sql("ANALYZE")
