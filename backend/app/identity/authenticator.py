"""Authentication of requests, off the event loop: one instance for each process."""

import hmac
from contextlib import suppress
from dataclasses import dataclass

from anyio import CapacityLimiter, fail_after, to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.core.errors import DatabaseUnavailable, InvalidToken
from app.db.engine import is_outage
from app.identity.permissions import CredentialKind
from app.identity.principal import Principal
from app.identity.resolve import resolve
from app.identity.sessions import Sessions
from app.identity.tokens import hash_token

OUTAGE_DEADLINE = 0.7
"""Seconds the health report waits for the database to authenticate its caller."""

_OUTAGE_THREADS = 4


@dataclass(frozen=True, slots=True)
class _LastKnown:
    secret_hash: bytes
    principal: Principal


class Authenticator:
    """Asks the database about each token, in a transaction that ends before the request goes on.

    Of the token from the configuration it remembers what the database said last, so that the founder can still
    read the health report while the database is out of reach.
    """

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self._engine = engine
        self._sessions = sessions
        self._last_known: _LastKnown | None = None
        self._outage_limiter = CapacityLimiter(_OUTAGE_THREADS)

    async def authenticate(self, token: str) -> Principal:
        """Raises InvalidToken, or what SQLAlchemy raises when the database does not answer."""
        return await to_thread.run_sync(self.resolve, token)

    async def authenticate_in_outage(self, token: str) -> Principal:
        """As `authenticate`, but soon: where the database does not answer, with what it said last of this token.

        Raises:
            InvalidToken: the token is not good.
            DatabaseUnavailable: the database does not answer, and `token` is not the configured one.
        """
        try:
            with fail_after(OUTAGE_DEADLINE):
                return await to_thread.run_sync(
                    self.resolve, token, limiter=self._outage_limiter, abandon_on_cancel=True
                )
        except (DBAPIError, PoolTimeout, TimeoutError) as error:
            if isinstance(error, DBAPIError) and not is_outage(error):
                raise
            if self._is_last_known(token) and self._last_known:
                return self._last_known.principal
            raise DatabaseUnavailable from error

    def remember(self, token: str | None) -> None:
        """Find out at the start what the database says of the configured token; that is no use of it."""
        if token is not None:
            with suppress(InvalidToken):
                self.resolve(token, note_use=False)

    def resolve(self, token: str, *, note_use: bool = True) -> Principal:
        try:
            with Session(self._engine) as session, session.begin():
                principal = resolve(session, self._sessions, token, note_use=note_use)
        except InvalidToken:
            if self._is_last_known(token):
                self._last_known = None
            raise
        if principal.kind is CredentialKind.MVP_TOKEN:
            self._last_known = _LastKnown(hash_token(token), principal)
        return principal

    def _is_last_known(self, token: str) -> bool:
        known = self._last_known
        return known is not None and hmac.compare_digest(known.secret_hash, hash_token(token))
