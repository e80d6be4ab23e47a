"""Tokens that are good once: who may use them, until when, and that of many at once one succeeds."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.core.errors import AppError, NotFound
from app.db.engine import make_engine
from app.identity.accounts import set_password
from app.identity.activity import Origin
from app.identity.one_time import (
    InvalidInvitation,
    InvalidResetToken,
    consume_reset,
    find_reset,
    invite,
    issue_reset,
    redeem,
    void_resets,
)
from app.identity.sessions import EndReason
from app.identity.tokens import INVITATION, PASSWORD_RESET, mint
from app.models.database import User
from tests.support import postgres
from tests.support.identity import add_user, execute

EMAIL = "ann@example.test"


@pytest.fixture(scope="module")
def url(server_url: str, template: str) -> Iterator[str]:
    with postgres.database(server_url, like=template) as url:
        yield url


@pytest.fixture(scope="module")
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


def invitation(engine: Engine, email: str | None = None) -> str:
    with Session(engine) as session, session.begin():
        _, minted = invite(session, role="member", email=email, lifetime=timedelta(hours=1), created_by=None)
    return minted.plain


def reset_token(engine: Engine, url: str) -> tuple[int, str]:
    (row,) = execute(url, "SELECT coalesce(max(id), 0) AS id FROM users")
    user_id = add_user(url, f"reset{row['id']}@example.test")
    return user_id, issued(engine, user_id)


def issued(engine: Engine, user_id: int) -> str:
    with Session(engine) as session, session.begin():
        return issue_reset(session, session.get_one(User, user_id))[1].plain


def used(engine: Engine, token: str, email: str = EMAIL) -> bool:
    with Session(engine) as session, session.begin():
        try:
            found = redeem(session, token, email)
        except InvalidInvitation:
            return False
        assert (found.role, found.used_by) == ("member", None)
        return found.used_at is not None


def consumed(engine: Engine, token: str) -> int | None:
    with Session(engine) as session, session.begin():
        found = find_reset(session, token)
        try:
            user_id = consume_reset(session, token)
        except InvalidResetToken:
            assert found is None
            return None
        assert found is not None
        assert found.user_id == user_id
        return user_id


def at_once(engine: Engine, work: Callable[[Session], Any], times: int = 10) -> list[str]:
    """What became of so many transactions that reach `work` at the same moment, each on its own connection."""
    barrier = Barrier(times)

    def run(_: int) -> str:
        with Session(engine) as session:
            session.connection()
            barrier.wait(10)
            try:
                work(session)
            except AppError as refusal:
                return refusal.code
            session.commit()
            return "done"

    with ThreadPoolExecutor(times) as threads:
        return sorted(threads.map(run, range(times)))


def almost(token: str) -> list[str]:
    """Texts that are not the token."""
    altered = "1" if token[-7] == "0" else "0"
    return [
        "",
        token[:-1],
        token + "0",
        token[:-7] + altered + token[-6:],
        token.upper(),
        f" {token}",
        f"{token}\n",
        mint(token[:4]).plain,
        mint().plain,
        "🗝" * 50,
        "x" * 100_000,
    ]


class TestInvitation:
    def test_it_is_good_once(self, engine: Engine) -> None:
        token = invitation(engine)
        assert [used(engine, token) for _ in range(2)] == [True, False]

    @pytest.mark.parametrize(
        ("bound", "email", "good"),
        [
            (EMAIL, EMAIL, True),
            (EMAIL, "ANN@Example.TEST", True),
            ("Straße@example.test", "STRASSE@example.test", True),
            ("gr\u00fcn@example.test", "gru\u0308n@example.test", True),
            (EMAIL, "bob@example.test", False),
            (EMAIL, "ann@example.test ", False),
            (EMAIL, "%", False),
            (None, "anybody@example.test", True),
        ],
    )
    def test_for_whom(self, engine: Engine, bound: str | None, email: str, good: bool) -> None:
        token = invitation(engine, bound)
        assert used(engine, token, email) is good
        assert good or used(engine, token, bound or "")

    @pytest.mark.parametrize("change", ["expires_at = timezone('utc', now())", "revoked_at = now()", "used_at = now()"])
    def test_until_when(self, engine: Engine, url: str, change: str) -> None:
        token = invitation(engine)
        execute(url, f"UPDATE invitations SET {change} WHERE secret_hash = sha256(:token)", token=token.encode())
        assert not used(engine, token)

    def test_other_texts(self, engine: Engine) -> None:
        token = invitation(engine)
        assert not any(used(engine, text) for text in almost(token))
        assert used(engine, token)

    def test_a_refused_registration_gives_it_back(self, engine: Engine) -> None:
        token = invitation(engine)
        with Session(engine) as session:
            redeem(session, token, EMAIL)
            session.rollback()
        assert used(engine, token)

    def test_of_ten_at_once_one_succeeds(self, engine: Engine) -> None:
        for _ in range(3):
            token = invitation(engine)
            outcomes = at_once(engine, partial(redeem, token=token, email=EMAIL))
            assert outcomes == ["done"] + ["invalid_invitation"] * 9


class TestReset:
    def test_it_is_good_once(self, engine: Engine, url: str) -> None:
        user_id, token = reset_token(engine, url)
        assert [consumed(engine, token) for _ in range(2)] == [user_id, None]

    def test_finding_it_does_not_use_it(self, engine: Engine, url: str) -> None:
        user_id, token = reset_token(engine, url)
        for _ in range(2):
            with Session(engine) as session, session.begin():
                found = find_reset(session, token)
                assert found is not None
                assert found.user_id == user_id

    @pytest.mark.parametrize("change", ["expires_at = timezone('utc', now())", "used_at = now()"])
    def test_until_when(self, engine: Engine, url: str, change: str) -> None:
        user_id, token = reset_token(engine, url)
        execute(url, f"UPDATE password_resets SET {change} WHERE user_id = :id", id=user_id)
        assert consumed(engine, token) is None

    def test_a_later_one_voids_it_for_this_user_alone(self, engine: Engine, url: str) -> None:
        user_id, first = reset_token(engine, url)
        other_id, other = reset_token(engine, url)
        second = issued(engine, user_id)
        assert [consumed(engine, token) for token in (first, second, other)] == [None, user_id, other_id]

    def test_all_can_be_voided(self, engine: Engine, url: str) -> None:
        user_id, token = reset_token(engine, url)
        with Session(engine) as session, session.begin():
            void_resets(session, user_id)
        assert consumed(engine, token) is None

    def test_other_texts(self, engine: Engine, url: str) -> None:
        user_id, token = reset_token(engine, url)
        assert {consumed(engine, text) for text in almost(token)} == {None}
        assert consumed(engine, token) == user_id

    def test_of_ten_at_once_one_succeeds(self, engine: Engine, url: str) -> None:
        for _ in range(3):
            _, token = reset_token(engine, url)
            outcomes = at_once(engine, partial(consume_reset, token=token))
            assert outcomes == ["done"] + ["invalid_reset_token"] * 9

    def test_issued_and_used_at_once(self, engine: Engine, url: str) -> None:
        """Whoever comes first, nobody waits for the other in a circle."""
        for _ in range(3):
            user_id, token = reset_token(engine, url)
            turn = count()

            def use_or_issue(session: Session, user_id: int = user_id, token: str = token, turn: Any = turn) -> None:
                user = session.get_one(User, user_id)
                if next(turn) % 2:
                    consume_reset(session, token)
                    set_password(session, user, "a hash", EndReason.PASSWORD_RESET, Origin())
                else:
                    issue_reset(session, user)

            outcomes = at_once(engine, use_or_issue)
            assert outcomes.count("done") in {5, 6}
            assert set(outcomes) <= {"done", "invalid_reset_token"}

    def test_for_a_user_who_was_deleted_a_moment_ago(self, engine: Engine, url: str) -> None:
        user_id, token = reset_token(engine, url)
        with Session(engine) as session, session.begin():
            user = session.get_one(User, user_id)
            execute(url, "DELETE FROM users WHERE id = :id", id=user_id)
            with pytest.raises(NotFound):
                issue_reset(session, user)
        assert consumed(engine, token) is None


def test_one_kind_is_not_the_other(engine: Engine, url: str) -> None:
    (user_id, reset), invited = reset_token(engine, url), invitation(engine)
    assert consumed(engine, invited) is None
    assert not used(engine, reset)
    assert (invited[:4], reset[:4]) == (INVITATION, PASSWORD_RESET)
    assert (consumed(engine, reset), used(engine, invited)) == (user_id, True)
