from typing import Any

from app.core.clock import Timestamp
from app.web.schemas import Reply


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
