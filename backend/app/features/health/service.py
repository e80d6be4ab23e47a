"""The detailed health report: all checks side by side, and one verdict."""

import asyncio
import time

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app import __version__
from app.core.clock import now
from app.core.errors import ServiceUnavailable
from app.core.settings import Settings
from app.db.notifications import MAX_QUEUE_USAGE, Hearing, Listener
from app.db.revisions import head_revision
from app.features.health.checks import (
    Check,
    Outcome,
    SchemaProbe,
    SchemaState,
    ServerState,
    is_ready,
    pool_use,
    read_system,
    server_state,
)
from app.features.health.schemas import (
    Auth,
    DatabaseDependency,
    HealthReport,
    RevocationsDependency,
    SchemaDependency,
    Status,
)
from app.identity.mvp import MvpState, mvp_state
from app.identity.principal import Principal

_QUEUE_FILLS = (
    "the queue of notifications is {:.0%} full, and once it is nothing can be revoked: "
    "end whoever listens and does not read, the oldest session idle in transaction"
)


class NotReady(ServiceUnavailable):
    code, title = "not_ready", "Not ready"


class HealthMonitor:
    """One for each process; remembers when it started and what it compared last."""

    def __init__(self, engine: Engine, settings: Settings, listener: Listener) -> None:
        self._engine = engine
        self._listener = listener
        self._settings = settings
        self._started = time.monotonic()
        self._database = Check(lambda: server_state(engine))
        self._schema = Check(SchemaProbe(engine))
        self._mvp = Check(self._mvp_state)
        self._system = Check(lambda: read_system(settings.data_dir))
        self._ready = Check(lambda: is_ready(engine))

    async def ready(self) -> None:
        """Raises NotReady unless requests can be served."""
        outcome = await self._ready.run()
        if outcome.failure is not None:
            raise NotReady(f"The database is not ready: {outcome.failure}.")
        if not outcome.value:
            raise NotReady("The schema is behind this code: run `cd backend && python -m alembic upgrade head`.")

    async def report(self, caller: Principal) -> HealthReport:
        database, schema, mvp, system = await asyncio.gather(
            self._database.run(), self._schema.run(), self._mvp.run(), self._system.run()
        )
        dependencies: dict[str, DatabaseDependency | SchemaDependency | RevocationsDependency] = {
            "database": self._judge_database(database),
            "schema": _judge_schema(schema),
            "revocations": _judge_revocations(self._listener.hearing),
        }
        return HealthReport(
            status=_worst([dependency.status for dependency in dependencies.values()]),
            time=now(),
            version=__version__,
            environment=self._settings.app_env,
            uptime_seconds=round(time.monotonic() - self._started, 1),
            auth=Auth(
                method=caller.kind,
                user_id=caller.user.id,
                mvp_user=mvp.value.value if mvp.value else "unknown",
                registration=self._settings.registration,
            ),
            dependencies=dependencies,
            system=system.value,
        )

    def _mvp_state(self) -> MvpState:
        with Session(self._engine) as session:
            return mvp_state(session)

    def _judge_database(self, outcome: Outcome[ServerState]) -> DatabaseDependency:
        pool, found = pool_use(self._engine), outcome.value
        status: Status = "healthy"
        detail = None
        if found is None:
            status, detail = "unhealthy", outcome.failure
        elif found.read_only:
            status, detail = "degraded", "the database is read-only: nothing can be changed"
        elif found.queue_usage > MAX_QUEUE_USAGE:
            status, detail = "degraded", _QUEUE_FILLS.format(found.queue_usage)
        elif pool.in_use >= pool.size + pool.overflow_limit:
            status, detail = "degraded", "every connection of the pool is in use"
        engine = found.version if found else None
        return DatabaseDependency(status=status, latency_ms=outcome.latency_ms, detail=detail, engine=engine, pool=pool)


def _judge_revocations(hearing: Hearing) -> RevocationsDependency:
    lag = None if hearing.lag is None else round(1000 * hearing.lag, 2)
    return RevocationsDependency(
        status="healthy" if hearing.current else "degraded",
        latency_ms=lag or 0.0,
        detail=None if hearing.current else f"every request asks the database: {hearing.detail or 'no answer lately'}",
        listening=hearing.current,
        lag_ms=lag,
    )


def _judge_schema(outcome: Outcome[SchemaState]) -> SchemaDependency:
    found = outcome.value
    if found is None:
        return SchemaDependency(
            status="unhealthy",
            latency_ms=outcome.latency_ms,
            detail=outcome.failure,
            pending_revisions=[],
            head_revision=head_revision(),
        )
    status, detail = _verdict(found)
    return SchemaDependency(
        status=status,
        latency_ms=outcome.latency_ms,
        detail=detail,
        current_revision=found.current_revision,
        head_revision=head_revision(),
        pending_revisions=found.pending,
        drift=found.drift,
    )


def _verdict(found: SchemaState) -> tuple[Status, str | None]:
    if found.pending:
        return (
            "unhealthy",
            "the database is behind the code: run `cd backend && python -m alembic upgrade head`",
        )
    if not found.fits:
        return (
            "unhealthy",
            "the schema is not what the code expects: run `cd backend && python verify_schema.py`",
        )
    if not found.known:
        return "degraded", "the database was migrated by newer code, whose tables fit"
    if not found.intact:
        return (
            "degraded",
            "an index, a trigger or the like differs from the code's: run `cd backend && python verify_schema.py`",
        )
    return "healthy", None


def _worst(statuses: list[Status]) -> Status:
    return max(statuses, key=("healthy", "degraded", "unhealthy").index)
