"""Too many passwords at once: whoever is turned away can come again as if nothing had been."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

import httpx
import pytest

from app.identity.passwords import HashingLane
from tests.support.accounts import PASSWORD, accounts_in, add_account, invite, password_of, refusal, sign_in
from tests.support.identity import add_session, application, execute, statements
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def occupied(client: httpx.AsyncClient, lane: HashingLane) -> AsyncIterator[None]:
    """It hashes this service's passwords, and is at one of them for as long as the context lasts."""
    state, begun, done = application(client).state, Event(), Event()

    def hash_on() -> None:
        begun.set()
        done.wait()

    usual, state.lane = state.lane, lane
    first = asyncio.create_task(lane.run(hash_on))
    try:
        await asyncio.sleep(0)
        assert await asyncio.to_thread(begun.wait, 10)
        yield
    finally:
        done.set()
        state.lane = usual
        await first
        lane.close()


@pytest.fixture
async def full(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """One password is being hashed, and there is no place to wait."""
    async with occupied(client, HashingLane(workers=1, queue=0)):
        yield


@pytest.fixture
def ann(client: httpx.AsyncClient, url: str) -> int:
    execute(url, "DELETE FROM users WHERE email = 'ann@example.test'")
    return add_account(url, "ann@example.test")


def assert_busy(answer: httpx.Response) -> None:
    assert refusal(answer) == (503, "hashing_busy")
    assert int(answer.headers["retry-after"]) > 0


def counted(url: str) -> list[object]:
    """What counts against somebody's next attempt."""
    return list(execute(url, "SELECT * FROM throttled_keys WHERE failures > 0 OR blocked_until > now()"))


async def test_a_sign_in_that_waited_in_vain_does_not_count(client: httpx.AsyncClient, url: str, ann: int) -> None:
    async with occupied(client, HashingLane(workers=1, queue=1, patience=0.1)):
        for password in [PASSWORD, "wrong"] * 4:
            assert_busy(await sign_in(client, "ann@example.test", password))
    assert counted(url) == []


@pytest.mark.usefixtures("full")
class TestAFullQueue:
    async def test_a_sign_in_does_not_count(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        for name in ("ann@example.test", "nobody"):
            for password in [PASSWORD, "wrong"] * 4:
                assert_busy(await sign_in(client, name, password))
        assert counted(url) == []

    async def test_a_sign_in_costs_no_statement(self, client: httpx.AsyncClient, ann: int) -> None:
        """Or a flood of them would take the time from those who are being signed in."""
        with statements() as seen:
            assert_busy(await sign_in(client, "ann@example.test"))
        assert seen == []

    async def test_a_change_of_password_does_not_count(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        token = add_session(client, ann)
        body = {"current_password": "wrong", "new_password": password_of("new")}
        with statements() as seen:
            assert_busy(await client.put("/api/users/me/password", json=body, headers=bearer(token)))
        assert [statement for statement in seen if "throttled_keys" in statement] == []
        assert counted(url) == []

    async def test_the_token_endpoint_says_so_in_its_own_words(self, client: httpx.AsyncClient, ann: int) -> None:
        form = {"grant_type": "password", "username": "ann@example.test", "password": PASSWORD}
        answer = await client.post("/api/auth/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0

    async def test_an_invitation_stays_good(self, client: httpx.AsyncClient, url: str) -> None:
        body = {"email": "new@example.test", "password": PASSWORD, "invitation": await invite(client, bearer())}
        before = accounts_in(url)
        assert_busy(await client.post("/api/auth/register", json=body))
        assert accounts_in(url) == before

    async def test_the_mvp_user_stays_open(self, client: httpx.AsyncClient, url: str) -> None:
        before = accounts_in(url)
        body = {"email": "founder@example.test", "password": PASSWORD}
        assert_busy(await client.post("/api/auth/claim", json=body, headers=bearer()))
        assert accounts_in(url) == before

    async def test_a_reset_token_stays_good(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        issued = await client.post(f"/api/users/{ann}/password-reset", headers=bearer())
        before = accounts_in(url)
        body = {"token": issued.json()["token"], "new_password": password_of("new")}
        assert_busy(await client.post("/api/auth/password/reset", json=body))
        assert accounts_in(url) == before

    async def test_who_may_not_come_in_anyway_is_told_so(self, client: httpx.AsyncClient) -> None:
        """And takes no place in the queue."""
        body = {"email": "new@example.test", "password": PASSWORD}
        answer = await client.post("/api/auth/register", json=body)
        assert refusal(answer) == (403, "invalid_invitation")
        answer = await client.post("/api/auth/register", json=body | {"invitation": "tbi_garbage"})
        assert refusal(answer) == (403, "invalid_invitation")
        reset = {"token": "tbr_garbage", "new_password": PASSWORD}
        answer = await client.post("/api/auth/password/reset", json=reset)
        assert refusal(answer) == (400, "invalid_reset_token")

    async def test_what_hashes_nothing_goes_on(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/users/me", headers=bearer())).status_code == 200


async def test_it_is_over_when_it_is_over(client: httpx.AsyncClient, ann: int) -> None:
    assert (await sign_in(client, "ann@example.test")).status_code == 200
