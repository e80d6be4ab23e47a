"""Ways in for new people. Who may see and hand them out: `admin`."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.identity.activity import Action, Origin, Resource, record, recorded_refusals
from app.identity.one_time import invite, revoke_invitation
from app.identity.tokens import MintedToken
from app.models.database import Invitation


def create(
    session: Session, role: str, email: str | None, lifetime: timedelta, origin: Origin
) -> tuple[Invitation, MintedToken]:
    """An invitation, for this address alone if there is one.

    Raises:
        PermissionDenied: who hands it out ceased to be an owner a moment ago.
    """
    with recorded_refusals(session, origin, Action.PERMISSION_DENIED):
        invitation, minted = invite(session, role=role, email=email, lifetime=lifetime, created_by=origin.actor_id)
    resource = (Resource.INVITATION, invitation.id)
    record(session, origin, Action.INVITATION_CREATED, resource=resource, role=role, email=email)
    return invitation, minted


def revoke(session: Session, invitation_id: int, origin: Origin) -> None:
    """Nobody can use it from now on.

    Raises:
        NotFound: it was used or revoked before, or never was.
    """
    unused = Invitation.used_at.is_(None) & Invitation.revoked_at.is_(None)
    invitation = session.scalar(select(Invitation).where(Invitation.id == invitation_id, unused).with_for_update())
    if invitation is None:
        raise NotFound("There is no such invitation.")
    revoke_invitation(session, invitation, origin)
