"""`activity …`."""

from datetime import datetime
from typing import Annotated

import typer

from app.cli.arguments import AsJson, as_text, find_user_id, parser
from app.cli.database import migrated
from app.cli.output import print_list
from app.core.clock import Moment
from app.core.settings import load_settings
from app.features.activity import service
from app.features.activity.schemas import ActivityReply
from app.identity.activity import Action
from app.web.session import transaction

cli = typer.Typer(help="What happened to which account, and who did it.", no_args_is_help=True)

COLUMNS = {
    "WHEN (UTC)": "timestamp",
    "ACTION": "action",
    "USER": "user_email",
    "BY": "actor_email",
    "HOW": "actor_kind",
    "ADDRESS": "ip_address",
    "DETAILS": "details",
}

_as_moment = parser(Moment)


@cli.command("list")
def list_activity(
    user: Annotated[
        str | None, typer.Option(parser=as_text, metavar="USER", help="Of this account alone; an id may be gone.")
    ] = None,
    action: Annotated[Action | None, typer.Option(metavar="ACTION", help="Of this kind alone: signed_in, …")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=_as_moment, metavar="TIME", help="From 2030-01-31T12:00:00Z on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=_as_moment, metavar="TIME", help="Before this moment.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what happened, the newest first."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        user_id = None if user is None else find_user_id(session, user)
        rows = service.activity(user_id=user_id, action=action, since=since, until=until)
        newest = rows.order_by(*(column.desc() for column in service.NEWEST_FIRST)).limit(limit)
        replies = [ActivityReply.model_validate(row) for row in session.scalars(newest)]
    print_list(replies, COLUMNS, as_json=as_json)
