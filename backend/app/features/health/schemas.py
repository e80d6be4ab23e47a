from typing import Literal

from app.core.clock import Timestamp
from app.web.schemas import Reply

Status = Literal["healthy", "degraded", "unhealthy"]


class Alive(Reply):
    status: Literal["ok"] = "ok"


class Ready(Reply):
    status: Literal["ready"] = "ready"


class Health(Reply):
    status: Literal["ok"] = "ok"
    time: Timestamp
    version: str


class Dependency(Reply):
    status: Status
    latency_ms: float
    """How long the check took."""
    detail: str | None = None


class PoolUse(Reply):
    size: int
    overflow_limit: int
    in_use: int
    idle: int


class DatabaseDependency(Dependency):
    engine: str | None = None
    """Product and version, as the server tells it."""
    pool: PoolUse


class SchemaDependency(Dependency):
    current_revision: str | None = None
    head_revision: str
    pending_revisions: list[str]
    drift: list[str] | None = None
    """How the live tables differ from the code's models; null when that could not be found out."""


class RevocationsDependency(Dependency):
    """Whether revocations are heard as they happen; while they are not, every request asks the database."""

    listening: bool
    lag_ms: float | None = None
    """From the sending of the last notification to its being heard."""


class Auth(Reply):
    """How the caller was authenticated, and who else could be."""

    method: str
    user_id: int
    mvp_user: Literal["open", "claimed", "unknown"]
    registration: str


class System(Reply):
    cpu_count: int
    cpu_percent: float
    """Of all CPUs together, since the report before."""
    load_average: list[float]
    """Over 1, 5 and 15 minutes."""
    memory_total_bytes: int
    memory_available_bytes: int
    process_memory_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int
    """Of the disk that holds DATA_DIR."""


class HealthReport(Reply):
    status: Status
    time: Timestamp
    version: str
    environment: str
    uptime_seconds: float
    auth: Auth
    dependencies: dict[str, DatabaseDependency | SchemaDependency | RevocationsDependency]
    system: System | None
    """Null when it could not be found out in time."""
