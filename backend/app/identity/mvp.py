"""The MVP user: the founder's row in `users`, without a password, reached by the token in API_TOKEN.

It stays an ordinary user. What this module does at each start is to see to it that the row and its token are there;
once the user has a password (it was claimed), no such token is left alive and nothing here touches the user again.
"""

import logging
from enum import StrEnum

from sqlalchemy import case, func, select, text
from sqlalchemy.orm import Session

from app.core.errors import StartupError
from app.identity.permissions import OWNER, Permission
from app.identity.tokens import hash_token, is_mistyped
from app.models.base import database_now
from app.models.database import ApiToken, User

log = logging.getLogger(__name__)

USERNAME = "mvp"
TOKEN_NAME = "API_TOKEN"  # noqa: S105 - the variable's name
LOCK_TIMEOUT = "10s"
"""A start waits no longer for other starts, or for whoever has locked `users`."""

_LOCK_KEY = 0x7462_6D76_7000


class MvpState(StrEnum):
    OPEN = "open"
    CLAIMED = "claimed"


def ensure_mvp_user(session: Session, token: str | None, email: str) -> MvpState:
    """Make the MVP user and its token what the configuration says; concurrent starts agree on one row.

    Raises:
        StartupError: there is no token for a user that has no password, or the token is not usable.
    """
    session.execute(text("SELECT set_config('lock_timeout', :bound, true)"), {"bound": LOCK_TIMEOUT})
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    user = _find(session, email)
    if user is not None and user.password_hash:
        _revoke_configured(session)
        if token is not None:
            log.warning("API_TOKEN is not used: user %d, the MVP user, was claimed; sign in with its password", user.id)
        return MvpState.CLAIMED
    token = _usable(token)
    user = user or _create(session, email)
    if not user.is_active:
        log.warning("user %d, the MVP user, is deactivated: API_TOKEN is refused", user.id)
    _adopt(session, user)
    _keep_one_token(session, user, token)
    return MvpState.OPEN


def mvp_state(session: Session) -> MvpState:
    """Whether a token from the configuration is alive."""
    alive = select(ApiToken.id).where(ApiToken.from_configuration, ApiToken.revoked_at.is_(None))
    return MvpState.OPEN if session.scalar(alive) else MvpState.CLAIMED


def _usable(token: str | None) -> str:
    if token is None:
        raise StartupError("API_TOKEN must be set until the MVP user has a password: run `openssl rand -hex 32`.")
    if is_mistyped(token):
        raise StartupError("API_TOKEN begins with tb_ but its checksum is wrong: a character is missing or mistyped.")
    return token


def _find(session: Session, email: str) -> User | None:
    """The user who had the configured token last; else the one with the configured address, best without a password."""
    by_token = select(User).join(ApiToken, ApiToken.user_id == User.id).where(ApiToken.from_configuration)
    by_address = select(User).where(func.lower(User.email) == func.lower(email))
    has_password = func.coalesce(User.password_hash, "") != ""
    return (
        session.scalars(by_token.order_by(ApiToken.id.desc()).limit(1)).first()
        or session.scalars(
            by_address.order_by(has_password, case((User.email == email, 0), else_=1), User.id).limit(1)
        ).first()
    )


def _create(session: Session, email: str) -> User:
    taken = session.scalar(select(User.id).where(func.lower(User.username) == USERNAME).limit(1))
    user = User(email=email, username=None if taken else USERNAME, role=OWNER, is_active=True)
    session.add(user)
    session.flush()
    log.info("made user %d, the MVP user, with the address %s", user.id, email)
    return user


def _adopt(session: Session, user: User) -> None:
    """Make a user who was found by its address an owner, once; later changes of its role are kept."""
    known = session.scalar(select(ApiToken.id).where(ApiToken.user_id == user.id, ApiToken.from_configuration).limit(1))
    if known is None and user.role != OWNER:
        log.info("user %d becomes the MVP user: its role %s becomes %s", user.id, user.role, OWNER)
        user.role = OWNER


def _keep_one_token(session: Session, user: User, token: str) -> None:
    secret_hash = hash_token(token)
    _revoke_configured(session, but=secret_hash)
    known = session.scalar(select(ApiToken).where(ApiToken.secret_hash == secret_hash))
    if known is None:
        session.add(
            ApiToken(
                user_id=user.id,
                name=TOKEN_NAME,
                prefix=TOKEN_NAME,
                secret_hash=secret_hash,
                scopes=list(Permission),
                from_configuration=True,
            )
        )
    elif not known.from_configuration:
        raise StartupError(f"API_TOKEN is already API token {known.id} of user {known.user_id}: use another value.")
    elif known.revoked_at is not None:
        known.revoked_at = None
    session.flush()


def _revoke_configured(session: Session, but: bytes | None = None) -> None:
    alive = select(ApiToken).where(ApiToken.from_configuration, ApiToken.revoked_at.is_(None))
    for token in session.scalars(alive):
        if token.secret_hash != but:
            token.revoked_at = database_now
    session.flush()
