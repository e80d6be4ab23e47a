"""What takes a transaction or two, because a password is hashed before or between them.

Neither a connection nor a thread is held meanwhile; what the first transaction saw, the second one checks again.
"""

from dataclasses import dataclass

from app.features.users import service
from app.features.users.schemas import PasswordChange, UserRequest
from app.identity.accounts import NewUser
from app.identity.activity import Origin
from app.identity.passwords import HashingLane
from app.identity.principal import Principal, Profile
from app.identity.throttle import counting
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
        origin, user = self.origin.by(caller), caller.user
        new_password, about = request.new_password.get_secret_value(), (user.email, user.username, user.full_name)
        await self.lane.refuse_weak(new_password, pointer="/new_password", about=about)
        self.lane.refuse_when_full()
        begun = await self.transactions.run(lambda session: service.begin_password_change(session, caller, origin))
        async with counting(self.transactions.run, begun.attempt):
            verdict = await self.lane.verify(request.current_password.get_secret_value(), begun.password_hash)
            new_hash = await self.lane.hash(new_password) if verdict.matches else None
        await self.transactions.run(
            lambda session: service.finish_password_change(session, caller, begun, new_hash, origin)
        )
