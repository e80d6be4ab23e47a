"""Rows for whatever tables a database has, made from what its catalog says of them."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    DefaultClause,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Uuid,
    func,
    insert,
    select,
)
from sqlalchemy.types import TypeEngine

from app.db.engine import connect
from app.db.schema.catalog import VERSION_TABLE

PER_TABLE = 3
"""The first of them leaves out what may be left out, so that it is NULL or the default."""

_CHOICE = re.compile(r"\(?(\w+)\)?(?:::\w+)? = ANY")
_LITERAL = re.compile(r"'([^']*)'")


def fill(url: str, *, start: int = 0) -> None:
    """Add rows to every table but Alembic's, parents first; another `start` gives other rows."""
    metadata = MetaData()
    with connect(url) as connection:
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name != VERSION_TABLE and not (_holds_one_row(table) and _rows(connection, table)):
                for number in range(start, start + (1 if _holds_one_row(table) else PER_TABLE)):
                    connection.execute(insert(table).values(_row(connection, table, number, spare=number == start)))
        connection.commit()


def _row(connection: Connection, table: Table, number: int, *, spare: bool) -> dict[str, Any]:
    choices = dict(_choices(table))
    return {
        column.name: _value(connection, column, number, choices)
        for column in table.columns
        if not (_is_made_by_the_database(column) or (spare and _may_be_left_out(column)))
    }


def _holds_one_row(table: Table) -> bool:
    """By a CHECK that its key is 1."""
    return any(isinstance(each, CheckConstraint) and str(each.sqltext) == "id = 1" for each in table.constraints)


def _rows(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _is_made_by_the_database(column: Column[Any]) -> bool:
    return column.computed is not None or column.identity is not None or "nextval(" in _default(column)


def _default(column: Column[Any]) -> str:
    return str(column.server_default.arg) if isinstance(column.server_default, DefaultClause) else ""


def _may_be_left_out(column: Column[Any]) -> bool:
    return column.nullable is True or column.server_default is not None


def _choices(table: Table) -> Iterator[tuple[str, list[str]]]:
    """The values that a CHECK lists for a column."""
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint) and (found := _CHOICE.search(str(constraint.sqltext))):
            yield found[1], _LITERAL.findall(str(constraint.sqltext))


def _value(connection: Connection, column: Column[Any], number: int, choices: Mapping[str, Sequence[str]]) -> Any:
    if column.primary_key and _holds_one_row(column.table):
        return 1
    if column.name in choices:
        return choices[column.name][number % len(choices[column.name])]
    for key in column.foreign_keys:
        parents = connection.scalars(select(key.column).order_by(key.column)).all()
        return parents[number % len(parents)] if parents else None
    return sample(column.type, number, column.name)


def sample(kind: TypeEngine[Any], number: int, name: str) -> Any:
    """A value of the type for a column of that name, another one for each number.

    Raises:
        NotImplementedError: the type is new here.
    """
    match kind:
        case Enum(enums=values):
            return values[number % len(values)]
        case String(length=length):
            return f"{number} é ' \\ {name}"[:length]
        case DateTime(timezone=aware):
            return datetime(2025, 1, 1, 12, 30, 15, 123456, UTC if aware else None) + timedelta(days=number)
        case ARRAY(item_type=item):
            return [sample(item, number, name), sample(item, number + 1, name)]
    for known, make in _SAMPLES.items():
        if isinstance(kind, known):
            return make(number)
    raise NotImplementedError(f"{name} is {kind!r}: say in tests/support/rows.py what a value of that type looks like")


_SAMPLES: dict[type[TypeEngine[Any]], Callable[[int], Any]] = {
    Boolean: lambda number: number % PER_TABLE == 1,
    Integer: lambda number: 1_000 + number,
    Float: lambda number: number + 0.1,
    Numeric: lambda number: number + Decimal("0.123456789"),
    JSON: lambda number: {"number": number, "é": [None, "\\"]},
    Date: lambda number: date(2025, 1, 1) + timedelta(days=number),
    Interval: lambda number: timedelta(hours=number),
    LargeBinary: lambda number: bytes([number]) * 32,
    Uuid: lambda number: uuid.UUID(int=number),
}
"""A type before those that it derives from."""
