"""People who call the API, and what the activity log says of them."""

from itertools import count
from typing import Any, NamedTuple

import httpx
from sqlalchemy import RowMapping

from app.identity.passwords import hash_password
from tests.support.accounts import PASSWORD
from tests.support.identity import Service, add_session, add_user, execute
from tests.support.service import bearer

USERS = "/api/users"
ME = f"{USERS}/me"
OWNER = bearer()
"""The MVP user's headers."""

PASSWORD_HASH = hash_password(PASSWORD)

_NUMBERS = count(1)


class Person(NamedTuple):
    id: int
    email: str
    headers: dict[str, str]
    """Of a session."""


def add_person(service: Service, *, role: str = "member", password_hash: str | None = None) -> Person:
    email = f"person{next(_NUMBERS)}@example.test"
    user_id = add_user(service.url, email, role=role)
    if password_hash is not None:
        execute(service.url, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=password_hash, id=user_id)
    return Person(user_id, email, bearer(add_session(service.client, user_id)))


def user_row(url: str, user_id: int) -> dict[str, Any]:
    """All columns, JSON as it is stored."""
    (row,) = execute(url, "SELECT *, preferences::text AS preferences FROM users WHERE id = :id", id=user_id)
    return dict(row)


def events(url: str, user_id: int | None) -> list[RowMapping]:
    """What the log tells of an account, oldest first."""
    return execute(url, "SELECT * FROM activity_log WHERE user_id IS NOT DISTINCT FROM :id ORDER BY id", id=user_id)


def counts(url: str) -> tuple[int, int]:
    """How many users and events there are."""
    (row,) = execute(url, "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM activity_log) AS events")
    return row["users"], row["events"]


def faults(answer: httpx.Response) -> list[tuple[str, str]]:
    """Pointer and code of each error of a 422."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "validation_failed"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]
