"""Many at once with the same refresh token, and refreshing while the session ends: real connections, each its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest

from app.core.errors import InvalidToken
from app.identity.sessions import EndReason, RefreshRefused, RefreshTokenReused, end_sessions
from app.web.session import transaction
from tests.support.identity import Service, execute
from tests.support.sessions import MINUTE, ORIGIN, Accounts

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture
def accounts(service: Service) -> Accounts:
    return Accounts(service)


def at_once(count: int, act: Callable[[], T]) -> list[T]:
    """What `count` threads get that start together."""
    barrier = Barrier(count)

    def start() -> T:
        barrier.wait(20)
        return act()

    with ThreadPoolExecutor(count) as threads:
        return [future.result(30) for future in [threads.submit(start) for _ in range(count)]]


async def test_all_get_the_same_successor_and_one_writes(accounts: Accounts) -> None:
    pair = accounts.open(accounts.add())
    new = at_once(20, lambda: accounts.refresh(pair.refresh_token))
    (successor,) = {other.refresh_token for other in new}
    assert len({other.access_token for other in new}) == 20
    row = accounts.row(pair.session_id)
    assert (row["ended_at"], row["refresh_token_jti"]) == (None, accounts.claims(successor)["jti"])
    assert [event["action_type"] for event in accounts.events(pair.session_id)] == ["session_refreshed"]
    assert [exchange["successor_jti"] for exchange in accounts.exchanges(pair.session_id)] == [row["refresh_token_jti"]]
    assert accounts.refresh(successor).refresh_token != successor


async def test_over_http_too(accounts: Accounts, service: Service) -> None:
    pair = accounts.open(accounts.add())
    body = {"refresh_token": pair.refresh_token}
    answers = await asyncio.gather(*(service.client.post("/api/auth/refresh", json=body) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert accounts.row(pair.session_id)["ended_at"] is None


async def test_of_many_that_reuse_it_one_ends_the_session(accounts: Accounts) -> None:
    pair = accounts.open(accounts.add())
    accounts.refresh(pair.refresh_token)
    accounts.age_exchanges(pair.session_id, MINUTE)

    def reuse() -> type[InvalidToken]:
        with pytest.raises(InvalidToken) as refusal:
            accounts.refresh(pair.refresh_token)
        return refusal.type

    refusals = at_once(10, reuse)
    assert (refusals.count(RefreshTokenReused), refusals.count(RefreshRefused)) == (1, 9)
    events = [event["action_type"] for event in accounts.events(pair.session_id)]
    assert events == ["session_refreshed", "refresh_token_reused", *["refresh_refused"] * 9]


async def test_who_refreshes_while_the_session_ends_is_refused(accounts: Accounts) -> None:
    """The exchange waits for the other transaction and sees what it did."""
    user = accounts.add()
    pair = accounts.open(user)
    with ThreadPoolExecutor(1) as threads:
        with transaction(accounts.engine) as session:
            assert end_sessions(session, user, EndReason.DEACTIVATION) == 1
            waiting = threads.submit(accounts.refresh, pair.refresh_token)
            await blocked(accounts)
            assert not waiting.done()
        with pytest.raises(InvalidToken):
            waiting.result(20)
    assert accounts.row(pair.session_id)["end_reason"] == "deactivation"
    assert [event["action_type"] for event in accounts.events(pair.session_id)] == ["refresh_refused"]
    assert accounts.exchanges(pair.session_id) == []


async def test_whoever_ends_the_session_waits_for_an_exchange(accounts: Accounts) -> None:
    user = accounts.add()
    pair = accounts.open(user)
    with ThreadPoolExecutor(1) as threads:
        with transaction(accounts.engine) as session:
            new = accounts.sessions.refresh(session, pair.refresh_token, ORIGIN)
            waiting = threads.submit(accounts.end, user)
            await blocked(accounts)
        assert waiting.result(20) == 1
    assert accounts.is_refused(new.refresh_token)


async def blocked(accounts: Accounts) -> None:
    """Return once somebody waits for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(500):
        if execute(accounts.url, waiting):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody waits")
