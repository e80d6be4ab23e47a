"""Authentication of requests: from memory where that is certainly current, otherwise by asking the database."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from anyio import fail_after
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.core.clock import steady
from app.core.errors import DatabaseUnavailable, InvalidToken, ServiceUnavailable
from app.core.places import Places, take_note
from app.db.engine import is_outage
from app.identity.permissions import CredentialKind
from app.identity.principal import Principal
from app.identity.principal_cache import PrincipalCache, Question
from app.identity.resolve import Ask, Resolved, question
from app.identity.sessions import Sessions
from app.identity.tokens import hash_token
from app.web.admission import admission

OUTAGE_DEADLINE: Final = 0.7
"""Seconds the health report waits for the database to authenticate its caller."""

JOINABLE: Final = 0.2
"""Seconds for which requests with the same token may wait for an answer that was asked for before they came."""

_OUTAGE_THREADS: Final = 4

RunTransaction = Callable[[Callable[[Session], Resolved]], Awaitable[Resolved]]
"""What the work answers, once its transaction is committed; off the event loop."""


@dataclass(frozen=True, slots=True)
class _LastKnown:
    secret_hash: bytes
    principal: Principal


class _Flight(NamedTuple):
    """A question on its way, and the answer to come."""

    question: Question
    answer: asyncio.Task[Principal]


class Changed(ServiceUnavailable):
    def __init__(self) -> None:
        super().__init__("What you may do has changed while this waited; try again.")


@dataclass(frozen=True, slots=True)
class _Admission:
    """See app.web.admission."""

    authenticator: "Authenticator"
    token: str
    principal: Principal
    at: float
    epoch: int

    def is_out_of_date(self) -> bool:
        return self.authenticator.is_out_of_date(self.principal, self.at, self.epoch)

    def renew(self, session: Session) -> None:
        self.authenticator.renew(session, self.token, self.principal)


class Authenticator:
    """Tells whose a token is; one instance for each process.

    Of the token from the configuration it remembers what the database said last, so that the founder can still
    read the health report while the database is out of reach.
    """

    def __init__(self, engine: Engine, sessions: Sessions, cache: PrincipalCache, run: RunTransaction) -> None:
        self._engine = engine
        self._sessions = sessions
        self._cache = cache
        self._run = run
        self._flights: dict[bytes, _Flight] = {}
        self._last_known: _LastKnown | None = None
        self._outage_places = Places(_OUTAGE_THREADS)

    async def authenticate(self, token: str) -> Principal:
        """Raises InvalidToken, or what SQLAlchemy raises when the database does not answer."""
        digest, now, epoch = hashlib.sha256(token.encode()).digest(), steady(), self._cache.epoch
        principal = self._cache.get(digest, now) or await self._ask(token, digest, now)
        admission.set(_Admission(self, token, principal, now, epoch))
        return principal

    def is_out_of_date(self, principal: Principal, since: float, epoch: int) -> bool:
        """Whether what the principal may do may be otherwise than it was then."""
        now = steady()
        unheard = now - since > JOINABLE and not self._cache.is_current(now)
        return unheard or self._cache.has_forgotten(principal.user.id, epoch)

    def renew(self, session: Session, token: str, principal: Principal) -> None:
        """Raises InvalidToken, or Changed where the token is good for something else than it was."""
        found = self._resolve(session, question(self._sessions, token), token).principal
        if (found.user.id, found.permissions) != (principal.user.id, principal.permissions):
            raise Changed

    async def authenticate_in_outage(self, token: str) -> Principal:
        """As `authenticate`, but soon: where the database does not answer, with what it said last of this token.

        Raises:
            InvalidToken: the token is not good.
            DatabaseUnavailable: the database does not answer, and `token` is not the configured one.
        """
        try:
            with fail_after(OUTAGE_DEADLINE):
                resolved = await self._outage_places.run(lambda: self._resolve_alone(token))
        except (DBAPIError, PoolTimeout, TimeoutError) as error:
            if isinstance(error, DBAPIError) and not is_outage(error):
                raise
            if self._is_last_known(token) and self._last_known:
                return self._last_known.principal
            raise DatabaseUnavailable from error
        self._cache.note_use(resolved.principal, steady())
        return resolved.principal

    def remember(self, token: str | None) -> None:
        """Find out at the start what the database says of the configured token; that is no use of it."""
        if token is not None:
            with suppress(InvalidToken):
                self._resolve_alone(token)

    async def _ask(self, token: str, digest: bytes, now: float) -> Principal:
        """Ask the database; where revocations are heard, requests with the same token share an answer."""
        if not self._cache.is_current(now):
            return await self._fetch(token, digest)
        flight = self._flights.get(digest)
        if flight is None or not self._is_joinable(flight, now):
            task = asyncio.create_task(self._fetch(token, digest))
            flight = self._flights[digest] = _Flight(self._cache.ask(now), task)
            task.add_done_callback(lambda _: self._land(digest, flight))
        # A client that goes away must not take the answer from the others.
        return await asyncio.shield(flight.answer)

    def _is_joinable(self, flight: _Flight, now: float) -> bool:
        """Not if something was revoked since: the answer may be from before that."""
        return flight.question.epoch == self._cache.epoch and now - flight.question.asked_at < JOINABLE

    def _land(self, digest: bytes, flight: _Flight) -> None:
        if self._flights.get(digest) is flight:
            del self._flights[digest]
        take_note(flight.answer)

    async def _fetch(self, token: str, digest: bytes) -> Principal:
        asked = self._cache.ask(steady())
        ask = question(self._sessions, token)
        principal, lives_for = await self._run(lambda session: self._resolve(session, ask, token))
        self._cache.keep(digest, asked, principal, lives_for)
        self._cache.note_use(principal, steady())
        return principal

    def _resolve_alone(self, token: str) -> Resolved:
        ask = question(self._sessions, token)
        with Session(self._engine) as session, session.begin():
            return self._resolve(session, ask, token)

    def _resolve(self, session: Session, ask: Ask, token: str) -> Resolved:
        try:
            resolved = ask(session)
        except InvalidToken:
            if self._is_last_known(token):
                self._last_known = None
            raise
        if resolved.principal.kind is CredentialKind.MVP_TOKEN:
            self._last_known = _LastKnown(hash_token(token), resolved.principal)
        return resolved

    def _is_last_known(self, token: str) -> bool:
        known = self._last_known
        return known is not None and hmac.compare_digest(known.secret_hash, hash_token(token))
