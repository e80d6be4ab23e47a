"""What every table shares: the naming convention and the types."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import ColumnElement, Dialect, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import JSON, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in Python over TIMESTAMP WITHOUT TIME ZONE that holds UTC."""

    impl = TIMESTAMP
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database: give it a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Names are those PostgreSQL gives when asked for none, so that old and new tables look alike."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime, dict[str, Any]: JSON}


database_now = func.timezone("utc", func.now())
"""The start of the transaction by the database's clock, as TIMESTAMP in UTC."""


def folded(name: Any) -> ColumnElement[str]:
    """What names are compared by: NFKC and full case folding, by a function that the schema brings along.

    NULL for NULL and for an empty name. Byte by byte: no order of the system's C library is in the indexes.
    """
    return func.folded(name, type_=Text).collate("C")


IndexedId = Annotated[int, mapped_column(primary_key=True, index=True)]
"""The first tables indexed their primary key a second time; those indexes are part of existing deployments."""

CreatedAt = Annotated[datetime, mapped_column(default=database_now)]
UpdatedAt = Annotated[datetime, mapped_column(default=database_now, onupdate=database_now)]

NOW_DEFAULT = text("timezone('utc', now())")
