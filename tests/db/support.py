"""A database changed by hand, and drift in short."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from app.db.engine import connect
from app.db.schema.report import SchemaReport

INSERT_USER = (
    "INSERT INTO users (id, email, created_at, updated_at, preferences) VALUES ({}, '{}', now(), now(), '{{}}')"
)


@contextmanager
def staged(url: str, *statements: str) -> Iterator[Connection]:
    """A connection to the database at `url`, on which the statements were run and committed."""
    with connect(url) as connection:
        for statement in statements:
            connection.execute(text(statement))
        connection.commit()
        yield connection


def lines(report: SchemaReport) -> list[str]:
    """The report's drift as `severity object: what`."""
    return sorted(
        f"{drift.severity} {drift.table}{'' if drift.object == drift.table else '.' + drift.object}: {drift.what}"
        for drift in report.drift
    )
