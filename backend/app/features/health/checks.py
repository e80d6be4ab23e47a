"""The report's single checks: each bounded in time, none able to fail the report."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import psutil
from anyio import fail_after
from sqlalchemy import Engine, QueuePool, text
from sqlalchemy.exc import SQLAlchemyError

from app.core.places import Places
from app.db.engine import MAX_OVERFLOW
from app.db.revisions import current_revisions, head_revision, pending_revisions, revisions
from app.db.schema.report import inspect_schema
from app.features.health.schemas import PoolUse, System

AT_A_TIME = 2
"""Of each check, hanging ones among them."""

CHECK_TIMEOUT = 1.0
"""Seconds. With the authentication before them the checks, which run side by side, stay under two."""

_NO_PLACE = f"no place within {CHECK_TIMEOUT:g} s: the checks before this one have no answer yet"

DRIFT_IS_FRESH = 60.0
"""Seconds for which the comparison of the live tables with the models is taken as still true."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a check found, or why it found nothing."""

    value: T | None
    failure: str | None
    latency_ms: float


class Check(Generic[T]):
    """Runs `probe` in a thread and gives up on it after CHECK_TIMEOUT.

    A probe that hangs keeps its place, its thread, which is none of those that requests need, and its connection.
    Who finds no place meanwhile is told that, and asks nothing.
    """

    def __init__(self, probe: Callable[[], T]) -> None:
        self._probe = probe
        self._places = Places(AT_A_TIME)

    async def run(self) -> Outcome[T]:
        started = time.perf_counter()
        value, failure, begun = None, None, threading.Event()

        def probe() -> T:
            begun.set()
            return self._probe()

        try:
            with fail_after(CHECK_TIMEOUT):
                value = await self._places.run(probe)
        except TimeoutError:
            failure = f"no answer within {CHECK_TIMEOUT:g} s" if begun.is_set() else _NO_PLACE
        except SQLAlchemyError as error:
            failure = f"the database gives no answer ({type(error).__name__})"
        except (OSError, psutil.Error) as error:
            failure = f"the system gives no answer ({type(error).__name__})"
        return Outcome(value, failure, round((time.perf_counter() - started) * 1000, 2))


@dataclass(frozen=True, slots=True)
class SchemaState:
    current_revision: str | None
    """A fault where it is several, separated by commas."""
    pending: list[str]
    known: bool
    """Whether the revision is one of this code's."""
    drift: list[str]
    intact: bool
    fits: bool
    """Whether the code can work with the tables and the revision as they are."""


class SchemaProbe:
    """Reads the revision each time, and compares the tables with the models once a minute or when it changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last: SchemaState | None = None
        self._compared_at = float("-inf")

    def __call__(self) -> SchemaState:
        with self._engine.connect() as connection:
            found = current_revisions(connection)
            current = ", ".join(found) or None
            fresh = time.monotonic() - self._compared_at < DRIFT_IS_FRESH
            if self._last is None or not fresh or self._last.current_revision != current:
                report = inspect_schema(connection)
                known = current is None or current in revisions()
                self._last = SchemaState(
                    current_revision=current,
                    pending=pending_revisions(current) if known else [],
                    known=known,
                    drift=[str(entry) for entry in report.drift],
                    intact=report.intact,
                    fits=(report.usable if known else report.fits) and len(found) <= 1,
                )
                self._compared_at = time.monotonic()
            return self._last


def is_ready(engine: Engine) -> bool:
    """Whether the database answers and its schema is the code's, or that of newer code that is being rolled out."""
    with engine.connect() as connection:
        current = current_revisions(connection)
    return current == [head_revision()] or (len(current) == 1 and current[0] not in revisions())


@dataclass(frozen=True, slots=True)
class ServerState:
    version: str
    read_only: bool
    queue_usage: float
    """How full the queue of notifications is, from 0 to 1."""


_SERVER = text(
    "SELECT current_setting('server_version'), current_setting('transaction_read_only')::bool, "
    "pg_notification_queue_usage()"
)


def server_state(engine: Engine) -> ServerState:
    with engine.connect() as connection:
        version, read_only, queue_usage = connection.execute(_SERVER).one()
        return ServerState(f"PostgreSQL {version}", read_only, queue_usage)


def pool_use(engine: Engine) -> PoolUse:
    pool = engine.pool
    assert isinstance(pool, QueuePool)  # noqa: S101 - make_engine's own choice
    return PoolUse(
        size=pool.size(),
        overflow_limit=MAX_OVERFLOW,
        in_use=pool.checkedout(),
        idle=pool.checkedin(),
    )


def read_system(data_dir: Path) -> System:
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(next(path for path in (data_dir, *data_dir.parents) if path.exists())))
    return System(
        cpu_count=psutil.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(),
        load_average=[round(load, 2) for load in psutil.getloadavg()],
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        process_memory_bytes=psutil.Process().memory_info().rss,
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
    )
