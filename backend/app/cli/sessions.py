"""`sessions …`."""

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from app.cli.arguments import AsJson, UserName, as_text, find_user
from app.cli.database import migrated
from app.cli.output import note, print_list
from app.core.errors import NotFound
from app.core.settings import load_settings
from app.features.sessions import service as sessions
from app.features.users import service as users
from app.identity.activity import COMMAND_LINE
from app.identity.schemas import SessionReply
from app.identity.sessions import live_sessions
from app.models.database import User, UserSession
from app.web.schemas import MAX_ID
from app.web.session import transaction

cli = typer.Typer(help="Where users are signed in.", no_args_is_help=True)

COLUMNS = {
    "ID": "id",
    "SIGNED IN (UTC)": "created_at",
    "LAST ACTIVE (UTC)": "last_activity_at",
    "ENDS (UTC)": "expires_at",
    "ADDRESS": "ip_address",
    "USER AGENT": "user_agent",
}


@cli.command("list")
def list_sessions(user: UserName, as_json: AsJson = False) -> None:
    """Show where a user is signed in, the newest first."""
    settings = load_settings()
    with migrated(settings) as engine, transaction(engine) as session:
        alive = live_sessions(find_user(session, user).id, timedelta(days=settings.session_idle_days))
        replies = [SessionReply.of(row) for row in session.scalars(alive.order_by(UserSession.id.desc()))]
    print_list(replies, COLUMNS, as_json=as_json)


@cli.command()
def revoke(
    session_id: Annotated[
        int | None, typer.Argument(metavar="ID", min=1, max=MAX_ID, help="One session, as `list` shows it.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(parser=as_text, metavar="USER", help="All of this user's instead.")
    ] = None,
) -> None:
    """End a session, or all of a user's: their tokens are refused from now on, everywhere."""
    if (session_id is None) == (user is None):
        raise typer.BadParameter("Give either the ID of a session or --user USER.")
    settings = load_settings()
    with migrated(settings) as engine, transaction(engine) as session:
        if user is not None:
            users.sign_out(session, found := find_user(session, user), COMMAND_LINE)
            told = f"Ended every session of {found.email}."
        else:
            _end(session, session_id, timedelta(days=settings.session_idle_days))
            told = f"Ended session {session_id}."
    note(told)


def _end(session: Session, session_id: int | None, idle: timedelta) -> None:
    row = session.get(UserSession, session_id)
    if row is None:
        raise NotFound("There is no such session.")
    sessions.end(session, session.get_one(User, row.user_id), row.id, idle, COMMAND_LINE)
