"""What starts and claims put down about the MVP user and its token."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.db.engine import connect
from app.identity.mvp import ensure_mvp_user
from tests.support.identity import add_user, execute
from tests.support.service import MVP_TOKEN

OTHER_TOKEN = "another-token-of-the-tests-9876543210-ZYXWVU"
ADDRESS = "mvp@localhost"
CREATED = ("token_created", ADDRESS, "command", {"name": "API_TOKEN", "scopes": ["admin", "read", "write"]})
REVOKED = ("token_revoked", ADDRESS, "command", {"name": "API_TOKEN"})


def start(url: str, token: str = MVP_TOKEN) -> None:
    with connect(url) as connection, Session(connection) as session, session.begin():
        ensure_mvp_user(session, lambda: token, ADDRESS)


def told(url: str) -> list[tuple[Any, ...]]:
    rows = execute(url, "SELECT action_type, user_email, actor_kind, details FROM activity_log ORDER BY id")
    return [tuple(row.values()) for row in rows]


def test_a_first_start_and_no_other(clone_url: str) -> None:
    for _ in range(2):
        start(clone_url)
        assert told(clone_url) == [("user_created", ADDRESS, "command", {"role": "owner"}), CREATED]


@pytest.mark.parametrize("role", ["member", "owner"])
def test_an_existing_user(clone_url: str, role: str) -> None:
    add_user(clone_url, ADDRESS, role=role)
    start(clone_url)
    details = {"fields": ["role"], "changes": {"role": {"from": "member", "to": "owner"}}}
    changed = ("user_changed", ADDRESS, "command", details)
    assert told(clone_url) == ([changed] if role == "member" else []) + [CREATED]


def test_another_token_and_back(clone_url: str) -> None:
    for token in (MVP_TOKEN, OTHER_TOKEN, MVP_TOKEN):
        start(clone_url, token)
    assert told(clone_url)[1:] == [CREATED, REVOKED, CREATED, REVOKED, CREATED]
    rows = execute(clone_url, "SELECT resource_id FROM activity_log WHERE resource_type = 'token' ORDER BY id")
    assert [row["resource_id"] for row in rows] == [1, 1, 2, 2, 1]


def test_a_start_that_finds_it_claimed(clone_url: str) -> None:
    start(clone_url)
    execute(clone_url, "UPDATE users SET password_hash = '$argon2id$x'")
    for _ in range(2):
        start(clone_url)
        assert told(clone_url)[2:] == [REVOKED]
