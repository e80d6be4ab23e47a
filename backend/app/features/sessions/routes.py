from typing import Annotated

from fastapi import APIRouter, Depends

from app.features.sessions import service
from app.identity.dependencies import OriginDep, SessionsDep, require
from app.identity.permissions import Permission
from app.identity.principal import Principal
from app.identity.schemas import SessionReply
from app.identity.sessions import live_sessions
from app.models.database import UserSession
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import Route
from app.web.schemas import RowId
from app.web.session import SessionDep

router = APIRouter(prefix="/api/sessions", tags=["sessions"], route_class=Route)


@router.get("", summary="List my sessions", responses=problem_responses(400, 401, 403, 422, 503))
def list_sessions(
    caller: Annotated[Principal, require(Permission.READ)],
    session: SessionDep,
    sessions: SessionsDep,
    page: Annotated[PageParams, Depends()],
) -> Page[SessionReply]:
    """Where I am signed in, newest first."""
    alive = live_sessions(caller.user.id, sessions.lifetimes.idle)
    rows, next_cursor = paginate(session, alive, UserSession.id, page)
    return Page(items=[SessionReply.of(row, caller) for row in rows], next_cursor=next_cursor)


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="End one of my sessions",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def end_session(
    caller: Annotated[Principal, require(Permission.WRITE)],
    session: SessionDep,
    sessions: SessionsDep,
    session_id: RowId,
    origin: OriginDep,
) -> None:
    """Its tokens are refused from now on, also by other replicas."""
    service.end(session, caller.user, session_id, sessions.lifetimes.idle, origin.by(caller))
