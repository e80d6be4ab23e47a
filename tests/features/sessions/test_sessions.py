"""Where one is signed in: listed page by page, ended one by one."""

import asyncio
from typing import Any

import httpx
import pytest

from app.identity.activity import Origin
from app.identity.sessions import TokenPair
from tests.support.identity import CHALLENGE, Service, add_session, add_token, execute, insufficient
from tests.support.service import bearer
from tests.support.sessions import DAY, ORIGIN, Accounts

pytestmark = pytest.mark.anyio

SESSIONS = "/api/sessions"

GONE = [
    "UPDATE user_sessions SET ended_at = timezone('utc', now()) WHERE id = :id",
    "UPDATE user_sessions SET expires_at = timezone('utc', now()) WHERE id = :id",
    "UPDATE user_sessions SET last_activity_at = last_activity_at - interval '14 days' WHERE id = :id",
    "DELETE FROM user_sessions WHERE id = :id",
]


@pytest.fixture
def accounts(service: Service) -> Accounts:
    return Accounts(service)


@pytest.fixture
def user(accounts: Accounts) -> int:
    return accounts.add()


@pytest.fixture
def pair(accounts: Accounts, user: int) -> TokenPair:
    return accounts.open(user)


async def page(accounts: Accounts, token: str, **params: Any) -> dict[str, Any]:
    answer = await accounts.client.get(SESSIONS, headers=bearer(token), params=params)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def end(accounts: Accounts, token: str, session_id: Any) -> httpx.Response:
    return await accounts.client.delete(f"{SESSIONS}/{session_id}", headers=bearer(token))


class TestList:
    async def test_what_is_told_of_a_session(self, accounts: Accounts, pair: TokenPair) -> None:
        body = await page(accounts, pair.access_token)
        row = accounts.row(pair.session_id)
        times = {
            name: row[name].isoformat(timespec="microseconds" if row[name].microsecond else "auto") + "Z"
            for name in ("created_at", "last_activity_at", "expires_at")
        }
        assert body == {
            "items": [
                {
                    "id": pair.session_id,
                    **times,
                    "ip_address": ORIGIN.address,
                    "user_agent": ORIGIN.user_agent,
                    "current": True,
                }
            ],
            "next_cursor": None,
        }

    async def test_newest_first_and_the_callers_own_is_marked(self, accounts: Accounts, user: int) -> None:
        pairs = [accounts.open(user, Origin()) for _ in range(3)]
        items = (await page(accounts, pairs[1].access_token))["items"]
        assert [item["id"] for item in items] == [pair.session_id for pair in reversed(pairs)]
        assert [item["current"] for item in items] == [False, True, False]
        assert (items[0]["ip_address"], items[0]["user_agent"]) == (None, None)

    async def test_a_token_has_no_session_of_its_own(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        """Though its id may be that of one."""
        add_session(mvp, 1)
        for credential in ({}, bearer(add_token(clone_url, 1, ["read"]))):
            (item,) = (await mvp.get(SESSIONS, headers=credential)).json()["items"]
            assert (item["id"], item["current"]) == (1, False)

    @pytest.mark.parametrize("change", GONE)
    async def test_only_what_is_ones_own_and_alive(
        self, accounts: Accounts, user: int, pair: TokenPair, change: str
    ) -> None:
        accounts.open(accounts.add(role="owner"))
        execute(accounts.url, change, id=accounts.open(user).session_id)
        items = (await page(accounts, pair.access_token))["items"]
        assert [item["id"] for item in items] == [pair.session_id]

    async def test_an_owner_sees_its_own_only(self, accounts: Accounts, pair: TokenPair) -> None:
        owner = accounts.open(accounts.add(role="owner"))
        assert [item["id"] for item in (await page(accounts, owner.access_token))["items"]] == [owner.session_id]

    async def test_a_client_that_pages_sees_each_once(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        there = [pair.session_id, *(accounts.open(user).session_id for _ in range(4))]
        seen, cursor = [], None
        for _ in range(len(there)):
            body = await page(accounts, pair.access_token, limit=2, **({"cursor": cursor} if cursor else {}))
            seen += [item["id"] for item in body["items"]]
            accounts.open(user)
            cursor = body["next_cursor"]
            if cursor is None:
                break
        assert seen == sorted(there, reverse=True)

    @pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"cursor": "nonsense"}])
    async def test_pages_there_are_not(self, accounts: Accounts, pair: TokenPair, params: dict[str, Any]) -> None:
        answer = await accounts.client.get(SESSIONS, headers=bearer(pair.access_token), params=params)
        assert answer.status_code == 422

    async def test_no_token_is_shown(self, accounts: Accounts, pair: TokenPair) -> None:
        text = (await accounts.client.get(SESSIONS, headers=bearer(pair.access_token))).text
        row = accounts.row(pair.session_id)
        secrets = (pair.access_token, pair.refresh_token, row["access_token_jti"], row["refresh_token_jti"])
        assert [secret for secret in secrets if secret in text] == []


class TestEnd:
    async def test_its_tokens_are_refused_from_then_on(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        other = accounts.open(user)
        assert (await end(accounts, pair.access_token, other.session_id)).status_code == 204
        assert (await accounts.me(other.access_token)).status_code == 401
        assert accounts.is_refused(other.refresh_token)
        assert (await accounts.me(pair.access_token)).status_code == 200
        row = accounts.row(other.session_id)
        assert (row["ended_at"] is not None, row["end_reason"]) == (True, "ended")

    async def test_it_is_put_down(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        other = accounts.open(user)
        headers = bearer(pair.access_token) | {"User-Agent": "tests", "X-Request-ID": "request-4"}
        await accounts.client.delete(f"{SESSIONS}/{other.session_id}", headers=headers)
        (event,) = accounts.events(other.session_id)
        assert (event["action_type"], event["user_id"], event["actor_id"]) == ("session_ended", user, user)
        assert (event["actor_kind"], event["user_agent"], event["request_id"]) == ("session", "tests", "request-4")

    async def test_ones_own(self, accounts: Accounts, pair: TokenPair) -> None:
        assert (await end(accounts, pair.access_token, pair.session_id)).status_code == 204
        assert (await end(accounts, pair.access_token, pair.session_id)).status_code == 401

    async def test_by_an_api_token(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        reader, writer = (add_token(accounts.url, user, [scope]) for scope in ("read", "write"))
        refused = await end(accounts, reader, pair.session_id)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (403, insufficient("write"))
        assert (await end(accounts, writer, pair.session_id)).status_code == 204

    @pytest.mark.parametrize("role", ["owner", "member"])
    async def test_anothers_is_not_there(self, accounts: Accounts, pair: TokenPair, role: str) -> None:
        other = accounts.open(accounts.add(role=role))
        before = accounts.everything()
        foreign = await end(accounts, other.access_token, pair.session_id)
        missing = await end(accounts, other.access_token, 2_000_000_000)
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
        assert accounts.everything() == before

    @pytest.mark.parametrize("change", GONE)
    async def test_what_is_over_is_not_there(self, accounts: Accounts, user: int, pair: TokenPair, change: str) -> None:
        over = accounts.open(user).session_id
        execute(accounts.url, change, id=over)
        before = accounts.everything()
        assert (await end(accounts, pair.access_token, over)).status_code == 404
        assert accounts.everything() == before

    @pytest.mark.parametrize(("session_id", "status"), [(0, 404), (2**31, 404), ("9" * 5000, 404), ("abc", 422)])
    async def test_ids_nothing_can_have(
        self, accounts: Accounts, pair: TokenPair, session_id: Any, status: int
    ) -> None:
        assert (await end(accounts, pair.access_token, session_id)).status_code == status

    async def test_of_many_at_the_same_moment_one_succeeds(
        self, accounts: Accounts, user: int, pair: TokenPair
    ) -> None:
        other = accounts.open(user).session_id
        answers = await asyncio.gather(*(end(accounts, pair.access_token, other) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 7
        assert len(accounts.events(other)) == 1

    async def test_a_used_session_can_be_ended(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        other = accounts.open(user)
        accounts.age(other.session_id, last_activity_at=13 * DAY)
        new = accounts.refresh(other.refresh_token)
        assert (await end(accounts, pair.access_token, other.session_id)).status_code == 204
        assert accounts.is_refused(new.refresh_token)


async def test_strangers_learn_nothing(accounts: Accounts, pair: TokenPair) -> None:
    for answer in (
        await accounts.client.get(SESSIONS),
        await accounts.client.delete(f"{SESSIONS}/{pair.session_id}"),
        await accounts.client.delete(f"{SESSIONS}/2000000000"),
    ):
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)
