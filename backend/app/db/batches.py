"""Some rows at a time, the oldest first and in nobody's way: what somebody is at is left to a later batch."""

from datetime import datetime

from sqlalchemy import ColumnElement, any_, delete, func, literal, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, Session

Age = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]

# Where a row lies. By its key the planner may look for it in all of the table.
_place: ColumnElement[str] = literal_column("ctid")


def are_oldest(age: Age, *conditions: ColumnElement[bool], batch: int) -> ColumnElement[bool]:
    """True of at most `batch` rows of the column's table that fit the conditions, in its order; they are locked.

    It costs as much as they are many where an index begins with what the conditions hold equal, and then the column.
    """
    rows = select(_place).select_from(age.class_).where(*conditions).order_by(age).limit(batch)
    return _place == any_(func.array(rows.with_for_update(skip_locked=True).correlate(None).scalar_subquery()))


def delete_older(session: Session, age: Age, than: ColumnElement[datetime], batch: int) -> int:
    """Delete at most `batch` rows of the column's table where it is earlier than that; how many that were."""
    deletion = delete(age.class_).where(are_oldest(age, age < than, batch=batch)).returning(literal(1))
    return len(session.execute(deletion, execution_options={"synchronize_session": False}).all())
