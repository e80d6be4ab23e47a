"""The MVP user: the founder's row in `users`, without a password, reached by the token in API_TOKEN.

It stays an ordinary user. What this module does at each start is to see to it that the row and its token are there.
Once the user was claimed, which is a fact of its own in `mvp_claim` and outlives the user, no such token is left alive
and nothing here touches the user again.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.errors import Conflict, StartupError
from app.identity.activity import COMMAND_LINE, Action, Origin, Resource, record
from app.identity.permissions import OWNER, SCOPES
from app.identity.tokens import hash_token, is_mistyped
from app.models.base import database_now, folded
from app.models.database import ApiToken, MvpClaim, User

log = logging.getLogger(__name__)

USERNAME = "mvp"
TOKEN_NAME = "API_TOKEN"  # noqa: S105 - the variable's name
LOCK_TIMEOUT = "10s"
"""A start waits no longer for other starts, or for whoever has locked `users`."""

IS_MVP_TOKEN = and_(ApiToken.from_configuration, ApiToken.revoked_at.is_(None))
"""Of an API token: it comes from the configuration, and is alive; one is at most."""

_LOCK_KEY = 0x7462_6D76_7000


class MvpState(StrEnum):
    OPEN = "open"
    CLAIMED = "claimed"


class AlreadyClaimed(Conflict):
    code, title = "already_claimed", "Already claimed"
    keeps_writes = True

    def __init__(self) -> None:
        super().__init__("The MVP user was claimed: sign in with the password it was given then.")


def ensure_mvp_user(session: Session, token: Callable[[], str | None], email: str) -> MvpState:
    """Make the MVP user and its token what the configuration says; concurrent starts agree on one row.

    `token` is asked only while the MVP user is open.

    Raises:
        StartupError: there is no token for a user that has no password, or the token is not usable.
    """
    session.execute(text("SELECT set_config('lock_timeout', :bound, true)"), {"bound": LOCK_TIMEOUT})
    _lock(session)
    user = _find(session, email)
    if user is not None and user.password_hash and not _is_claimed(session):
        # An older deployment's, or somebody's at a psql prompt; whatever becomes of the user, it stays claimed.
        _put_down_claim(session, user, _configured_token(session, user))
    if _is_claimed(session):
        _revoke_configured(session, COMMAND_LINE)
        return MvpState.CLAIMED
    configured = _usable(token())
    user = user or _create(session, email)
    if not user.is_active:
        log.warning("user %d, the MVP user, is deactivated: API_TOKEN is refused", user.id)
    _adopt(session, user)
    _keep_one_token(session, user, configured)
    return MvpState.OPEN


def mvp_state(session: Session) -> MvpState:
    """Whether a token from the configuration is alive."""
    return MvpState.OPEN if session.scalar(select(ApiToken.id).where(IS_MVP_TOKEN)) else MvpState.CLAIMED


def is_mvp_user(session: Session, user: User) -> bool:
    """Whether the token from the configuration is this user's, and alive."""
    return _configured_token(session, user) is not None


def retire(session: Session, user: User, origin: Origin, *, keep_token: bool = False) -> None:
    """Put down for good that `user`, the MVP user, was claimed; the token from the configuration is good no more.

    With `keep_token` the token goes on as an ordinary API token. Of those who try at once one succeeds.

    Raises:
        AlreadyClaimed: somebody did before; nothing was changed.
    """
    _lock(session)
    token = _configured_token(session, user)
    if not _put_down_claim(session, user, token):
        raise AlreadyClaimed
    if keep_token and token is not None:
        token.from_configuration = False
        session.flush()
    _revoke_configured(session, origin)


def refuse_second_claim(session: Session, token: str, origin: Origin) -> None:
    """Raise AlreadyClaimed, and record it, when `token` is the one that the MVP user was claimed with."""
    claim = session.scalar(select(MvpClaim).where(MvpClaim.token_hash == hash_token(token)))
    if claim is not None:
        user = session.get(User, claim.user_id) if claim.user_id else None
        record(session, origin, Action.CLAIM_REFUSED, user=user, reason=AlreadyClaimed.code)
        raise AlreadyClaimed


def _lock(session: Session) -> None:
    """Let no start and no claim come between here and the end of this transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


def _is_claimed(session: Session) -> bool:
    return session.get(MvpClaim, 1) is not None


def _put_down_claim(session: Session, user: User, token: ApiToken | None) -> bool:
    """False where there is one already."""
    claim = insert(MvpClaim).values(id=1, user_id=user.id, token_hash=token.secret_hash if token else None)
    return session.scalar(claim.on_conflict_do_nothing().returning(MvpClaim.id)) is not None


def _configured_token(session: Session, user: User) -> ApiToken | None:
    return session.scalars(select(ApiToken).where(ApiToken.user_id == user.id, IS_MVP_TOKEN)).one_or_none()


def _usable(token: str | None) -> str:
    if token is None:
        raise StartupError("API_TOKEN must be set until the MVP user has a password: run `openssl rand -hex 32`.")
    if is_mistyped(token):
        raise StartupError("API_TOKEN begins with tb_ but its checksum is wrong: a character is missing or mistyped.")
    return token


def _find(session: Session, email: str) -> User | None:
    """The user who had the configured token last; else the one with the configured address."""
    by_token = select(User).join(ApiToken, ApiToken.user_id == User.id).where(ApiToken.from_configuration)
    return (
        session.scalars(by_token.order_by(ApiToken.id.desc()).limit(1)).first()
        or session.scalars(select(User).where(folded(User.email) == folded(email))).first()
    )


def _create(session: Session, email: str) -> User:
    taken = session.scalar(select(User.id).where(folded(User.username) == folded(USERNAME)).limit(1))
    user = User(email=email, username=None if taken else USERNAME, role=OWNER, is_active=True)
    session.add(user)
    session.flush()
    log.info("made user %d, the MVP user, with the address %s", user.id, email)
    record(session, COMMAND_LINE, Action.USER_CREATED, user=user, role=user.role)
    return user


def _adopt(session: Session, user: User) -> None:
    """Make a user who was found by its address an owner, once; later changes of its role are kept."""
    known = session.scalar(select(ApiToken.id).where(ApiToken.user_id == user.id, ApiToken.from_configuration).limit(1))
    if known is None and user.role != OWNER:
        log.info("user %d becomes the MVP user: its role %s becomes %s", user.id, user.role, OWNER)
        change = {"role": {"from": user.role, "to": OWNER}}
        user.role = OWNER
        record(session, COMMAND_LINE, Action.USER_CHANGED, user=user, fields=["role"], changes=change)


def _keep_one_token(session: Session, user: User, token: str) -> None:
    secret_hash = hash_token(token)
    _revoke_configured(session, COMMAND_LINE, but=secret_hash)
    known = session.scalar(select(ApiToken).where(ApiToken.secret_hash == secret_hash))
    if known is None:
        known = ApiToken(
            user_id=user.id,
            name=TOKEN_NAME,
            prefix=TOKEN_NAME,
            secret_hash=secret_hash,
            scopes=sorted(SCOPES),
            from_configuration=True,
        )
        session.add(known)
    elif not known.from_configuration:
        raise StartupError(f"API_TOKEN is already API token {known.id} of user {known.user_id}: use another value.")
    elif known.revoked_at is None:
        return
    known.revoked_at = None
    session.flush()
    _record(session, COMMAND_LINE, Action.TOKEN_CREATED, known, scopes=known.scopes)


def _revoke_configured(session: Session, origin: Origin, but: bytes | None = None) -> None:
    token = session.scalars(select(ApiToken).where(IS_MVP_TOKEN)).one_or_none()
    if token is not None and token.secret_hash != but:
        token.revoked_at = database_now
        _record(session, origin, Action.TOKEN_REVOKED, token)


def _record(session: Session, origin: Origin, action: Action, token: ApiToken, **details: Any) -> None:
    user = session.get_one(User, token.user_id)
    record(session, origin, action, user=user, resource=(Resource.TOKEN, token.id), name=token.name, **details)
