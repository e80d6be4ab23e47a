"""`trading-backend users reset-password` while somebody else is at the same account."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.db.engine import make_engine
from app.features.auth import service
from app.identity.accounts import NewUser
from app.identity.activity import Origin
from app.identity.mvp import ensure_mvp_user
from app.web.session import transaction
from tests.cli.support import CommandLine
from tests.support.accounts import PASSWORD, user_row
from tests.support.identity import add_user, execute
from tests.support.service import MVP_TOKEN

WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    engine = make_engine(clone_url)
    yield engine
    engine.dispose()


@contextmanager
def meanwhile(engine: Engine, url: str, first: str, then: Callable[[Session], object]) -> Iterator[None]:
    """Another transaction, of which the `first` statement was run; `then` comes when somebody waits for it."""
    began = Event()

    def run() -> None:
        with transaction(engine) as session:
            session.execute(text(first))
            began.set()
            deadline = time.monotonic() + 10
            while not execute(url, WAITING):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            then(session)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run)
        assert began.wait(10)
        yield
        other.result(10)


def test_the_mvp_user_is_claimed(cli: CommandLine, clone_url: str, engine: Engine) -> None:
    """Neither waits for the other in a circle."""
    with transaction(engine) as session:
        ensure_mvp_user(session, lambda: MVP_TOKEN, "mvp@localhost")
    new = NewUser(email="founder@example.test", password_hash="by the claim")

    def claim(session: Session) -> None:
        service.claim(session, 1, new, Origin(), keep_api_token=False)

    with meanwhile(engine, clone_url, "SELECT FROM users WHERE id = 1 FOR NO KEY UPDATE", claim):
        assert "founder@example.test" in cli("users", "reset-password", "mvp", stdin=PASSWORD).printed
    assert user_row(clone_url, 1)["password_hash"].startswith("$argon2id$")
    told = [row["action_type"] for row in execute(clone_url, "SELECT action_type FROM activity_log ORDER BY id")]
    assert told[-3:] == ["token_revoked", "claimed", "password_reset"]


def test_the_user_is_deleted(cli: CommandLine, clone_url: str, engine: Engine) -> None:
    add_user(clone_url, "ann@example.test")
    with meanwhile(engine, clone_url, "DELETE FROM users", lambda _: None):
        told = cli.refused("users", "reset-password", "ann@example.test", stdin=PASSWORD)
    assert told == "There is no such user."
    assert execute(clone_url, "SELECT FROM activity_log") == []
