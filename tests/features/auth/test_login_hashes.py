"""Hashes of older deployments sign in once more and are replaced by better ones; none is replaced by a worse one."""

import asyncio
from collections.abc import Callable
from typing import Any

import bcrypt
import httpx
import pytest
from passlib.hash import argon2

from app.features.auth import service
from app.identity import hashing
from app.identity.activity import Origin
from app.identity.passwords import HashingBusy
from app.web.session import transaction
from tests.support.accounts import PASSWORD, add_account, hash_of, password_of, sign_in, trail, user_row
from tests.support.identity import application, execute

pytestmark = pytest.mark.anyio

LONG = "correct-horse-" * 8
"""112 bytes, of which bcrypt counts 72."""


def bcrypt_of(password: str, variant: str = "2b") -> str:
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    return hashed.replace("$2b$", f"${variant}$")


def argon2_of(kind: str = "ID", *, memory: float = 1, passes: int = 1) -> str:
    """With so many times the memory and the passes of today's."""
    costs = {"memory_cost": int(memory * hashing.MEMORY), "time_cost": passes * hashing.PASSES, "parallelism": 1}
    handler: Any = argon2.using(type=kind, **costs)  # type: ignore[no-untyped-call]
    hashed: str = handler.hash(PASSWORD)
    return hashed


OLD: dict[str, Callable[[], str]] = {
    "bcrypt 2b": lambda: bcrypt_of(PASSWORD),
    "bcrypt 2a": lambda: bcrypt_of(PASSWORD, "2a"),
    "bcrypt 2y": lambda: bcrypt_of(PASSWORD, "2y"),
    "argon2i": lambda: argon2_of("I", memory=4),
    "argon2id with less memory": lambda: argon2_of(memory=0.5),
}
GOOD: dict[str, Callable[[], str]] = {
    "today's": hash_of,
    "with more memory": lambda: argon2_of(memory=2),
    "with more passes for less memory": lambda: argon2_of(memory=0.5, passes=3),
}


def is_good(stored: str) -> bool:
    return stored.startswith(f"$argon2id$v=19$m={hashing.MEMORY},t={hashing.PASSES},p=1$")


@pytest.mark.parametrize("kind", OLD)
async def test_an_old_hash_signs_in_and_is_replaced(client: httpx.AsyncClient, url: str, kind: str) -> None:
    email = f"{kind.replace(' ', '-')}@example.test"
    user = add_account(url, email, password_hash=OLD[kind]())
    old = user_row(url, user)["password_hash"]
    assert (await sign_in(client, email, "wrong")).status_code == 401
    assert user_row(url, user)["password_hash"] == old, "whoever does not know the password changes nothing"
    assert (await sign_in(client, email)).status_code == 200
    new = user_row(url, user)["password_hash"]
    assert is_good(new)
    assert (await sign_in(client, email)).status_code == 200
    assert (await sign_in(client, email, "wrong")).status_code == 401
    assert user_row(url, user)["password_hash"] == new


@pytest.mark.parametrize("kind", GOOD)
async def test_a_good_hash_stays(client: httpx.AsyncClient, url: str, kind: str) -> None:
    email = f"{kind.replace(' ', '-')}@example.test".replace("'", "")
    user = add_account(url, email, password_hash=GOOD[kind]())
    before = user_row(url, user)["password_hash"]
    assert (await sign_in(client, email)).status_code == 200
    assert user_row(url, user)["password_hash"] == before


async def test_of_a_long_password_all_counts_from_then_on(client: httpx.AsyncClient, url: str) -> None:
    add_account(url, "long@example.test", password_hash=bcrypt_of(LONG))
    assert (await sign_in(client, "long@example.test", LONG)).status_code == 200
    assert (await sign_in(client, "long@example.test", LONG[:72])).status_code == 401
    assert (await sign_in(client, "long@example.test", LONG)).status_code == 200


async def test_several_who_replace_it_at_once_all_get_in(client: httpx.AsyncClient, url: str) -> None:
    """Whoever comes second finds another hash than the one it verified; the password is right all the same."""
    user = add_account(url, "twice@example.test", password_hash=bcrypt_of(PASSWORD))
    answers = await asyncio.gather(*(sign_in(client, "twice@example.test") for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert is_good(user_row(url, user)["password_hash"])
    assert execute(url, "SELECT * FROM throttled_keys WHERE failures > 0") == []


async def test_one_that_cannot_be_replaced_now_signs_in_all_the_same(
    client: httpx.AsyncClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(password: str) -> str:
        raise HashingBusy

    old = bcrypt_of(PASSWORD)
    user = add_account(url, "busy@example.test", password_hash=old)
    monkeypatch.setattr(application(client).state.lane, "hash", busy)
    assert (await sign_in(client, "busy@example.test")).status_code == 200
    assert user_row(url, user)["password_hash"] == old


class TestWhoChangesThePasswordMeanwhile:
    """Between the moment at which a password is verified and the one at which the session is opened."""

    @pytest.fixture
    def user(self, client: httpx.AsyncClient, url: str) -> int:
        execute(url, "DELETE FROM users WHERE email = 'changing@example.test'")
        return add_account(url, "changing@example.test", username="changing")

    @pytest.mark.parametrize(
        ("change", "status", "reason"),
        [
            ("password_hash = :other", 401, "wrong_password"),
            ("password_hash = NULL", 401, "no_password"),
            ("is_active = false", 401, "inactive"),
            ("email = 'changed@example.test', username = NULL", 200, None),
        ],
    )
    async def test_over_http(
        self,
        client: httpx.AsyncClient,
        url: str,
        user: int,
        monkeypatch: pytest.MonkeyPatch,
        change: str,
        status: int,
        reason: str | None,
    ) -> None:
        verify = application(client).state.lane.verify

        async def verify_slowly(password: str, stored: str | None) -> Any:
            verdict = await verify(password, stored)
            others = {"other": hash_of(password_of("other"))} if ":other" in change else {}
            execute(url, f"UPDATE users SET {change} WHERE id = :id", id=user, **others)
            return verdict

        monkeypatch.setattr(application(client).state.lane, "verify", verify_slowly)
        answer = await sign_in(client, "changing")
        assert answer.status_code == status
        (row,) = trail(url, answer)
        assert (row["action_type"], row["details"].get("reason")) == (
            ("sign_in_failed", reason) if reason else ("signed_in", None)
        )
        sessions = execute(url, "SELECT id FROM user_sessions WHERE user_id = :id AND ended_at IS NULL", id=user)
        assert len(sessions) == (status == 200)
        execute(url, "DELETE FROM users WHERE id = :id", id=user)

    async def test_what_matched_the_old_one_opens_nothing(self, client: httpx.AsyncClient, url: str, user: int) -> None:
        state = application(client).state
        with transaction(state.engine) as session:
            begun = service.begin_sign_in(session, "changing", Origin(address="192.0.2.5"))
        execute(url, "UPDATE users SET password_hash = :hash WHERE id = :id", hash="another", id=user)
        checked = service.SignIn(begun.attempt, begun.user_id, begun.password_hash, matches=True)
        with transaction(state.engine) as session:
            again = service.finish_sign_in(session, state.sessions, checked, Origin())
        assert isinstance(again, service.SignIn)
        assert (again.attempt, again.user_id, again.password_hash) == (begun.attempt, user, "another")
        assert (again.matches, again.better_hash) == (False, None)
        assert execute(url, "SELECT * FROM user_sessions WHERE user_id = :id", id=user) == []

    async def test_a_better_hash_never_takes_the_place_of_another_password(
        self, client: httpx.AsyncClient, url: str, user: int
    ) -> None:
        state = application(client).state
        with transaction(state.engine) as session:
            begun = service.begin_sign_in(session, "changing", Origin(address="192.0.2.6"))
        execute(url, "UPDATE users SET password_hash = 'another' WHERE id = :id", id=user)
        checked = service.SignIn(begun.attempt, user, begun.password_hash, matches=True, better_hash="better")
        with transaction(state.engine) as session:
            service.finish_sign_in(session, state.sessions, checked, Origin())
        assert user_row(url, user)["password_hash"] == "another"

    async def test_who_is_deleted_meanwhile_is_unknown(self, client: httpx.AsyncClient, url: str, user: int) -> None:
        state = application(client).state
        with transaction(state.engine) as session:
            begun = service.begin_sign_in(session, "changing", Origin(address="192.0.2.7"))
        execute(url, "DELETE FROM users WHERE id = :id", id=user)
        checked = service.SignIn(begun.attempt, user, begun.password_hash, matches=True)
        with pytest.raises(service.InvalidCredentials), transaction(state.engine) as session:
            service.finish_sign_in(session, state.sessions, checked, Origin())


async def test_what_is_held_of_an_attempt_is_not_printed(client: httpx.AsyncClient, url: str) -> None:
    add_account(url, "printed@example.test")
    with transaction(application(client).state.engine) as session:
        begun = service.begin_sign_in(session, "printed@example.test", Origin())
    assert "argon2" not in repr(begun)
