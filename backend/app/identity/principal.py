"""Who is calling, with which credential, and what both allow."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.identity.permissions import CredentialKind, Permission
from app.models.database import User


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Profile:
    """What a user may see of itself: the columns of `users` but for the password's hash."""

    id: int
    email: str
    username: str | None
    full_name: str | None
    role: str
    is_active: bool
    has_password: bool
    alpaca_account_id: str | None
    preferences: Any
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User) -> "Profile":
        return cls(
            id=user.id,
            email=user.email,
            username=user.username,
            full_name=user.full_name,
            role=user.role,
            is_active=user.is_active,
            has_password=bool(user.password_hash),
            alpaca_account_id=user.alpaca_account_id,
            preferences=user.preferences,
            created_at=user.created_at,
            updated_at=user.updated_at,
            last_login_at=user.last_login_at,
        )


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose credential is good; kept for as long as nothing that it depends on changes."""

    user: Profile
    kind: CredentialKind
    credential_id: int
    """The row of `api_tokens`, or of `user_sessions` where `kind` is a session."""
    permissions: frozenset[Permission]

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose rows a caller asks for, and may: its own, or where `user_id` is None those that belong to nobody."""

    caller: Principal
    user_id: int | None
