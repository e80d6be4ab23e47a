"""What was revoked while a request waited, for its body or for its turn, is not done any more."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from app.db.engine import REQUEST_CONNECTIONS
from app.web.session import Transactions
from tests.features.recommendations.support import GOOD
from tests.support.accounts import refusal
from tests.support.held import Held
from tests.support.identity import Service, add_token, add_user, application, execute, open_session
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

BATCH = "/api/recommendations/batch"
AT_LENGTH = 0.3
"""Seconds after which a request certainly waits."""

DEMOTE = "UPDATE users SET role = 'member' WHERE id = :id"
RENAME = "UPDATE users SET full_name = 'Another' WHERE id = :id"
DEACTIVATE = "UPDATE users SET is_active = false WHERE id = :id"


class Owner:
    def __init__(self, service: Service) -> None:
        (row,) = execute(service.url, "SELECT count(*) AS users FROM users")
        self.service = service
        self.id = add_user(service.url, f"owner{row['users']}@example.test", role="owner")
        self.headers = bearer(open_session(service.client, self.id).access_token)

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.service.client.request(method, path, headers=self.headers, json=body)

    def sql(self, statement: str) -> None:
        execute(self.service.url, statement, id=self.id)

    async def waits(self, statement: str | None, method: str, path: str, body: Any) -> httpx.Response:
        """Ask while there is no turn to be had, with the statement meanwhile."""
        assert (await self.ask("GET", "/api/users/me")).status_code == 200
        transactions: Transactions = application(self.service.client).state.transactions
        async with Held(transactions):
            asked = asyncio.create_task(self.ask(method, path, body))
            await asyncio.sleep(AT_LENGTH)
            assert not asked.done()
            if statement:
                await anyio.to_thread.run_sync(self.sql, statement)
        return await asked


@pytest.fixture
def owner(service: Service) -> Owner:
    return Owner(service)


TOKEN = {"name": "late", "scopes": ["read", "write", "admin"]}


class TestItsTurn:
    @pytest.mark.parametrize("statement", [None, RENAME])
    async def test_what_is_as_it_was_is_done(self, owner: Owner, statement: str | None) -> None:
        answer = await owner.waits(statement, "POST", "/api/tokens", TOKEN)
        assert answer.status_code == 201

    async def test_whoever_is_out_stays_out(self, owner: Owner) -> None:
        answer = await owner.waits(DEACTIVATE, "POST", "/api/tokens", TOKEN)
        assert refusal(answer) == (401, "invalid_token")
        assert execute(owner.service.url, "SELECT 1 FROM api_tokens WHERE user_id = :id", id=owner.id) == []

    async def test_a_session_that_ended(self, owner: Owner) -> None:
        end = "UPDATE user_sessions SET ended_at = timezone('utc', now()) WHERE user_id = :id"
        answer = await owner.waits(end, "POST", "/api/tokens", TOKEN)
        assert refusal(answer) == (401, "invalid_token")

    async def test_nobody_makes_himself_what_he_is_no_more(self, owner: Owner) -> None:
        answer = await owner.waits(DEMOTE, "PATCH", f"/api/users/{owner.id}", {"role": "owner"})
        assert refusal(answer) == (503, "service_unavailable")
        assert (await owner.ask("GET", "/api/users/me")).json()["role"] == "member"
        assert (await owner.ask("PATCH", f"/api/users/{owner.id}", {"role": "owner"})).status_code == 403


class Upload:
    """A body that comes to its end when it is told to."""

    def __init__(self) -> None:
        self.end = anyio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        yield b"["
        await self.end.wait()
        yield json.dumps(GOOD).encode() + b"]"

    def send(self, client: httpx.AsyncClient, token: str) -> asyncio.Task[httpx.Response]:
        headers = bearer(token) | {"Content-Type": "application/json"}
        return asyncio.create_task(client.post(BATCH, headers=headers, content=self.body()))


class TestItsBody:
    async def test_it_comes_before_anybody_is_let_in(self, service: Service, owner: Owner) -> None:
        token, upload = add_token(service.url, owner.id), Upload()
        sent = upload.send(service.client, token)
        await asyncio.sleep(AT_LENGTH)
        owner.sql("UPDATE api_tokens SET revoked_at = timezone('utc', now()) WHERE user_id = :id")
        upload.end.set()
        assert refusal(await sent) == (401, "invalid_token")

    async def test_it_keeps_nobody_waiting(self, service: Service, owner: Owner) -> None:
        token, upload = add_token(service.url, owner.id), Upload()
        sent = [upload.send(service.client, token) for _ in range(REQUEST_CONNECTIONS)]
        await asyncio.sleep(AT_LENGTH)
        with anyio.fail_after(2):
            assert (await owner.ask("GET", "/api/sessions")).status_code == 200
        upload.end.set()
        assert {answer.status_code for answer in await asyncio.gather(*sent)} == {201}
