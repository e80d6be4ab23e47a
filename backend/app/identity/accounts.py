"""What changes an account, whoever asks for it: a route, a command, an invitation."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from app.core.errors import Conflict, NotFound
from app.identity.activity import Origin
from app.identity.mvp import is_mvp_user, retire
from app.identity.one_time import revoke_invitations, void_resets
from app.identity.permissions import MEMBER, OWNER
from app.identity.sessions import EndReason, end_sessions
from app.identity.throttle import Attempt, forget_failures
from app.models.base import folded
from app.models.database import ActivityLog, User


class EmailTaken(Conflict):
    code, title = "email_taken", "E-mail address taken"

    def __init__(self) -> None:
        super().__init__("Another account has this e-mail address.")


class UsernameTaken(Conflict):
    code, title = "username_taken", "Username taken"

    def __init__(self) -> None:
        super().__init__("Another account has this username.")


class AlpacaAccountTaken(Conflict):
    code, title = "alpaca_account_taken", "Alpaca account taken"

    def __init__(self) -> None:
        super().__init__("Another account has this Alpaca account.")


class LastOwner(Conflict):
    code, title = "last_owner", "The last owner"

    def __init__(self) -> None:
        super().__init__("This is the last active owner: make somebody else an owner first.")


_TAKEN: Mapping[str, type[Conflict]] = {
    "ix_users_email": EmailTaken,
    "ix_users_email_folded": EmailTaken,
    "ix_users_username_folded": UsernameTaken,
    "ix_users_alpaca_account_id": AlpacaAccountTaken,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    email: str
    username: str | None = None
    full_name: str | None = None
    role: str = MEMBER
    password_hash: str | None = field(default=None, repr=False)


def find_by_login(session: Session, name: str) -> User | None:
    """The user with this e-mail address; else the one with this username."""
    by_email = folded(User.email) == folded(name)
    by_username = folded(User.username) == folded(name)
    return session.scalars(
        select(User).where(or_(by_email, by_username)).order_by(by_email.desc().nulls_last()).limit(1)
    ).first()


def create_user(session: Session, new: NewUser) -> User:
    """Raises EmailTaken or UsernameTaken."""
    user = User(
        email=new.email,
        username=new.username,
        full_name=new.full_name,
        role=new.role,
        password_hash=new.password_hash,
        is_active=True,
    )
    with _unique_names():
        session.add(user)
        session.flush()
    return user


def change_user(session: Session, user: User, changes: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Give `user` the columns in `changes`; those that differed come back with their former values.

    A deactivated user's sessions end; nobody can use an invitation of who is no active owner any more.

    Raises:
        EmailTaken, UsernameTaken, AlpacaAccountTaken: somebody has it.
        LastOwner: there would be no active owner left.
        NotFound: the user was deleted meanwhile.
    """
    guarded = bool({"role", "is_active"} & changes.keys())
    others = _lock(session, user, with_owners=guarded)
    if _is_active_owner(user) and not _is_active_owner(user, changes):
        if not others:
            raise LastOwner
        revoke_invitations(session, user, origin)
    former = {name: getattr(user, name) for name, value in changes.items() if _differs(getattr(user, name), value)}
    for name in former:
        setattr(user, name, changes[name])
        flag_modified(user, name)  # also where Python sees no difference
    with _unique_names():
        session.flush()
    if former.get("is_active"):
        end_sessions(session, user.id, EndReason.DEACTIVATION)
    return former


def set_password(  # noqa: PLR0913 - the last two are of a change alone
    session: Session,
    user: User,
    password_hash: str,
    reason: EndReason,
    origin: Origin,
    *,
    but: int | None = None,
    attempt: Attempt | None = None,
) -> None:
    """From now on this password alone signs in; sessions end, but for the one with the id `but`.

    Password resets that were issued are good no more, and failures to sign in are forgotten, `attempt` among them. An
    MVP user who gets a password this way is claimed thereby. The caller has locked `user`.
    """
    if is_mvp_user(session, user):
        retire(session, user, origin)
    user.password_hash = password_hash
    void_resets(session, user.id)
    end_sessions(session, user.id, reason, but=but)
    forget_failures(session, user, attempt)
    session.flush()


def delete_user(session: Session, user: User, origin: Origin) -> None:
    """Delete the account and all that is its own; the activity log stays, and remembers the address.

    Nobody can use an invitation of the user's any more.

    Raises:
        LastOwner: there would be no active owner left.
        NotFound: somebody else deleted it meanwhile.
    """
    others = _lock(session, user, with_owners=True)
    if _is_active_owner(user) and not others:
        raise LastOwner
    revoke_invitations(session, user, origin)
    if is_mvp_user(session, user):
        retire(session, user, origin)
    session.execute(
        update(ActivityLog)
        .where(ActivityLog.user_id == user.id, ActivityLog.user_email.is_(None))
        .values(user_email=user.email)
    )
    session.execute(delete(User).where(User.id == user.id))
    session.expunge(user)


def _lock(session: Session, user: User, *, with_owners: bool) -> list[User]:
    """Read `user` anew, and keep it as it is until this transaction ends; maybe also all active owners.

    The other owners come back. Everybody locks by ascending id, so that two owners who demote each other wait
    instead of colliding; what the first one changed is seen by the second.

    Raises:
        NotFound: the user was deleted meanwhile.
    """
    concerned = User.id == user.id
    if with_owners:
        concerned = or_(concerned, and_(User.role == OWNER, User.is_active))
    locked = session.scalars(
        select(User)
        .where(concerned)
        .order_by(User.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    if user not in locked:
        raise NotFound("There is no such user.")
    return [other for other in locked if other is not user]


def _differs(value: Any, other: Any) -> bool:
    """Whether they are different JSON; 1, 1.0 and true are the same to Python."""
    return json.dumps(value, sort_keys=True) != json.dumps(other, sort_keys=True)


def _is_active_owner(user: User, changes: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """What `user` is, or will be after `changes`."""
    return changes.get("role", user.role) == OWNER and bool(changes.get("is_active", user.is_active))


@contextmanager
def _unique_names() -> Iterator[None]:
    """The constraint decides, not a look beforehand: of two who want a name at once one gets it."""
    try:
        yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        taken = _TAKEN.get(constraint or "")
        if taken is None:
            raise
        raise taken from None
