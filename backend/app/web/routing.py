"""Routes that read their bodies in a way of their own."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.web.exact_json import loads


class _ExactRequest(Request):
    async def json(self) -> Any:
        return loads(await self.body())


class ExactJsonRoute(APIRoute):
    """A route to whose body's numbers every digit matters: `APIRouter(route_class=ExactJsonRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_ExactRequest(request.scope, request.receive))

        return handle
