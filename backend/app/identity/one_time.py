"""Tokens that are good once: an invitation to register, and leave to set a new password.

The database's clock and its row locks decide: of several who use a token at the same moment one succeeds. Whoever
locks a user and an invitation locks the user first.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, false, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import AppError, BadRequest, NotFound, PermissionDenied
from app.identity.activity import Action, Origin, Resource, record
from app.identity.permissions import OWNER, Permission
from app.identity.tokens import INVITATION, PASSWORD_RESET, MintedToken, hash_token, is_well_formed, mint
from app.models.base import database_now, folded
from app.models.database import Invitation, PasswordReset, User

RESET_LIFETIME = timedelta(minutes=30)


class InvalidInvitation(AppError):
    """Which of these it was is never said."""

    status, code, title = 403, "invalid_invitation", "Invalid invitation"

    def __init__(self) -> None:
        super().__init__("The invitation is unknown, used, revoked, expired, or for another e-mail address.")


class InvalidResetToken(BadRequest):
    """Which of these it was is never said."""

    code, title = "invalid_reset_token", "Invalid reset token"

    def __init__(self) -> None:
        super().__init__("The reset token is unknown, used, void or expired: ask an owner for another one.")


def invite(
    session: Session, *, role: str, email: str | None, lifetime: timedelta, created_by: int | None
) -> tuple[Invitation, MintedToken]:
    """An invitation to register with this role, for this address alone if there is one.

    Raises:
        PermissionDenied: the user it is from was an active owner a moment ago, and is none any more.
    """
    if created_by is not None and not _stays_owner(session, created_by):
        raise PermissionDenied(Permission.ADMIN)
    minted = mint(INVITATION)
    invitation = Invitation(
        secret_hash=minted.secret_hash,
        role=role,
        email=email,
        created_by=created_by,
        expires_at=database_now + lifetime,
    )
    session.add(invitation)
    session.flush()
    return invitation, minted


def revoke_invitation(session: Session, invitation: Invitation, origin: Origin) -> None:
    """Nobody can use it from now on."""
    invitation.revoked_at = database_now
    resource = (Resource.INVITATION, invitation.id)
    record(session, origin, Action.INVITATION_REVOKED, resource=resource, role=invitation.role, email=invitation.email)


def revoke_invitations(session: Session, maker: User, origin: Origin) -> None:
    """Nobody can use what this user, who is locked, has handed out."""
    handed_out = select(Invitation).where(Invitation.created_by == maker.id, _is_unspent()).order_by(Invitation.id)
    for invitation in session.scalars(handed_out.with_for_update()).all():
        revoke_invitation(session, invitation, origin)


def check_invitation(session: Session, token: str, email: str) -> None:
    """Raises InvalidInvitation: `redeem` would; nobody waits for anybody."""
    if session.scalar(select(Invitation.id).where(_is_good(token, email))) is None:
        raise InvalidInvitation


def redeem(session: Session, token: str, email: str) -> Invitation:
    """Use an invitation up for an account with this address; the caller fills in `used_by`.

    Raises:
        InvalidInvitation: it is not, or no longer, good, or is bound to another address.
    """
    invitation = session.scalar(
        update(Invitation)
        .where(_is_good(token, email))
        .values(used_at=database_now)
        .returning(Invitation)
        .execution_options(populate_existing=True)
    )
    if invitation is None:
        raise InvalidInvitation
    return invitation


def _is_good(token: str, email: str) -> ColumnElement[bool]:
    if not is_well_formed(token, INVITATION):
        return false()
    return and_(
        Invitation.secret_hash == hash_token(token),
        _is_unspent(),
        or_(Invitation.email.is_(None), folded(Invitation.email) == folded(email)),
    )


def _is_unspent() -> ColumnElement[bool]:
    return and_(Invitation.used_at.is_(None), Invitation.revoked_at.is_(None), Invitation.expires_at > database_now)


def _stays_owner(session: Session, user_id: int) -> bool:
    """Whether the user is an active owner, and will be until this transaction ends."""
    owner = select(User.id).where(User.id == user_id, User.role == OWNER, User.is_active)
    return session.scalar(owner.with_for_update(read=True)) is not None


def issue_reset(session: Session, user: User) -> tuple[PasswordReset, MintedToken]:
    """Leave to set the user's password once within RESET_LIFETIME; what was issued before is void.

    Raises:
        NotFound: the user was deleted a moment ago.
    """
    if not _lock(session, user.id):
        raise NotFound("There is no such user.")
    void_resets(session, user.id)
    minted = mint(PASSWORD_RESET)
    reset = PasswordReset(user_id=user.id, secret_hash=minted.secret_hash, expires_at=database_now + RESET_LIFETIME)
    session.add(reset)
    session.flush()
    return reset, minted


def find_reset(session: Session, token: str) -> PasswordReset | None:
    """What the token stands for, if it is good."""
    if not is_well_formed(token, PASSWORD_RESET):
        return None
    return session.scalar(
        select(PasswordReset)
        .where(PasswordReset.secret_hash == hash_token(token), _is_open())
        .execution_options(populate_existing=True)
    )


def owner_of_reset(session: Session, token: str) -> User | None:
    """Whose the token is or was, good or not."""
    issued = select(PasswordReset.user_id).where(PasswordReset.secret_hash == hash_token(token))
    return session.scalar(select(User).where(User.id.in_(issued)))


def consume_reset(session: Session, token: str) -> int:
    """Use the token up; the id of the user whose password may be set now, and who is locked.

    Raises:
        InvalidResetToken: it is not, or no longer, good.
    """
    found = find_reset(session, token)
    if found is None:
        raise InvalidResetToken
    # The user comes first, as for everybody else who changes a password.
    _lock(session, found.user_id)
    consumed: int | None = session.scalar(
        update(PasswordReset)
        .where(PasswordReset.id == found.id, _is_open())
        .values(used_at=database_now)
        .returning(PasswordReset.user_id)
    )
    if consumed is None:
        raise InvalidResetToken
    return consumed


def void_resets(session: Session, user_id: int) -> None:
    """What was issued for the user is good no more."""
    session.execute(
        update(PasswordReset)
        .where(PasswordReset.user_id == user_id, PasswordReset.used_at.is_(None))
        .values(used_at=database_now)
    )


def _is_open() -> ColumnElement[bool]:
    return and_(PasswordReset.used_at.is_(None), PasswordReset.expires_at > database_now)


def _lock(session: Session, user_id: int) -> bool:
    """Keep the user as it is until this transaction ends; False where there is none any more."""
    return session.scalar(select(User.id).where(User.id == user_id).with_for_update(key_share=True)) is not None
