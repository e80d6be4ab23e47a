"""The signature is the access policy: `caller: Annotated[Principal, require(Permission.WRITE)]`."""

from typing import Any

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from app.core.errors import BadRequest, InvalidToken, PermissionDenied, Unauthenticated
from app.core.settings import B64TOKEN
from app.identity.authenticator import Authenticator
from app.identity.permissions import Permission
from app.identity.principal import Principal

MAXIMUM_TOKEN_LENGTH = 4096


class BearerRequirement(SecurityBase):
    """A dependency that is its own security scheme: one level for FastAPI to solve, documented in OpenAPI."""

    model = HTTPBearer(description="The value of API_TOKEN, or an API token (`tb_…`).")
    scheme_name = "bearer"

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        return self.admit(request, await authenticator.authenticate(bearer_token(request)))

    def admit(self, request: Request, principal: Principal) -> Principal:
        """Raise PermissionDenied unless the permission is there; name the principal for the access log."""
        request.state.principal_id = principal.user.id
        if self.permission not in principal.permissions:
            raise PermissionDenied(self.permission)
        return principal


class OutageTolerantRequirement(BearerRequirement):
    """For the health report, which has to reach the founder when the database does not answer."""

    async def __call__(self, request: Request) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        return self.admit(request, await authenticator.authenticate_in_outage(bearer_token(request)))


def require(permission: Permission) -> Any:
    """The caller must hold `permission`; otherwise 401 or 403."""
    return Security(BearerRequirement(permission), scopes=[permission])


def require_in_outage(permission: Permission) -> Any:
    """As `require`; the token from the configuration is let in as well while the database is out of reach."""
    return Security(OutageTolerantRequirement(permission), scopes=[permission])


def bearer_token(request: Request) -> str:
    """The token of the Authorization header (RFC 6750 section 2.1; the scheme is case-insensitive, RFC 9110).

    Raises:
        BadRequest: there are two such headers.
        Unauthenticated: there is none, or it has another scheme, or nothing after the scheme.
        InvalidToken: what follows the scheme is no token.
    """
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise BadRequest("Send one Authorization header, not several.")
    # Named, because a bare strip() would take a no-break space for one, and the token before it for good.
    scheme, _, token = (headers[0] if headers else "").strip(" \t").partition(" ")
    token = token.lstrip(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    if len(token) > MAXIMUM_TOKEN_LENGTH or not B64TOKEN.fullmatch(token):
        raise InvalidToken
    return token
