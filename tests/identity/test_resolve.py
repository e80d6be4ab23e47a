"""Which tokens are good, and what their use leaves behind."""

import asyncio
import time
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from app.db.engine import connect
from app.identity.tokens import mint
from tests.support.identity import (
    INVALID,
    Service,
    add_token,
    add_user,
    checkouts,
    execute,
    statements,
    without_request_id,
)
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio

ME = "/api/users/me"
HOUR = timedelta(hours=1)


async def me(service: Service, token: str) -> httpx.Response:
    return await service.client.get(ME, headers=bearer(token))


async def test_a_token_stands_for_its_user(service: Service) -> None:
    user_id = add_user(service.url, "ann@example.test")
    for token in (add_token(service.url, user_id), add_token(service.url, user_id, ["read"], expires_in=HOUR)):
        answer = await me(service, token)
        assert (answer.status_code, answer.json()["id"]) == (200, user_id)


async def test_every_refusal_is_the_same(service: Service) -> None:
    """It does not tell a guesser how close the guess was."""
    url = service.url
    user, inactive, deleted = (
        add_user(url, f"{name}@example.test", is_active=name != "inactive") for name in ("user", "inactive", "deleted")
    )
    tokens = {
        "unknown": mint().plain,
        "of another shape": "x" * 40,
        "mistyped": mint().plain[:-1] + "!",
        "expired": add_token(url, user, expires_in=-HOUR),
        "just expired": add_token(url, user, expires_in=timedelta()),
        "revoked": add_token(url, user, revoked=True),
        "revoked and expired": add_token(url, user, revoked=True, expires_in=-HOUR),
        "of an inactive user": add_token(url, inactive),
        "of a deleted user": add_token(url, deleted),
    }
    execute(url, "DELETE FROM users WHERE id = :id", id=deleted)
    answers = {name: await me(service, token) for name, token in tokens.items()}
    reference = without_request_id(answers["unknown"])
    assert {name: without_request_id(answer) for name, answer in answers.items()} == dict.fromkeys(tokens, reference)
    assert {answer.status_code for answer in answers.values()} == {401}
    assert reference[0]["www-authenticate"] == INVALID
    assert reference[1]["code"] == "invalid_token"
    uses = execute(
        url, "SELECT last_used_at FROM api_tokens WHERE user_id IN (:user, :other)", user=user, other=inactive
    )
    assert {row["last_used_at"] for row in uses} == {None}


async def test_a_mistyped_token_costs_no_query(service: Service) -> None:
    plain = mint().plain
    mistyped = [plain[:-1] + ("0" if plain[-1] != "0" else "1"), plain[:-1], plain + "0", plain.swapcase(), "tb_"]
    with statements() as executed, checkouts() as handed_out:
        assert {(await me(service, f"tb_{token.removeprefix('tb_')}")).status_code for token in mistyped} == {401}
    assert (executed, handed_out) == ([], [])


async def test_any_other_token_costs_one(service: Service) -> None:
    with statements() as executed:
        await me(service, mint().plain)
        await me(service, "x" * 40)
    assert len(executed) == 2


async def test_what_happens_to_a_user_counts_at_once(service: Service) -> None:
    user_id = add_user(service.url, "bob@example.test")
    token = add_token(service.url, user_id)
    for change, status in (
        ("UPDATE users SET is_active = false WHERE id = :id", 401),
        ("UPDATE users SET is_active = true WHERE id = :id", 200),
        ("UPDATE api_tokens SET scopes = '{}' WHERE user_id = :id", 403),
        ("UPDATE api_tokens SET scopes = '{read}' WHERE user_id = :id", 200),
        ("UPDATE api_tokens SET expires_at = timezone('utc', now()) WHERE user_id = :id", 401),
        ("UPDATE api_tokens SET expires_at = NULL WHERE user_id = :id", 200),
        ("DELETE FROM users WHERE id = :id", 401),
    ):
        execute(service.url, change, id=user_id)
        assert (change, (await me(service, token)).status_code) == (change, status)


class TestLastUse:
    """`last_used_at` is right to the minute, and costs a write no more often."""

    @pytest.fixture
    def token(self, service: Service) -> str:
        (row,) = execute(service.url, "SELECT count(*) AS users FROM users")
        return add_token(service.url, add_user(service.url, f"user{row['users']}@example.test"))

    @staticmethod
    def set_age(service: Service, seconds: float | None) -> None:
        execute(
            service.url,
            "UPDATE api_tokens SET last_used_at = timezone('utc', now()) - make_interval(secs => :seconds) "
            "WHERE id = (SELECT max(id) FROM api_tokens)",
            seconds=seconds,
        )

    @staticmethod
    def age(service: Service) -> float | None:
        (row,) = execute(
            service.url,
            "SELECT extract(epoch FROM timezone('utc', now()) - last_used_at) AS age FROM api_tokens "
            "ORDER BY id DESC LIMIT 1",
        )
        return None if row["age"] is None else float(row["age"])

    @pytest.mark.parametrize(("before", "writes"), [(None, 1), (30, 0), (70, 1), (86_400, 1), (-30, 0)])
    async def test_it_is_written_once_a_minute(
        self, service: Service, token: str, before: float | None, writes: int
    ) -> None:
        self.set_age(service, before)
        with statements() as executed:
            for _ in range(3):
                assert (await me(service, token)).status_code == 200
        assert sum(statement.startswith("UPDATE") for statement in executed) == writes
        age = self.age(service)
        assert age is not None
        assert abs(age - (before if before and not writes else 0)) < 20

    async def test_concurrent_requests_write_it(self, service: Service, token: str) -> None:
        answers = await asyncio.gather(*(me(service, token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        age = self.age(service)
        assert age is not None
        assert age < 20

    async def test_nobody_waits_to_write_it(self, service: Service, token: str) -> None:
        with connect(service.url) as other, other.begin():
            # So that a test that fails does not hang.
            other.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10s'"))
            other.execute(text("SELECT id FROM api_tokens FOR UPDATE"))
            started = time.monotonic()
            answers = await asyncio.gather(*(me(service, token) for _ in range(5)))
            assert {answer.status_code for answer in answers} == {200}
            assert time.monotonic() - started < 8
        assert self.age(service) is None
        await me(service, token)
        assert self.age(service) is not None

    async def test_a_refused_request_is_a_use_too(self, service: Service, token: str) -> None:
        assert (await service.client.post("/api/tokens", headers=bearer(token), json={})).status_code == 403
        assert self.age(service) is not None


async def test_the_start_is_no_use_of_the_configured_token(clone_url: str, anonymous: httpx.AsyncClient) -> None:
    used = "SELECT last_used_at FROM api_tokens WHERE from_configuration"
    assert [row["last_used_at"] for row in execute(clone_url, used)] == [None]
    assert (await anonymous.get(ME, headers=bearer(MVP_TOKEN))).status_code == 200
    assert [row["last_used_at"] is None for row in execute(clone_url, used)] == [False]
