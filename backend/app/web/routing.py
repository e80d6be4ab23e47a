"""Routes that read their bodies in a way of their own."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from anyio import to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.web.exact_json import loads

_READ_AT_ONCE: Final = 16 * 1024
"""Bytes."""


class _ExactRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        # A megabyte of fractions takes a third of a second, for which other requests need not wait.
        return loads(body) if len(body) <= _READ_AT_ONCE else await to_thread.run_sync(loads, body)


class ExactJsonRoute(APIRoute):
    """A route to whose body's numbers every digit matters: `APIRouter(route_class=ExactJsonRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_ExactRequest(request.scope, request.receive))

        return handle
