"""Savepoints over whole databases, for code that commits."""

from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, NullPool, create_engine

from tests.support.postgres import run_outside_transaction


class RewindingConnection(Connection):
    """A connection whose nested transactions undo what others committed to its database meanwhile."""

    def __init__(self, url: str, server_url: str) -> None:
        self.server_url = server_url
        super().__init__(create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT"))

    def begin_nested(self) -> Any:
        return Rewind(self)

    def leave(self) -> None:
        """A database can be copied and renamed while nobody is connected; the next statement connects anew."""
        self.rollback()
        self.invalidate()


class Rewind:
    """Keeps a copy of the database, and puts it in the database's place at `rollback` or when left."""

    def __init__(self, connection: RewindingConnection) -> None:
        self._connection = connection
        self._name = connection.engine.url.database
        self._copied = False

    def __enter__(self) -> Self:
        self._outside(f'CREATE DATABASE "{self._name}_before" TEMPLATE "{self._name}"')
        self._copied = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rollback()

    def rollback(self) -> None:
        if self._copied:
            self._copied = False
            self._outside(
                f'DROP DATABASE "{self._name}" WITH (FORCE)',
                f'ALTER DATABASE "{self._name}_before" RENAME TO "{self._name}"',
            )

    def _outside(self, *statements: str) -> None:
        self._connection.leave()
        run_outside_transaction(self._connection.server_url, *statements)
