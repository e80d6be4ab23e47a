from typing import Annotated

from fastapi import APIRouter, Depends

from app.features.activity import service
from app.features.activity.schemas import ActivityFilter, ActivityReply, OwnActivityFilter, as_seen_by
from app.identity.dependencies import require
from app.identity.permissions import Permission
from app.identity.principal import Principal
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import Route
from app.web.session import SessionDep

router = APIRouter(prefix="/api", tags=["activity"], route_class=Route)


@router.get(
    "/activity",
    summary="List what happened to everybody's accounts",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def list_activity(
    caller: Annotated[Principal, require(Permission.ADMIN)],
    session: SessionDep,
    wanted: Annotated[ActivityFilter, Depends()],
    page: Annotated[PageParams, Depends()],
) -> Page[ActivityReply]:
    """Every event and every refused attempt, newest first, also of accounts that are gone."""
    rows = service.activity(user_id=wanted.user_id, action=wanted.action, since=wanted.since, until=wanted.until)
    found, next_cursor = paginate(session, rows, service.NEWEST_FIRST, page)
    return Page(items=[ActivityReply.model_validate(row) for row in found], next_cursor=next_cursor)


@router.get(
    "/users/me/activity",
    summary="List what happened to my account",
    responses=problem_responses(400, 401, 403, 422, 503),
)
def list_own_activity(
    caller: Annotated[Principal, require(Permission.READ)],
    session: SessionDep,
    wanted: Annotated[OwnActivityFilter, Depends()],
    page: Annotated[PageParams, Depends()],
) -> Page[ActivityReply]:
    """Newest first. Of somebody else who changed the account, it is not told who and where that was."""
    me = caller.user.id
    rows = service.activity(user_id=me, action=wanted.action, since=wanted.since, until=wanted.until)
    found, next_cursor = paginate(session, rows, service.NEWEST_FIRST, page)
    return Page(items=[as_seen_by(me, row) for row in found], next_cursor=next_cursor)
