"""Principals that no database knows of, for what keeps them."""

from datetime import datetime
from hashlib import sha256
from typing import Any

from app.identity.permissions import CredentialKind, permissions
from app.identity.principal import Principal, Profile

_LONG_AGO = datetime(2026, 1, 1)  # noqa: DTZ001 - as columns hold it


def principal(user_id: int = 1, credential_id: int = 1, **columns: Any) -> Principal:
    """A member with a session; `columns` are of `users`."""
    user: dict[str, Any] = {
        "email": "ann@example.test",
        "role": "member",
        "is_active": True,
        "has_password": False,
        "preferences": {},
        "created_at": _LONG_AGO,
        "updated_at": _LONG_AGO,
    }
    empty: dict[str, Any] = dict.fromkeys(("username", "full_name", "alpaca_account_id", "last_login_at"))
    kind = CredentialKind.SESSION
    return Principal(Profile(id=user_id, **(empty | user | columns)), kind, credential_id, permissions("member", kind))


def digest(name: object) -> bytes:
    """As of a token of that name."""
    return sha256(str(name).encode()).digest()
