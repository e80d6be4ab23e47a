from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.features.tokens import service
from app.features.tokens.schemas import NewTokenReply, TokenReply, TokenRequest
from app.identity.dependencies import OriginDep, require
from app.identity.permissions import Permission
from app.identity.principal import Principal
from app.models.database import ApiToken
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import Route
from app.web.schemas import RowId
from app.web.session import SessionDep

router = APIRouter(prefix="/api/tokens", tags=["tokens"], route_class=Route)


@router.get("", summary="List my API tokens", responses=problem_responses(400, 401, 403, 422, 503))
def list_tokens(
    caller: Annotated[Principal, require(Permission.READ)],
    session: SessionDep,
    page: Annotated[PageParams, Depends()],
) -> Page[TokenReply]:
    """Those that can still be used, newest first."""
    tokens, next_cursor = paginate(session, service.live_tokens(caller.user.id), ApiToken.id, page)
    return Page(items=[TokenReply.model_validate(token) for token in tokens], next_cursor=next_cursor)


@router.post(
    "",
    status_code=201,
    summary="Create an API token",
    responses=problem_responses(400, 401, 403, 413, 422, 503),
)
def create_token(
    caller: Annotated[Principal, require(Permission.ISSUE)],
    session: SessionDep,
    origin: OriginDep,
    body: TokenRequest,
    response: Response,
) -> NewTokenReply:
    """The answer shows the token this once. An API token cannot create another."""
    new = service.NewToken(body.name, body.scopes, body.expires_at)
    token, minted = service.create(session, caller, new, origin.by(caller))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Location"] = f"/api/tokens/{token.id}"
    return NewTokenReply(**TokenReply.model_validate(token).model_dump(), token=minted.plain)


@router.delete(
    "/{token_id}",
    status_code=204,
    summary="Revoke an API token",
    responses=problem_responses(400, 401, 403, 404, 409, 422, 503),
)
def revoke_token(
    caller: Annotated[Principal, require(Permission.WRITE)], session: SessionDep, origin: OriginDep, token_id: RowId
) -> None:
    """It is refused from now on, also by other replicas."""
    service.revoke(session, caller.user, token_id, origin.by(caller))
