"""What revisions share to change big tables without anybody waiting.

Each of these commits; a revision that uses them must tolerate being run again from its beginning, because a process
killed in the middle leaves the database with the parts that were committed and the revision before.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import context, op
from sqlalchemy import TextClause, text
from sqlalchemy.exc import PendingRollbackError

from app.core.errors import StartupError

BEFORE_ANY_ID = -(2**31) - 1
"""Ids are 32 bits wide; those that a person gave may be 0 or negative."""


class Refusal(StartupError):
    """What a revision finds that a person has to decide about; says what, and what to type.

    Its function `precondition(connection)`, if it has one, raises this before any pending revision changes anything.
    """


_OUTLIVE_TIMEOUTS = """
SELECT set_config(name, CASE name WHEN 'client_connection_check_interval' THEN '2s'
                                  WHEN 'lock_timeout' THEN '30s' ELSE '0' END, false)
  FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout',
                                  'client_connection_check_interval')
"""
_AS_BEFORE = """
SELECT set_config(name, reset_val, false)
  FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout',
                                  'client_connection_check_interval')
"""


@contextmanager
def autocommit() -> Iterator[None]:
    """Run each statement in a transaction of its own; no timeout of the server ends it, the client's death does.

    What waits 30 s for older transactions steps back, says who they are, and is tried again with the revision.

    Behind a pooler the server's timeouts stay in force: what a session is told there, another client's may have heard.
    """
    try:
        with op.get_context().autocommit_block():
            own_session = context.is_offline_mode() or not _is_pooled()
            if own_session:
                op.execute(_OUTLIVE_TIMEOUTS)
            yield
            if own_session:
                op.execute(_AS_BEFORE)
    except PendingRollbackError as error:
        # Alembic commits on its way out, even of a lost connection; what lost it says more.
        raise (error.__context__ or error) from None


def _is_pooled() -> bool:
    """Whether PgBouncer or its like is in between: they tell libpq of a backend that they made up."""
    driver: Any = op.get_bind().connection.driver_connection
    return bool(op.get_bind().scalar(text("SELECT pg_backend_pid() <> :told"), {"told": driver.get_backend_pid()}))


def commit() -> None:
    """End the transaction here, so that the locks taken so far are released."""
    with op.get_context().autocommit_block():
        pass


def create_index_concurrently(  # noqa: PLR0913 - what CREATE INDEX takes
    name: str,
    table: str,
    columns: Sequence[str | TextClause],
    *,
    unique: bool = False,
    include: Sequence[str] = (),
    where: str | None = None,
) -> None:
    """Build an index while the table is read and written; what an interrupted attempt left is dropped first."""
    options: dict[str, Any] = {"unique": unique, "postgresql_concurrently": True, "if_not_exists": True}
    if include:
        options["postgresql_include"] = list(include)
    if where is not None:
        options["postgresql_where"] = text(where)
    with autocommit():
        if not context.is_offline_mode() and _is_invalid(name):
            op.drop_index(name, table_name=table, postgresql_concurrently=True)
        op.create_index(name, table, columns, **options)


def drop_index_concurrently(name: str, table: str) -> None:
    """Drop an index without waiting for, or keeping waiting, whoever uses the table."""
    with autocommit():
        op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)


def add_constraint(table: str, name: str, definition: str) -> None:
    """Add a CHECK or a FOREIGN KEY at once for new rows, and look at the old ones while the table is written."""
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID")
    commit()
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    commit()


def set_not_null(table: str, column: str) -> None:
    """Forbid NULL without a scan under an exclusive lock: a validated CHECK proves what SET NOT NULL would look for."""
    proof = f"{table}_{column}_is_not_null"
    add_constraint(table, proof, f"CHECK ({column} IS NOT NULL)")
    op.alter_column(table, column, nullable=False)
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {proof}")


def update_in_batches(table: str, assignment: str, condition: str, *, size: int = 500) -> None:
    """Apply `UPDATE table SET assignment WHERE condition` by ascending `id`, a few rows a transaction."""
    if context.is_offline_mode():
        op.execute(f"UPDATE {table} SET {assignment} WHERE {condition}")
        return
    statement = text(
        f"UPDATE {table} SET {assignment} WHERE id IN "
        f"(SELECT id FROM {table} WHERE {condition} AND id > :after ORDER BY id LIMIT :size) RETURNING id"
    )
    commit()
    after = BEFORE_ANY_ID
    while ids := list(op.get_bind().scalars(statement, {"after": after, "size": size})):
        after = max(ids)
        commit()


def _is_invalid(index: str) -> bool:
    found = op.get_bind().scalar(
        text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"), {"name": index}
    )
    return bool(found)
