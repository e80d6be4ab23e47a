"""Backups: whether there is one, and whether the next can be made."""

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.cli.doctor.report import Fail, Findings, Ok, Warn, check
from app.core.clock import now
from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.folder import BackupFolder
from app.db.backup.tools import find_tools, read_server

OLD = timedelta(days=7)

_CREATE = "trading-backend backup create"


@check("backups")
def check_backups(settings: Settings) -> Findings:
    """Of a deployment, not of a development machine, one is missed."""
    newest = _newest(settings)
    yield Ok(f"the newest is from {newest:%Y-%m-%d %H:%M} UTC" if newest else "none")
    if settings.production and newest is None:
        yield Warn(f"there is none in {settings.data.backups}", f"{_CREATE}, unless others are made elsewhere")
    elif settings.production and newest and now() - newest > OLD:
        age = (now() - newest).days
        yield Warn(f"the newest is {age} days old", f"{_CREATE}, unless others are made elsewhere")


@check("pg_dump")
def check_tools(session: Session, settings: Settings) -> Findings:
    try:
        tools = find_tools(settings, read_server(session.connection()).major)
    except StartupError as error:
        told, _, advice = str(error).rstrip(".").partition(": ")
        is_needed = settings.backup_before_migration == "always"
        yield Fail(f"{told}: no migration can begin", advice) if is_needed else Warn(told, advice)
    else:
        yield Ok(f"version {tools.major} in {tools.folder}")


def _newest(settings: Settings) -> datetime | None:
    for backup in BackupFolder(settings.data).backups():
        with suppress(StartupError):
            return backup.manifest().taken_at
    return None
