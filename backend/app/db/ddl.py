"""What revisions share to change big tables without anybody waiting.

Each of these commits; a revision that uses them must tolerate being run again from its beginning, because a process
killed in the middle leaves the database with the parts that were committed and the revision before.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context, op
from sqlalchemy import text

BEFORE_ANY_ID = -(2**31) - 1
"""Ids are 32 bits wide; those that a person gave may be 0 or negative."""


@contextmanager
def autocommit() -> Iterator[None]:
    """Run each statement in a transaction of its own, and let none be ended by the server's time-outs."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def commit() -> None:
    """End the transaction here, so that the locks taken so far are released."""
    with op.get_context().autocommit_block():
        pass


def create_index_concurrently(name: str, table: str, columns: list[str], *, unique: bool = False) -> None:
    """Build an index while the table is read and written; what an interrupted attempt left is dropped first."""
    with autocommit():
        if not context.is_offline_mode() and _is_invalid(name):
            op.drop_index(name, table_name=table, postgresql_concurrently=True)
        op.create_index(name, table, columns, unique=unique, postgresql_concurrently=True, if_not_exists=True)


def set_not_null(table: str, column: str) -> None:
    """Forbid NULL without a scan under an exclusive lock: a validated CHECK proves what SET NOT NULL would look for."""
    proof = f"{table}_{column}_is_not_null"
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {proof}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {proof} CHECK ({column} IS NOT NULL) NOT VALID")
    commit()
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {proof}")
    commit()
    op.alter_column(table, column, nullable=False)
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {proof}")


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
