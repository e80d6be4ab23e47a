from typing import Annotated
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Response

from app.features.users import service
from app.features.users.flows import Flows
from app.features.users.schemas import (
    OwnChanges,
    PasswordChange,
    PasswordResetReply,
    UserChanges,
    UserFilter,
    UserRequest,
)
from app.identity.dependencies import LaneDep, OriginDep, SessionsDep, require
from app.identity.permissions import Permission
from app.identity.principal import Principal, Profile
from app.identity.schemas import SessionReply, UserReply
from app.identity.sessions import live_sessions
from app.models.database import User, UserSession
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import Route
from app.web.schemas import RowId
from app.web.session import SessionDep, TransactionsDep

router = APIRouter(prefix="/api/users", tags=["users"], route_class=Route)

Reader = Annotated[Principal, require(Permission.READ)]
Writer = Annotated[Principal, require(Permission.WRITE)]
Issuer = Annotated[Principal, require(Permission.ISSUE)]
Admin = Annotated[Principal, require(Permission.ADMIN)]


_rendered: WeakKeyDictionary[Profile, bytes] = WeakKeyDictionary()
"""What `read_me` answers, once for all requests that a profile is kept for."""


async def get_flows(transactions: TransactionsDep, lane: LaneDep, origin: OriginDep) -> Flows:
    return Flows(transactions, lane, origin)


FlowsDep = Annotated[Flows, Depends(get_flows)]
"""For routes that hash a password."""


@router.get("/me", summary="Who am I", response_model=UserReply, responses=problem_responses(400, 401, 403, 503))
async def read_me(caller: Reader) -> Response:
    """The caller's own account."""
    rendered = _rendered.get(caller.user)
    if rendered is None:
        rendered = _rendered[caller.user] = UserReply.model_validate(caller.user).model_dump_json().encode()
    return Response(rendered, media_type="application/json")


@router.patch(
    "/me",
    summary="Change my account",
    response_model=UserReply,
    responses=problem_responses(400, 401, 403, 404, 409, 413, 422, 503),
)
def change_me(caller: Writer, session: SessionDep, origin: OriginDep, body: OwnChanges) -> Profile:
    """What is left out stays; null clears what may be empty. `preferences` are replaced as a whole."""
    return service.change(session, service.own(session, caller), body.changes(), origin.by(caller))


@router.delete(
    "/me", status_code=204, summary="Delete my account", responses=problem_responses(400, 401, 403, 404, 409, 503)
)
def delete_me(caller: Issuer, session: SessionDep, origin: OriginDep) -> None:
    """With all that is its own, for good. Not by an API token, and not the last active owner's."""
    service.delete(session, service.own(session, caller), origin.by(caller))


@router.put(
    "/me/password",
    status_code=204,
    summary="Change my password",
    responses=problem_responses(400, 401, 403, 413, 422, 429, 503),
)
async def change_password(caller: Issuer, flows: FlowsDep, body: PasswordChange) -> None:
    """Every other session of mine ends. Wrong passwords count as failures to sign in do."""
    await flows.change_password(caller, body)


@router.get("", summary="List users", responses=problem_responses(400, 401, 403, 422, 503))
def list_users(
    caller: Admin,
    session: SessionDep,
    wanted: Annotated[UserFilter, Depends()],
    page: Annotated[PageParams, Depends()],
) -> Page[UserReply]:
    """Newest first. `q` is a part of the e-mail address, username or full name, in any case."""
    users = service.users(q=wanted.q, role=wanted.role, is_active=wanted.is_active)
    found, next_cursor = paginate(session, users, User.id, page)
    return Page(items=[UserReply.model_validate(Profile.of(user)) for user in found], next_cursor=next_cursor)


@router.post(
    "",
    status_code=201,
    summary="Make an account for somebody",
    response_model=UserReply,
    responses=problem_responses(400, 401, 403, 409, 413, 422, 503),
)
async def create_user(caller: Admin, flows: FlowsDep, body: UserRequest, response: Response) -> Profile:
    """Without a password, hand out a password reset, with which they set their own."""
    user = await flows.create_user(caller, body)
    response.headers["Location"] = f"/api/users/{user.id}"
    return user


@router.get(
    "/{user_id}",
    summary="Show a user",
    response_model=UserReply,
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def read_user(caller: Admin, session: SessionDep, user_id: RowId) -> Profile:
    """Anybody's account."""
    return Profile.of(service.find(session, user_id))


@router.patch(
    "/{user_id}",
    summary="Change a user",
    response_model=UserReply,
    responses=problem_responses(400, 401, 403, 404, 409, 413, 422, 503),
)
def change_user(caller: Admin, session: SessionDep, origin: OriginDep, user_id: RowId, body: UserChanges) -> Profile:
    """What is left out stays. A new role counts from the next request on; a deactivated user's sessions end."""
    return service.change(session, service.find(session, user_id), body.changes(), origin.by(caller))


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete a user",
    responses=problem_responses(400, 401, 403, 404, 409, 422, 503),
)
def delete_user(caller: Admin, session: SessionDep, origin: OriginDep, user_id: RowId) -> None:
    """With all that is its own, for good; but not the last active owner."""
    origin = origin.by(caller)
    service.delete(session, service.find_for(session, caller, user_id, origin), origin)


@router.get(
    "/{user_id}/sessions",
    summary="List a user's sessions",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def list_user_sessions(
    caller: Admin,
    session: SessionDep,
    sessions: SessionsDep,
    user_id: RowId,
    page: Annotated[PageParams, Depends()],
) -> Page[SessionReply]:
    """Where the user is signed in, newest first."""
    user = service.find(session, user_id)
    alive = live_sessions(user.id, sessions.lifetimes.idle)
    rows, next_cursor = paginate(session, alive, UserSession.id, page)
    return Page(items=[SessionReply.of(row, caller) for row in rows], next_cursor=next_cursor)


@router.delete(
    "/{user_id}/sessions",
    status_code=204,
    summary="End a user's sessions",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def end_user_sessions(caller: Admin, session: SessionDep, origin: OriginDep, user_id: RowId) -> None:
    """The user is signed out everywhere; API tokens stay."""
    service.sign_out(session, service.find(session, user_id), origin.by(caller))


@router.post(
    "/{user_id}/password-reset",
    status_code=201,
    summary="Issue a password reset",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def issue_password_reset(
    caller: Admin, session: SessionDep, origin: OriginDep, user_id: RowId, response: Response
) -> PasswordResetReply:
    """A token to hand to the user, good once and for 30 minutes; an earlier one is void. It is shown this once."""
    origin = origin.by(caller)
    user = service.find_for(session, caller, user_id, origin)
    reset, minted = service.reset_password(session, user, origin)
    response.headers["Cache-Control"] = "no-store"
    return PasswordResetReply(token=minted.plain, expires_at=reset.expires_at)
