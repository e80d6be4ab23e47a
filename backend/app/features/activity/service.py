"""The activity log, read and pruned; `app.identity.activity` writes it."""

from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.db.batches import delete_older
from app.identity.activity import Action
from app.models.base import database_now
from app.models.database import ActivityLog

NEWEST_FIRST = (ActivityLog.timestamp, ActivityLog.id)
"""The key to page by. The order of the ids is not that of time: the first rows came from another backend."""


def activity(
    *,
    user_id: int | None = None,
    action: Action | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Select[ActivityLog]:
    """The rows that tell of this account and action, from `since` on and before `until`, as far as these are given."""
    rows = select(ActivityLog)
    if user_id is not None:
        rows = rows.where(ActivityLog.user_id == user_id)
    if action is not None:
        rows = rows.where(ActivityLog.action_type == action)
    if since is not None:
        rows = rows.where(ActivityLog.timestamp >= since)
    if until is not None:
        rows = rows.where(ActivityLog.timestamp < until)
    return rows


def prune_activity(
    older_than: timedelta, session: Session, batch: int, *, since: datetime | None = None
) -> list[datetime]:
    """Delete what is older, the oldest first, at most `batch` rows, from `since` on; when these things happened.

    Several of these at once share the work, and nobody who writes to the log waits.
    """
    return delete_older(session, ActivityLog.timestamp, database_now - older_than, batch, since)
