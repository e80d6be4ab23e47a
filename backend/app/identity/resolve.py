"""From a bearer token to the principal it stands for."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from sqlalchemy import Select, extract, func, or_, select
from sqlalchemy.orm import Session

from app.core.errors import InvalidToken
from app.identity.permissions import CredentialKind, permissions
from app.identity.principal import Principal, Profile
from app.identity.sessions import Sessions
from app.identity.tokens import hash_token, is_mistyped
from app.models.base import database_now
from app.models.database import ApiToken, User, UserSession


class Resolved(NamedTuple):
    principal: Principal
    lives_for: float
    """Seconds for which the credential is good, as far as its age decides."""


Ask = Callable[[Session], Resolved]
"""Asks the database; raises InvalidToken where the token stands for nobody, or nobody any more."""


def question(sessions: Sessions, token: str) -> Ask:
    """How to ask the database who `token` stands for.

    Raises:
        InvalidToken: nobody, which no database is needed to tell.
    """
    if is_mistyped(token):
        raise InvalidToken
    if sessions.is_access_token(token):
        return partial(_of_session, sessions.find(token))
    return partial(_of_api_token, hash_token(token))


def resolve(session: Session, sessions: Sessions, token: str) -> Resolved:
    """Ask the database who `token` stands for.

    Raises:
        InvalidToken: nobody, or nobody any more.
    """
    return question(sessions, token)(session)


def _of_session(query: Select[UserSession, User, Decimal], session: Session) -> Resolved:
    row = session.execute(query).one_or_none()
    if row is None:
        raise InvalidToken
    found, user, lives_for = row
    kind = CredentialKind.SESSION
    return Resolved(Principal(Profile.of(user), kind, found.id, permissions(user.role, kind)), float(lives_for))


def _of_api_token(secret_hash: bytes, session: Session) -> Resolved:
    row = session.execute(
        select(ApiToken, User, func.coalesce(extract("epoch", ApiToken.expires_at - database_now), float("inf")))
        .join(User, User.id == ApiToken.user_id)
        .where(
            ApiToken.secret_hash == secret_hash,
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
