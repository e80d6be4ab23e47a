"""The activity log: what happened to which account, who did it, and from where."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from app.core.errors import AppError
from app.identity.principal import Principal, Profile
from app.models.database import ActivityLog, User

MAX_USER_AGENT = 500
"""Characters of the header that are kept."""


class ActorKind(StrEnum):
    """How somebody acted who presented no bearer credential; a credential's kind names the other ways."""

    ANONYMOUS = "anonymous"
    PROVEN = "proven"
    """By a password, or by a token that is good once."""
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who acts, and from where; travels from the request to whatever writes the log."""

    address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    actor_id: int | None = None
    actor_email: str | None = None
    actor_kind: str = ActorKind.ANONYMOUS

    def by(self, principal: Principal) -> "Origin":
        """The same, done by a caller who presented a credential."""
        user = principal.user
        return replace(self, actor_id=user.id, actor_email=user.email, actor_kind=principal.kind)

    def as_user(self, user: User | Profile) -> "Origin":
        """The same, done by somebody who has just proved to be `user`."""
        return replace(self, actor_id=user.id, actor_email=user.email, actor_kind=ActorKind.PROVEN)


COMMAND_LINE = Origin(actor_kind=ActorKind.COMMAND)
"""Whoever can run commands where the database is, or start the service there."""


class Action(StrEnum):
    """Every event there is; `resource_type` and `details` say more."""

    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_IN_THROTTLED = "sign_in_throttled"
    SESSION_REFRESHED = "session_refreshed"
    REFRESH_REFUSED = "refresh_refused"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105 - an event
    SESSION_ENDED = "session_ended"
    SESSIONS_ENDED = "sessions_ended"
    CLAIMED = "claimed"
    CLAIM_REFUSED = "claim_refused"
    REGISTERED = "registered"
    REGISTRATION_REFUSED = "registration_refused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - an event
    PASSWORD_CHANGE_REFUSED = "password_change_refused"  # noqa: S105 - an event
    PASSWORD_RESET_ISSUED = "password_reset_issued"  # noqa: S105 - an event
    PASSWORD_RESET = "password_reset"  # noqa: S105 - an event
    PASSWORD_RESET_REFUSED = "password_reset_refused"  # noqa: S105 - an event
    USER_CREATED = "user_created"
    USER_CHANGED = "user_changed"
    USER_CHANGE_REFUSED = "user_change_refused"
    USER_DELETED = "user_deleted"
    TOKEN_CREATED = "token_created"  # noqa: S105 - an event
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - an event
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - an event
    INVITATION_CREATED = "invitation_created"
    INVITATION_REVOKED = "invitation_revoked"
    PERMISSION_DENIED = "permission_denied"
    ROWS_ADOPTED = "rows_adopted"


class Resource(StrEnum):
    """What `resource_id` is an id of."""

    USER = "user"
    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - a kind of thing
    INVITATION = "invitation"
    ORDER_TEMPLATE = "order_template"
    RECOMMENDATION = "recommendation"


def record(
    session: Session,
    origin: Origin,
    action: Action,
    *,
    user: User | Profile | None = None,
    resource: tuple[Resource, int] | None = None,
    **details: Any,
) -> None:
    """Write a row, in the transaction of what it tells of.

    Args:
        session: The transaction.
        origin: Who did it.
        action: What was done, or tried.
        user: The account it tells of, if there is one.
        resource: What else it tells of.
        details: More about it, as JSON; never a secret, nor what somebody typed where a secret belongs.
    """
    kind, number = resource or (None, None)
    session.add(
        ActivityLog(
            user_id=user.id if user else None,
            user_email=user.email if user else None,
            action_type=action,
            resource_type=kind,
            resource_id=number,
            details=details,
            ip_address=origin.address,
            user_agent=(origin.user_agent or "")[:MAX_USER_AGENT] or None,
            request_id=origin.request_id,
            actor_id=origin.actor_id,
            actor_email=origin.actor_email,
            actor_kind=origin.actor_kind,
        )
    )
    session.flush()


@contextmanager
def recorded_refusals(
    session: Session, origin: Origin, action: Action, user: User | Profile | None = None
) -> Iterator[None]:
    """Undo what is written inside when it is refused, and keep a row about the refusal."""
    try:
        with session.begin_nested():
            yield
    except AppError as refusal:
        record(session, origin, action, user=user, reason=refusal.code)
        refusal.keeps_writes = True
        raise
