"""Lists, newest first, paged by key: `?limit=` and `?cursor=`. No FastAPI here: services may import it."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

from annotated_types import Ge, Le
from sqlalchemy import Executable, Integer, Select, desc, select, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.core.errors import FieldError, InvalidInput
from app.web.schemas import MAX_ID, Reply

T = TypeVar("T")
Column = InstrumentedAttribute[Any]

# A version stands first. The first knew one kind of list and did not say which; clients may still hold its cursors.
_PLACE = re.compile(r"1:(?P<id>[1-9][0-9]{0,9})|2:(?P<list>[a-z_]+)(?P<values>(?::(?:0|-?[1-9][0-9]{0,18})){1,4})")
_MAX_CURSOR = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Page(Reply, Generic[T]):
    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """The place after a row, by the values of its key; `of` names the list."""

    of: str | None
    values: tuple[int, ...]
    """Times are microseconds since 1970 in UTC."""


def encode_cursor(place: Place) -> str:
    """The opaque, URL-safe name of the place."""
    parts = ["1"] if place.of is None else ["2", place.of]
    text = ":".join([*parts, *map(str, place.values)])
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> Place:
    """The place in a cursor that `encode_cursor` made.

    Raises:
        InvalidInput: it did not make this one.
    """
    try:
        text = cursor[:_MAX_CURSOR].encode("ascii")
        found = _PLACE.fullmatch(urlsafe_b64decode(text + b"=" * (-len(text) % 4)).decode("ascii"))
    except ValueError:
        found = None
    if found is not None:
        values = found["id"] or found["values"][1:]
        place = Place(found["list"], tuple(int(value) for value in values.split(":")))
        # Base64 decoders overlook stray characters; only the one spelling is good.
        if encode_cursor(place) == cursor:
            return place
    raise _invalid_cursor()


@dataclass(frozen=True)
class PageParams:
    """Which page a client asks for; in a route, `page: Annotated[PageParams, Depends()]`."""

    limit: Annotated[int, Ge(1), Le(200)] = 50
    cursor: str | None = None


def paginate(
    session: Session, statement: Select[T] | Sequence[Select[T]], key: Column | tuple[Column, ...], page: PageParams
) -> tuple[list[T], str | None]:
    """One page of the entity `statement` selects, and the cursor of the next page if there is one.

    Args:
        session: Where to run it, as one query.
        statement: Filters only; order and limit are put here. Or several for rows that no one index has together,
            none of which selects what another does.
        key: A unique column of the entity that grows with time, or columns that are unique together, the one that
            orders them first: integers and times, none of them NULL. An index over them serves each page.
        page: What the client asked for.

    Raises:
        InvalidInput: the cursor is none of this list.
    """
    columns = key if isinstance(key, tuple) else (key,)
    parts = [statement] if isinstance(statement, Select) else statement
    if page.cursor is not None:
        place = _values(columns, decode_cursor(page.cursor))
        parts = [part.where(tuple_(*columns) < place) for part in parts]
    parts = [part.order_by(*(column.desc() for column in columns)).limit(page.limit + 1) for part in parts]
    rows = list(session.scalars(parts[0] if len(parts) == 1 else _together(parts, columns, page.limit + 1)))
    items = rows[: page.limit]
    more = len(rows) > page.limit
    return items, encode_cursor(_place(columns, items[-1])) if more else None


def _together(parts: Sequence[Select[T]], columns: Sequence[Column], limit: int) -> Executable:
    in_order = union_all(*parts).order_by(*(desc(column.key) for column in columns)).limit(limit)
    return select(columns[0].class_).from_statement(in_order)


def _place(columns: Sequence[Column], row: Any) -> Place:
    return Place(_list_of(columns), tuple(_number(getattr(row, column.key)) for column in columns))


def _number(value: datetime | int) -> int:
    return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value


def _values(columns: Sequence[Column], place: Place) -> tuple[datetime | int, ...]:
    if place.of == _list_of(columns) or (place.of is None and len(columns) == 1):
        with suppress(ValueError, OverflowError):
            return tuple(_value(column, number) for column, number in zip(columns, place.values, strict=True))
    raise _invalid_cursor()


def _value(column: Column, number: int) -> datetime | int:
    """What the column holds.

    Raises:
        ValueError: an id that no row has.
        OverflowError: a time outside the years 1 to 9999.
    """
    if not isinstance(column.type, Integer):
        return _EPOCH + number * _MICROSECOND
    if not 1 <= number <= MAX_ID:
        raise ValueError
    return number


def _list_of(columns: Sequence[Column]) -> str:
    return str(columns[0].class_.__tablename__)


def _invalid_cursor() -> InvalidInput:
    message = "Use a next_cursor as it was answered, or leave it out"
    return InvalidInput([FieldError("query/cursor", "invalid_cursor", message)])
