"""More requests than connections: some wait, some are told to come again, and nothing stands still."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import Engine, text

from app.core.errors import ServiceUnavailable
from app.db.engine import REQUEST_CONNECTIONS, make_engine
from app.identity.dependencies import BearerRequirement, ReachRequirement
from app.main import create_app
from app.web import session as web_session
from app.web.problems import install_problem_handlers
from app.web.session import SessionDep, Transactions, get_session
from tests.support.held import Held
from tests.support.identity import add_token, add_user
from tests.support.service import MVP_TOKEN, bearer, settings_for, uvicorn_process

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    engine = make_engine(clone_url)
    yield engine
    engine.dispose()


@pytest.fixture
def transactions(engine: Engine) -> Transactions:
    return Transactions(engine)


@pytest.fixture
async def client(engine: Engine, transactions: Transactions) -> AsyncIterator[httpx.AsyncClient]:
    """Of an application whose one route keeps a connection for a while, and makes its answer in a thread as well."""
    app = FastAPI(openapi_url=None)
    app.state.transactions = transactions
    install_problem_handlers(app)

    @app.get("/slow")
    def slow(session: SessionDep, seconds: float = 0.01) -> dict[str, int]:
        session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        return {"open": engine.pool.checkedout()}  # type: ignore[attr-defined]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture
async def threads() -> AsyncIterator[None]:
    """Fewer for routes than there are connections."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    usual, limiter.total_tokens = limiter.total_tokens, 2
    yield
    limiter.total_tokens = usual


async def ask(client: httpx.AsyncClient, times: int, seconds: float = 0.01) -> list[httpx.Response]:
    path = f"/slow?seconds={seconds}"
    return await asyncio.gather(*(client.get(path) for _ in range(times)))


async def test_no_more_are_open_than_there_are_connections_for(client: httpx.AsyncClient) -> None:
    answers = await ask(client, 64)
    assert {answer.status_code for answer in answers} == {200}
    most = max(answer.json()["open"] for answer in answers)
    assert 1 < most <= REQUEST_CONNECTIONS


@pytest.mark.usefixtures("threads")
async def test_nobody_holds_a_connection_against_whoever_has_the_threads(client: httpx.AsyncClient) -> None:
    """Each needs both, one after the other, and a thread again for its answer; there are few of either."""
    with anyio.fail_after(4):
        answers = await ask(client, 64)
    assert {answer.status_code for answer in answers} == {200}


async def test_who_comes_too_late_is_told_to_come_again(
    client: httpx.AsyncClient, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_session, "POOL_TIMEOUT", 0.05)
    async with Held(transactions):
        before, began = threading.active_count(), time.monotonic()
        answers = await ask(client, 50)
        assert 0.05 <= time.monotonic() - began < 1
        assert threading.active_count() == before, "whoever waits holds no thread"
        with pytest.raises(ServiceUnavailable):
            await transactions.run(lambda _: None)
    refusals = Counter((answer.status_code, answer.headers["retry-after"]) for answer in answers)
    assert refusals == {(503, "2"): 50}
    assert answers[0].json()["code"] == "service_unavailable"
    assert {answer.status_code for answer in await ask(client, REQUEST_CONNECTIONS)} == {200}


async def test_who_waits_and_goes_away_leaves_its_place(client: httpx.AsyncClient, transactions: Transactions) -> None:
    async with Held(transactions):
        waiting = [asyncio.create_task(ask(client, 1)) for _ in range(20)]
        await asyncio.sleep(0.02)
        for task in waiting[:10]:
            task.cancel()
    answered = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answered] == [True] * 10 + [False] * 10
    with anyio.fail_after(1):
        async with Held(transactions):
            assert transactions._open.available_tokens == 0  # noqa: SLF001


async def test_who_goes_away_in_the_middle_leaves_it_as_well(
    client: httpx.AsyncClient, transactions: Transactions, engine: Engine
) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(client.get, "/slow?seconds=0.1")
        await asyncio.sleep(0.05)
        group.cancel_scope.cancel()
    async with Held(transactions):
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_others_are_answered_beside_slow_ones(client: httpx.AsyncClient, transactions: Transactions) -> None:
    """Whatever waits is asynchronous: what needs no connection does not feel it."""
    slow = asyncio.create_task(ask(client, 40, seconds=0.1))
    await asyncio.sleep(0.02)
    began = time.monotonic()
    await asyncio.gather(*(anyio.to_thread.run_sync(int) for _ in range(20)))
    assert time.monotonic() - began < 0.1
    assert not slow.done()
    assert {answer.status_code for answer in await slow} == {200}


def dependencies_of(route: APIRoute) -> list[str]:
    """In the order in which they are solved."""

    def walk(dependant: Dependant) -> Iterator[Dependant]:
        for each in dependant.dependencies:
            yield from walk(each)
            yield each

    def kind(call: Any) -> str:
        if isinstance(call, (BearerRequirement, ReachRequirement)):
            return "caller"
        return "session" if call is get_session else "other"

    return [kind(each.call) for each in walk(route.dependant)]


async def test_nobody_waits_for_a_connection_who_has_one(clone_url: str, tmp_path: Path) -> None:
    """Authentication may need one: a route that had its session before would keep it meanwhile."""
    app = create_app(settings_for(clone_url, tmp_path))
    orders = [dependencies_of(route) for route in app.routes if isinstance(route, APIRoute)]
    with_both = [order for order in orders if "session" in order and "caller" in order]
    assert len(with_both) > 20
    assert all(order.index("caller") < order.index("session") for order in with_both)
    assert max(order.count("session") for order in orders) == 1


@pytest.mark.slow
async def test_two_hundred_at_once(clone_url: str, tmp_path: Path) -> None:
    user_id = add_user(clone_url, "ann@example.test")
    tokens = [add_token(clone_url, user_id) for _ in range(200)]
    limits = httpx.Limits(max_connections=200)
    with uvicorn_process(tmp_path, {"DATABASE_URL": clone_url, "API_TOKEN": MVP_TOKEN}) as server:
        server.wait_until_up()
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=20, trust_env=False) as client:
            for _ in range(3):
                began = time.monotonic()
                asked = (client.get("/api/sessions", headers=bearer(token)) for token in tokens)
                answers = Counter(answer.status_code for answer in await asyncio.gather(*asked))
                assert time.monotonic() - began < 10
                assert answers.keys() <= {200, 503}
                assert answers[200] >= 100
