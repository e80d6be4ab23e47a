"""What is of no use any more is deleted, and what is overdue has expired: a few rows in each transaction."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.core.settings import Settings
from app.features.activity.service import prune_activity
from app.features.recommendations.service import settle
from app.identity.sessions import prune_exchanges, prune_sessions
from app.identity.throttle import prune_throttle
from app.web.idempotency import prune_keys
from app.web.session import transaction

log = logging.getLogger(__name__)

LOCK_KEY: Final = 0x7462_7072_756E
"""The advisory lock's number: "tbprun" in ASCII."""

BATCH: Final = 1000

_DoSome = Callable[[Session, int], int]
"""Deletes or settles at most so many rows of each table that it looks after; how many that were."""


def prune(engine: Engine, retention: timedelta | None) -> dict[str, int]:
    """Delete what is of no use, as fast as it can be done without anybody waiting; how many rows of what.

    Args:
        engine: The database.
        retention: For how long the activity log is kept; None for ever.
    """
    work: dict[str, _DoSome] = {
        "sessions": prune_sessions,
        "exchanges": prune_exchanges,
        "throttle": prune_throttle,
        "idempotency_keys": prune_keys,
    }
    if retention is not None:
        work["activity"] = partial(prune_activity, retention)
    return {name: _in_batches(engine, do_some) for name, do_some in work.items()}


def prune_unless_another_does(engine: Engine, settings: Settings) -> None:
    """As `prune`, and what is overdue is written down as expired; does nothing where another process is at it.

    The lock goes with the transaction that holds it.
    """
    days = settings.activity_retention_days
    with engine.connect() as connection:
        if connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}):
            deleted = prune(engine, None if days is None else timedelta(days=days))
            if any(deleted.values()):
                log.info("pruned %s", ", ".join(f"{count} of {name}" for name, count in deleted.items() if count))
            if settled := _in_batches(engine, settle):
                log.info("settled %d recommendations that had expired", settled)


def _in_batches(engine: Engine, do_some: _DoSome) -> int:
    total = 0
    while True:
        with transaction(engine) as session:
            done = do_some(session, BATCH)
        total += done
        if not done:
            return total
