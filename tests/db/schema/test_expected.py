"""The ways of saying things that the tables of today do not use yet."""

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, INTERVAL, JSONB, UUID, ExcludeConstraint

from app.db.engine import connect
from app.db.schema.report import inspect_schema
from app.models.base import Base
from tests.db.support import lines


def test_what_other_models_make_agrees_with_them(clone_url: str) -> None:
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)
    columns = Table(
        "Order",
        metadata,
        Column("id", Integer, Identity(), primary_key=True),
        Column("user", String(64, collation="C"), nullable=False, server_default="it's 100%"),
        Column("timestamp", DateTime(timezone=True), server_default=func.now()),
        Column("price", Numeric(18, 9), server_default="0"),
        Column("ratio", Float, server_default=text("1.5")),
        Column("kind", Enum("limit", "market", name="kind"), server_default="limit"),
        Column("extra", JSONB, server_default=text("'{}'")),
        Column("tags", ARRAY(String(20)), server_default=text("'{}'")),
        Column("token", UUID, server_default=text("gen_random_uuid()")),
        Column("address", INET),
        Column("pause", INTERVAL, server_default=text("'1 day'")),
        Column("folded", String(64), Computed('lower("user")', persisted=True)),
        CheckConstraint("kind IN ('limit', 'market') AND price BETWEEN 0 AND 10", name="sane"),
        CheckConstraint("\"user\" NOT LIKE '%@%' AND \"user\" ~ '^[a-z]{1,9}:x$'", name="plain"),
        UniqueConstraint("user", "timestamp", postgresql_nulls_not_distinct=True),
        UniqueConstraint("token", deferrable=True, initially="DEFERRED"),
    ).c
    Index("by_user", func.lower(columns.user), columns.timestamp.desc(), unique=True)
    Index("by_price", columns.price.desc().nulls_last(), postgresql_where=columns.kind.in_(["limit", "market"]))
    Index("by_pattern", columns.user, postgresql_ops={"user": "text_pattern_ops"}, postgresql_include=["price"])
    Index("by_kind", func.lower(columns.user).collate("POSIX").desc(), columns.kind)
    Index("by_extra", columns.extra, postgresql_using="gin")
    key = ForeignKey("Order.id", ondelete="SET NULL", onupdate="CASCADE", deferrable=True)
    Table("Line", metadata, Column("order_id", key, primary_key=True), Column("n", Integer, primary_key=True))
    with connect(clone_url) as connection:
        metadata.create_all(connection)
        assert lines(inspect_schema(connection, metadata)) == []
        connection.execute(text('ALTER TABLE "Order" ALTER price SET DEFAULT 1'))
        connection.execute(
            text('DROP INDEX by_user; CREATE UNIQUE INDEX by_user ON "Order" (upper("user"), timestamp DESC)')
        )
        changed = lines(inspect_schema(connection, metadata))

    assert changed == ["breaking Order.by_user: different index", "breaking Order.price: different default"]


def test_constraint_of_a_kind_that_is_not_compared_is_refused(clone_url: str) -> None:
    metadata = MetaData()
    Table("rooms", metadata, Column("number", Integer), ExcludeConstraint(("number", "="), name="once"))
    with connect(clone_url) as connection, pytest.raises(TypeError, match="ExcludeConstraint is not compared"):
        inspect_schema(connection, metadata)
