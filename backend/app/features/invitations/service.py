"""Ways in for new people. Who may see and hand them out: `admin`."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.identity.activity import Action, Origin, Resource, record
from app.identity.one_time import invite
from app.identity.tokens import MintedToken
from app.models.base import database_now
from app.models.database import Invitation


def create(
    session: Session, role: str, email: str | None, lifetime: timedelta, origin: Origin
) -> tuple[Invitation, MintedToken]:
    """An invitation, for this address alone if there is one."""
    invitation, minted = invite(session, role=role, email=email, lifetime=lifetime, created_by=origin.actor_id)
    _record(session, origin, Action.INVITATION_CREATED, invitation)
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
    invitation.revoked_at = database_now
    _record(session, origin, Action.INVITATION_REVOKED, invitation)


def _record(session: Session, origin: Origin, action: Action, invitation: Invitation) -> None:
    resource = (Resource.INVITATION, invitation.id)
    record(session, origin, action, resource=resource, role=invitation.role, email=invitation.email)
