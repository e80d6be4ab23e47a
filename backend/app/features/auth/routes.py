from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import AppError
from app.features.auth import service
from app.features.auth.flows import Auth
from app.features.auth.oauth import FORM, NO_STORE, OAuthErrorReply, oauth_error, read_grant
from app.features.auth.schemas import (
    AccountReply,
    ClaimRequest,
    PasswordResetRequest,
    RefreshRequest,
    RegistrationRequest,
    SignInRequest,
    TokenReply,
)
from app.identity.dependencies import LaneDep, OriginDep, SessionsDep, require, require_claim
from app.identity.permissions import Permission
from app.identity.principal import Principal, Profile
from app.identity.schemas import UserReply
from app.identity.sessions import TokenPair
from app.models.database import User
from app.web.openapi import DELAY, problem_responses
from app.web.routing import Route
from app.web.session import SessionDep, TransactionsDep

router = APIRouter(prefix="/api/auth", tags=["auth"], route_class=Route)


async def get_auth(
    request: Request, transactions: TransactionsDep, lane: LaneDep, sessions: SessionsDep, origin: OriginDep
) -> Auth:
    return Auth(transactions, lane, sessions, origin, request.app.state.settings.registration)


async def no_store(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


AuthDep = Annotated[Auth, Depends(get_auth)]
"""For routes that hash a password."""

CARRIES_TOKENS: Any = [Depends(no_store)]

_OAUTH_ERROR: dict[str, Any] = {"model": OAuthErrorReply}
_OAUTH_FORM = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"type": "string", "enum": ["password", "refresh_token"]},
                    "username": {"type": "string", "description": "An e-mail address or a username."},
                    "password": {"type": "string", "format": "password"},
                    "refresh_token": {"type": "string"},
                },
            }
        }
    },
}


@router.post(
    "/token",
    summary="Sign in or refresh as OAuth 2.0 has it",
    response_model=TokenReply,
    responses={
        400: _OAUTH_ERROR | {"description": "The grant is refused (RFC 6749 section 5.2)."},
        429: _OAUTH_ERROR
        | {"description": "Too many attempts; `Retry-After` says when to try again.", "headers": DELAY},
        503: _OAUTH_ERROR | {"description": "The service is not available right now.", "headers": DELAY},
        **problem_responses(413),
    },
    openapi_extra={"requestBody": _OAUTH_FORM},
)
async def token(request: Request, auth: AuthDep) -> Response:
    """The grants `password` and `refresh_token` of RFC 6749, as a form; client credentials are not looked at."""
    try:
        grant = await read_grant(request)
        if isinstance(grant, SignInRequest):
            pair = await auth.sign_in(grant)
        else:
            pair = await auth.refresh(grant.refresh_token)
    except (AppError, DBAPIError, PoolTimeout) as error:
        return oauth_error(error)
    return JSONResponse(_tokens(pair).model_dump(), headers=NO_STORE)


@router.post(
    "/login", summary="Sign in", dependencies=CARRIES_TOKENS, responses=problem_responses(401, 413, 422, 429, 503)
)
async def login(auth: AuthDep, body: SignInRequest) -> TokenReply:
    """With an e-mail address or a username, and the password. The answer opens a session."""
    return _tokens(await auth.sign_in(body))


@router.post(
    "/refresh",
    summary="Exchange a refresh token",
    dependencies=CARRIES_TOKENS,
    responses=problem_responses(401, 413, 422, 503),
)
async def refresh(auth: AuthDep, body: RefreshRequest) -> TokenReply:
    """Each refresh token is good once; for ten seconds more it gets the same successor again.

    Who presents it after that ends the session: one of two who had it had stolen it.
    """
    return _tokens(await auth.refresh(body.refresh_token))


@router.post("/logout", status_code=204, summary="End my session", responses=problem_responses(400, 401, 403, 422, 503))
def logout(
    caller: Annotated[Principal, require(Permission.LOGOUT)],
    session: SessionDep,
    origin: OriginDep,
    scope: service.Scope = "local",
) -> None:
    """`local` ends the session that is called with, `others` all but this one, `global` all of them."""
    service.log_out(session, caller, scope, origin.by(caller))


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    dependencies=CARRIES_TOKENS,
    responses=problem_responses(403, 409, 413, 422, 429, 503),
)
async def register(auth: AuthDep, body: RegistrationRequest, response: Response) -> AccountReply:
    """With an invitation, or without one where the service is open to everybody. The answer opens a session."""
    pair, user = await auth.register(body)
    response.headers["Location"] = f"/api/users/{user.id}"
    return _account(pair, user)


@router.post(
    "/claim",
    summary="Give the MVP user an address and a password",
    dependencies=CARRIES_TOKENS,
    responses=problem_responses(400, 401, 403, 409, 413, 422, 503),
)
async def claim(caller: Annotated[Principal, require_claim()], auth: AuthDep, body: ClaimRequest) -> AccountReply:
    """Once, with the token from the configuration, which is good no more afterwards unless it is to be kept.

    The user keeps its id and all that is its own. The answer opens a session.
    """
    return _account(*await auth.claim(caller, body))


@router.post(
    "/password/reset",
    status_code=204,
    summary="Set a new password with a reset token",
    responses=problem_responses(400, 409, 413, 422, 503),
)
async def reset_password(auth: AuthDep, body: PasswordResetRequest) -> None:
    """The token is good once. Every session of the user ends."""
    await auth.reset_password(body)


def _tokens(pair: TokenPair) -> TokenReply:
    return TokenReply(
        access_token=pair.access_token,
        expires_in=pair.expires_in,
        refresh_token=pair.refresh_token,
        scope=pair.scope,
    )


def _account(pair: TokenPair, user: User) -> AccountReply:
    return AccountReply(**_tokens(pair).model_dump(), user=UserReply.model_validate(Profile.of(user)))
