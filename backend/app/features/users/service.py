"""Accounts as their users and the owners see and change them. Who may reach another's: `admin`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from app.core.errors import AppError, InvalidToken, NotFound, PermissionDenied
from app.identity.accounts import NewUser, change_user, create_user, delete_user, set_password
from app.identity.activity import Action, Origin, record, recorded_refusals
from app.identity.one_time import issue_reset
from app.identity.permissions import CredentialKind, Permission
from app.identity.principal import Principal, Profile
from app.identity.sessions import EndReason, end_sessions
from app.identity.throttle import Attempt, begin_attempt, remember_address
from app.identity.tokens import MintedToken
from app.models.base import folded
from app.models.database import PasswordReset, User

_TOLD = ("email", "username", "role", "is_active")
"""Columns whose values go into the activity log; of the others it keeps that they changed."""


def users(*, q: str | None = None, role: str | None = None, is_active: bool | None = None) -> Select[User]:
    """Those with `q` in their address, username or full name, with this role and state, as far as these are given."""
    found = or_(*(func.strpos(folded(name), folded(q)) > 0 for name in (User.email, User.username, User.full_name)))
    conditions = ((q or None, found), (role, User.role == role), (is_active, User.is_active == is_active))
    return select(User).where(*(condition for value, condition in conditions if value is not None))


class WrongPassword(AppError):
    status, code, title = 403, "wrong_password", "Wrong password"

    def __init__(self) -> None:
        super().__init__("The current password is wrong.")


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """An attempt that was counted, and what to hold the current password against."""

    attempt: Attempt
    password_hash: str | None = field(repr=False)


def find(session: Session, user_id: int) -> User:
    """Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def own(session: Session, caller: Principal) -> User:
    """Raises InvalidToken: the caller was deleted a moment ago."""
    user = session.get(User, caller.user.id)
    if user is None:
        raise InvalidToken
    return user


def find_for(session: Session, caller: Principal, user_id: int, origin: Origin) -> User:
    """Whom an admin may do this to: anybody, but oneself only with a credential that may issue credentials.

    Raises:
        NotFound: there is no such user.
        PermissionDenied: what only a session may do at `/me` would be done another way.
    """
    with recorded_refusals(session, origin, Action.PERMISSION_DENIED, caller.user):
        if user_id == caller.user.id and not caller.may(Permission.ISSUE):
            raise PermissionDenied(Permission.ISSUE)
    return find(session, user_id)


def create(session: Session, new: NewUser, origin: Origin) -> Profile:
    """Raises EmailTaken or UsernameTaken."""
    with recorded_refusals(session, origin, Action.USER_CHANGE_REFUSED):
        user = create_user(session, new)
    record(session, origin, Action.USER_CREATED, user=user, role=user.role)
    return Profile.of(user)


def change(session: Session, user: User, changes: Mapping[str, Any], origin: Origin) -> Profile:
    """The user as it is afterwards; what changes nothing is not put down either.

    Raises:
        EmailTaken, UsernameTaken, AlpacaAccountTaken: somebody has it.
        LastOwner: there would be no active owner left.
        NotFound: the user was deleted a moment ago.
    """
    with recorded_refusals(session, origin, Action.USER_CHANGE_REFUSED, user):
        former = change_user(session, user, changes, origin)
    if former:
        told = {name: {"from": former[name], "to": getattr(user, name)} for name in _TOLD if name in former}
        record(session, origin, Action.USER_CHANGED, user=user, fields=sorted(former), changes=told)
    return Profile.of(user)


def delete(session: Session, user: User, origin: Origin) -> None:
    """All that is the user's own goes too; the activity log stays.

    Raises:
        LastOwner: there would be no active owner left.
        NotFound: the user was deleted a moment ago.
    """
    before = Profile.of(user)
    with recorded_refusals(session, origin, Action.USER_CHANGE_REFUSED, before):
        delete_user(session, user, origin)
    record(session, origin, Action.USER_DELETED, user=before)


def sign_out(session: Session, user: User, origin: Origin) -> None:
    """End every session of the user."""
    count = end_sessions(session, user.id, EndReason.ENDED)
    record(session, origin, Action.SESSIONS_ENDED, user=user, scope="global", count=count)


def reset_password(session: Session, user: User, origin: Origin) -> tuple[PasswordReset, MintedToken]:
    """Issue leave to set the user's password; what was issued before is void."""
    reset, minted = issue_reset(session, user)
    record(session, origin, Action.PASSWORD_RESET_ISSUED, user=user)
    return reset, minted


def begin_password_change(session: Session, caller: Principal, origin: Origin) -> PasswordAttempt:
    """Raises TooManyAttempts."""
    user = own(session, caller)
    with recorded_refusals(session, origin, Action.PASSWORD_CHANGE_REFUSED, caller.user):
        attempt = begin_attempt(session, user.email, origin.address, user.id)
    return PasswordAttempt(attempt, user.password_hash)


def finish_password_change(
    session: Session, caller: Principal, begun: PasswordAttempt, new_hash: str | None, origin: Origin
) -> None:
    """Every other session of the caller ends; `new_hash` is None where the current password did not match.

    Raises:
        WrongPassword: it did not, or somebody set another one meanwhile.
        InvalidToken: the caller was deleted a moment ago.
    """
    user = session.get(User, caller.user.id, with_for_update={"key_share": True})
    if user is None:
        raise InvalidToken
    with recorded_refusals(session, origin, Action.PASSWORD_CHANGE_REFUSED, caller.user):
        if new_hash is None or user.password_hash != begun.password_hash:
            raise WrongPassword
    kept = caller.credential_id if caller.kind is CredentialKind.SESSION else None
    set_password(session, user, new_hash, EndReason.PASSWORD_CHANGE, origin, but=kept, attempt=begun.attempt)
    if origin.address is not None:
        remember_address(session, user.id, origin.address)
    record(session, origin, Action.PASSWORD_CHANGED, user=user)
