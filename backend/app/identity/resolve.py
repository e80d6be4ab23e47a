"""From a bearer token to the principal it stands for."""

from typing import NamedTuple

from sqlalchemy import extract, func, or_, select
from sqlalchemy.orm import Session

from app.core.errors import InvalidToken
from app.identity.permissions import CredentialKind, permissions
from app.identity.principal import Principal, Profile
from app.identity.sessions import Sessions
from app.identity.tokens import hash_token, is_mistyped
from app.models.base import database_now
from app.models.database import ApiToken, User


class Resolved(NamedTuple):
    principal: Principal
    lives_for: float
    """Seconds for which the credential is good, as far as its age decides."""


def resolve(session: Session, sessions: Sessions, token: str) -> Resolved:
    """Ask the database who `token` stands for.

    Raises:
        InvalidToken: nobody, or nobody any more.
    """
    if is_mistyped(token):
        raise InvalidToken
    if sessions.is_access_token(token):
        return _of_session(session, sessions, token)
    return _of_api_token(session, token)


def _of_session(session: Session, sessions: Sessions, token: str) -> Resolved:
    row = session.execute(sessions.find(token)).one_or_none()
    if row is None:
        raise InvalidToken
    found, user, lives_for = row
    kind = CredentialKind.SESSION
    return Resolved(Principal(Profile.of(user), kind, found.id, permissions(user.role, kind)), float(lives_for))


def _of_api_token(session: Session, token: str) -> Resolved:
    row = session.execute(
        select(ApiToken, User, func.coalesce(extract("epoch", ApiToken.expires_at - database_now), float("inf")))
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
    found, user, lives_for = row
    kind = CredentialKind.MVP_TOKEN if found.from_configuration else CredentialKind.API_TOKEN
    scopes = None if found.from_configuration else found.scopes
    principal = Principal(Profile.of(user), kind, found.id, permissions(user.role, kind, scopes))
    return Resolved(principal, float(lives_for))
