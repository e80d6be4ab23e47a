"""What takes a transaction or two, because a password is hashed before or between them.

Neither a connection nor a thread is held meanwhile; what the first transaction saw, the second one checks again.
"""

from dataclasses import dataclass

from app.core.errors import AppError
from app.features.users import service
from app.features.users.schemas import PasswordChange, UserRequest
from app.identity.accounts import NewUser
from app.identity.activity import Origin
from app.identity.passwords import HashingLane
from app.identity.principal import Principal, Profile
from app.identity.throttle import withdraw
from app.web.session import Transactions


@dataclass(frozen=True, slots=True)
class Flows:
    transactions: Transactions
    lane: HashingLane
    origin: Origin

    async def create_user(self, caller: Principal, request: UserRequest) -> Profile:
        """Raises EmailTaken, UsernameTaken, InvalidInput for a weak password, or HashingBusy."""
        password_hash = None
        if request.password is not None:
            password = request.password.get_secret_value()
            about = (request.email, request.username, request.full_name)
            password_hash = await self.lane.hash_new(password, pointer="/password", about=about)
        new = NewUser(**request.model_dump(exclude={"password"}), password_hash=password_hash)
        return await self.transactions.run(lambda session: service.create(session, new, self.origin.by(caller)))

    async def change_password(self, caller: Principal, request: PasswordChange) -> None:
        """Every other session of the caller ends.

        Raises:
            WrongPassword: that is not the current one, or not any more.
            InvalidInput: the new one is weak.
            TooManyAttempts: it was tried too often with a wrong one, here or at the sign-in.
            HashingBusy: too many passwords are being hashed right now.
        """
        origin = self.origin.by(caller)
        begun = await self.transactions.run(lambda session: service.begin_password_change(session, caller, origin))
        try:
            new_hash = await self._new_hash(caller.user, request, begun.password_hash)
        except AppError:
            await self.transactions.run(lambda session: withdraw(session, begun.attempt))
            raise
        await self.transactions.run(
            lambda session: service.finish_password_change(session, caller, begun, new_hash, origin)
        )

    async def _new_hash(self, user: Profile, request: PasswordChange, stored: str | None) -> str | None:
        """The hash of the new password, if the current one is right."""
        verdict = await self.lane.verify(request.current_password.get_secret_value(), stored)
        if not verdict.matches:
            return None
        about = (user.email, user.username, user.full_name)
        return await self.lane.hash_new(request.new_password.get_secret_value(), pointer="/new_password", about=about)
