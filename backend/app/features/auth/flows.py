"""What takes two transactions, because a password is hashed between them.

Neither a connection nor a thread is held meanwhile; what the first transaction saw, the second one checks again.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import anyio
from sqlalchemy.orm import Session

from app.features.auth import service
from app.features.auth.schemas import ClaimRequest, NewAccount, PasswordResetRequest, RegistrationRequest, SignInRequest
from app.identity.accounts import NewUser
from app.identity.activity import Origin
from app.identity.passwords import HashingBusy, HashingLane
from app.identity.principal import Principal
from app.identity.sessions import Sessions, TokenPair
from app.identity.throttle import counting
from app.models.database import User
from app.web.session import Transactions

REFUSAL_TAKES = 0.5
"""Seconds, or a multiple of them, after which a refused sign-in is answered.

Old bcrypt hashes and the database's work for one kind of refusal or another do not tell accounts apart then.
"""


@dataclass(frozen=True, slots=True)
class Auth:
    transactions: Transactions
    lane: HashingLane
    sessions: Sessions
    origin: Origin
    registration: service.Registration

    async def sign_in(self, request: SignInRequest) -> TokenPair:
        """Raises InvalidCredentials, TooManyAttempts or HashingBusy."""
        began = anyio.current_time()
        try:
            return await self._sign_in(request.username, request.password.get_secret_value())
        except service.InvalidCredentials:
            await anyio.sleep(-(anyio.current_time() - began) % REFUSAL_TAKES)
            raise

    async def _sign_in(self, name: str, password: str) -> TokenPair:
        answer: service.SignIn | TokenPair
        self.lane.refuse_when_full()  # an attempt that is counted and withdrawn costs several times this
        answer = await self.transactions.run(lambda session: service.begin_sign_in(session, name, self.origin))
        while isinstance(answer, service.SignIn):
            checked = await self._checked(answer, password)
            finish = partial(service.finish_sign_in, sessions=self.sessions, checked=checked, origin=self.origin)
            answer = await self.transactions.run(finish)
        return answer

    async def _checked(self, begun: service.SignIn, password: str) -> service.SignIn:
        """Raises HashingBusy."""
        async with counting(self.transactions.run, begun.attempt):
            verdict = await self.lane.verify(password, begun.password_hash)
        better_hash = None
        if verdict.rehash:
            with suppress(HashingBusy):  # the next sign-in will do
                better_hash = await self.lane.hash(password)
        return replace(begun, matches=verdict.matches, better_hash=better_hash)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """Raises InvalidToken."""
        return await self.transactions.run(lambda session: self.sessions.refresh(session, refresh_token, self.origin))

    async def register(self, request: RegistrationRequest) -> tuple[TokenPair, User]:
        """Raises RegistrationClosed, TooManyAttempts, InvalidInvitation, EmailTaken, UsernameTaken or InvalidInput."""
        email, invitation = request.email, request.invitation
        attempt = await self.transactions.run(
            lambda session: service.begin_registration(session, self.registration, email, invitation, self.origin)
        )
        async with counting(self.transactions.run, attempt):
            new = await self._hashed(request)

        def register(session: Session) -> tuple[TokenPair, User]:
            user = service.register(session, attempt, new, invitation, self.origin)
            return service.sign_in_as(session, self.sessions, user, self.origin), user

        return await self.transactions.run(register)

    async def claim(self, caller: Principal, request: ClaimRequest) -> tuple[TokenPair, User]:
        """Raises AlreadyClaimed, EmailTaken, UsernameTaken, InvalidInput or HashingBusy."""
        origin = self.origin.by(caller)
        await self.transactions.run(lambda session: service.check_claim(session, caller, origin))
        new = await self._hashed(request)

        def claim(session: Session) -> tuple[TokenPair, User]:
            keep = request.keep_api_token
            user = service.claim(session, caller.user.id, new, origin, keep_api_token=keep)
            return service.sign_in_as(session, self.sessions, user, origin), user

        return await self.transactions.run(claim)

    async def reset_password(self, request: PasswordResetRequest) -> None:
        """Raises InvalidResetToken, InvalidInput or HashingBusy."""
        user = await self.transactions.run(lambda session: service.begin_reset(session, request.token, self.origin))
        password = request.new_password.get_secret_value()
        about = (user.email, user.username, user.full_name)
        password_hash = await self.lane.hash_new(password, pointer="/new_password", about=about)
        await self.transactions.run(
            lambda session: service.reset_password(session, request.token, password_hash, self.origin)
        )

    async def _hashed(self, request: NewAccount) -> NewUser:
        about = (request.email, request.username, request.full_name)
        new = NewUser(email=request.email, username=request.username, full_name=request.full_name)
        password = request.password.get_secret_value()
        return replace(new, password_hash=await self.lane.hash_new(password, pointer="/password", about=about))
