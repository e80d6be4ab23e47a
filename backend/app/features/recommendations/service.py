"""Recommendations: posted by an analysis service, followed or dismissed by a person, and judged by what came of them.

    pending ──> executed ──> closed
       ├──────> dismissed
       └──────> expired, when `expires_at` has passed by the database's clock

A caller reaches its own only; another's is not found.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, any_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, FieldError, InvalidInput
from app.db.batches import change_oldest
from app.features.recommendations.schemas import (
    Closing,
    Execution,
    Move,
    RecommendationFilter,
    RecommendationRequest,
    Status,
)
from app.models.base import database_now
from app.models.database import AIRecommendation
from app.trading.ownership import find, rows_of

NEWEST_FIRST = (AIRecommendation.created_at, AIRecommendation.id)
"""The key to page by."""

_BEFORE: Mapping[str, Status] = {
    Status.EXECUTED: Status.PENDING,
    Status.DISMISSED: Status.PENDING,
    Status.CLOSED: Status.EXECUTED,
}
"""The status from which each one is reached."""

_SETTLED_AT_ONCE = 1000


class InvalidTransition(Conflict):
    code, title = "invalid_transition", "Invalid transition"

    def __init__(self, current: str, wanted: str) -> None:
        super().__init__(
            f"A recommendation that is {current} cannot become {wanted}; only one that is {_BEFORE[wanted]} can."
        )


def recommendations(user_id: int | None, wanted: RecommendationFilter) -> list[Select[AIRecommendation]]:
    """Those of a user, or where that is None of nobody, as far as they fit what is wanted, in parts to page through."""
    rows = rows_of(AIRecommendation, user_id)
    if wanted.symbol is not None:
        rows = rows.where(AIRecommendation.symbol == wanted.symbol)
    if wanted.type is not None:
        rows = rows.where(AIRecommendation.recommendation_type == wanted.type)
    if wanted.since is not None:
        rows = rows.where(AIRecommendation.created_at >= wanted.since)
    return [rows] if wanted.status is None else [rows.where(part) for part in _having(wanted.status, user_id)]


def create(session: Session, user_id: int, new: Mapping[str, RecommendationRequest]) -> list[int]:
    """Add recommendations, all or none; their ids in the order given.

    Args:
        session: The transaction.
        user_id: Whose they are.
        new: The recommendations by the JSON pointer to each of them in the request's body.

    Raises:
        InvalidInput: one of them has expired already.
    """
    settle(session, _SETTLED_AT_ONCE, AIRecommendation.user_id == user_id)
    rows = [{"user_id": user_id, "status": Status.PENDING, **each.model_dump()} for each in new.values()]
    adding = insert(AIRecommendation).returning(AIRecommendation.id, sort_by_parameter_order=True)
    ids = list(session.scalars(adding, rows))
    overdue = set(session.scalars(select(AIRecommendation.id).where(AIRecommendation.id.in_(ids), _is_overdue())))
    if overdue:
        late = [f"{pointer}/expires_at" for pointer, each in zip(new, ids, strict=True) if each in overdue]
        raise InvalidInput([FieldError(pointer, "in_the_past", "must be in the future") for pointer in late])
    return ids


def move(session: Session, user_id: int, recommendation_id: int, to: Move) -> AIRecommendation:
    """Take the recommendation to another status.

    Raises:
        NotFound: the user has no such recommendation.
        InvalidTransition: there is no way there from its present status.
    """
    row = find(session, AIRecommendation, user_id, recommendation_id, lock=True)
    if row.current_status != _BEFORE[to.status]:
        raise InvalidTransition(row.current_status, to.status)
    for name, value in to.model_dump().items():
        setattr(row, name, value)
    if isinstance(to, Execution):
        row.executed_at = database_now
    elif isinstance(to, Closing):
        row.accuracy_score = _accuracy_score(row.confidence_score, to.actual_pnl)
    session.flush()
    session.refresh(row)
    return row


def settle(session: Session, batch: int, *which: ColumnElement[bool], since: datetime | None = None) -> list[datetime]:
    """Write down that what is overdue has expired, for at most `batch` rows, of `which` or of all; when they did.

    They read as expired without it; but a page of pending ones would pass over more and more of them.
    """
    expire = update(AIRecommendation).values(status=Status.EXPIRED)
    return change_oldest(session, expire, AIRecommendation.expires_at, _is_overdue(), *which, batch=batch, since=since)


def _accuracy_score(confidence: Decimal, pnl: Decimal) -> Decimal | None:
    """100 x (1 - Brier's score of this one), 9 fractional digits; None where the confidence is no percentage."""
    if not (confidence.is_finite() and 0 <= confidence <= 100):
        return None
    missed = (100 - confidence if pnl > 0 else confidence) / 100
    return (100 * (1 - missed * missed)).quantize(Decimal("1e-9"))


def _is_overdue() -> ColumnElement[bool]:
    return and_(AIRecommendation.status == Status.PENDING, AIRecommendation.expires_at <= database_now)


def _having(status: Status, user_id: int | None) -> list[ColumnElement[bool]]:
    """The conditions of which one is true for rows of the user with this status, each one served by an index."""
    as_written = AIRecommendation.status == status
    match status:
        case Status.PENDING:
            lives = or_(AIRecommendation.expires_at.is_(None), AIRecommendation.expires_at > database_now)
            return [and_(as_written, lives)]
        case Status.EXPIRED:
            return [as_written, AIRecommendation.id == any_(_overdue(user_id))]
    return [as_written]


def _overdue(user_id: int | None) -> ColumnElement[Any]:
    """The ids of what is overdue, as an array.

    As a plain condition it would be looked for among all that are pending, newest first: to the planner most of them
    seem overdue, as most rows of the table have an end that has passed.
    """
    ids = rows_of(AIRecommendation, user_id).where(_is_overdue()).with_only_columns(AIRecommendation.id)
    return func.array(ids.order_by(None).correlate(None).scalar_subquery())
