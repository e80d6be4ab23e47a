"""`GET /api/users/me`: the caller, as it is in the database this moment."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.identity import CHALLENGE, INVALID, add_token, add_user, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

ME = "/api/users/me"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


async def me(client: httpx.AsyncClient, token: str | None = None) -> dict[str, Any]:
    answer = await client.get(ME, headers=bearer(token) if token else {})
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_the_mvp_user(mvp: httpx.AsyncClient) -> None:
    body = await me(mvp)
    assert list(body.items()) == [
        ("id", 1),
        ("email", "mvp@localhost"),
        ("username", "mvp"),
        ("full_name", None),
        ("role", "owner"),
        ("is_active", True),
        ("has_password", False),
        ("alpaca_account_id", None),
        ("preferences", {}),
        ("created_at", body["created_at"]),
        ("updated_at", body["updated_at"]),
        ("last_login_at", None),
    ]
    for name in ("created_at", "updated_at"):
        assert TIME.fullmatch(body[name])
        assert abs(datetime.now(UTC) - datetime.fromisoformat(body[name])) < timedelta(minutes=1)


async def test_times_are_those_of_the_database_in_utc(mvp: httpx.AsyncClient, clone_url: str) -> None:
    execute(
        clone_url,
        "UPDATE users SET created_at = '2024-02-29 23:59:59.5', updated_at = '2025-01-01', "
        "last_login_at = '2025-06-01 12:00'",
    )
    body = await me(mvp)
    assert (body["created_at"], body["updated_at"], body["last_login_at"]) == (
        "2024-02-29T23:59:59.500000Z",
        "2025-01-01T00:00:00Z",
        "2025-06-01T12:00:00Z",
    )


async def test_a_change_shows_at_once(mvp: httpx.AsyncClient, clone_url: str) -> None:
    before = await me(mvp)
    changes = {
        "email": "gründer@example.test",
        "username": "Gründer.1",
        "full_name": "Ada 🗝 Lovelace",
        "role": "beta_tester",
        "alpaca_account_id": "PA123",
    }
    assignments = ", ".join(f"{name} = :{name}" for name in changes)
    execute(clone_url, f"UPDATE users SET {assignments}", **changes)
    execute(clone_url, """UPDATE users SET preferences = '{"theme": {"dark": true}, "sizes": [1, 2.5, null]}'""")
    preferences = {"theme": {"dark": True}, "sizes": [1, 2.5, None]}
    assert await me(mvp) == before | changes | {"preferences": preferences}


@pytest.mark.parametrize(
    ("password_hash", "shown"),
    [(None, False), ("", False), ("$2b$12$abcdefghijklmnopqrstuv", True), ("$argon2id$v=19$x", True)],
)
async def test_the_hash_is_never_shown(
    anonymous: httpx.AsyncClient, clone_url: str, password_hash: str | None, shown: bool
) -> None:
    user_id = add_user(clone_url, "ann@example.test")
    execute(clone_url, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=password_hash, id=user_id)
    answer = await anonymous.get(ME, headers=bearer(add_token(clone_url, user_id, ["read"])))
    assert answer.json()["has_password"] is shown
    assert "password_hash" not in answer.text
    assert not password_hash or password_hash not in answer.text


async def test_each_token_stands_for_its_own_user(mvp: httpx.AsyncClient, clone_url: str) -> None:
    for email in ("ann@example.test", "bob@example.test"):
        user_id = add_user(clone_url, email)
        body = await me(mvp, add_token(clone_url, user_id, ["read"]))
        assert (body["id"], body["email"], body["role"]) == (user_id, email, "member")
    assert (await me(mvp))["id"] == 1


async def test_who_is_not_let_in(anonymous: httpx.AsyncClient, clone_url: str) -> None:
    writer = add_token(clone_url, add_user(clone_url, "ann@example.test"), ["write"])
    for headers, status, challenge in (
        ({}, 401, CHALLENGE),
        (bearer("nobody"), 401, INVALID),
        (bearer(writer), 403, insufficient("read")),
    ):
        answer = await anonymous.get(ME, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (status, challenge)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "@" not in answer.text
