"""Signing in, registering, claiming and resetting: what each transaction of these does."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.core.errors import AppError, NotFound, TooManyAttempts
from app.identity.accounts import NewUser, change_user, create_user, find_by_login, set_password
from app.identity.activity import Action, Origin, Resource, record, recorded_refusals
from app.identity.mvp import AlreadyClaimed, is_mvp_user, retire
from app.identity.one_time import (
    InvalidInvitation,
    InvalidResetToken,
    check_invitation,
    consume_reset,
    find_reset,
    owner_of_reset,
    redeem,
)
from app.identity.permissions import MEMBER
from app.identity.principal import Principal
from app.identity.sessions import EndReason, Sessions, TokenPair, end_sessions
from app.identity.throttle import Attempt, begin_anonymous, begin_attempt, remember_address, succeeded
from app.models.base import database_now
from app.models.database import User

Registration = Literal["invite", "open", "closed"]
Scope = Literal["local", "others", "global"]


class InvalidCredentials(AppError):
    """Which of the two is wrong is never said."""

    status, code, title = 401, "invalid_credentials", "Invalid credentials"
    keeps_writes = True

    def __init__(self) -> None:
        super().__init__("There is no account with this name and password.")


class RegistrationClosed(AppError):
    status, code, title = 403, "registration_closed", "Registration closed"

    def __init__(self) -> None:
        super().__init__("Nobody can register here: ask an owner for an account.")


@dataclass(frozen=True, slots=True)
class SignIn:
    """An attempt that was counted, and what to hold its password against."""

    attempt: Attempt
    user_id: int | None
    password_hash: str | None = field(repr=False)
    matches: bool = False
    better_hash: str | None = field(default=None, repr=False)
    """What takes the place of a hash that was made with weaker parameters."""


def begin_sign_in(session: Session, name: str, origin: Origin) -> SignIn:
    """Raises TooManyAttempts."""
    user = find_by_login(session, name)
    try:
        attempt = begin_attempt(session, name, origin.address, user.id if user else None)
    except TooManyAttempts:
        record(session, origin, Action.SIGN_IN_THROTTLED, user=user)
        raise
    return SignIn(attempt, user.id if user else None, user.password_hash if user else None)


def finish_sign_in(session: Session, sessions: Sessions, checked: SignIn, origin: Origin) -> TokenPair | SignIn:
    """Open a session if the password matched; what it matched may be the user's no more, and it is to be checked anew.

    Another sign-in may have put a better hash of the same password there, or somebody has set another password.

    Raises:
        InvalidCredentials: it did not match, or there is no such user, or the user is deactivated.
    """
    user = session.scalar(select(User).where(User.id == checked.user_id).with_for_update(key_share=True))
    if user is not None and checked.matches and user.password_hash != checked.password_hash:
        return SignIn(checked.attempt, user.id, user.password_hash)
    refusal = _refusal(user, checked)
    if user is None or refusal:
        record(session, origin, Action.SIGN_IN_FAILED, user=user, reason=refusal)
        raise InvalidCredentials
    succeeded(session, checked.attempt)
    if checked.better_hash is not None:
        _keep_account(session, user, password_hash=checked.better_hash)
    return sign_in_as(session, sessions, user, origin)


def log_out(session: Session, caller: Principal, scope: Scope, origin: Origin) -> None:
    """End the caller's session, all others of the user, or all."""
    only = caller.credential_id if scope == "local" else None
    but = caller.credential_id if scope == "others" else None
    count = end_sessions(session, caller.user.id, EndReason.LOGOUT, only=only, but=but)
    if scope == "local":
        ended = (Resource.SESSION, caller.credential_id)
        record(session, origin, Action.SESSION_ENDED, user=caller.user, resource=ended)
    else:
        record(session, origin, Action.SESSIONS_ENDED, user=caller.user, scope=scope, count=count)


def begin_registration(
    session: Session, mode: Registration, email: str, invitation: str | None, origin: Origin
) -> Attempt:
    """Refuse, before a password is hashed, who may not register; count the attempt of everybody else.

    Raises:
        RegistrationClosed: nobody may.
        TooManyAttempts: too many failed from there.
        InvalidInvitation: an invitation is needed and none was sent, or the one that was is not good.
    """
    with recorded_refusals(session, origin, Action.REGISTRATION_REFUSED):
        if mode == "closed":
            raise RegistrationClosed
        attempt = begin_anonymous(session, origin.address)
    with recorded_refusals(session, origin, Action.REGISTRATION_REFUSED):
        if mode == "invite" and invitation is None:
            raise InvalidInvitation
        if invitation is not None:
            check_invitation(session, invitation, email)
    return attempt


def register(session: Session, attempt: Attempt, new: NewUser, invitation: str | None, origin: Origin) -> User:
    """Make an account, with the role of the invitation if there is one.

    Raises:
        InvalidInvitation: it is used, revoked, expired, or for another address.
        EmailTaken, UsernameTaken: somebody has it.
    """
    with recorded_refusals(session, origin, Action.REGISTRATION_REFUSED):
        invited = redeem(session, invitation, new.email) if invitation is not None else None
        user = create_user(session, replace(new, role=invited.role if invited else MEMBER))
        if invited:
            invited.used_by = user.id
    succeeded(session, attempt)
    about: dict[str, Any] = {"invitation_id": invited.id} if invited else {}
    record(session, origin.as_user(user), Action.REGISTERED, user=user, **about)
    return user


def check_claim(session: Session, caller: Principal, origin: Origin) -> None:
    """Refuse, before a password is hashed, who comes too late.

    Raises:
        AlreadyClaimed: the token was the MVP user's a moment ago and is no more.
    """
    user = session.get(User, caller.user.id)
    with recorded_refusals(session, origin, Action.CLAIM_REFUSED, caller.user):
        if user is None or not is_mvp_user(session, user):
            raise AlreadyClaimed


def claim(session: Session, user_id: int, new: NewUser, origin: Origin, *, keep_api_token: bool) -> User:
    """Give the MVP user its address and password; it keeps its id, its role, and every row that points to it.

    Raises:
        AlreadyClaimed: somebody did before, or deleted it.
        EmailTaken, UsernameTaken: somebody has it.
    """
    # The user comes first, as for everybody else who changes a password.
    user = session.get(User, user_id, with_for_update={"key_share": True})
    with recorded_refusals(session, origin, Action.CLAIM_REFUSED, user):
        if user is None:
            raise AlreadyClaimed
        retire(session, user, origin, keep_token=keep_api_token)
        names = {"email": new.email, "username": new.username, "full_name": new.full_name}
        change_user(session, user, {name: value for name, value in names.items() if value is not None}, origin)
        set_password(session, user, new.password_hash or "", EndReason.PASSWORD_CHANGE, origin)
    record(session, origin, Action.CLAIMED, user=user, keep_api_token=keep_api_token)
    return user


def begin_reset(session: Session, token: str, origin: Origin) -> User:
    """The user that the token is for.

    Raises:
        InvalidResetToken: it is used, void or expired.
    """
    user = owner_of_reset(session, token)
    with recorded_refusals(session, origin, Action.PASSWORD_RESET_REFUSED, user):
        if user is None or find_reset(session, token) is None:
            raise InvalidResetToken
    return user


def reset_password(session: Session, token: str, password_hash: str, origin: Origin) -> None:
    """Use the token up and set the password; every session of the user ends.

    Raises:
        InvalidResetToken: somebody used it before.
    """
    user = begin_reset(session, token, origin)
    with recorded_refusals(session, origin, Action.PASSWORD_RESET_REFUSED, user):
        consume_reset(session, token)
    give_password(session, user.id, password_hash, origin.as_user(user))
    if origin.address is not None:
        remember_address(session, user.id, origin.address)


def give_password(session: Session, user_id: int, password_hash: str, origin: Origin) -> User:
    """Set somebody's password; every session of theirs ends.

    Raises:
        NotFound: the user was deleted a moment ago.
    """
    # The user comes first, as for everybody else who changes a password.
    user = session.get(User, user_id, with_for_update={"key_share": True}, populate_existing=True)
    if user is None:
        raise NotFound("There is no such user.")
    set_password(session, user, password_hash, EndReason.PASSWORD_RESET, origin)
    record(session, origin, Action.PASSWORD_RESET, user=user)
    return user


def sign_in_as(session: Session, sessions: Sessions, user: User, origin: Origin) -> TokenPair:
    """Open a session for somebody who has just proved to be `user` and remember where that was."""
    _keep_account(session, user, last_login_at=database_now)
    if origin.address is not None:
        remember_address(session, user.id, origin.address)
    pair = sessions.open(session, user, origin)
    record(session, origin.as_user(user), Action.SIGNED_IN, user=user, resource=(Resource.SESSION, pair.session_id))
    return pair


def _keep_account(session: Session, user: User, **columns: Any) -> None:
    """Write what comes with a sign-in; the account itself does not change, and `updated_at` stays."""
    kept = update(User).where(User.id == user.id).values(**columns, updated_at=User.updated_at).returning(User)
    session.scalars(kept, execution_options={"populate_existing": True, "synchronize_session": False}).one()


def _refusal(user: User | None, checked: SignIn) -> str | None:
    if user is None:
        return "unknown_user"
    if not checked.matches:
        return "wrong_password" if user.password_hash else "no_password"
    return None if user.is_active else "inactive"
