"""Claims at the same moment as other claims, and as whatever else ends the time of the MVP token."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import httpx
import pytest
from sqlalchemy import Engine

from app.db.engine import make_engine
from app.features.auth import service
from app.identity.accounts import NewUser, delete_user, set_password
from app.identity.activity import Origin
from app.identity.mvp import AlreadyClaimed, MvpState, ensure_mvp_user
from app.identity.one_time import consume_reset, issue_reset
from app.identity.sessions import EndReason
from app.models.database import User
from app.web.session import transaction
from tests.support.accounts import add_account, password_of, sign_in
from tests.support.identity import execute
from tests.support.service import MVP_TOKEN, bearer

NEW = NewUser(email="founder@example.test", password_hash="made up")


async def post(client: httpx.AsyncClient, number: int) -> httpx.Response:
    body = {"email": f"founder{number}@example.test", "password": password_of(str(number))}
    return await client.post("/api/auth/claim", json=body, headers=bearer())


@pytest.mark.anyio
async def test_of_fifty_one_succeeds(anonymous: httpx.AsyncClient, clone_url: str) -> None:
    answers = await asyncio.gather(*(post(anonymous, number) for number in range(50)))
    seen = Counter(answer.status_code for answer in answers)
    assert seen[200] == 1
    assert set(seen) <= {200, 409, 503}
    for number, answer in enumerate(answers):
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert (await post(anonymous, number)).status_code == 409
    winner = [answer.status_code for answer in answers].index(200)
    (user,) = execute(clone_url, "SELECT * FROM users")
    assert user["email"] == f"founder{winner}@example.test"
    assert (await sign_in(anonymous, user["email"], password_of(str(winner)))).status_code == 200
    assert len(execute(clone_url, "SELECT * FROM user_sessions")) == 2
    actions = Counter(row["action_type"] for row in execute(clone_url, "SELECT action_type FROM activity_log"))
    assert (actions["claimed"], actions["claim_refused"]) == (1, 49)


class TestWithSomethingElse:
    """Whoever comes second waits for the first, and neither in a circle."""

    @pytest.fixture
    def engine(self, clone_url: str) -> Iterator[Engine]:
        """Of a database with an MVP user, whose id is 1."""
        engine = make_engine(clone_url)
        start(engine)
        yield engine
        engine.dispose()

    @pytest.fixture
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool

    def test_a_password_reset(self, engine: Engine, clone_url: str, pool: ThreadPoolExecutor) -> None:
        with transaction(engine) as session:
            _, minted = issue_reset(session, session.get_one(User, 1))
        with transaction(engine) as session:
            user = session.get_one(User, consume_reset(session, minted.plain))
            claimed = pool.submit(claim, engine)
            wait_until_blocked(clone_url, claimed)
            set_password(session, user, "by the reset", EndReason.PASSWORD_RESET, Origin())
        with pytest.raises(AlreadyClaimed):
            claimed.result(10)
        assert execute(clone_url, "SELECT password_hash FROM users") == [{"password_hash": "by the reset"}]

    def test_the_deletion_of_the_user(self, engine: Engine, clone_url: str, pool: ThreadPoolExecutor) -> None:
        add_account(clone_url, "other@example.test", role="owner")
        with transaction(engine) as session:
            delete_user(session, session.get_one(User, 1), Origin())
            claimed = pool.submit(claim, engine)
            wait_until_blocked(clone_url, claimed)
        with pytest.raises(AlreadyClaimed):
            claimed.result(10)
        (row,) = execute(clone_url, "SELECT * FROM activity_log WHERE action_type = 'claim_refused'")
        assert (row["user_id"], row["details"]) == (None, {"reason": "already_claimed"})

    def test_a_start(self, engine: Engine, clone_url: str, pool: ThreadPoolExecutor) -> None:
        """Which has seen that nobody claimed it, and is about to see to it that the token is good."""
        claims: list[Future[None]] = []

        def token() -> str:
            claims.append(pool.submit(claim, engine))
            wait_until_blocked(clone_url, claims[0])
            return MVP_TOKEN

        with transaction(engine) as session:
            assert ensure_mvp_user(session, token, "mvp@localhost") is MvpState.OPEN
        claims[0].result(10)
        assert execute(clone_url, "SELECT 1 FROM api_tokens WHERE revoked_at IS NULL") == []
        assert start(engine) is MvpState.CLAIMED

    def test_a_start_that_comes_second(self, engine: Engine, clone_url: str, pool: ThreadPoolExecutor) -> None:
        with transaction(engine) as session:
            service.claim(session, 1, NEW, Origin(), keep_api_token=False)
            started = pool.submit(partial(start, engine))
            wait_until_blocked(clone_url, started)
        assert started.result(10) is MvpState.CLAIMED
        assert execute(clone_url, "SELECT 1 FROM api_tokens WHERE revoked_at IS NULL") == []


def start(engine: Engine) -> MvpState:
    with transaction(engine) as session:
        return ensure_mvp_user(session, lambda: MVP_TOKEN, "mvp@localhost")


def claim(engine: Engine) -> None:
    with transaction(engine) as session:
        service.claim(session, 1, NEW, Origin(), keep_api_token=False)


def wait_until_blocked(url: str, job: Future[MvpState] | Future[None]) -> None:
    """Return when somebody in this database waits for a lock, or `job` is over because it did not have to."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    while not job.done() and not execute(url, waiting):
        assert time.monotonic() < deadline
        time.sleep(0.01)
