"""Ending one's own session, the others, or all of them."""

import asyncio
from typing import NamedTuple

import httpx
import pytest

from app.identity.sessions import TokenPair
from tests.support.accounts import add_account, faults, refusal, sign_in, trail
from tests.support.identity import CHALLENGE, INVALID, add_token, execute, insufficient, open_session
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

LOGOUT = "/api/auth/logout"


class Ann(NamedTuple):
    id: int
    here: TokenPair
    there: TokenPair
    elsewhere: TokenPair
    bob: TokenPair
    """Somebody else's."""


@pytest.fixture
def ann(client: httpx.AsyncClient, url: str) -> Ann:
    execute(url, "DELETE FROM users WHERE email LIKE '%@example.test'")
    user, bob = add_account(url, "ann@example.test"), add_account(url, "bob@example.test")
    here, there, elsewhere, bobs = (open_session(client, each) for each in (user, user, user, bob))
    return Ann(user, here, there, elsewhere, bobs)


async def log_out(client: httpx.AsyncClient, token: str, scope: str | None = None) -> httpx.Response:
    params = {} if scope is None else {"scope": scope}
    return await client.post(LOGOUT, params=params, headers=bearer(token))


async def signed_in(client: httpx.AsyncClient, *pairs: TokenPair) -> list[bool]:
    """Which of them still are, by both tokens."""
    found = []
    for pair in pairs:
        me = await client.get("/api/users/me", headers=bearer(pair.access_token))
        refreshed = await client.post("/api/auth/refresh", json={"refresh_token": pair.refresh_token})
        assert (me.status_code == 200) == (refreshed.status_code == 200)
        found.append(me.status_code == 200)
    return found


@pytest.mark.parametrize(
    ("scope", "left", "ended"),
    [
        (None, [False, True, True], None),
        ("local", [False, True, True], None),
        ("others", [True, False, False], 2),
        ("global", [False, False, False], 3),
    ],
)
async def test_what_ends(
    client: httpx.AsyncClient, url: str, ann: Ann, scope: str | None, left: list[bool], ended: int | None
) -> None:
    answer = await log_out(client, ann.here.access_token, scope)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await signed_in(client, ann.here, ann.there, ann.elsewhere) == left
    assert await signed_in(client, ann.bob) == [True]
    (row,) = trail(url, answer)
    assert (row["user_id"], row["actor_id"], row["actor_kind"]) == (ann.id, ann.id, "session")
    if ended is None:
        assert (row["action_type"], row["resource_id"]) == ("session_ended", ann.here.session_id)
    else:
        assert (row["action_type"], row["details"]) == ("sessions_ended", {"scope": scope, "count": ended})
    reasons = execute(url, "SELECT DISTINCT end_reason FROM user_sessions WHERE ended_at IS NOT NULL")
    assert [row["end_reason"] for row in reasons] == ["logout"]


async def test_the_token_is_refused_at_once(client: httpx.AsyncClient, ann: Ann) -> None:
    assert (await log_out(client, ann.here.access_token)).status_code == 204
    for answer in (
        await log_out(client, ann.here.access_token),
        await client.get("/api/users/me", headers=bearer(ann.here.access_token)),
    ):
        assert refusal(answer) == (401, "invalid_token")
        assert answer.headers["www-authenticate"] == INVALID


async def test_a_password_still_signs_in(client: httpx.AsyncClient, ann: Ann) -> None:
    assert (await log_out(client, ann.here.access_token, "global")).status_code == 204
    assert (await sign_in(client, "ann@example.test")).status_code == 200


async def test_api_tokens_stay(client: httpx.AsyncClient, url: str, ann: Ann) -> None:
    script = add_token(url, ann.id)
    assert (await log_out(client, ann.here.access_token, "global")).status_code == 204
    assert (await client.get("/api/users/me", headers=bearer(script))).status_code == 200


async def test_two_at_the_same_moment(client: httpx.AsyncClient, ann: Ann) -> None:
    """Each of two devices ends the other one's session."""
    pairs = (ann.here, ann.there)
    answers = await asyncio.gather(*(log_out(client, pair.access_token, "others") for pair in pairs))
    assert {answer.status_code for answer in answers} <= {204, 401}
    assert await signed_in(client, ann.elsewhere) == [False]


@pytest.mark.parametrize("role", ["owner", "member"])
async def test_only_a_session_has_one_to_end(client: httpx.AsyncClient, url: str, ann: Ann, role: str) -> None:
    execute(url, "UPDATE users SET role = :role WHERE id = :id", role=role, id=ann.id)
    for credential in (bearer(), bearer(add_token(url, ann.id))):
        for scope in ("local", "others", "global"):
            answer = await client.post(LOGOUT, params={"scope": scope}, headers=credential)
            assert refusal(answer) == (403, "insufficient_scope")
            assert answer.headers["www-authenticate"] == insufficient("logout")
            (row,) = trail(url, answer)
            assert (row["action_type"], row["details"]["permission"]) == ("permission_denied", "logout")
    assert await signed_in(client, ann.here, ann.there) == [True, True]


@pytest.mark.parametrize("token", [None, "garbage", "refresh"])
async def test_nobody_else_has_either(client: httpx.AsyncClient, ann: Ann, token: str | None) -> None:
    sent = ann.here.refresh_token if token == "refresh" else token
    answer = await client.post(LOGOUT, headers=bearer(sent) if sent else {})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (INVALID if sent else CHALLENGE)
    assert await signed_in(client, ann.here) == [True]


@pytest.mark.parametrize("scope", ["", "all", "LOCAL", "local,others", "a\0b", "x" * 10_000])
async def test_scopes_there_are_not(client: httpx.AsyncClient, ann: Ann, scope: str) -> None:
    answer = await log_out(client, ann.here.access_token, scope)
    assert faults(answer) == [("query/scope", "literal_error")]
    assert await signed_in(client, ann.here, ann.there) == [True, True]
