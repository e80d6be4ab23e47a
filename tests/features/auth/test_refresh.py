"""Refresh tokens over HTTP: each is good once, two tabs get along, and whoever comes late ends the session."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.identity.sessions import TokenPair
from tests.support.accounts import PASSWORD, add_account, faults, refusal, sign_in, trail
from tests.support.identity import INVALID, add_token, execute, open_session, without_request_id
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio

REFRESH = "/api/auth/refresh"
REFUSED = (401, "invalid_token")


@pytest.fixture
def user(client: httpx.AsyncClient, url: str) -> int:
    execute(url, "DELETE FROM users WHERE email = 'ann@example.test'")
    return add_account(url, "ann@example.test")


@pytest.fixture
def pair(client: httpx.AsyncClient, user: int) -> TokenPair:
    return open_session(client, user)


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(REFRESH, json={"refresh_token": token})


async def refreshed(client: httpx.AsyncClient, token: str) -> dict[str, Any]:
    answer = await refresh(client, token)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    return body


async def is_good(client: httpx.AsyncClient, access_token: str) -> bool:
    answer = await client.get("/api/users/me", headers=bearer(access_token))
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


def let_pass(url: str, seconds: int) -> None:
    earlier = "exchanged_at = exchanged_at - make_interval(secs => :seconds)"
    execute(url, f"UPDATE refresh_token_exchanges SET {earlier}", seconds=seconds)


class TestRotation:
    async def test_both_tokens_are_new_and_good(self, client: httpx.AsyncClient, pair: TokenPair) -> None:
        body = await refreshed(client, pair.refresh_token)
        assert list(body) == ["access_token", "token_type", "expires_in", "refresh_token", "scope"]
        assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 900, "read write")
        assert body["access_token"] != pair.access_token
        assert body["refresh_token"] != pair.refresh_token
        assert await is_good(client, body["access_token"])

    async def test_the_session_stays_the_same(self, client: httpx.AsyncClient, url: str, pair: TokenPair) -> None:
        ends = "SELECT expires_at FROM user_sessions WHERE id = :id"
        before = execute(url, ends, id=pair.session_id)
        body = {"refresh_token": pair.refresh_token}
        for _ in range(3):
            body = await refreshed(client, body["refresh_token"])
        assert execute(url, ends, id=pair.session_id) == before
        sessions = (await client.get("/api/sessions", headers=bearer(body["access_token"]))).json()["items"]
        assert [(each["id"], each["current"]) for each in sessions] == [(pair.session_id, True)]

    async def test_the_role_of_the_moment_counts(self, client: httpx.AsyncClient, url: str, pair: TokenPair) -> None:
        execute(url, "UPDATE users SET role = 'owner' WHERE email = 'ann@example.test'")
        assert (await refreshed(client, pair.refresh_token))["scope"] == "read write admin"

    async def test_what_a_sign_in_answers(self, client: httpx.AsyncClient, user: int) -> None:
        signed_in = (await sign_in(client, "ann@example.test", PASSWORD)).json()
        assert await is_good(client, (await refreshed(client, signed_in["refresh_token"]))["access_token"])


class TestTwoTabs:
    async def test_get_the_same_successor(self, client: httpx.AsyncClient, pair: TokenPair) -> None:
        first = await refreshed(client, pair.refresh_token)
        second = await refreshed(client, pair.refresh_token)
        assert first["refresh_token"] == second["refresh_token"]
        assert await is_good(client, first["access_token"])
        assert await is_good(client, second["access_token"])
        assert await refreshed(client, first["refresh_token"])

    async def test_have_ten_seconds(self, client: httpx.AsyncClient, url: str, pair: TokenPair) -> None:
        await refreshed(client, pair.refresh_token)
        let_pass(url, 7)
        assert await refreshed(client, pair.refresh_token)
        let_pass(url, 3)
        assert refusal(await refresh(client, pair.refresh_token)) == REFUSED

    async def test_may_come_together(self, client: httpx.AsyncClient, url: str, pair: TokenPair) -> None:
        answers = await asyncio.gather(*(refresh(client, pair.refresh_token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1
        assert all([await is_good(client, answer.json()["access_token"]) for answer in answers[:3]])
        (row,) = execute(url, "SELECT ended_at FROM user_sessions WHERE id = :id", id=pair.session_id)
        assert row["ended_at"] is None
        rows = execute(url, "SELECT * FROM activity_log WHERE resource_id = :id", id=pair.session_id)
        assert [row["action_type"] for row in rows] == ["session_refreshed"]


class TestReuse:
    async def test_ends_the_session_although_it_is_refused(
        self, client: httpx.AsyncClient, url: str, user: int, pair: TokenPair
    ) -> None:
        other = open_session(client, user)
        successor = await refreshed(client, pair.refresh_token)
        let_pass(url, 11)
        answer = await client.post(
            REFRESH,
            json={"refresh_token": pair.refresh_token},
            headers={"X-Forwarded-For": "203.0.113.7", "User-Agent": "thief"},
        )
        assert refusal(answer) == REFUSED
        (session,) = execute(url, "SELECT * FROM user_sessions WHERE id = :id", id=pair.session_id)
        assert (session["ended_at"] is not None, session["end_reason"]) == (True, "reuse")
        assert not await is_good(client, pair.access_token)
        assert not await is_good(client, successor["access_token"])
        assert refusal(await refresh(client, successor["refresh_token"])) == REFUSED
        assert await is_good(client, other.access_token), "that was another sign-in"
        (row,) = trail(url, answer)
        assert (row["action_type"], row["user_id"], row["actor_id"]) == ("refresh_token_reused", user, None)
        assert (row["resource_type"], row["resource_id"]) == ("session", pair.session_id)
        assert (row["ip_address"], row["user_agent"]) == ("203.0.113.7", "thief")

    async def test_is_not_told_from_garbage(self, client: httpx.AsyncClient, url: str, pair: TokenPair) -> None:
        await refreshed(client, pair.refresh_token)
        let_pass(url, 11)
        reused, garbage = [await refresh(client, token) for token in (pair.refresh_token, "garbage")]
        assert without_request_id(reused) == without_request_id(garbage)

    async def test_by_many_at_once_is_put_down_once(self, client: httpx.AsyncClient, url: str, pair: TokenPair) -> None:
        await refreshed(client, pair.refresh_token)
        let_pass(url, 11)
        answers = await asyncio.gather(*(refresh(client, pair.refresh_token) for _ in range(10)))
        assert {refusal(answer) for answer in answers} == {REFUSED}
        rows = execute(
            url,
            "SELECT * FROM activity_log WHERE resource_id = :id AND action_type = 'refresh_token_reused'",
            id=pair.session_id,
        )
        assert len(rows) == 1


ENDINGS: dict[str, Callable[[TokenPair], str]] = {
    "deactivated": lambda _: "UPDATE users SET is_active = false WHERE email = 'ann@example.test'",
    "deleted": lambda _: "DELETE FROM users WHERE email = 'ann@example.test'",
    "ended": lambda pair: f"UPDATE user_sessions SET ended_at = now() WHERE id = {pair.session_id}",
    "expired": lambda pair: f"UPDATE user_sessions SET expires_at = created_at WHERE id = {pair.session_id}",
    "idle": lambda pair: (
        "UPDATE user_sessions SET last_activity_at = last_activity_at - interval '14 days' "
        f"WHERE id = {pair.session_id}"
    ),
}


class TestRefusals:
    @pytest.mark.parametrize("ending", ENDINGS)
    async def test_a_session_that_is_over(
        self, client: httpx.AsyncClient, url: str, pair: TokenPair, ending: str
    ) -> None:
        execute(url, ENDINGS[ending](pair))
        answer = await refresh(client, pair.refresh_token)
        assert refusal(answer) == REFUSED
        assert answer.headers["www-authenticate"] == INVALID
        assert without_request_id(answer) == without_request_id(await refresh(client, "garbage"))
        assert not await is_good(client, pair.access_token)

    async def test_other_kinds_of_token(self, client: httpx.AsyncClient, url: str, user: int, pair: TokenPair) -> None:
        for token in (pair.access_token, MVP_TOKEN, add_token(url, user), "tbi_x", "..", "x" * 500_000, "é", " ", ""):
            assert refusal(await refresh(client, token)) == REFUSED
        assert await refreshed(client, pair.refresh_token)

    async def test_a_refresh_token_is_no_bearer_token(self, client: httpx.AsyncClient, pair: TokenPair) -> None:
        assert not await is_good(client, pair.refresh_token)

    async def test_the_header_is_not_looked_at(self, client: httpx.AsyncClient, pair: TokenPair) -> None:
        headers = bearer(pair.refresh_token)
        assert faults(await client.post(REFRESH, json={}, headers=headers)) == [("/refresh_token", "missing")]
        assert (await client.post(REFRESH, json={"refresh_token": pair.refresh_token}, headers=headers)).is_success

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            ({"refresh_token": None}, ("/refresh_token", "string_type")),
            ({"refresh_token": ["x"]}, ("/refresh_token", "string_type")),
            ({"refresh_token": "a\0"}, ("/refresh_token", "nul_character")),
            ({"refresh_token": "x", "grant_type": "refresh_token"}, ("/grant_type", "extra_forbidden")),
        ],
    )
    async def test_what_does_not_fit(self, client: httpx.AsyncClient, body: Any, fault: tuple[str, str]) -> None:
        assert faults(await client.post(REFRESH, json=body)) == [fault]
