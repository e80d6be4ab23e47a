"""Whose rows: one's own, and for `admin` those that belong to nobody, which older deployments left behind."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.db.lock_waits import bound_waits
from app.identity.activity import Action, Origin, Resource, record
from app.identity.principal import Principal
from app.models.database import AIRecommendation, OrderTemplate

T = TypeVar("T", AIRecommendation, OrderTemplate)

_RESOURCES = {OrderTemplate: Resource.ORDER_TEMPLATE, AIRecommendation: Resource.RECOMMENDATION}


def rows_of(table: type[T], user_id: int | None) -> Select[T]:
    """The rows of a user, or where that is None those of nobody."""
    if user_id is not None:
        return select(table).where(table.user_id == user_id)
    # To the planner IS NULL is no equality: only named in the order as well lets it an index that begins with the user.
    return select(table).where(table.user_id.is_(None)).order_by(table.user_id.desc())


def find(session: Session, table: type[T], user_id: int | None, row_id: int, *, lock: bool = False) -> T:
    """The row, if it is theirs; locked for the rest of the transaction where that is asked for.

    Raises:
        NotFound: it is another's, or none.
    """
    if lock:
        bound_waits(session)
    rows = rows_of(table, user_id).where(table.id == row_id)
    row = session.scalar(rows.with_for_update() if lock else rows)
    if row is None:
        raise NotFound
    return row


def adopt(session: Session, table: type[T], caller: Principal, ids: Sequence[int], origin: Origin) -> list[int]:
    """Make rows of nobody the caller's own, all of them or none; their ids, ascending.

    Raises:
        NotFound: one of them is somebody's, or none.
    """
    bound_waits(session)
    wanted = sorted(set(ids))
    # In one order, so that two who adopt some of the same rows never wait for each other.
    found = rows_of(table, None).where(table.id.in_(wanted)).order_by(table.id).with_for_update()
    missing = set(wanted) - set(session.scalars(found.with_only_columns(table.id)))
    if missing:
        raise NotFound(f"{min(missing)} belongs to somebody, or there is no such row; nothing was changed.")
    session.execute(update(table).where(table.id.in_(wanted)).values(user_id=caller.user.id))
    record(session, origin, Action.ROWS_ADOPTED, user=caller.user, resource=(_RESOURCES[table], wanted[0]), ids=wanted)
    return wanted
