"""The one renderer of refusals: RFC 9457 problem+json, whatever raised them."""

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from app.core.errors import (
    AppError,
    Conflict,
    DatabaseUnavailable,
    FieldError,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    Unauthenticated,
)
from app.core.logging import request_id_var
from app.db.engine import is_outage
from app.web.openapi import PROBLEM_JSON, declare_problems
from app.web.validation import invalid_input

logger = logging.getLogger("app.errors")

_REQUIRED_HEADERS: Final = {
    401: ("WWW-Authenticate", Unauthenticated.challenge),
    429: ("Retry-After", str(ServiceUnavailable.retry_after)),
    503: ("Retry-After", str(ServiceUnavailable.retry_after)),
}
"""What an answer with this status never goes without."""

_NAMED: Final = {error.status: error for error in (NotFound, PayloadTooLarge, InvalidInput)}
"""Their codes are this API's; HTTP's own phrases for 413 and 422 changed with RFC 9110."""


_FOREIGN_KEY_VIOLATION: Final = "23503"
_LOCK_NOT_AVAILABLE: Final = "55P03"

_UNREADABLE_BODY: Final = "There was an error parsing the body"
"""FastAPI's words, with 400, for JSON whose bytes, depth or numbers Python's parser gives up on."""


class _ProblemResponse(Response):
    media_type = PROBLEM_JSON

    def render(self, content: Mapping[str, Any]) -> bytes:
        # "replace": a detail may quote text from outside, and that may hold an unpaired surrogate.
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def install_problem_handlers(app: FastAPI) -> None:
    """Render every refusal that `app` knows of, and say so in its OpenAPI document.

    What is no refusal is a bug and passes on, to be caught by `web.middleware.CatchAll`.
    """
    app.exception_handler(AppError)(_on_app_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(ResponseValidationError)(_on_invalid_answer)
    app.exception_handler(DBAPIError)(_on_database_error)
    app.exception_handler(PoolTimeoutError)(_on_database_error)
    declare_problems(app)


def problem_response(error: AppError) -> Response:
    return _render(error.status, error.code, error.title, str(error), error.headers, error.members)


def _render(  # noqa: PLR0913, PLR0917
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str],
    members: Mapping[str, Any],
) -> Response:
    headers = {name: re.sub(r"[^\x20-\x7e]", "?", value) for name, value in headers.items()}
    if status in _REQUIRED_HEADERS:
        headers.setdefault(*_REQUIRED_HEADERS[status])
    if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return Response(status_code=status, headers=headers)
    problem = {
        "type": f"urn:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id_var.get(),
    }
    return _ProblemResponse(problem | dict(members), status, headers)


async def _on_app_error(request: Request, error: AppError) -> Response:
    return problem_response(error)


async def _on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    return problem_response(invalid_input(error))


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    if error.detail == _UNREADABLE_BODY:
        return problem_response(InvalidInput([FieldError("", "json_invalid", "The body is not valid JSON")]))
    phrase = _phrase(error.status_code)
    named = _NAMED.get(error.status_code)
    code = named.code if named else re.sub(r"\W+", "_", phrase.lower())
    title = named.title if named else phrase.capitalize()
    headers = dict(error.headers or {})
    said: Any = error.detail  # FastAPI's own HTTPException takes anything
    detail = f"{title}."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed_methods(request, headers.get("Allow", ""))
        detail = f"Use one of the methods {headers['Allow']}."
    elif isinstance(said, str) and said not in {"", phrase}:
        detail = said
    elif error.status_code == HTTPStatus.NOT_FOUND:
        detail = str(NotFound())
    return _render(error.status_code, code, title, detail, headers, {})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _allowed_methods(request: Request, known: str) -> str:
    """Every method of this address (RFC 9110 section 15.5.6); the framework knows those of one route."""
    scope = request.scope
    path = scope["path"].removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    methods = {method for method in known.split(", ") if method}
    for route in iter_route_contexts(request.app.routes):
        if route.methods and route.path_regex.match(path):
            methods |= route.methods
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


async def _on_invalid_answer(request: Request, error: ResponseValidationError) -> Response:
    """Pass the bug on without the values it quotes: an answer may hold a token, and this ends in the log."""
    faults = "; ".join(f"{fault['loc']}: {fault['type']}" for fault in error.errors())
    raise RuntimeError(f"{error.endpoint_path} answered what its model does not allow: {faults}") from None


async def _on_database_error(request: Request, error: DBAPIError | PoolTimeoutError) -> Response:
    return problem_response(refusal_of(error))


def refusal_of(error: DBAPIError | PoolTimeoutError) -> AppError:
    """What a client is told of it; raises the error itself where that is a bug."""
    if isinstance(error, PoolTimeoutError):
        logger.warning("no database connection is free: %s", error)
        return ServiceUnavailable("Every database connection is in use; try again shortly.")
    sqlstate = getattr(error.orig, "pgcode", None)
    if sqlstate == _LOCK_NOT_AVAILABLE:
        return ServiceUnavailable("Another request has been changing the same for seconds; try again shortly.")
    if sqlstate == _FOREIGN_KEY_VIOLATION:
        # No request names a row that was not looked up, or is not its caller's own: it was there a moment ago.
        return Conflict("Something that this refers to was deleted meanwhile.")
    if not is_outage(error):
        raise error
    logger.warning("the database does not answer: %s", str(error.orig).strip())
    return DatabaseUnavailable()
