"""Replicas that start at the same moment, directly and through PgBouncer, and one of them that is lost meanwhile."""

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.db.migration.lock import migration_lock
from tests.support import postgres
from tests.support.chain import (
    ACCOUNTS,
    CHAIN,
    INITIAL,
    ORDER_TEMPLATES,
    USERNAMES,
    execute,
    fetch,
    upgrade,
)
from tests.support.crowd import Crowd, assert_at_head, at_work, dawdle, gathered, holders, wait_for_work
from tests.support.pgbouncer import pgbouncer
from tests.support.rows import fill

pytestmark = pytest.mark.slow

SIZE = 8
SMALL_POOL = 3
"""Server connections for all of them; the one that migrates needs two."""

Route = Callable[[str], str]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with gathered(tmp_path_factory.mktemp("crowd"), SIZE) as crowd:
        yield crowd


@pytest.fixture(scope="module")
def old_database(server_url: str) -> Iterator[str]:
    """The name of a database at the first revision, with rows, for copies."""
    with postgres.database(server_url) as url:
        upgrade(url, INITIAL)
        fill(url)
        yield make_url(url).database or ""


@pytest.fixture(params=["directly", "through PgBouncer"])
def route(request: pytest.FixtureRequest, server_url: str) -> Iterator[Route]:
    """How a process reaches a database."""
    if request.param == "directly":
        yield str
    else:
        with pgbouncer(server_url, default_pool_size=SMALL_POOL) as bouncer:
            yield bouncer.url


def upgrades(log: str) -> list[str]:
    """The revisions that a process ran, or began to run."""
    return re.findall(r"^Running upgrade .*-> (\w+)", log, re.MULTILINE)


@contextmanager
def watched(url: str) -> Iterator[list[int]]:
    """How many statements dawdled at once, again and again."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(len(at_work(url)))

    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(watch)
        try:
            yield seen
        finally:
            done.set()
        watching.result(10)


class TestEightAtOnce:
    @pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.slow)])
    def test_from_nothing(self, crowd: Crowd, server_url: str, route: Route, rounds: int) -> None:
        for _ in range(rounds):
            with postgres.database(server_url) as url:
                crowd.release(route(url))
                crowd.wait_until_done()
                assert upgrades("".join(crowd.new_logs())) == CHAIN
                assert_at_head(url)

    @pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.slow)])
    def test_from_the_first_revision_with_rows(
        self, crowd: Crowd, server_url: str, old_database: str, route: Route, rounds: int
    ) -> None:
        kept = "SELECT id, alpaca_account_id, created_at, updated_at, preferences::text FROM users ORDER BY id"
        for _ in range(rounds):
            with postgres.database(server_url, like=old_database) as url:
                before = fetch(url, kept)
                crowd.release(route(url))
                crowd.wait_until_done()
                assert upgrades("".join(crowd.new_logs())) == CHAIN[1:]
                assert_at_head(url)
                assert fetch(url, kept) == before

    def test_waiters_know_the_holder_and_leave_concurrent_work_alone(
        self, crowd: Crowd, server_url: str, old_database: str, route: Route
    ) -> None:
        with postgres.database(server_url, like=old_database) as url:
            with migration_lock(route(url)):
                (backend,) = holders(url)
                crowd.release(route(url))
                for member in crowd.members:
                    member.wait_for(lambda: f"backend {backend} from " in member.logged())  # noqa: B023
                began = time.monotonic()
                postgres.run_outside_transaction(
                    url,
                    "CREATE INDEX CONCURRENTLY by_age ON users (created_at)",
                    "DROP INDEX CONCURRENTLY by_age",
                )
                assert time.monotonic() - began < 3
            crowd.wait_until_done()
            holder = rf"trading-backend migration {re.escape(socket.gethostname())}, backend {backend} from \S+"
            sentence = rf"^waiting for .*: {holder}, for \d+ s, the database is at {INITIAL}$"
            logs = crowd.new_logs()
            assert all(re.search(sentence, log, re.MULTILINE) for log in logs), logs
            assert upgrades("".join(logs)) == CHAIN[1:]


@pytest.mark.slow
class TestOneThatIsLost:
    def test_another_waits_and_finishes_soon_after_a_kill(self, empty_url: str, route: Route, tmp_path: Path) -> None:
        upgrade(empty_url, ACCOUNTS)
        dawdle(empty_url, "ADD COLUMN IF NOT EXISTS username", seconds=60)
        with gathered(tmp_path, 2) as crowd:
            crowd.release(route(empty_url))
            wait_for_work(empty_url)
            holder, waiter = sorted(crowd.members, key=lambda member: not upgrades(member.logged()))
            waiter.wait_for(lambda: "waiting for a migration by another process" in waiter.logged())
            assert holder.stop(signal.SIGKILL) == -signal.SIGKILL
            waiter.wait_for(lambda: crowd.is_done(waiter), timeout=5)
        assert upgrades(holder.logged()) == [USERNAMES]
        assert upgrades(waiter.logged())[0] == USERNAMES
        assert_at_head(empty_url)

    @pytest.mark.parametrize(
        ("before", "part"),
        [
            pytest.param(ACCOUNTS, "ADD COLUMN IF NOT EXISTS username", id="in a transaction"),
            pytest.param(ORDER_TEMPLATES, "ix_users_role", id="outside of one"),
        ],
    )
    def test_one_without_the_lock_ends_before_another_runs_its_revision(
        self, empty_url: str, route: Route, tmp_path: Path, before: str, part: str
    ) -> None:
        upgrade(empty_url, before)
        revision = CHAIN[CHAIN.index(before) + 1]
        dawdle(empty_url, part, seconds=2, turns=2)
        with gathered(tmp_path, 2) as crowd, watched(empty_url) as seen:
            crowd.release(route(empty_url))
            wait_for_work(empty_url)
            loser, heir = sorted(crowd.members, key=lambda member: not upgrades(member.logged()))
            (backend,) = holders(empty_url)
            execute(empty_url, f"SELECT pg_terminate_backend({backend})")
            assert loser.ends() == 1
            heir.wait_for(lambda: crowd.is_done(heir))
        assert max(seen) == 1
        assert upgrades(loser.logged()) == [revision]
        assert upgrades(heir.logged())[0] == revision
        assert loser.logged().splitlines()[-1].startswith("The migration lock")
        assert "Traceback" not in loser.logged()
        assert_at_head(empty_url)
