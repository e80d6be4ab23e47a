"""The founder's token becomes an account with a password: once, and nothing is lost."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.accounts import (
    PASSWORD,
    accounts_in,
    add_account,
    claim,
    faults,
    join,
    password_of,
    refusal,
    sign_in,
    trail,
    user_row,
)
from tests.support.identity import CHALLENGE, INVALID, SCOPES, add_session, add_token, execute, insufficient
from tests.support.service import bearer, in_process, settings_for

pytestmark = pytest.mark.anyio

CLAIM = "/api/auth/claim"
ME = "/api/users/me"
ORDER_TEMPLATE = "INSERT INTO order_templates VALUES (1, 1, 'mine', '', 'X', 'buy', 1, 'market', 1, now(), now())"
BODY = {"email": "Founder@example.test", "password": PASSWORD}
ALREADY = (409, "already_claimed")
OTHER_TOKEN = "another-token-of-the-tests-9876543210-ZYXWVU"


async def post(client: httpx.AsyncClient, token: str | None = None, **more: Any) -> httpx.Response:
    return await client.post(CLAIM, json=BODY | more, headers=bearer(token) if token else bearer())


class TestTheAccount:
    async def test_is_the_same_user(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        script = add_token(clone_url, 1)
        execute(clone_url, ORDER_TEMPLATE)
        before = user_row(clone_url, 1)
        answer = await post(anonymous, username="founder", full_name="The Founder")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        after = user_row(clone_url, 1)
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"email", "username", "full_name", "password_hash", "last_login_at", "updated_at"}
        body = answer.json()
        assert (body["scope"], body["user"]["id"], body["user"]["has_password"]) == ("read write admin", 1, True)
        me = await anonymous.get(ME, headers=bearer(body["access_token"]))
        assert me.json() == body["user"]
        assert (me.json()["email"], me.json()["username"]) == ("Founder@example.test", "founder")
        for table in ("order_templates", "api_tokens"):
            assert {row["user_id"] for row in execute(clone_url, f"SELECT user_id FROM {table}")} == {1}
        assert (await anonymous.get(ME, headers=bearer(script))).json()["id"] == 1

    async def test_signs_in_and_refreshes(self, anonymous: httpx.AsyncClient) -> None:
        founder = await claim(anonymous)
        for name in ("founder@example.test", "mvp"):
            assert (await sign_in(anonymous, name)).status_code == 200
        refreshed = await anonymous.post("/api/auth/refresh", json={"refresh_token": founder.refresh_token})
        assert refreshed.status_code == 200
        assert (await anonymous.get("/api/users", headers=founder.headers)).status_code == 200

    async def test_may_keep_its_address(self, anonymous: httpx.AsyncClient) -> None:
        assert (await claim(anonymous, "mvp@localhost")).email == "mvp@localhost"
        assert (await sign_in(anonymous, "mvp@localhost")).status_code == 200

    async def test_is_put_down(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        answer = await post(anonymous)
        revoked, claimed, signed_in = trail(clone_url, answer)
        assert (claimed["action_type"], claimed["details"]) == ("claimed", {"keep_api_token": False})
        assert (claimed["user_id"], claimed["actor_id"], claimed["actor_kind"]) == (1, 1, "mvp_token")
        assert (claimed["user_email"], claimed["actor_email"]) == ("Founder@example.test", "mvp@localhost")
        assert (revoked["action_type"], signed_in["action_type"]) == ("token_revoked", "signed_in")


class TestTheToken:
    async def test_is_retired(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        await claim(anonymous)
        for method, path in (("GET", ME), ("GET", "/api/users"), ("POST", "/api/tokens"), ("POST", "/api/auth/logout")):
            answer = await anonymous.request(method, path, headers=bearer())
            assert refusal(answer) == (401, "invalid_token")
            assert answer.headers["www-authenticate"] == INVALID
        (token,) = execute(clone_url, "SELECT * FROM api_tokens")
        assert token["revoked_at"] is not None

    @pytest.mark.parametrize("keep", [False, True])
    async def test_is_told_that_it_comes_too_late(
        self, anonymous: httpx.AsyncClient, clone_url: str, keep: bool
    ) -> None:
        await claim(anonymous, keep_api_token=keep)
        before = accounts_in(clone_url)
        answer = await post(anonymous, email="thief@example.test", password=password_of("thief"))
        assert refusal(answer) == ALREADY
        assert accounts_in(clone_url) == before
        (row,) = trail(clone_url, answer)
        assert (row["action_type"], row["user_id"]) == ("claim_refused", 1)
        assert row["details"] == {"reason": "already_claimed"}

    async def test_may_go_on_as_an_ordinary_one(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        founder = await claim(anonymous, keep_api_token=True)
        assert (await anonymous.get(ME, headers=bearer())).json()["id"] == 1
        assert (await anonymous.get("/api/users", headers=bearer())).status_code == 200
        new = {"name": "x", "scopes": ["read"]}
        answer = await anonymous.post("/api/tokens", headers=bearer(), json=new)
        assert answer.headers["www-authenticate"] == insufficient("issue")
        (token,) = (await anonymous.get("/api/tokens", headers=founder.headers)).json()["items"]
        assert (token["name"], token["from_configuration"]) == ("API_TOKEN", False)
        assert sorted(token["scopes"]) == sorted(SCOPES)
        revoked = await anonymous.delete(f"/api/tokens/{token['id']}", headers=founder.headers)
        assert revoked.status_code == 204
        assert (await anonymous.get(ME, headers=bearer())).status_code == 401

    async def test_can_do_no_more_than_its_user(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        await claim(anonymous, keep_api_token=True)
        execute(clone_url, "UPDATE users SET role = 'member'")
        assert (await anonymous.get("/api/users", headers=bearer())).status_code == 403


class TestAnotherStart:
    """With API_TOKEN still, or again, in the configuration."""

    @pytest.mark.parametrize("token", [None, OTHER_TOKEN])
    @pytest.mark.parametrize("keep", [False, True])
    async def test_reopens_nothing(
        self,
        anonymous: httpx.AsyncClient,
        clone_url: str,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        token: str | None,
        keep: bool,
    ) -> None:
        await claim(anonymous, keep_api_token=keep)
        before = accounts_in(clone_url)
        caplog.clear()
        overrides = {"api_token": token} if token else {}
        async with in_process(settings_for(clone_url, tmp_path, **overrides)) as second:
            assert "API_TOKEN opens nothing new" in caplog.text
            assert accounts_in(clone_url) == before
            answer = await second.get(ME, headers=bearer(token) if token else bearer())
            assert answer.status_code == (200 if keep and not token else 401)
            refused = await post(second, token)
            assert refusal(refused) == ((401, "invalid_token") if token else ALREADY)
            assert (await sign_in(second, "founder@example.test")).status_code == 200

    async def test_nor_does_it_without_a_token(
        self, anonymous: httpx.AsyncClient, clone_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        await claim(anonymous)
        caplog.clear()
        async with in_process(settings_for(clone_url, tmp_path, api_token=None)) as second:
            assert "API_TOKEN" not in caplog.text
            assert (await sign_in(second, "founder@example.test")).status_code == 200
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    @pytest.mark.parametrize("token", [None, OTHER_TOKEN])
    async def test_nor_when_the_user_is_gone(
        self, anonymous: httpx.AsyncClient, clone_url: str, tmp_path: Path, token: str | None
    ) -> None:
        founder = await claim(anonymous)
        other = await join(anonymous, founder.headers, "other@example.test", "owner")
        assert (await anonymous.delete("/api/users/1", headers=other.headers)).status_code == 204
        overrides = {"api_token": token} if token else {}
        async with in_process(settings_for(clone_url, tmp_path, **overrides)) as second:
            users = execute(clone_url, "SELECT email FROM users")
            assert [row["email"] for row in users] == ["other@example.test"]
            assert refusal(await post(second, token)) == ((401, "invalid_token") if token else ALREADY)
            assert (await second.get(ME, headers=bearer(token) if token else bearer())).status_code == 401

    async def test_nor_when_an_unclaimed_user_was_deleted(
        self, anonymous: httpx.AsyncClient, clone_url: str, tmp_path: Path
    ) -> None:
        other = await join(anonymous, bearer(), "other@example.test", "owner")
        assert (await anonymous.delete("/api/users/1", headers=other.headers)).status_code == 204
        async with in_process(settings_for(clone_url, tmp_path)) as second:
            assert (await second.get(ME, headers=bearer())).status_code == 401
            assert refusal(await post(second)) == ALREADY


class TestWhoMay:
    @pytest.mark.parametrize("role", ["owner", "member"])
    async def test_no_other_credential(self, anonymous: httpx.AsyncClient, clone_url: str, role: str) -> None:
        user = add_account(clone_url, "ann@example.test", role=role)
        credentials: list[Callable[[], str]] = [
            lambda: add_session(anonymous, user),
            lambda: add_token(clone_url, user),
            lambda: add_token(clone_url, 1),
            lambda: add_session(anonymous, 1),
        ]
        for token in [make() for make in credentials]:
            answer = await post(anonymous, token)
            assert refusal(answer) == (403, "insufficient_scope")
            assert answer.headers["www-authenticate"] == insufficient("claim")
            (row,) = trail(clone_url, answer)
            assert (row["action_type"], row["details"]["permission"]) == ("permission_denied", "claim")
        assert (await post(anonymous)).status_code == 200

    async def test_nobody_without_one(self, anonymous: httpx.AsyncClient) -> None:
        for headers, challenge in (({}, CHALLENGE), (bearer("garbage"), INVALID)):
            answer = await anonymous.post(CLAIM, json=BODY, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)

    async def test_not_while_deactivated(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        execute(clone_url, "UPDATE users SET is_active = false")
        assert refusal(await post(anonymous)) == (401, "invalid_token")


class TestWhatDoesNotFit:
    """The MVP user stays open."""

    @pytest.mark.parametrize(
        ("change", "pointer", "code"),
        [
            ({"password": "x" * 11}, "/password", "password_too_short"),
            ({"password": "Founder@example.test"}, "/password", "password_too_weak"),
            ({"email": "Founder <founder@example.test>"}, "/email", "email"),
            ({"username": "a b c"}, "/username", "username"),
            ({"role": "owner"}, "/role", "extra_forbidden"),
            ({"keep_api_token": "perhaps"}, "/keep_api_token", "bool_type"),
            ({"keep_api_token": None}, "/keep_api_token", "bool_type"),
        ],
    )
    async def test_is_named(
        self, anonymous: httpx.AsyncClient, clone_url: str, change: dict[str, Any], pointer: str, code: str
    ) -> None:
        before = accounts_in(clone_url)
        assert faults(await post(anonymous, **change)) == [(pointer, code)]
        assert accounts_in(clone_url) == before
        assert (await post(anonymous)).status_code == 200

    @pytest.mark.parametrize(
        ("change", "code"), [({"email": "ANN@example.test"}, "email_taken"), ({"username": "ANN"}, "username_taken")]
    )
    async def test_is_somebody_elses(
        self, anonymous: httpx.AsyncClient, clone_url: str, change: dict[str, Any], code: str
    ) -> None:
        add_account(clone_url, "ann@example.test", username="ann")
        before = accounts_in(clone_url)
        answer = await post(anonymous, **change)
        assert refusal(answer) == (409, code)
        assert accounts_in(clone_url) == before
        (row,) = trail(clone_url, answer)
        assert (row["action_type"], row["user_id"], row["details"]) == ("claim_refused", 1, {"reason": code})
        assert (await post(anonymous)).status_code == 200
