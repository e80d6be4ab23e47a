"""Routes are found quickly, and asked of FastAPI only where there is something to solve."""

from collections.abc import Iterator
from typing import Annotated, Any
from unittest.mock import patch

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response, Security
from fastapi.dependencies.utils import solve_dependencies
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from pydantic import BaseModel

from app.core.errors import Unauthenticated
from app.web.routing import Route

pytestmark = pytest.mark.anyio


class Name(BaseModel):
    name: str


class Scheme(SecurityBase):
    model = HTTPBearer()
    scheme_name = "bearer"

    async def __call__(self, request: Request) -> str:
        name = request.headers.get("authorization")
        if name is None:
            raise Unauthenticated
        return name


class Demanding(Scheme):
    async def __call__(self, request: Request, also: str = "nothing") -> str:
        return f"{await super().__call__(request)} and {also}"


async def second() -> str:
    return "second"


router = APIRouter(prefix="/api", route_class=Route)
Caller = Annotated[str, Security(Scheme(), scopes=["read"])]


@router.get("/me", response_model=Name)
async def read_me(caller: Caller) -> Response:
    return Response(Name(name=caller).model_dump_json(), media_type="application/json")


@router.get("/rendered")
async def rendered(caller: Caller) -> Name:
    return Name(name=caller)


@router.get("/more")
async def more(caller: Caller, more: str = "no more") -> Response:
    return Response(f"{caller}, {more}")


@router.get("/demanding")
async def demanding(caller: Annotated[str, Depends(Demanding())]) -> Response:
    return Response(caller)


@router.get("/other")
async def other(caller: Annotated[str, Depends(second)]) -> Response:
    return Response(caller)


@router.get("/beside", dependencies=[Depends(second)])
async def beside(caller: Caller) -> Response:
    return Response(caller)


@router.get("/guarded", dependencies=[Security(Scheme())])
async def guarded(limit: int = 5) -> Response:
    return Response(str(limit))


@router.get("/guarded/request", dependencies=[Security(Scheme())])
async def guarded_request(request: Request) -> Response:
    return Response(request.url.path)


@router.get("/in-a-thread")
def in_a_thread(caller: Caller) -> Response:
    return Response(caller)


@router.get("/{name}/of/{other}")
async def of(name: str, other: str) -> Name:
    return Name(name=f"{name} of {other}")


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    app.router.routes += router.routes
    return app


@pytest.fixture
def solved() -> Iterator[list[str]]:
    """The paths of endpoints that FastAPI solves dependencies for."""
    paths: list[str] = []

    async def note(**given: Any) -> Any:
        paths.append(given["request"].url.path)
        return await solve_dependencies(**given)

    with patch("fastapi.routing.solve_dependencies", note):
        yield paths


ANN = {"Authorization": "ann"}


class TestTheCallerAlone:
    async def test_the_answer(self, client: httpx.AsyncClient, solved: list[str]) -> None:
        answer = await client.get("/api/me", headers=ANN)
        assert (answer.json(), answer.headers["content-type"]) == ({"name": "ann"}, "application/json")
        assert solved == []

    async def test_head(self, client: httpx.AsyncClient) -> None:
        answer = await client.head("/api/me", headers=ANN)
        assert (answer.status_code, answer.headers["content-length"]) == (200, "14")

    async def test_a_refusal(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")

    async def test_another_method(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/me", headers=ANN)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")

    def test_it_is_documented_like_any_other(self, app: FastAPI) -> None:
        operation = app.openapi()["paths"]["/api/me"]["get"]
        assert operation["security"] == [{"bearer": ["read"]}]
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Name")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/rendered", '{"name":"ann"}'),
        ("/api/more?more=please", "ann, please"),
        ("/api/demanding?also=tea", "ann and tea"),
        ("/api/other", "second"),
        ("/api/beside", "ann"),
        ("/api/guarded?limit=7", "7"),
        ("/api/guarded/request", "/api/guarded/request"),
        ("/api/in-a-thread", "ann"),
        ("/api/a/of/b", '{"name":"a of b"}'),
    ],
)
async def test_fastapi_solves_the_rest(client: httpx.AsyncClient, solved: list[str], path: str, body: str) -> None:
    answer = await client.get(path, headers=ANN)
    assert answer.text == body
    assert solved == [path.partition("?")[0]]


@pytest.mark.parametrize("path", ["/api/m", "/api/mee", "/API/me", "/api", "/x/api/me", "/api/a/of/"])
async def test_no_other_path_is_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers=ANN)).status_code == 404


@pytest.mark.parametrize("sent", ["/proxied/api/me", "/api/me"])
async def test_below_a_root_path(app: FastAPI, sent: str) -> None:
    transport = httpx.ASGITransport(app=app, root_path="/proxied")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get(sent, headers=ANN)).status_code == 200
