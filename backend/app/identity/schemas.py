"""What several features answer."""

from typing import Any, Literal

from app.core.clock import Timestamp
from app.identity.permissions import CredentialKind
from app.identity.principal import Principal
from app.models.database import UserSession
from app.web.schemas import Reply

Role = Literal["owner", "member"]
"""What a user can be made; rows of older deployments may hold other roles."""


class UserReply(Reply):
    """A user as the API shows it; the password's hash never leaves the database."""

    id: int
    email: str
    username: str | None
    full_name: str | None
    role: str
    is_active: bool
    has_password: bool
    alpaca_account_id: str | None
    preferences: Any
    """An object; rows of older deployments may hold other JSON."""
    created_at: Timestamp
    updated_at: Timestamp
    last_login_at: Timestamp | None


class SessionReply(Reply):
    """A place where a user is signed in."""

    id: int
    created_at: Timestamp
    last_activity_at: Timestamp
    """To the minute."""
    expires_at: Timestamp
    """From when on one has to sign in again; a session nobody uses ends earlier."""
    ip_address: str | None
    user_agent: str | None
    current: bool
    """Whether this is the session the request came with."""

    @classmethod
    def of(cls, row: UserSession, caller: Principal | None = None) -> "SessionReply":
        return cls(
            id=row.id,
            created_at=row.created_at,
            last_activity_at=row.last_activity_at,
            expires_at=row.expires_at,
            ip_address=row.ip_address,
            user_agent=row.user_agent,
            current=caller is not None and caller.kind is CredentialKind.SESSION and caller.credential_id == row.id,
        )
