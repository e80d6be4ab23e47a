"""From a bearer token to the principal it stands for."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.core.errors import InvalidToken
from app.identity.permissions import CredentialKind, permissions
from app.identity.principal import Principal, Profile
from app.identity.sessions import Sessions
from app.identity.tokens import hash_token, is_mistyped
from app.models.base import database_now
from app.models.database import ApiToken, User, UserSession

LAST_USE_PRECISION = timedelta(minutes=1)

Moment = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]


def resolve(session: Session, sessions: Sessions, token: str, *, note_use: bool = True) -> Principal:
    """Ask the database who `token` stands for, and note the use of it, at most once a minute.

    Raises:
        InvalidToken: nobody, or nobody any more.
    """
    if is_mistyped(token):
        raise InvalidToken
    if sessions.is_access_token(token):
        return _of_session(session, sessions, token, note_use=note_use)
    return _of_api_token(session, token, note_use=note_use)


def _of_session(session: Session, sessions: Sessions, token: str, *, note_use: bool) -> Principal:
    noted = UserSession.last_activity_at
    row = session.execute(sessions.find(token).add_columns(_is_stale(noted))).one_or_none()
    if row is None:
        raise InvalidToken
    found, user, use_is_stale = row
    if note_use and use_is_stale:
        _note_use(session, noted, found.id)
    kind = CredentialKind.SESSION
    return Principal(Profile.of(user), kind, found.id, permissions(user.role, kind))


def _of_api_token(session: Session, token: str, *, note_use: bool) -> Principal:
    noted = ApiToken.last_used_at
    row = session.execute(
        select(ApiToken, User, _is_stale(noted))
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
        _note_use(session, noted, found.id)
    kind = CredentialKind.MVP_TOKEN if found.from_configuration else CredentialKind.API_TOKEN
    scopes = None if found.from_configuration else found.scopes
    return Principal(Profile.of(user), kind, found.id, permissions(user.role, kind, scopes))


def _is_stale(noted: Moment) -> ColumnElement[bool]:
    return or_(noted.is_(None), noted < database_now - LAST_USE_PRECISION)


def _note_use(session: Session, noted: Moment, row_id: int) -> None:
    """Of several requests that find the note stale at once, one writes it and none waits.

    A database that can only be read still says who a token stands for: the note is left out.
    """
    if session.scalar(text("SELECT current_setting('transaction_read_only')::bool")):
        return
    table = noted.class_
    unlocked = select(table.id).where(table.id == row_id).with_for_update(skip_locked=True)
    session.execute(
        update(table)
        .where(table.id.in_(unlocked.scalar_subquery()))
        .values({noted: database_now})
        .execution_options(synchronize_session=False)
    )
