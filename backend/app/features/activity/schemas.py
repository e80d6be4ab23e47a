from dataclasses import dataclass
from typing import Any

from pydantic import Field

from app.core.clock import Moment, Timestamp
from app.identity.activity import Action
from app.models.database import ActivityLog
from app.web.schemas import Reply, RowId


@dataclass(frozen=True)
class OwnActivityFilter:
    """Which rows a client asks for; in a route, `wanted: Annotated[OwnActivityFilter, Depends()]`."""

    action: Action | None = None
    since: Moment | None = None
    """The first moment of interest."""
    until: Moment | None = None
    """The first moment that is of none."""


@dataclass(frozen=True)
class ActivityFilter(OwnActivityFilter):
    user_id: RowId | None = None
    """The account the rows tell of; it may have been deleted since."""


class ActivityReply(Reply):
    """Something that happened, and who did it, or tried to."""

    id: int
    timestamp: Timestamp
    action: str = Field(validation_alias="action_type")
    """What was done. Besides those that the filter knows, rows of older versions may hold others."""
    user_id: int | None
    """The account it tells of; it may have been deleted since."""
    user_email: str | None
    """The address of that account at the time."""
    actor_id: int | None
    """Who did it; null where nobody was signed in, and in one's own list where it was somebody else."""
    actor_email: str | None
    actor_kind: str | None
    """The kind of credential it was done with; `proven` by a password or a token that is good once; `anonymous`; or
    `command`, for the command line."""
    resource_type: str | None
    """What `resource_id` is an id of."""
    resource_id: int | None
    details: Any
    """An object; rows of older deployments may hold other JSON."""
    ip_address: str | None
    """Where the actor was; in one's own list null where it was somebody else."""
    user_agent: str | None
    request_id: str | None
    """Names the request in the service's log."""


_OF_THE_ACTOR = ("actor_id", "actor_email", "ip_address", "user_agent")


def as_seen_by(user_id: int, row: ActivityLog) -> ActivityReply:
    """The row without what would tell this user who and where somebody else was that changed the account.

    `actor_kind` still says that somebody did. Where nobody was signed in, as in a failed attempt to, the address
    stays: it is the account that was tried.
    """
    reply = ActivityReply.model_validate(row)
    if row.actor_id in {None, user_id}:
        return reply
    return reply.model_copy(update=dict.fromkeys(_OF_THE_ACTOR))
