"""The token endpoint of OAuth 2.0 (RFC 6749): its form, and its errors, which are no problem+json."""

from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import AppError
from app.features.auth.schemas import RefreshRequest, SignInRequest
from app.web.problems import refusal_of
from app.web.schemas import Reply

FORM: Final = "application/x-www-form-urlencoded"
MAX_PARAMETERS: Final = 50
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""Section 5.1 asks for both."""

ErrorCode = Literal[
    "invalid_request", "invalid_grant", "unsupported_grant_type", "temporarily_unavailable", "slow_down"
]

_GRANTS: Final[dict[str, type[SignInRequest | RefreshRequest]]] = {
    "password": SignInRequest,
    "refresh_token": RefreshRequest,
}


class OAuthErrorReply(Reply):
    """RFC 6749 section 5.2; `slow_down` (429) is RFC 8628's, `temporarily_unavailable` (503) section 4.1.2.1's."""

    error: ErrorCode
    error_description: str


class OAuthError(AppError):
    """A refusal in the token endpoint's own words."""

    status = 400

    def __init__(self, code: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.error: ErrorCode = code


async def read_grant(request: Request) -> SignInRequest | RefreshRequest:
    """What the form asks for; parameters that are not known are ignored (section 3.2).

    Raises:
        OAuthError: it is no such form, or repeats a parameter, or lacks one.
    """
    form = _parse(request.headers.get("content-type", ""), await request.body())
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise OAuthError("invalid_request", "The parameter grant_type is missing.")
    if grant_type not in _GRANTS:
        raise OAuthError("unsupported_grant_type", "grant_type must be password or refresh_token.")
    model = _GRANTS[grant_type]
    try:
        return model.model_validate({name: form[name] for name in model.model_fields if name in form})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise OAuthError("invalid_request", f"The parameter {fault['loc'][0]}: {fault['msg']}.") from None


def _parse(content_type: str, body: bytes) -> dict[str, str]:
    """The parameters that have a value: one without is as good as omitted (section 3.2)."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"Send a form, with the header Content-Type: {FORM}.")
    try:
        pairs = parse_qsl(body.decode(), errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise OAuthError("invalid_request", "A parameter is sent twice.")
    return form


def oauth_error(error: AppError | DBAPIError | PoolTimeout) -> JSONResponse:
    """Raises `error` itself where it is a bug and no refusal."""
    if not isinstance(error, AppError):
        error = refusal_of(error)
    headers = {name: value for name, value in error.headers.items() if name == "Retry-After"}
    content: dict[str, Any] = {"error": _code(error), "error_description": _printable(str(error))}
    status = error.status if error.status in {429, 503} else 400
    return JSONResponse(content, status, headers | NO_STORE)


def _code(error: AppError) -> ErrorCode:
    if isinstance(error, OAuthError):
        return error.error
    named: dict[int, ErrorCode] = {401: "invalid_grant", 429: "slow_down", 503: "temporarily_unavailable"}
    return named.get(error.status, "invalid_request")


def _printable(text: str) -> str:
    """Section 5.2 allows a part of ASCII only."""
    return "".join(sign if " " <= sign <= "~" and sign not in '"\\' else "?" for sign in text)
