from typing import Annotated

from fastapi import APIRouter, Request, Response

from app import __version__
from app.core.clock import now
from app.features.health.schemas import Alive, Health, HealthReport, Ready
from app.features.health.service import HealthMonitor
from app.identity.dependencies import require_in_outage
from app.identity.permissions import Permission
from app.identity.principal import Principal
from app.web.openapi import problem_responses
from app.web.routing import Route

router = APIRouter(prefix="/api/health", tags=["health"], route_class=Route)


@router.get("", summary="Is the process there")
async def read_health() -> Health:
    """Touches nothing, so that it answers whatever else is wrong."""
    return Health(time=now(), version=__version__)


@router.get("/live", summary="Liveness probe")
async def read_live() -> Alive:
    """Fails only when the process should be restarted."""
    return Alive()


@router.get("/ready", summary="Readiness probe", responses=problem_responses(503))
async def read_ready(request: Request) -> Ready:
    """The database answers, and its schema is one this code works with."""
    monitor: HealthMonitor = request.app.state.health
    await monitor.ready()
    return Ready()


@router.get(
    "/detailed",
    summary="Health report",
    responses={
        **problem_responses(400, 401, 403),
        503: problem_responses(503)[503]
        | {
            "model": HealthReport,
            "description": "The same report, when `status` is `unhealthy`; a problem, when nobody could be let in.",
        },
    },
)
async def read_detailed(
    caller: Annotated[Principal, require_in_outage(Permission.READ)], request: Request, response: Response
) -> HealthReport:
    """Every dependency, measured now; within two seconds, whatever hangs."""
    monitor: HealthMonitor = request.app.state.health
    report = await monitor.report(caller)
    if report.status == "unhealthy":
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return report
