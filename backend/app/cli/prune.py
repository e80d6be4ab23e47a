"""`prune`."""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.arguments import AsJson
from app.cli.database import migrated
from app.cli.output import print_json
from app.core.settings import load_settings
from app.pruning import prune as delete_what_is_old


def prune(
    activity_older_than: Annotated[
        int | None, typer.Option(metavar="DAYS", min=1, max=36_500, help="Else ACTIVITY_RETENTION_DAYS decides.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete expired sessions, what counts no more, and old rows of the activity log, as a service does every hour."""
    settings = load_settings()
    days = activity_older_than or settings.activity_retention_days
    with migrated(settings) as engine:
        deleted = delete_what_is_old(engine, None if days is None else timedelta(days=days))
    if as_json:
        print_json(deleted)
    else:
        typer.echo("Deleted " + ", ".join(f"{count} of {name}" for name, count in deleted.items()) + ".")
