"""The command line: `python -m app.cli`, installed as `trading-backend`. It calls services and holds no logic."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer
import uvicorn
from sqlalchemy import make_url

from app.core.errors import StartupError
from app.core.logging import configure_logging
from app.core.settings import Settings, load_settings
from app.db.backup import text as backup_text
from app.db.backup.create import back_up_before_migration, make_backup
from app.db.backup.folder import NEWEST, BackupFolder
from app.db.backup.restore import discard_kept, restore_backup, undo_restore, verify_backup
from app.db.engine import database, describe, make_engine, wait_for_database
from app.db.migration.migrate import migrate
from app.process import exit_on_sigterm, exit_with

cli = typer.Typer(help="Run and look after the trading backend.", no_args_is_help=True, pretty_exceptions_enable=False)
backup_cli = typer.Typer(help="Back the database up, and bring it back.", no_args_is_help=True)
cli.add_typer(backup_cli, name="backup")

BackupName = Annotated[str, typer.Argument(help="A name that `backup list` shows, or `newest`.")]
WithoutAsking = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve requests.")] = 1,
) -> None:
    """Serve the API; the database is migrated before the first worker starts."""
    settings = load_settings()
    os.environ |= {"UVICORN_HOST": host, "UVICORN_PORT": str(port)}  # as if uvicorn had been asked, in workers too
    with _migrated(settings, apply=settings.migrate_on_start):
        uvicorn.run(
            "app.main:app",
            host=host,
            port=port,
            workers=workers,
            proxy_headers=False,
            log_config=None,
            timeout_graceful_shutdown=10,
        )


@cli.command("migrate")
def migrate_command() -> None:
    """Bring the database to the revision of this code, as a start does."""
    with _migrated(load_settings(), apply=True):
        pass


@backup_cli.command("create")
def backup_create() -> None:
    """Back the database up into DATA_DIR/backups; what is made by hand is never deleted."""
    with _reachable(settings := load_settings()) as url:
        typer.echo(make_backup(settings, url, "command").path)


@backup_cli.command("list")
def backup_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list for machines.")] = False,
) -> None:
    """Show what backups there are, the newest first."""
    backups = BackupFolder(load_settings().data).backups()
    typer.echo(backup_text.list_as_json(backups) if as_json else backup_text.render_list(backups))


@backup_cli.command("verify")
def backup_verify(name: BackupName = NEWEST) -> None:
    """Restore a backup into a scratch database and compare every table; exit 1 when they differ."""
    backup = BackupFolder((settings := load_settings()).data).find(name)
    with _reachable(settings) as url:
        findings = verify_backup(settings, url, backup)
    typer.echo(backup_text.render_findings(findings))
    typer.echo(backup_text.verdict(backup, findings))
    if not all(finding.agrees for finding in findings):
        raise typer.Exit(1)


@backup_cli.command("restore")
def backup_restore(name: BackupName, yes: WithoutAsking = False) -> None:
    """Put a backup in the place of the database, which is kept under another name."""
    backup = BackupFolder((settings := load_settings()).data).find(name)
    with _reachable(settings) as url:
        if not yes:
            typer.confirm(backup_text.question(backup, describe(make_url(url))), abort=True)
        typer.echo(backup_text.aftermath(restore_backup(settings, url, backup)))


@backup_cli.command("undo")
def backup_undo(yes: WithoutAsking = False) -> None:
    """Put the database that the newest restore replaced back in its place; what is there now is kept, too."""
    with _reachable(load_settings()) as url:
        if not yes:
            typer.confirm(f"Undo the newest restore of {describe(make_url(url))}?", abort=True)
        typer.echo(backup_text.aftermath(undo_restore(url)))


@backup_cli.command("discard")
def backup_discard(database: Annotated[str, typer.Argument(help="As `restore` named it.")]) -> None:
    """Drop a database that a restore has kept."""
    with _reachable(load_settings()) as url:
        discard_kept(url, database)


@contextmanager
def _migrated(settings: Settings, *, apply: bool) -> Iterator[None]:
    """A database at the code's revision, embedded or not, for as long as the context lasts."""
    with _reachable(settings) as url:
        migrate(url, apply=apply, before_change=partial(back_up_before_migration, settings, url))
        yield


@contextmanager
def _reachable(settings: Settings) -> Iterator[str]:
    """The address of a database that answers, embedded or not, for as long as the context lasts."""
    configure_logging(settings)
    with database(settings) as url:
        engine = make_engine(url, pooled=False)
        wait_for_database(engine)
        engine.dispose()
        yield url


def main() -> None:
    """Run a command; what keeps it from its work is one sentence and status 1."""
    exit_on_sigterm()
    try:
        cli()
    except StartupError as error:
        exit_with(error)


if __name__ == "__main__":
    main()
