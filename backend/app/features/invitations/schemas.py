from typing import Annotated

from pydantic import Field

from app.core.clock import Timestamp
from app.identity.names import EmailAddress
from app.identity.schemas import Role
from app.web.schemas import Body, Reply

MINUTE, DAY = 60, 24 * 60 * 60


class InvitationRequest(Body):
    role: Role
    """What the new account will be."""
    email: EmailAddress | None = None
    """The only address that can register with it; any, where this is left out."""
    expires_in: Annotated[int, Field(strict=True, ge=MINUTE, le=30 * DAY)] = 7 * DAY
    """Seconds for which it is good."""


class InvitationReply(Reply):
    """An invitation as it is listed; the secret itself is nowhere."""

    id: int
    role: str
    email: str | None
    created_by: int | None
    """The id of a user; null when that one was deleted, or never was one."""
    created_at: Timestamp
    expires_at: Timestamp
    used_at: Timestamp | None
    used_by: int | None
    """The account that came of it; null when it was deleted."""
    revoked_at: Timestamp | None


class NewInvitationReply(InvitationReply):
    token: str
    """What the invited person registers with, shown this once."""
