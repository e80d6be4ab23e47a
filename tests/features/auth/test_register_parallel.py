"""Several who register at the same moment: an address, a username and an invitation are good for one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.support.accounts import PASSWORD, invite
from tests.support.identity import execute
from tests.support.service import bearer, in_process, settings_for

pytestmark = pytest.mark.anyio


@pytest.fixture
async def opened(clone_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A service at which everybody may register."""
    async with in_process(settings_for(clone_url, tmp_path, registration="open")) as client:
        yield client


async def patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer, once the service was not too busy to give one."""
    while (answer := await ask()).status_code == 503:
        assert answer.json()["code"] == "hashing_busy"
        await asyncio.sleep(0.05)
    return answer


async def register(client: httpx.AsyncClient, **body: str) -> httpx.Response:
    return await patiently(lambda: client.post("/api/auth/register", json={"password": PASSWORD, **body}))


def outcomes(answers: list[httpx.Response]) -> Counter[object]:
    return Counter(answer.json().get("code", answer.status_code) for answer in answers)


async def test_one_address(opened: httpx.AsyncClient, clone_url: str) -> None:
    spellings = ["same@example.test", "SAME@example.test", "Same@EXAMPLE.test", "same@example.TEST"] * 5
    answers = await asyncio.gather(*(register(opened, email=email) for email in spellings))
    assert outcomes(answers) == {201: 1, "email_taken": 19}
    assert len(execute(clone_url, "SELECT * FROM users WHERE folded(email) = 'same@example.test'")) == 1
    assert len(execute(clone_url, "SELECT * FROM activity_log WHERE action_type = 'registration_refused'")) == 19


async def test_one_username(opened: httpx.AsyncClient) -> None:
    names = ["same", "Same", "SAME", "sAME"] * 3
    asked = (register(opened, email=f"user{n}@example.test", username=name) for n, name in enumerate(names))
    assert outcomes(await asyncio.gather(*asked)) == {201: 1, "username_taken": 11}


async def test_one_invitation(opened: httpx.AsyncClient, clone_url: str) -> None:
    token = await invite(opened, bearer())
    asked = (register(opened, email=f"user{n}@example.test", invitation=token) for n in range(10))
    answers = await asyncio.gather(*asked)
    assert outcomes(answers) == {201: 1, "invalid_invitation": 9}
    (winner,) = (answer.json()["user"]["id"] for answer in answers if answer.status_code == 201)
    (row,) = execute(clone_url, "SELECT used_by FROM invitations")
    assert row["used_by"] == winner
    assert len(execute(clone_url, "SELECT * FROM users")) == 2


async def test_an_invitation_of_each_and_one_address(opened: httpx.AsyncClient, clone_url: str) -> None:
    tokens = [await invite(opened, bearer()) for _ in range(10)]
    asked = (register(opened, email="same@example.test", invitation=token) for token in tokens)
    assert outcomes(await asyncio.gather(*asked)) == {201: 1, "email_taken": 9}
    assert len(execute(clone_url, "SELECT * FROM invitations WHERE used_at IS NOT NULL")) == 1
