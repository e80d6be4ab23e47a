"""A new password with a token that an owner handed out: once, within half an hour, and everybody is signed out."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.accounts import (
    PASSWORD,
    accounts_in,
    add_account,
    faults,
    password_of,
    refusal,
    sign_in,
    trail,
    user_row,
)
from tests.support.identity import add_token, execute, open_session, without_request_id
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

RESET = "/api/auth/password/reset"
OWNER = bearer()
NEW = password_of("new")
INVALID = (400, "invalid_reset_token")


@pytest.fixture
def ann(client: httpx.AsyncClient, url: str) -> int:
    execute(url, "DELETE FROM users WHERE email = 'ann.zephyr@example.test'")
    return add_account(url, "ann.zephyr@example.test", username="quollington")


async def issue(client: httpx.AsyncClient, user_id: int) -> str:
    answer = await client.post(f"/api/users/{user_id}/password-reset", headers=OWNER)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def reset(client: httpx.AsyncClient, token: str, new_password: str = NEW) -> httpx.Response:
    return await client.post(RESET, json={"token": token, "new_password": new_password})


class TestItIsGood:
    async def test_for_a_new_password(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        answer = await reset(client, await issue(client, ann))
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await sign_in(client, "quollington", PASSWORD)).status_code == 401
        assert (await sign_in(client, "quollington", NEW)).status_code == 200
        (row,) = trail(url, answer)
        assert (row["action_type"], row["user_id"], row["actor_id"]) == ("password_reset", ann, ann)
        assert row["actor_kind"] == "proven"

    async def test_for_a_user_without_a_password(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        execute(url, "UPDATE users SET password_hash = NULL WHERE id = :id", id=ann)
        assert (await reset(client, await issue(client, ann))).status_code == 204
        assert (await sign_in(client, "quollington", NEW)).status_code == 200

    async def test_once(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        token = await issue(client, ann)
        assert (await reset(client, token)).status_code == 204
        before = accounts_in(url)
        answer = await reset(client, token, password_of("again"))
        assert refusal(answer) == INVALID
        assert accounts_in(url) == before
        (row,) = trail(url, answer)
        assert (row["action_type"], row["details"]) == ("password_reset_refused", {"reason": "invalid_reset_token"})

    async def test_for_one_of_many_at_once(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        token = await issue(client, ann)
        passwords = [password_of(str(number)) for number in range(10)]
        answers = await asyncio.gather(*(reset(client, token, password) for password in passwords))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(204) == 1
        assert set(statuses) <= {204, 400, 503}
        execute(url, "DELETE FROM throttled_keys")
        assert (await sign_in(client, "quollington", passwords[statuses.index(204)])).status_code == 200

    async def test_for_half_an_hour(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        answer = await client.post(f"/api/users/{ann}/password-reset", headers=OWNER)
        left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
        assert timedelta(minutes=29) < left <= timedelta(minutes=30)
        pass_by = "UPDATE password_resets SET expires_at = expires_at - make_interval(secs => :seconds)"
        execute(url, pass_by, seconds=1790)
        assert faults(await reset(client, answer.json()["token"], "x" * 12))
        execute(url, pass_by, seconds=10)
        assert refusal(await reset(client, answer.json()["token"])) == INVALID


class TestItIsVoid:
    async def test_after_a_newer_one(self, client: httpx.AsyncClient, ann: int) -> None:
        older, newer = await issue(client, ann), await issue(client, ann)
        assert refusal(await reset(client, older)) == INVALID
        assert (await reset(client, newer)).status_code == 204

    async def test_after_the_user_has_changed_the_password(self, client: httpx.AsyncClient, ann: int) -> None:
        token, session = await issue(client, ann), open_session(client, ann)
        body = {"current_password": PASSWORD, "new_password": password_of("own")}
        changed = await client.put("/api/users/me/password", json=body, headers=bearer(session.access_token))
        assert changed.status_code == 204
        assert refusal(await reset(client, token)) == INVALID
        assert (await sign_in(client, "quollington", password_of("own"))).status_code == 200

    async def test_when_the_user_is_gone(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        token = await issue(client, ann)
        execute(url, "DELETE FROM users WHERE id = :id", id=ann)
        assert refusal(await reset(client, token)) == INVALID

    async def test_for_anybody_else(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        bob = add_account(url, "bob@example.test")
        before = user_row(url, bob)
        assert (await reset(client, await issue(client, ann))).status_code == 204
        assert user_row(url, bob) == before

    @pytest.mark.parametrize("token", ["", "x", "tbr_", "é", "tbr_" + "a" * 49, "tbi_" + "a" * 49, "x" * 100_000])
    async def test_when_it_never_was_one(self, client: httpx.AsyncClient, ann: int, token: str) -> None:
        assert refusal(await reset(client, token)) == INVALID


class TestEverybodyIsSignedOut:
    async def test_every_session_ends(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        pairs, script = [open_session(client, ann) for _ in range(2)], add_token(url, ann)
        bobs = open_session(client, add_account(url, "bobby@example.test"))
        assert (await reset(client, await issue(client, ann))).status_code == 204
        for pair in pairs:
            assert (await client.get("/api/users/me", headers=bearer(pair.access_token))).status_code == 401
            refreshed = await client.post("/api/auth/refresh", json={"refresh_token": pair.refresh_token})
            assert refreshed.status_code == 401
        for token in (bobs.access_token, script):
            assert (await client.get("/api/users/me", headers=bearer(token))).status_code == 200
        reasons = execute(url, "SELECT DISTINCT end_reason FROM user_sessions WHERE user_id = :id", id=ann)
        assert [row["end_reason"] for row in reasons] == ["password_reset"]

    async def test_networks_stay_known(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        assert (await sign_in(client, "quollington")).status_code == 200
        assert (await reset(client, await issue(client, ann))).status_code == 204
        assert len(execute(url, "SELECT * FROM known_addresses WHERE user_id = :id", id=ann)) == 1

    async def test_a_user_who_is_deactivated_stays_out(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        execute(url, "UPDATE users SET is_active = false WHERE id = :id", id=ann)
        assert (await reset(client, await issue(client, ann))).status_code == 204
        assert (await sign_in(client, "quollington", NEW)).status_code == 401


class TestWhatDoesNotFit:
    """The token stays good for another try."""

    @pytest.mark.parametrize(
        ("new_password", "code"),
        [
            ("plume", "password_too_short"),
            ("x" * 257, "password_too_long"),
            ("password1234", "password_too_weak"),
            ("ann.zephyr@example.test", "password_too_weak"),
            ("quollington1", "password_too_weak"),
        ],
    )
    async def test_a_weak_password(
        self, client: httpx.AsyncClient, url: str, ann: int, new_password: str, code: str
    ) -> None:
        token = await issue(client, ann)
        before = accounts_in(url)
        answer = await reset(client, token, new_password)
        assert faults(answer) == [("/new_password", code)]
        assert new_password not in answer.text
        assert accounts_in(url) == before
        assert (await reset(client, token)).status_code == 204

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            ({"new_password": NEW}, ("/token", "missing")),
            ({"token": "x"}, ("/new_password", "missing")),
            ({"token": None, "new_password": NEW}, ("/token", "string_type")),
            ({"token": "x\0", "new_password": NEW}, ("/token", "nul_character")),
            ({"token": "x", "new_password": f"{NEW}\0"}, ("/new_password", "nul_character")),
            ({"token": "x", "new_password": NEW, "user_id": 1}, ("/user_id", "extra_forbidden")),
        ],
    )
    async def test_a_body(self, client: httpx.AsyncClient, body: Any, fault: tuple[str, str]) -> None:
        assert faults(await client.post(RESET, json=body)) == [fault]


async def test_nothing_is_told_of_the_user(client: httpx.AsyncClient, url: str, ann: int) -> None:
    used, void = await issue(client, ann), await issue(client, ann)
    assert (await reset(client, void)).status_code == 204
    seen = [without_request_id(await reset(client, token)) for token in (used, void, "x")]
    assert seen[0] == seen[1] == seen[2]
    weak = await reset(client, await issue(client, ann), "quollington1")
    for hint in ("zephyr", "quollington", "example.test"):
        assert hint not in weak.text


async def test_the_mvp_user_is_claimed_by_it(mvp: httpx.AsyncClient, clone_url: str) -> None:
    token = await issue(mvp, 1)
    answer = await reset(mvp, token)
    assert answer.status_code == 204
    assert [row["action_type"] for row in trail(clone_url, answer)] == ["token_revoked", "password_reset"]
    assert (await mvp.get("/api/users/me")).status_code == 401
    assert (await sign_in(mvp, "mvp", NEW)).status_code == 200
    (row,) = execute(clone_url, "SELECT user_id FROM mvp_claim")
    assert row["user_id"] == 1
