"""People with passwords, over HTTP as they would do it themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import RowMapping

from app.features.auth import flows
from app.identity import hashing
from app.identity.passwords import hash_password
from tests.support.identity import add_user, execute
from tests.support.service import bearer

PASSWORD = "orbit-walnut-cinder-42-plume"
"""Scores 4; so does every one made with `password_of`."""


def password_of(name: str) -> str:
    return f"{PASSWORD}-{name}"


class Account(NamedTuple):
    id: int
    email: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.access_token)


def account_of(answer: dict[str, Any]) -> Account:
    """Out of what /register and /claim answer."""
    user = answer["user"]
    return Account(user["id"], user["email"], answer["access_token"], answer["refresh_token"])


async def claim(client: httpx.AsyncClient, email: str = "founder@example.test", **more: Any) -> Account:
    body = {"email": email, "password": PASSWORD, **more}
    answer = await client.post("/api/auth/claim", headers=bearer(), json=body)
    assert answer.status_code == 200, answer.text
    return account_of(answer.json())


async def invite(client: httpx.AsyncClient, owner: dict[str, str], role: str = "member", **more: Any) -> str:
    """The token of an invitation."""
    answer = await client.post("/api/invitations", headers=owner, json={"role": role, **more})
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def join(client: httpx.AsyncClient, owner: dict[str, str], email: str, role: str = "member") -> Account:
    """A new account, by an invitation of `owner`, whose headers these are; its password is PASSWORD."""
    body = {"email": email, "password": PASSWORD, "invitation": await invite(client, owner, role)}
    answer = await client.post("/api/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return account_of(answer.json())


async def sign_in(client: httpx.AsyncClient, username: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/auth/login", json={"username": username, "password": password})


def hash_of(password: str = PASSWORD) -> str:
    """As it is stored today."""
    return hash_password(password)


def add_account(
    url: str, email: str, *, username: str | None = None, password_hash: str | None = None, **more: Any
) -> int:
    """A user whose password is PASSWORD, unless another hash is given; its id."""
    user_id = add_user(url, email, **more)
    execute(
        url,
        "UPDATE users SET username = :username, password_hash = :hash WHERE id = :id",
        username=username,
        hash=hash_of() if password_hash is None else password_hash,
        id=user_id,
    )
    return user_id


def user_row(url: str, user_id: int) -> RowMapping:
    (row,) = execute(url, "SELECT * FROM users WHERE id = :id", id=user_id)
    return row


def trail(url: str, answer: httpx.Response) -> list[RowMapping]:
    """What the activity log says of a request, oldest first."""
    request_id = answer.headers["x-request-id"]
    return execute(url, "SELECT * FROM activity_log WHERE request_id = :id ORDER BY id", id=request_id)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert problem["status"] == answer.status_code
    return answer.status_code, problem["code"]


def faults(answer: httpx.Response) -> list[tuple[str, str]]:
    """Pointer and code of each error of a 422."""
    assert refusal(answer) == (422, "validation_failed"), answer.text
    return [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


def accounts_in(url: str) -> list[str]:
    """Every row of the tables that say who may do what, as text."""
    tables = ("users", "user_sessions", "api_tokens", "invitations", "password_resets", "mvp_claim")
    selects = (f"SELECT '{table} ' || (to_jsonb(t) - 'last_used_at')::text AS row FROM {table} t" for table in tables)
    return sorted(row["row"] for row in execute(url, " UNION ALL ".join(selects)))


@contextmanager
def quick_sign_ins() -> Iterator[None]:
    """Refusals without a wait, and Argon2id without the work; hashes made meanwhile are weak to whoever comes later."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = hashing._ARGON2ID.using(memory_cost=64, time_cost=1)  # type: ignore[no-untyped-call]  # noqa: SLF001
        for name, value in {"MEMORY": 64, "PASSES": 1, "_ARGON2ID": cheap}.items():
            patch.setattr(hashing, name, value)
        patch.setattr(flows, "REFUSAL_TAKES", 0.001)
        yield
