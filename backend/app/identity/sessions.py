"""Sessions: a sign-in, and the tokens it lives by. The database's clock decides what is alive."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, delete, extract, func, insert, literal, select, type_coerce, update
from sqlalchemy.orm import Session

from app.core.errors import InvalidToken
from app.core.settings import Settings
from app.db.batches import delete_older
from app.identity.activity import MAX_USER_AGENT, Action, Origin, Resource, record
from app.identity.jwt import CLOCK_SKEW, Claims, SigningKeys, TokenType, new_jti
from app.identity.permissions import SCOPES, CredentialKind, Permission, permissions
from app.models.base import UtcDateTime, database_now
from app.models.database import RefreshTokenExchange, User, UserSession

REUSE_GRACE = timedelta(seconds=10)
"""How long an exchanged refresh token still gives its successor: two tabs, a lost answer."""

KEPT_AFTER_EXPIRY = timedelta(days=30)
KEPT_AFTER_GRACE = timedelta(hours=1)
"""Of exchanges: for longer than a request can last that came within the grace."""

_NOW = type_coerce(database_now, UtcDateTime)
_EPOCH = extract("epoch", func.now())


class EndReason(StrEnum):
    """Why a session ended before its time; `legacy` are those from before there were tokens like these."""

    LOGOUT = "logout"
    ENDED = "ended"
    REUSE = "reuse"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - a reason
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a reason
    DEACTIVATION = "deactivation"
    LEGACY = "legacy"


class RefreshRefused(InvalidToken):
    """The session is over. The account's log keeps that somebody tried; the answer does not say so."""

    keeps_writes = True


class RefreshTokenReused(RefreshRefused):
    """Somebody holds a refresh token that was exchanged before; from now on the session is over."""


class Lifetimes(NamedTuple):
    access: timedelta
    refresh: timedelta
    """Of a session as a whole: rotation does not prolong it."""
    idle: timedelta
    """A session that nobody uses for so long is over."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    """Seconds the access token is good for."""
    scope: str
    """What it may do: scopes, separated by spaces (RFC 6749 section 3.3)."""
    session_id: int


class _Issue(NamedTuple):
    """What tells a token from the others of its session and type."""

    jti: str
    at: datetime


class Sessions:
    """Opens and refreshes sessions, and tells whose an access token is; one instance for each process."""

    def __init__(self, keys: SigningKeys, lifetimes: Lifetimes) -> None:
        self._keys = keys
        self.lifetimes = lifetimes

    @classmethod
    def of(cls, settings: Settings, secret: str) -> "Sessions":
        previous = settings.jwt_secret_previous
        return cls(
            SigningKeys(secret, previous.get_secret_value() if previous else None),
            Lifetimes(
                timedelta(minutes=settings.access_token_minutes),
                timedelta(days=settings.refresh_token_days),
                timedelta(days=settings.session_idle_days),
            ),
        )

    def open(self, session: Session, user: User, origin: Origin) -> TokenPair:
        """Sign `user` in, who has just proved to be it; that this happened is for the caller to record."""
        new = insert(UserSession).values(
            user_id=user.id,
            access_token_jti=new_jti(),
            refresh_token_jti=new_jti(),
            expires_at=database_now + self.lifetimes.refresh,
            last_activity_at=database_now,
            ip_address=origin.address,
            user_agent=(origin.user_agent or "")[:MAX_USER_AGENT] or None,
            created_at=database_now,
        )
        opened = session.scalars(new.returning(UserSession)).one()
        now = opened.created_at
        return self._pair(opened, user, _Issue(opened.access_token_jti, now), _Issue(opened.refresh_token_jti, now))

    def refresh(self, session: Session, refresh_token: str, origin: Origin) -> TokenPair:
        """Exchange a refresh token; within REUSE_GRACE the same one gives the same successor again.

        Raises:
            InvalidToken: it is none.
            RefreshRefused: its session is over.
            RefreshTokenReused: it was exchanged longer ago; its session is over from now on.
        """
        claims = self._keys.read(TokenType.REFRESH, refresh_token)
        row = session.execute(
            _alive_with_user(claims, self.lifetimes.idle).add_columns(_NOW).with_for_update(of=UserSession)
        ).one_or_none()
        if row is None:
            raise _refusal(session, claims, origin)
        found, user, now = row
        if claims.jti == found.refresh_token_jti:
            _rotate(session, found, now)
            record(session, origin.as_user(user), Action.SESSION_REFRESHED, user=user, resource=_resource(found))
            return self._pair(found, user, _Issue(found.access_token_jti, now), _Issue(found.refresh_token_jti, now))
        successor = _recent_successor(session, claims, now)
        if successor is None:
            end_sessions(session, user.id, EndReason.REUSE, only=found.id)
            record(session, origin, Action.REFRESH_TOKEN_REUSED, user=user, resource=_resource(found))
            raise RefreshTokenReused
        return self._pair(found, user, _Issue(new_jti(), now), successor)

    def is_access_token(self, token: str) -> bool:
        """Whether it is for `find` to decide on; what is not may still be another kind of credential."""
        return self._keys.wrote_header(token)

    def find(self, access_token: str) -> Select[UserSession, User, Decimal]:
        """Selects the session an access token belongs to, with its user, if both are alive.

        And for how many seconds the token is good, as far as its age and the session's decide.

        Raises:
            InvalidToken: it is no access token.
        """
        claims = self._keys.read(TokenType.ACCESS, access_token)
        end = func.least(UserSession.expires_at, UserSession.last_activity_at + literal(self.lifetimes.idle))
        lives_for = func.least(claims.exp - _EPOCH, extract("epoch", end - database_now))
        return _alive_with_user(claims, self.lifetimes.idle).add_columns(lives_for)

    def _pair(self, row: UserSession, user: User, access: _Issue, refresh: _Issue) -> TokenPair:
        end = min(access.at + self.lifetimes.access, row.expires_at)
        claims = Claims.of(row.user_id, row.id, access.jti, access.at, end)
        successor = Claims.of(row.user_id, row.id, refresh.jti, refresh.at, row.expires_at)
        granted = permissions(user.role, CredentialKind.SESSION, SCOPES)
        return TokenPair(
            access_token=self._keys.sign(TokenType.ACCESS, claims),
            refresh_token=self._keys.sign(TokenType.REFRESH, successor),
            expires_in=claims.exp - claims.iat,
            scope=" ".join(permission for permission in Permission if permission in granted),
            session_id=row.id,
        )


def live_sessions(user_id: int, idle: timedelta) -> Select[UserSession]:
    """The sessions a user could go on with."""
    return select(UserSession).where(UserSession.user_id == user_id, _alive(idle))


def end_sessions(
    session: Session, user_id: int, reason: EndReason, *, but: int | None = None, only: int | None = None
) -> int:
    """End the user's sessions, all `but` one, or one `only`; how many had not ended before.

    Their tokens are refused from the end of this transaction on.
    """
    statement = update(UserSession).where(UserSession.user_id == user_id, UserSession.ended_at.is_(None))
    if but is not None:
        statement = statement.where(UserSession.id != but)
    if only is not None:
        statement = statement.where(UserSession.id == only)
    ended = statement.values(ended_at=database_now, end_reason=reason).returning(UserSession.id)
    return len(session.scalars(ended).all())


def prune_sessions(session: Session, batch: int, *, since: datetime | None = None) -> list[datetime]:
    """Delete sessions that expired KEPT_AFTER_EXPIRY ago or earlier, at most `batch`, from `since` on; when they did.

    Until then a refresh token of theirs that somebody tries is an event of the account.
    """
    return delete_older(session, UserSession.expires_at, database_now - KEPT_AFTER_EXPIRY, batch, since)


def prune_exchanges(session: Session, batch: int, *, since: datetime | None = None) -> list[datetime]:
    """Delete exchanges that nobody may repeat any more, at most `batch`, from `since` on; when they were made.

    A session takes its own along when it is refreshed; the last one would stay as long as the session.
    """
    return delete_older(session, RefreshTokenExchange.exchanged_at, database_now - KEPT_AFTER_GRACE, batch, since)


def _alive(idle: timedelta) -> ColumnElement[bool]:
    return and_(
        UserSession.ended_at.is_(None),
        UserSession.expires_at > database_now,
        UserSession.last_activity_at > database_now - idle,
    )


def _alive_with_user(claims: Claims, idle: timedelta) -> Select[UserSession, User]:
    """The session a token of this moment belongs to, and its user, if both are alive."""
    return (
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(
            UserSession.id == claims.session_id,
            UserSession.user_id == claims.user_id,
            claims.exp > _EPOCH,
            claims.iat <= _EPOCH + CLOCK_SKEW.total_seconds(),
            _alive(idle),
            User.is_active,
        )
    )


def _rotate(session: Session, row: UserSession, now: datetime) -> None:
    """Give a locked session its next pair, and forget the exchanges that nobody may repeat any more."""
    past = RefreshTokenExchange.exchanged_at <= now - REUSE_GRACE
    session.execute(delete(RefreshTokenExchange).where(RefreshTokenExchange.session_id == row.id, past))
    exchanged, row.refresh_token_jti, row.access_token_jti = row.refresh_token_jti, new_jti(), new_jti()
    row.last_activity_at = now
    session.add(
        RefreshTokenExchange(jti=exchanged, session_id=row.id, successor_jti=row.refresh_token_jti, exchanged_at=now)
    )
    session.flush()


def _recent_successor(session: Session, claims: Claims, now: datetime) -> _Issue | None:
    """What the refresh token was exchanged for, if that was a moment ago."""
    exchange = session.scalar(
        select(RefreshTokenExchange).where(
            RefreshTokenExchange.jti == claims.jti,
            RefreshTokenExchange.session_id == claims.session_id,
            RefreshTokenExchange.exchanged_at > now - REUSE_GRACE,
        )
    )
    return _Issue(exchange.successor_jti, exchange.exchanged_at) if exchange else None


def _refusal(session: Session, claims: Claims, origin: Origin) -> InvalidToken:
    """What to raise for a token whose session is over, once that is put down; a session that is gone tells nobody."""
    row = session.scalar(
        select(UserSession).where(UserSession.id == claims.session_id, UserSession.user_id == claims.user_id)
    )
    if row is None:
        return InvalidToken()
    user = session.get_one(User, row.user_id)
    record(session, origin, Action.REFRESH_REFUSED, user=user, resource=_resource(row))
    return RefreshRefused()


def _resource(row: UserSession) -> tuple[Resource, int]:
    return Resource.SESSION, row.id
