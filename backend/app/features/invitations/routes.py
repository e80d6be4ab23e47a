from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy import select

from app.features.invitations import service
from app.features.invitations.schemas import InvitationReply, InvitationRequest, NewInvitationReply
from app.identity.dependencies import OriginDep, require
from app.identity.permissions import Permission
from app.identity.principal import Principal
from app.models.database import Invitation
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import Route
from app.web.schemas import RowId
from app.web.session import SessionDep

router = APIRouter(prefix="/api/invitations", tags=["invitations"], route_class=Route)

AdminDep = Annotated[Principal, require(Permission.ADMIN)]


@router.get("", summary="List invitations", responses=problem_responses(400, 401, 403, 422, 503))
def list_invitations(
    caller: AdminDep, session: SessionDep, page: Annotated[PageParams, Depends()]
) -> Page[InvitationReply]:
    """All of them, newest first, also those that are used, revoked or expired."""
    rows, next_cursor = paginate(session, select(Invitation), Invitation.id, page)
    return Page(items=[InvitationReply.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.post("", status_code=201, summary="Invite somebody", responses=problem_responses(400, 401, 403, 413, 422, 503))
def create_invitation(
    caller: AdminDep, session: SessionDep, origin: OriginDep, body: InvitationRequest, response: Response
) -> NewInvitationReply:
    """The answer shows the token this once; who has it can register one account with that role."""
    lifetime = timedelta(seconds=body.expires_in)
    invitation, minted = service.create(session, body.role, body.email, lifetime, origin.by(caller))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Location"] = f"/api/invitations/{invitation.id}"
    return NewInvitationReply(**InvitationReply.model_validate(invitation).model_dump(), token=minted.plain)


@router.delete(
    "/{invitation_id}",
    status_code=204,
    summary="Revoke an invitation",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def revoke_invitation(caller: AdminDep, session: SessionDep, origin: OriginDep, invitation_id: RowId) -> None:
    """Nobody can use it from now on; one that was used already is not found."""
    service.revoke(session, invitation_id, origin.by(caller))
