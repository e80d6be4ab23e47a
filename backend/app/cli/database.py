"""The database that a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db.engine import WAIT_FOR_DATABASE, connect, database, make_engine, wait_for_database
from app.db.migration.migrate import needs_upgrade
from app.db.migration.refusal import explain
from app.db.revisions import head_revision

PATIENCE = 5.0
"""Seconds a command about accounts waits for the database; somebody sits before it."""


@contextmanager
def reachable(settings: Settings, patience: float = WAIT_FOR_DATABASE) -> Iterator[str]:
    """The address of a database that answers, embedded or not, for as long as the context lasts.

    Raises:
        StartupError: it does not answer within `patience` seconds.
    """
    configure_logging(settings)
    with database(settings) as url:
        engine = make_engine(url, pooled=False)
        try:
            wait_for_database(engine, patience)
        finally:
            engine.dispose()
        yield url


@contextmanager
def migrated(settings: Settings) -> Iterator[Engine]:
    """An engine for a database at this code's revision; beside a running service as well as without one.

    Raises:
        StartupError: the database is out of reach, or behind, or a statement inside has failed.
    """
    with reachable(settings, PATIENCE) as url:
        engine = make_engine(url, pooled=False, purpose="command")
        try:
            _refuse_pending(url)
            yield engine
        except DBAPIError as error:
            raise explain(error, url) from error
        finally:
            engine.dispose()


def _refuse_pending(url: str) -> None:
    with connect(url) as connection:
        if needs_upgrade(connection, apply=True):
            raise StartupError(
                f"The database is behind this code, which is at revision {head_revision()}: "
                "run `trading-backend migrate`."
            )
