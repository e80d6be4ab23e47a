"""Some rows at a time, the oldest first and in nobody's way: what somebody is at is left to a later batch."""

from datetime import datetime

from sqlalchemy import ColumnElement, Delete, Update, any_, delete, func, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, Session

Age = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]

# Where a row lies. By its key the planner may look for it in all of the table.
_place: ColumnElement[str] = literal_column("ctid")


def change_oldest(
    session: Session,
    change: Delete | Update,
    age: Age,
    *conditions: ColumnElement[bool],
    batch: int,
    since: datetime | None,
) -> list[datetime]:
    """Delete or update at most `batch` rows of the column's table that fit the conditions, in its order; their ages.

    It costs as much as they are many where an index begins with what the conditions hold equal, and then the column;
    but for entries of rows that are gone, which stay in the index for as long as an older snapshot is open. `since`,
    the greatest age of the batch before, spares passing them all once more.
    """
    if since is not None:
        conditions = (*conditions, age >= since)
    oldest = select(_place).select_from(age.class_).where(*conditions).order_by(age).limit(batch)
    places = func.array(oldest.with_for_update(skip_locked=True).correlate(None).scalar_subquery())
    changed = change.where(_place == any_(places)).returning(age)
    return list(session.scalars(changed, execution_options={"synchronize_session": False}))


def delete_older(
    session: Session, age: Age, than: ColumnElement[datetime], batch: int, since: datetime | None
) -> list[datetime]:
    """Delete at most `batch` rows of the column's table where it is earlier than that, from `since` on; their ages."""
    return change_oldest(session, delete(age.class_), age, age < than, batch=batch, since=since)
