"""`backup …`."""

from typing import Annotated

import typer
from sqlalchemy import make_url

from app.cli.arguments import AsJson, Yes
from app.cli.database import reachable
from app.core.settings import load_settings
from app.db.backup import text
from app.db.backup.create import make_backup
from app.db.backup.folder import NEWEST, BackupFolder
from app.db.backup.restore import discard_kept, restore_backup, undo_restore, verify_backup
from app.db.engine import describe

cli = typer.Typer(help="Back the database up, and bring it back.", no_args_is_help=True)

BackupName = Annotated[str, typer.Argument(help="A name that `backup list` shows, or `newest`.")]


@cli.command()
def create() -> None:
    """Back the database up into DATA_DIR/backups; what is made by hand is never deleted."""
    with reachable(settings := load_settings()) as url:
        typer.echo(make_backup(settings, url, "command").path)


@cli.command("list")
def list_backups(as_json: AsJson = False) -> None:
    """Show what backups there are, the newest first."""
    backups = BackupFolder(load_settings().data).backups()
    typer.echo(text.list_as_json(backups) if as_json else text.render_list(backups))


@cli.command()
def verify(name: BackupName = NEWEST) -> None:
    """Restore a backup into a scratch database and compare every table; exit 1 when they differ."""
    backup = BackupFolder((settings := load_settings()).data).find(name)
    with reachable(settings) as url:
        findings = verify_backup(settings, url, backup)
    typer.echo(text.render_findings(findings))
    typer.echo(text.verdict(backup, findings))
    if not all(finding.agrees for finding in findings):
        raise typer.Exit(1)


@cli.command()
def restore(name: BackupName, yes: Yes = False) -> None:
    """Put a backup in the place of the database, which is kept under another name."""
    backup = BackupFolder((settings := load_settings()).data).find(name)
    with reachable(settings) as url:
        if not yes:
            typer.confirm(text.question(backup, describe(make_url(url))), abort=True)
        typer.echo(text.aftermath(restore_backup(settings, url, backup)))


@cli.command()
def undo(yes: Yes = False) -> None:
    """Put the database that the newest restore replaced back in its place; what is there now is kept, too."""
    with reachable(load_settings()) as url:
        if not yes:
            typer.confirm(f"Undo the newest restore of {describe(make_url(url))}?", abort=True)
        typer.echo(text.aftermath(undo_restore(url)))


@cli.command()
def discard(database: Annotated[str, typer.Argument(help="As `restore` named it.")]) -> None:
    """Drop a database that a restore has kept."""
    with reachable(load_settings()) as url:
        discard_kept(url, database)
