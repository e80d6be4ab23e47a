"""`invitations …`."""

from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy import select

from app.cli.arguments import DAY, AsJson, RowNumber, validated
from app.cli.database import migrated
from app.cli.output import note, print_list, print_secret
from app.core.settings import load_settings
from app.features.invitations import service
from app.features.invitations.schemas import InvitationReply, InvitationRequest, NewInvitationReply
from app.identity.activity import COMMAND_LINE
from app.identity.schemas import Role
from app.models.database import Invitation
from app.web.session import transaction

cli = typer.Typer(help="Ways in for new people.", no_args_is_help=True)

COLUMNS = {
    "ID": "id",
    "ROLE": "role",
    "FOR": "email",
    "EXPIRES (UTC)": "expires_at",
    "USED (UTC)": "used_at",
    "BY USER": "used_by",
    "REVOKED (UTC)": "revoked_at",
}


@cli.command()
def create(
    role: Annotated[Role, typer.Option(help="What the new account may do.")] = "member",
    email: Annotated[str | None, typer.Option(help="The only address that can use it; any, if left out.")] = None,
    expires_in_days: Annotated[int, typer.Option(min=1, max=30, help="How long it is good.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Invite somebody; the token is printed this once, and alone on standard output."""
    given = validated(InvitationRequest, role=role, email=email, expires_in=expires_in_days * DAY)
    lifetime = timedelta(seconds=given.expires_in)
    with migrated(load_settings()) as engine, transaction(engine) as session:
        invitation, minted = service.create(session, given.role, given.email, lifetime, COMMAND_LINE)
        reply = NewInvitationReply(**InvitationReply.model_validate(invitation).model_dump(), token=minted.plain)
    told = f"Invitation {reply.id}, shown this once; who has it registers one account with POST /api/auth/register:"
    print_secret(reply, reply.token, told, as_json=as_json)


@cli.command("list")
def list_invitations(as_json: AsJson = False) -> None:
    """Show all of them, the newest first, also those that are used, revoked or expired."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        rows = session.scalars(select(Invitation).order_by(Invitation.id.desc()))
        replies = [InvitationReply.model_validate(row) for row in rows]
    print_list(replies, COLUMNS, as_json=as_json)


@cli.command()
def revoke(invitation: RowNumber) -> None:
    """Refuse an invitation from now on."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        service.revoke(session, invitation, COMMAND_LINE)
    note(f"Revoked invitation {invitation}.")
