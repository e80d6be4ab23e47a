"""Routes that read their bodies in a way of their own."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from anyio import to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from app.web.exact_json import loads

_READ_AT_ONCE: Final = 16 * 1024
"""Bytes."""


class _ExactRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        # A megabyte of fractions takes a third of a second, for which other requests need not wait.
        return loads(body) if len(body) <= _READ_AT_ONCE else await to_thread.run_sync(loads, body)


class Route(APIRoute):
    """A route that is passed over quickly: every request is matched with each of them until one fits."""

    def __init__(self, path: str, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        self._beginning = path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if self._beginning in scope["path"] else (Match.NONE, {})


class ExactJsonRoute(Route):
    """A route to whose body's numbers every digit matters: `APIRouter(route_class=ExactJsonRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_ExactRequest(request.scope, request.receive))

        return handle
