"""What is of no use any more is deleted, and what is overdue has expired: a few rows in each transaction."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import Final, Protocol

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core.settings import Settings
from app.features.activity.service import prune_activity
from app.features.recommendations.service import settle
from app.identity.sessions import prune_exchanges, prune_sessions
from app.identity.throttle import prune_networks, prune_throttle
from app.web.idempotency import prune_keys
from app.web.session import transaction

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x7462_7072_756E
"""The advisory lock's number: "tbprun" in ASCII."""

BATCH: Final = 1000


class _DoSome(Protocol):
    def __call__(self, session: Session, batch: int, *, since: datetime | None) -> list[datetime]:
        """Delete or settle at most `batch` rows of a table, the oldest from `since` on; by what time each was due."""


_Turn = Callable[[], AbstractContextManager[Session]]
"""The transaction of a batch."""


class _NoMoreTurns(Exception):
    """Another process is at it, or this one ends."""


def prune(engine: Engine, retention: timedelta | None) -> dict[str, int]:
    """Delete what is of no use, as fast as it can be done without anybody waiting; how many rows of what.

    Args:
        engine: The database.
        retention: For how long the activity log is kept; None for ever.

    Raises:
        SQLAlchemyError: a table could not be done; the log names it, and the others have been.
    """
    deleted: dict[str, int] = {}
    _do_all(_deletions(retention), partial(transaction, engine), deleted)
    return deleted


def prune_unless_another_does(engine: Engine, settings: Settings, stopping: Event) -> None:
    """As `prune`, and what is overdue is written down as expired; ends where another process is at it.

    Args:
        engine: The database.
        settings: They say for how long the activity log is kept.
        stopping: Once it is set, no other batch begins.
    """
    days = settings.activity_retention_days
    deletions = _deletions(None if days is None else timedelta(days=days))
    done: dict[str, int] = {}
    try:
        with suppress(_NoMoreTurns):
            _do_all({**deletions, "recommendations": settle}, partial(_turn, engine, stopping), done)
    finally:
        settled = done.pop("recommendations", 0)
        if any(done.values()):
            log.info("pruned %s", ", ".join(f"{count} of {name}" for name, count in done.items() if count))
        if settled:
            log.info("settled %d recommendations that had expired", settled)


def _deletions(retention: timedelta | None) -> dict[str, _DoSome]:
    deletions: dict[str, _DoSome] = {
        "sessions": prune_sessions,
        "exchanges": prune_exchanges,
        "throttle": prune_throttle,
        "networks": prune_networks,
        "idempotency_keys": prune_keys,
    }
    if retention is not None:
        deletions["activity"] = partial(prune_activity, retention)
    return deletions


@contextmanager
def _turn(engine: Engine, stopping: Event) -> Iterator[Session]:
    """A transaction that no other process has such a one beside."""
    if stopping.is_set():
        raise _NoMoreTurns
    with transaction(engine) as session:
        if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}):
            raise _NoMoreTurns
        yield session


def _do_all(work: Mapping[str, _DoSome], turn: _Turn, done: dict[str, int]) -> None:
    """Count in `done` how many rows of what; the first table's error is raised when all the others are through."""
    failure: SQLAlchemyError | None = None
    for name, do_some in work.items():
        done[name] = 0
        try:
            for rows in _in_batches(do_some, turn):
                done[name] += rows
        except SQLAlchemyError as error:
            log.warning("pruning of %s failed: %s", name, type(error).__name__)
            failure = failure or error
    if failure is not None:
        raise failure


def _in_batches(do_some: _DoSome, turn: _Turn) -> Iterator[int]:
    """How many rows each batch did, once it is committed."""
    since = None
    while True:
        with turn() as session:
            times = do_some(session, BATCH, since=since)
        if not times:
            return
        yield len(times)
        since = max(times)
