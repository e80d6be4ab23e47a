"""What is changed anywhere counts everywhere: here with the next request, elsewhere within a second."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import text

from app.core.clock import steady
from app.db.engine import connect
from app.identity import authenticator
from tests.support import postgres
from tests.support.accounts import PASSWORD, claim, hash_of, password_of, quick_sign_ins
from tests.support.identity import add_token, add_user, execute, open_session, statements
from tests.support.service import MVP_TOKEN, bearer, in_process, settings_for

pytestmark = pytest.mark.anyio

ME = "/api/users/me"
WITHIN = 1.0  # seconds

_numbers = count(1)


class Replicas(NamedTuple):
    url: str
    here: httpx.AsyncClient
    elsewhere: httpx.AsyncClient


@pytest.fixture(scope="module")
async def replicas(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    folder = tmp_path_factory.mktemp("data")
    with quick_sign_ins(), postgres.database(server_url, like=template) as url:
        settings = settings_for(url, folder)
        async with in_process(settings) as here, in_process(settings) as elsewhere:
            yield Replicas(url, here, elsewhere)


class Person:
    """An owner with a session, another one, an API token and a password, and how to change that."""

    def __init__(self, replicas: Replicas) -> None:
        number = next(_numbers)
        self.url, self.client = replicas.url, replicas.here
        self.email = f"person{number}@example.test"
        self.id = add_user(self.url, self.email, role="owner")
        execute(self.url, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=hash_of(), id=self.id)
        self.session, self.other = (open_session(self.client, self.id) for _ in range(2))
        self.api_token = add_token(self.url, self.id)

    async def does(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> httpx.Response:
        """From the other session, unless with a token; `{…}` stands for an attribute of the person."""
        path = path.format(id=self.id, session=self.session.session_id, token=self._token_id)
        headers = bearer(token or self.other.access_token)
        answer = await self.client.request(method, path, headers=headers, json=body)
        assert answer.is_success, answer.text
        return answer

    def sql(self, statement: str) -> None:
        """Behind the back of every process."""
        with connect(self.url) as connection, connection.begin():
            connection.execute(text(statement), {"id": self.id, "session": self.session.session_id})

    @property
    def _token_id(self) -> int:
        (row,) = execute(self.url, "SELECT id FROM api_tokens WHERE user_id = :id", id=self.id)
        token_id: int = row["id"]
        return token_id


Change = Callable[[Person], Awaitable[object]]


def http(method: str, path: str, body: Any = None) -> Change:
    async def change(person: Person) -> None:
        await person.does(method, path, body)

    return change


def sql(statement: str) -> Change:
    async def change(person: Person) -> None:
        await asyncio.to_thread(person.sql, statement)

    return change


async def log_out(person: Person) -> None:
    await person.does("POST", "/api/auth/logout", token=person.session.access_token)


async def reset_password(person: Person) -> None:
    issued = await person.does("POST", "/api/users/{id}/password-reset")
    body = {"token": issued.json()["token"], "new_password": password_of("new")}
    await person.does("POST", "/api/auth/password/reset", body)


async def reuse_refresh_token(person: Person) -> None:
    refresh = {"refresh_token": person.session.refresh_token}
    await person.does("POST", "/api/auth/refresh", refresh)
    person.sql(
        "UPDATE refresh_token_exchanges SET exchanged_at = exchanged_at - interval '1 hour' WHERE session_id = :session"
    )
    assert (await person.client.post("/api/auth/refresh", json=refresh)).status_code == 401


SESSION_ENDS: dict[str, Change] = {
    "logged out": log_out,
    "logged out everywhere": http("POST", "/api/auth/logout?scope=global"),
    "logged out elsewhere": http("POST", "/api/auth/logout?scope=others"),
    "ended": http("DELETE", "/api/sessions/{session}"),
    "ended by an owner": http("DELETE", "/api/users/{id}/sessions"),
    "password changed": http(
        "PUT", f"{ME}/password", {"current_password": PASSWORD, "new_password": password_of("new")}
    ),
    "password reset": reset_password,
    "refresh token reused": reuse_refresh_token,
    "ended in SQL": sql("UPDATE user_sessions SET ended_at = timezone('utc', now()) WHERE id = :session"),
    "expired in SQL": sql("UPDATE user_sessions SET expires_at = timezone('utc', now()) WHERE id = :session"),
    "idle in SQL": sql(
        "UPDATE user_sessions SET last_activity_at = last_activity_at - interval '1 year' WHERE id = :session"
    ),
    "deleted in SQL": sql("DELETE FROM user_sessions WHERE id = :session"),
    "truncated in SQL": sql("TRUNCATE user_sessions CASCADE"),
}

TOKEN_ENDS: dict[str, Change] = {
    "revoked": http("DELETE", "/api/tokens/{token}"),
    "revoked in SQL": sql("UPDATE api_tokens SET revoked_at = timezone('utc', now()) WHERE user_id = :id"),
    "expired in SQL": sql("UPDATE api_tokens SET expires_at = timezone('utc', now()) WHERE user_id = :id"),
    "replaced in SQL": sql("UPDATE api_tokens SET secret_hash = sha256('x') WHERE user_id = :id"),
    "deleted in SQL": sql("DELETE FROM api_tokens WHERE user_id = :id"),
}

USER_ENDS: dict[str, Change] = {
    "deactivated": http("PATCH", "/api/users/{id}", {"is_active": False}),
    "deleted": http("DELETE", "/api/users/{id}"),
    "deactivated in SQL": sql("UPDATE users SET is_active = false WHERE id = :id"),
    "deleted in SQL": sql("DELETE FROM users WHERE id = :id"),
}

SHOWN: dict[str, tuple[Change, dict[str, Any]]] = {
    "demoted": (http("PATCH", "/api/users/{id}", {"role": "member"}), {"role": "member"}),
    "full name": (http("PATCH", ME, {"full_name": "Ann"}), {"full_name": "Ann"}),
    "username": (http("PATCH", ME, {"username": "ann.of.many"}), {"username": "ann.of.many"}),
    "e-mail": (http("PATCH", ME, {"email": "ann@new.test"}), {"email": "ann@new.test"}),
    "preferences": (http("PATCH", ME, {"preferences": {"a": 1}}), {"preferences": {"a": 1}}),
    "demoted in SQL": (sql("UPDATE users SET role = 'viewer' WHERE id = :id"), {"role": "viewer"}),
    "password taken in SQL": (sql("UPDATE users SET password_hash = NULL WHERE id = :id"), {"has_password": False}),
}


async def ask(client: httpx.AsyncClient, token: str) -> tuple[int, dict[str, Any]]:
    answer = await client.get(ME, headers=bearer(token))
    return answer.status_code, answer.json()


async def warm(replicas: Replicas, *tokens: str) -> None:
    """Let both know the tokens by heart."""
    executed = ["not asked yet"]
    while executed:
        with statements() as executed:
            for client in (replicas.here, replicas.elsewhere):
                assert {(await ask(client, token))[0] for token in tokens} == {200}


async def is_heeded(
    replicas: Replicas, token: str, expected: Callable[[int, dict[str, Any]], bool], *, at_once: bool = True
) -> None:
    """By whoever asks here next, where the change was made here; elsewhere within a moment."""
    deadline = time.monotonic() + WITHIN
    if at_once:
        assert expected(*await ask(replicas.here, token))
    for client in (replicas.here, replicas.elsewhere):
        while not expected(*await ask(client, token)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)


def is_refused(status: int, body: dict[str, Any]) -> bool:
    return (status, body.get("code")) == (401, "invalid_token")


@pytest.mark.parametrize("how", SESSION_ENDS)
async def test_a_session_ends(replicas: Replicas, how: str) -> None:
    person = Person(replicas)
    await warm(replicas, person.session.access_token)
    await SESSION_ENDS[how](person)
    await is_heeded(replicas, person.session.access_token, is_refused, at_once="SQL" not in how)


@pytest.mark.parametrize("how", TOKEN_ENDS)
async def test_a_token_ends(replicas: Replicas, how: str) -> None:
    person = Person(replicas)
    await warm(replicas, person.api_token)
    await TOKEN_ENDS[how](person)
    await is_heeded(replicas, person.api_token, is_refused, at_once="SQL" not in how)


@pytest.mark.parametrize("how", USER_ENDS)
async def test_a_user_ends(replicas: Replicas, how: str) -> None:
    person = Person(replicas)
    tokens = (person.session.access_token, person.api_token)
    await warm(replicas, *tokens)
    await USER_ENDS[how](person)
    for token in tokens:
        await is_heeded(replicas, token, is_refused, at_once="SQL" not in how)


@pytest.mark.parametrize("what", SHOWN)
async def test_a_user_changes(replicas: Replicas, what: str) -> None:
    person = Person(replicas)
    tokens = (person.session.access_token, person.api_token)
    await warm(replicas, *tokens)
    change, after = SHOWN[what]
    await change(person)
    for token in tokens:
        await is_heeded(replicas, token, lambda _, body: after.items() <= body.items(), at_once="SQL" not in what)


async def test_fewer_scopes(replicas: Replicas) -> None:
    person = Person(replicas)
    await warm(replicas, person.api_token)
    person.sql("UPDATE api_tokens SET scopes = '{}' WHERE user_id = :id")
    await is_heeded(replicas, person.api_token, lambda status, _: status == 403, at_once=False)


async def test_others_stay_known(replicas: Replicas) -> None:
    person, other = Person(replicas), Person(replicas)
    await warm(replicas, person.session.access_token, other.session.access_token)
    await log_out(person)
    await is_heeded(replicas, person.session.access_token, is_refused)
    with statements() as executed:
        for client in (replicas.here, replicas.elsewhere):
            assert (await ask(client, other.session.access_token))[0] == 200
    assert executed == []


async def test_a_machine_that_slept_asks_again(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody has told it what was revoked meanwhile."""
    person = Person(replicas)
    await warm(replicas, person.session.access_token)
    monkeypatch.setattr(authenticator, "steady", lambda: steady() + 3600)
    with statements() as executed:
        assert (await ask(replicas.here, person.session.access_token))[0] == 200
    assert executed


async def test_the_claim_retires_the_token_of_the_configuration(clone_url: str, tmp_path: Path) -> None:
    settings = settings_for(clone_url, tmp_path)
    with quick_sign_ins():
        async with in_process(settings) as here, in_process(settings) as elsewhere:
            replicas = Replicas(clone_url, here, elsewhere)
            await warm(replicas, MVP_TOKEN)
            await claim(here)
            await is_heeded(replicas, MVP_TOKEN, is_refused)
