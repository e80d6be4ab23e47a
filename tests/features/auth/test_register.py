"""Making an account: with an invitation, or without one where everybody may."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.accounts import (
    PASSWORD,
    accounts_in,
    add_account,
    faults,
    invite,
    password_of,
    refusal,
    sign_in,
    trail,
    user_row,
)
from tests.support.identity import execute, without_request_id
from tests.support.service import bearer, in_process, settings_for

pytestmark = pytest.mark.anyio

REGISTER = "/api/auth/register"
OWNER = bearer()
NEW = {"email": "New@example.test", "password": PASSWORD}
INVALID_INVITATION = (403, "invalid_invitation")


@pytest.fixture(autouse=True)
def _nobody_is_there(service: tuple[str, object]) -> None:
    execute(service[0], "DELETE FROM users WHERE email <> 'mvp@localhost'")


@pytest.fixture
async def invitation(client: httpx.AsyncClient) -> str:
    return await invite(client, OWNER)


async def register(client: httpx.AsyncClient, invitation: str | None, **more: Any) -> httpx.Response:
    body = NEW | ({} if invitation is None else {"invitation": invitation}) | more
    return await client.post(REGISTER, json=body)


def is_used(url: str) -> bool:
    (row,) = execute(url, "SELECT used_at, used_by FROM invitations ORDER BY id DESC LIMIT 1")
    return row["used_at"] is not None


class TestWithAnInvitation:
    async def test_the_account_is_there_and_signed_in(
        self, client: httpx.AsyncClient, url: str, invitation: str
    ) -> None:
        answer = await register(client, invitation, username="New.1", full_name="  New  One ")
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        user = body.pop("user")
        assert answer.headers["location"] == f"/api/users/{user['id']}"
        assert list(body) == ["access_token", "token_type", "expires_in", "refresh_token", "scope"]
        assert body["scope"] == "read write"
        assert {name: user[name] for name in ("email", "username", "full_name", "role", "is_active")} == {
            "email": "New@example.test",
            "username": "New.1",
            "full_name": "New  One",
            "role": "member",
            "is_active": True,
        }
        assert (user["has_password"], user["preferences"]) == (True, {})
        assert user["last_login_at"] is not None
        assert "password_hash" not in answer.text
        me = await client.get("/api/users/me", headers=bearer(body["access_token"]))
        assert me.json() == user
        for name in ("new@EXAMPLE.test", "NEW.1"):
            assert (await sign_in(client, name)).status_code == 200
        (row,) = execute(url, "SELECT * FROM invitations ORDER BY id DESC LIMIT 1")
        assert (row["used_by"], row["used_at"] is not None) == (user["id"], True)

    @pytest.mark.parametrize(("role", "scope"), [("owner", "read write admin"), ("member", "read write")])
    async def test_the_role_is_the_invitations(self, client: httpx.AsyncClient, role: str, scope: str) -> None:
        body = (await register(client, await invite(client, OWNER, role))).json()
        assert (body["user"]["role"], body["scope"]) == (role, scope)

    @pytest.mark.parametrize("bound", ["new@example.test", "NEW@EXAMPLE.TEST"])
    async def test_one_for_this_address(self, client: httpx.AsyncClient, bound: str) -> None:
        assert (await register(client, await invite(client, OWNER, email=bound))).status_code == 201

    async def test_one_for_another_address(self, client: httpx.AsyncClient, url: str) -> None:
        other = await invite(client, OWNER, email="other@example.test")
        assert refusal(await register(client, other)) == INVALID_INVITATION
        assert not is_used(url)
        assert (await register(client, other, email="Other@example.test")).status_code == 201

    async def test_it_is_good_once(self, client: httpx.AsyncClient, invitation: str) -> None:
        assert (await register(client, invitation)).status_code == 201
        assert refusal(await register(client, invitation, email="second@example.test")) == INVALID_INVITATION

    @pytest.mark.parametrize("ended", ["expires_at = timezone('utc', now())", "revoked_at = now()", "used_at = now()"])
    async def test_one_that_is_good_no_more(
        self, client: httpx.AsyncClient, url: str, invitation: str, ended: str
    ) -> None:
        execute(url, f"UPDATE invitations SET {ended} WHERE used_at IS NULL")
        before = accounts_in(url)
        answer = await register(client, invitation)
        assert refusal(answer) == INVALID_INVITATION
        assert accounts_in(url) == before
        unknown = await register(client, "garbage")
        assert without_request_id(answer) == without_request_id(unknown)
        for refused in (answer, unknown):
            (row,) = trail(url, refused)
            assert (row["action_type"], row["details"]) == ("registration_refused", {"reason": "invalid_invitation"})

    @pytest.mark.parametrize("token", ["", "garbage", "tbi_", "é", "x" * 100_000, "tb_" + "a" * 49, "tbi_" + "a" * 49])
    async def test_what_is_none(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        before = accounts_in(url)
        assert refusal(await register(client, token)) == INVALID_INVITATION
        assert accounts_in(url) == before

    async def test_without_one(self, client: httpx.AsyncClient, url: str) -> None:
        for body in (NEW, NEW | {"invitation": None}):
            answer = await client.post(REGISTER, json=body)
            assert refusal(answer) == INVALID_INVITATION
            (row,) = trail(url, answer)
            assert (row["action_type"], row["user_id"]) == ("registration_refused", None)


class TestTaken:
    """The invitation stays good for another try."""

    @pytest.mark.parametrize("email", ["ann@example.test", "ANN@Example.test", "\uff41nn@example.test"])
    async def test_the_address(self, client: httpx.AsyncClient, url: str, invitation: str, email: str) -> None:
        ann = add_account(url, "Ann@example.test")
        before = user_row(url, ann)
        answer = await register(client, invitation, email=email, password=password_of("other"))
        assert refusal(answer) == (409, "email_taken")
        assert (user_row(url, ann), is_used(url)) == (before, False)
        (row,) = trail(url, answer)
        assert (row["action_type"], row["details"]) == ("registration_refused", {"reason": "email_taken"})
        assert (await register(client, invitation)).status_code == 201

    @pytest.mark.parametrize("username", ["ann", "ANN"])
    async def test_the_username(self, client: httpx.AsyncClient, url: str, invitation: str, username: str) -> None:
        add_account(url, "ann@example.test", username="Ann")
        assert refusal(await register(client, invitation, username=username)) == (409, "username_taken")
        assert not is_used(url)
        assert (await register(client, invitation, username="another")).status_code == 201

    async def test_nobody_has_no_username(self, client: httpx.AsyncClient, url: str) -> None:
        """As often as one likes."""
        for number in range(2):
            assert (await register(client, await invite(client, OWNER), email=f"{number}@x.test")).status_code == 201


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"password": "x" * 11}, "/password", "password_too_short"),
    ({"password": PASSWORD * 10}, "/password", "password_too_long"),
    ({"password": "password1234"}, "/password", "password_too_weak"),
    ({"password": "aaaaaaaaaaaaaaaaaaaaaaaaa"}, "/password", "password_too_weak"),
    ({"email": "walnut.cinder.orbit@plume.test", "password": "walnutcinderorbit"}, "/password", "password_too_weak"),
    ({"username": "zephyr-quoll", "password": "zephyr-quoll"}, "/password", "password_too_weak"),
    ({"full_name": "Zephyra Quollington", "password": "Zephyra Quollington"}, "/password", "password_too_weak"),
    ({"email": "Ann <ann@example.test>"}, "/email", "email"),
    ({"email": "ann"}, "/email", "email"),
    ({"email": "ann@"}, "/email", "email"),
    ({"email": " ann@example.test"}, "/email", "email"),
    ({"email": "ann@example.test\n"}, "/email", "email"),
    ({"email": "ann@example.test, bob@example.test"}, "/email", "email"),
    ({"email": "mailto:ann@example.test"}, "/email", "email"),
    ({"email": '"ann"@example.test'}, "/email", "email"),
    ({"email": f"{'a' * 250}@example.test"}, "/email", "email"),
    ({"email": f"ann@{'a.' * 200}test"}, "/email", "email"),
    ({"email": None}, "/email", "string_type"),
    ({"username": "аnn"}, "/username", "username"),  # noqa: RUF001 - the first letter is Cyrillic
    ({"username": "ann".translate({97: 0xFF41})}, "/username", "username"),
    ({"username": "an"}, "/username", "username"),
    ({"username": "a" * 65}, "/username", "username"),
    ({"username": "ann@example.test"}, "/username", "username"),
    ({"username": "ann bob"}, "/username", "username"),
    ({"username": "ann\n"}, "/username", "username"),
    ({"username": ""}, "/username", "username"),
    ({"full_name": " "}, "/full_name", "string_too_short"),
    ({"full_name": "x" * 256}, "/full_name", "string_too_long"),
    ({"role": "owner"}, "/role", "extra_forbidden"),
    ({"is_active": True}, "/is_active", "extra_forbidden"),
]


@pytest.mark.parametrize(("change", "pointer", "code"), FAULTS)
async def test_what_does_not_fit_leaves_the_invitation_good(
    client: httpx.AsyncClient, url: str, invitation: str, change: dict[str, Any], pointer: str, code: str
) -> None:
    before = accounts_in(url)
    answer = await register(client, invitation, **change)
    assert faults(answer) == [(pointer, code)]
    assert "password" not in change or change["password"] not in answer.text
    assert accounts_in(url) == before


class TestOtherModes:
    @pytest.fixture
    async def opened(self, clone_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
        async with in_process(settings_for(clone_url, tmp_path, registration="open")) as client:
            yield client

    async def test_open_to_everybody(self, opened: httpx.AsyncClient) -> None:
        answer = await register(opened, None)
        assert (answer.status_code, answer.json()["user"]["role"]) == (201, "member")

    async def test_open_with_an_invitation(self, opened: httpx.AsyncClient) -> None:
        answer = await register(opened, await invite(opened, OWNER, "owner"))
        assert (answer.status_code, answer.json()["user"]["role"]) == (201, "owner")

    async def test_open_with_a_bad_invitation(self, opened: httpx.AsyncClient, clone_url: str) -> None:
        """Whoever has one means to use it, and would not get what it promises."""
        assert refusal(await register(opened, "garbage")) == INVALID_INVITATION
        assert len(execute(clone_url, "SELECT * FROM users")) == 1

    async def test_closed(self, clone_url: str, tmp_path: Path) -> None:
        async with in_process(settings_for(clone_url, tmp_path, registration="closed")) as client:
            for invitation in (None, await invite(client, OWNER)):
                answer = await register(client, invitation)
                assert refusal(answer) == (403, "registration_closed")
                (row,) = trail(clone_url, answer)
                assert row["details"] == {"reason": "registration_closed"}
        assert not is_used(clone_url)
        assert len(execute(clone_url, "SELECT * FROM users")) == 1
