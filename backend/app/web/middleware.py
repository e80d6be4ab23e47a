"""What every request passes through, from the outside in.

    RequestContext    id, client address, security headers, one access log line
    CORSMiddleware    only with CORS_ORIGINS; outside CatchAll, so that a browser may read a 500 too
    CatchAll          a bug becomes a logged 500 and the connection lives on
    BodyLimit         413; inside CORS, outside everything that reads

All are plain ASGI. FastAPI's handler for `Exception` is no substitute for CatchAll: it runs outside of all
these and raises again, upon which uvicorn drops the connection.
"""

import logging
import re
from collections.abc import Sequence
from random import getrandbits
from time import perf_counter, time
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import AppError, BadRequest, PayloadTooLarge
from app.core.logging import request_id_var
from app.core.settings import Network, Settings
from app.web.access_log import Entry, access_log
from app.web.admission import admission
from app.web.client import client_address
from app.web.problems import problem_response

MAX_BODY: Final = 1024 * 1024
"""Bytes."""

error_log = logging.getLogger("app.errors")

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


def install_middleware(app: FastAPI, settings: Settings) -> None:
    # Starlette puts the one added last outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(CatchAll)
    if settings.cors_origins:
        app.add_middleware(
            _Cors,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "X-Request-ID", "Idempotency-Key"),
            expose_headers=("X-Request-ID", "Retry-After", "Location", "WWW-Authenticate"),
        )
    app.add_middleware(RequestContext, hsts=settings.production, trusted=settings.proxy_networks)


class RequestContext:
    """Gives a request its id and its client's address, and the log a line about it.

    Both are in `scope["state"]`, the id in `request_id_var` as well. The line names the route's template,
    never the path or query as sent: these may hold secrets.
    """

    def __init__(self, app: ASGIApp, *, hsts: bool = False, trusted: Sequence[Network] = ()) -> None:
        self.app = app
        self.headers = (*_SECURITY_HEADERS, _HSTS) if hsts else _SECURITY_HEADERS
        self.trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), None
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"], state["client_address"] = request_id, client_address(scope, self.trusted)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), *self.headers, own]
            await send(message)

        admission.set(None)
        asked, token = scope["method"], request_id_var.set(request_id)
        if asked == "HEAD":
            # Every GET answers HEAD (RFC 9110 section 9.3.2); the server, which knows what was asked, sends no body.
            scope = {**scope, "method": "GET"}
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            milliseconds = round(1000 * (perf_counter() - started), 1)
            caller, address = state.get("principal_id"), state["client_address"]
            path = _route_template(scope)
            access_log.note(Entry(time(), request_id, asked, path, status, milliseconds, caller, address))
            request_id_var.reset(token)


class CatchAll:
    """Answers 500 for an exception nobody made a refusal of, and logs it with its traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            # No bug of ours, and nobody is left to answer.
            error_log.info("the client went away before its request was read")
        except Exception:
            error_log.exception("unhandled exception")
            if started:
                # Half an answer is out: only a broken connection tells the client so.
                raise
            bug = AppError("Something went wrong here; the log knows this request by its request_id.")
            await problem_response(bug)(scope, receive, send)


class BodyLimit:
    """Refuses a body over `max_bytes`: by its Content-Length at once, without one while it is read."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await problem_response(refusal)(scope, receive, send)
        else:
            await self.app(scope, self._limited(receive), send)

    def _refusal(self, scope: Scope) -> AppError | None:
        lengths = {value for name, value in scope["headers"] if name == b"content-length"}
        if not lengths:
            return None
        length = lengths.pop()
        if lengths or not length.isdigit():
            return BadRequest("Send one Content-Length, as a number of bytes.")
        # By digits first: int() refuses more than 4,300 of them.
        if len(length.lstrip(b"0")) > len(str(self.max_bytes)) or int(length) > self.max_bytes:
            return PayloadTooLarge(self._detail)
        return None

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                # FastAPI makes a 400 of anything else that is raised while it reads a body.
                raise HTTPException(PayloadTooLarge.status, self._detail)
            return message

        return limited

    @property
    def _detail(self) -> str:
        return f"A request body may have up to {self.max_bytes} bytes."


class _Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        refusal = problem_response(BadRequest(f"{bytes(answer.body).decode()}."))
        return Response(refusal.body, refusal.status_code, {**answer.headers, **refusal.headers})


def _request_id(scope: Scope) -> str:
    sent = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0]):
        return str(sent[0], "ascii")
    return f"{getrandbits(128):032x}"


def _route_template(scope: Scope) -> str:
    """The whole template of the route that was found, `-` when none was."""
    # scope["route"] of an included router has its own part of the path only; FastAPI's context has the whole.
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    if route is not None:
        return str(route.path_format)
    if "endpoint" not in scope or scope["path_params"]:
        return "-"
    # Starlette's own routes leave no trace but the endpoint: /openapi.json and the assets of the docs.
    root, outer = scope.get("root_path", ""), scope.get("app_root_path")
    return str(scope["path"].removeprefix(root) if outer is None else f"{root.removeprefix(outer)}/*")
