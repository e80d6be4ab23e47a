"""The signature is the access policy: `caller: Annotated[Principal, require(Permission.WRITE)]`."""

from enum import StrEnum
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Query, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from app.core.errors import BadRequest, InvalidToken, PermissionDenied, Unauthenticated
from app.core.settings import B64TOKEN
from app.identity.activity import Action, Origin, record
from app.identity.authenticator import Authenticator
from app.identity.mvp import refuse_second_claim
from app.identity.passwords import HashingLane
from app.identity.permissions import Permission
from app.identity.principal import Principal, Reach
from app.identity.sessions import Sessions
from app.web.admission import admission
from app.web.session import Transactions

MAXIMUM_TOKEN_LENGTH = 4096


class Owner(StrEnum):
    ME = "me"
    NONE = "none"


class BearerScheme(SecurityBase):
    """A dependency that is its own security scheme: one level for FastAPI to solve, documented in OpenAPI."""

    model = HTTPBearer(
        description="The value of API_TOKEN, an API token (`tb_…`), or the access token of a session.",
    )
    scheme_name = "bearer"

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def admit(self, request: Request) -> Principal:
        principal = await self.authenticate(request)
        request.scope["state"]["principal_id"] = principal.user.id  # for the access log
        if not principal.may(self.permission):
            await self.deny(self.permission, request, principal)
        return principal

    async def authenticate(self, request: Request) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        return await authenticator.authenticate(bearer_token(request))

    async def deny(self, permission: Permission, request: Request, principal: Principal) -> NoReturn:
        await self.record_denial(permission, request, principal)
        raise PermissionDenied(permission)

    async def record_denial(self, permission: Permission, request: Request, principal: Principal) -> None:
        transactions: Transactions = request.app.state.transactions
        origin = (await get_origin(request)).by(principal)
        tried: dict[str, Any] = {"method": request.method, "permission": permission}
        await transactions.run(
            lambda session: record(session, origin, Action.PERMISSION_DENIED, user=principal.user, **tried)
        )


class BearerRequirement(BearerScheme):
    async def __call__(self, request: Request) -> Principal:
        return await self.admit(request)


class ReachRequirement(BearerScheme):
    """For lists of which older deployments hold rows that belong to nobody: seeing those takes `admin` as well."""

    async def __call__(
        self,
        request: Request,
        owner: Annotated[Owner, Query(description="`none`: rows that belong to nobody, for owners.")] = Owner.ME,
    ) -> Reach:
        principal = await self.admit(request)
        if owner is Owner.ME:
            return Reach(principal, principal.user.id)
        if not principal.may(Permission.ADMIN):
            await self.deny(Permission.ADMIN, request, principal)
        return Reach(principal, None)


class OutageTolerantRequirement(BearerRequirement):
    """For the health report, which has to reach the founder when the database does not answer."""

    async def authenticate(self, request: Request) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        return await authenticator.authenticate_in_outage(bearer_token(request))


class ClaimRequirement(BearerRequirement):
    """For the claim: who comes with the token it was claimed with is told so, though the token is good no more."""

    async def authenticate(self, request: Request) -> Principal:
        try:
            principal = await super().authenticate(request)
        except InvalidToken:
            await self.refuse_second_claim(request, await get_origin(request))
            raise
        admission.set(None)  # that somebody else was faster is for the claim itself to tell
        return principal

    async def record_denial(self, permission: Permission, request: Request, principal: Principal) -> None:
        # A token that was kept is told so as well, in the one row that this leaves.
        await self.refuse_second_claim(request, (await get_origin(request)).by(principal))
        await super().record_denial(permission, request, principal)

    async def refuse_second_claim(self, request: Request, origin: Origin) -> None:
        transactions: Transactions = request.app.state.transactions
        await transactions.run(lambda session: refuse_second_claim(session, bearer_token(request), origin))


def require(permission: Permission) -> Any:
    """The caller must hold `permission`; otherwise 401 or 403."""
    return Security(BearerRequirement(permission), scopes=[permission])


def require_in_outage(permission: Permission) -> Any:
    """As `require`; the token from the configuration is let in as well while the database is out of reach."""
    return Security(OutageTolerantRequirement(permission), scopes=[permission])


def require_reach(permission: Permission) -> Any:
    """As `require`, for `reach: Annotated[Reach, …]`; with `?owner=none` the caller must hold `admin` too."""
    return Security(ReachRequirement(permission), scopes=[permission])


def require_claim() -> Any:
    """As `require(Permission.CLAIM)`; Conflict for the token that the MVP user was claimed with."""
    return Security(ClaimRequirement(Permission.CLAIM), scopes=[Permission.CLAIM])


async def get_origin(request: Request) -> Origin:
    return Origin(
        address=request.state.client_address,
        user_agent=request.headers.get("user-agent"),
        request_id=request.state.request_id,
    )


OriginDep = Annotated[Origin, Depends(get_origin)]
"""Where a request came from; `origin.by(caller)` says who sent it."""


async def get_lane(request: Request) -> HashingLane:
    lane: HashingLane = request.app.state.lane
    return lane


async def get_sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


LaneDep = Annotated[HashingLane, Depends(get_lane)]
SessionsDep = Annotated[Sessions, Depends(get_sessions)]


def bearer_token(request: Request) -> str:
    """The token of the Authorization header (RFC 6750 section 2.1; the scheme is case-insensitive, RFC 9110).

    Raises:
        BadRequest: there are two such headers.
        Unauthenticated: there is none, or it has another scheme, or nothing after the scheme.
        InvalidToken: what follows the scheme is no token.
    """
    headers = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if len(headers) > 1:
        raise BadRequest("Send one Authorization header, not several.")
    # Named, because a bare strip() would take a no-break space for one, and the token before it for good.
    scheme, _, token = (headers[0].decode("latin-1") if headers else "").strip(" \t").partition(" ")
    token = token.lstrip(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    if len(token) > MAXIMUM_TOKEN_LENGTH or not B64TOKEN.fullmatch(token):
        raise InvalidToken
    return token
