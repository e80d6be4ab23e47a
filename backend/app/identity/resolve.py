"""From a bearer token to the principal it stands for."""

from datetime import timedelta

from sqlalchemy import or_, select, text, update
from sqlalchemy.orm import Session

from app.core.errors import InvalidToken
from app.identity.permissions import CredentialKind, permissions
from app.identity.principal import Principal, Profile
from app.identity.tokens import hash_token, is_mistyped
from app.models.base import database_now
from app.models.database import ApiToken, User

LAST_USE_PRECISION = timedelta(minutes=1)

_USE_IS_STALE = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < database_now - LAST_USE_PRECISION)


def resolve(session: Session, token: str, *, note_use: bool = True) -> Principal:
    """Ask the database who `token` stands for, and note the use of it, at most once a minute.

    Raises:
        InvalidToken: nobody, or nobody any more.
    """
    if is_mistyped(token):
        raise InvalidToken
    row = session.execute(
        select(ApiToken, User, _USE_IS_STALE)
        .join(User, User.id == ApiToken.user_id)
        .where(
            ApiToken.secret_hash == hash_token(token),
            ApiToken.revoked_at.is_(None),
            or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > database_now),
            User.is_active,
        )
    ).one_or_none()
    if row is None:
        raise InvalidToken
    found, user, use_is_stale = row
    if note_use and use_is_stale:
        _note_use(session, found.id)
    return _principal(found, user)


def _principal(token: ApiToken, user: User) -> Principal:
    kind = CredentialKind.MVP_TOKEN if token.from_configuration else CredentialKind.API_TOKEN
    scopes = None if token.from_configuration else token.scopes
    return Principal(Profile.of(user), kind, token.id, permissions(user.role, kind, scopes))


def _note_use(session: Session, token_id: int) -> None:
    """Of several requests that find the note stale at once, one writes it and none waits.

    A database that can only be read still says who a token stands for: the note is left out.
    """
    if session.scalar(text("SELECT current_setting('transaction_read_only')::bool")):
        return
    unlocked = select(ApiToken.id).where(ApiToken.id == token_id).with_for_update(skip_locked=True)
    session.execute(
        update(ApiToken)
        .where(ApiToken.id.in_(unlocked.scalar_subquery()))
        .values(last_used_at=database_now)
        .execution_options(synchronize_session=False)
    )
