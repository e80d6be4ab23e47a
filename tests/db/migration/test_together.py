"""Migrations beside other migrations, beside readers, under hostile time-outs, and killed."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.core.errors import StartupError
from app.db.engine import connect
from app.db.migration.lock import migration_lock
from app.db.migration.migrate import migrate
from app.db.revisions import head_revision
from tests.support import postgres
from tests.support.chain import (
    ACCOUNTS,
    ACTIVITY,
    CHAIN,
    ORDER_TEMPLATES,
    THROTTLING,
    WAYS_IN,
    catalog,
    execute,
    fetch,
    revision_of,
    shell,
    upgrade,
)
from tests.support.service import Running, running

pytestmark = pytest.mark.slow

MIGRATE = """
import logging, sys, time
from pathlib import Path
from app.db.migration.migrate import migrate
logging.basicConfig(level=logging.INFO)
url, gate = sys.argv[1:]
print("ready", flush=True)
while not Path(gate).exists():
    time.sleep(0.005)
migrate(url, apply=True)
"""

DAWDLE = """
CREATE FUNCTION dawdle() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF strpos(current_query(), '{part}') > 0 THEN
        PERFORM pg_sleep({seconds});
    END IF;
END
$$;
CREATE EVENT TRIGGER dawdle_{number} ON ddl_command_start EXECUTE FUNCTION dawdle();
"""
"""Statements that contain `part` take `seconds` longer."""


def wait_until(happened: Callable[[], bool], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestProcesses:
    @contextmanager
    def migrating(self, url: str, folder: Path, count: int = 1) -> Iterator[list[Running]]:
        """Processes that migrate, all of them let go at the same moment."""
        gate = folder / "gate"
        with ExitStack() as stack:
            processes = [
                stack.enter_context(running(folder, {"PYTHONPATH": "."}, "-c", MIGRATE, url, str(gate)))
                for _ in range(count)
            ]
            for process in processes:
                process.wait_for(process.printed)
            gate.touch()
            yield processes

    def test_four_at_once_on_an_empty_database_migrate_it_once(self, empty_url: str, tmp_path: Path) -> None:
        with self.migrating(empty_url, tmp_path, count=4) as processes:
            assert [process.ends() for process in processes] == [0] * 4
        logs = "".join(process.logged() for process in processes)
        assert logs.count("Running upgrade") == len(CHAIN)
        assert "Traceback" not in logs
        assert revision_of(empty_url) == [head_revision()]

    @pytest.mark.slow
    def test_another_finishes_what_a_killed_one_began(self, empty_url: str, tmp_path: Path) -> None:
        upgrade(empty_url, ACCOUNTS)
        execute(empty_url, DAWDLE.format(number=1, part="ADD COLUMN IF NOT EXISTS username", seconds=60))
        with self.migrating(empty_url, tmp_path) as (process,):
            process.wait_for(lambda: at_work(empty_url))
            assert process.stop(signal.SIGKILL) == -signal.SIGKILL
        assert revision_of(empty_url) == [ACCOUNTS]
        execute(empty_url, "DROP EVENT TRIGGER dawdle_1")
        began = time.monotonic()
        migrate(empty_url, apply=True)
        assert time.monotonic() - began < 15, "the orphan kept its locks"
        assert revision_of(empty_url) == [head_revision()]


def at_work(url: str) -> list[dict[str, str | None]]:
    """The backends that dawdle in a statement of a revision."""
    return fetch(
        url, "SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )


class TestTheLock:
    def test_a_waiter_says_who_holds_it_and_gives_up(self, clone_url: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        with migration_lock(clone_url) as holder:
            (pid,) = holder.exec_driver_sql("SELECT pg_backend_pid()").one()
            holds = f"trading-backend migration {socket.gethostname()}"[:63] + f", backend {pid} from "
            began = time.monotonic()
            with (
                pytest.raises(StartupError, match="has been migrating this database for 1 seconds") as raised,
                migration_lock(clone_url, timeout=1),
            ):
                raise AssertionError("two hold it")
            assert time.monotonic() - began < 2
        assert holds in str(raised.value)
        assert f"waiting for a migration by another process: {holds}" in caplog.text
        assert head_revision() in caplog.text
        with migration_lock(clone_url, timeout=0):
            pass

    @pytest.mark.parametrize("command", [("upgrade", "head"), ("downgrade", "-1"), ("stamp", "head")], ids=" ".join)
    def test_a_command_of_the_shell_waits_as_well(self, clone_url: str, command: tuple[str, str]) -> None:
        with ThreadPoolExecutor() as background:
            with migration_lock(clone_url):
                waiting = background.submit(shell, clone_url, *command)
                with pytest.raises(TimeoutError):
                    waiting.result(timeout=3)
                assert revision_of(clone_url) == [head_revision()]
            done = waiting.result(timeout=30)
        assert done.returncode == 0
        assert "waiting for a migration by another process" in done.stderr

    def test_a_relative_command_that_had_to_wait_goes_no_further_than_it_was_told(self, empty_url: str) -> None:
        """The first of two steps succeeds, the second collides with a reader and is tried again."""
        upgrade(empty_url, THROTTLING)
        with ThreadPoolExecutor() as background, connect(empty_url) as reader:
            reader.exec_driver_sql("SELECT count(*) FROM mvp_claim")
            going_back = background.submit(shell, empty_url, "downgrade", "-2")
            wait_until(lambda: revision_of(empty_url) == [WAYS_IN])
            time.sleep(1.5)
            reader.rollback()
            done = going_back.result(timeout=30)
        assert done.returncode == 0
        assert "holds mvp_claim" in done.stderr
        assert revision_of(empty_url) == [ACTIVITY]

    def test_asking_for_the_revision_does_not(self, clone_url: str) -> None:
        with migration_lock(clone_url):
            assert head_revision() in shell(clone_url, "current").stdout

    def test_one_database_twice_in_one_process(self, empty_url: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        at_once(empty_url, empty_url)
        assert caplog.text.count("Running upgrade") == len(CHAIN)
        assert revision_of(empty_url) == [head_revision()]

    def test_two_databases_at_once_in_one_process(self, empty_url: str, server_url: str) -> None:
        with postgres.database(server_url) as other_url:
            at_once(empty_url, other_url)
            assert revision_of(empty_url) == revision_of(other_url) == [head_revision()]
            assert catalog(empty_url) == catalog(other_url)


def at_once(*urls: str) -> None:
    """Migrate them from as many threads of this process."""
    barrier = threading.Barrier(len(urls))

    def run(url: str) -> None:
        barrier.wait(10)
        migrate(url, apply=True)

    with ThreadPoolExecutor(len(urls)) as threads:
        for outcome in [threads.submit(run, url) for url in urls]:
            outcome.result(60)


@pytest.mark.slow
class TestBesideTraffic:
    def test_readers_and_writers_hardly_notice_a_migration_that_waits_for_a_reader(
        self, empty_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        upgrade(empty_url, ACCOUNTS)
        done = threading.Event()
        with ThreadPoolExecutor(3) as threads:
            reading = threading.Event()
            reader = threads.submit(read_for, 2, empty_url, reading)
            assert reading.wait(10)
            probes = [threads.submit(slowest_of, each, empty_url, done) for each in (READ, WRITE)]
            try:
                migrate(empty_url, apply=True)
            finally:
                done.set()
            reader.result(10)
            assert max(probe.result(10) for probe in probes) < 0.8
        assert "a revision could not have its lock, trying again" in caplog.text
        assert "holds users for" in caplog.text
        assert revision_of(empty_url) == [head_revision()]

    def test_time_outs_of_the_server_do_not_end_a_slow_migration(self, empty_url: str) -> None:
        upgrade(empty_url, ORDER_TEMPLATES)
        execute(
            empty_url,
            DAWDLE.format(number=1, part="ix_users_role", seconds=1.3),
            DAWDLE.format(number=2, part="CREATE TABLE api_tokens", seconds=1.3).replace("dawdle()", "dawdle_more()"),
        )
        names = fetch(
            empty_url,
            "SELECT name FROM pg_settings WHERE name IN "
            "('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')",
        )
        database = make_url(empty_url).database
        for row in names:
            postgres.run_outside_transaction(empty_url, f"ALTER DATABASE \"{database}\" SET {row['name']} = '1s'")
        began = time.monotonic()
        migrate(empty_url, apply=True)
        assert time.monotonic() - began > 2.6
        assert revision_of(empty_url) == [head_revision()]

    def test_a_connection_that_is_ended_is_one_sentence_and_the_next_attempt_resumes(self, empty_url: str) -> None:
        upgrade(empty_url, ORDER_TEMPLATES)
        execute(empty_url, DAWDLE.format(number=1, part="ix_users_role", seconds=60))
        with ThreadPoolExecutor(1) as threads:
            attempt = threads.submit(migrate, empty_url, apply=True)
            while not (backends := at_work(empty_url)):
                time.sleep(0.02)
            execute(empty_url, f"SELECT pg_terminate_backend({backends[0]['pid']})")
            with pytest.raises(StartupError, match=r"^A statement on .* failed .* ix_users_role"):
                attempt.result(10)
        assert revision_of(empty_url) == [ORDER_TEMPLATES]
        execute(empty_url, "DROP EVENT TRIGGER dawdle_1")
        migrate(empty_url, apply=True)
        assert revision_of(empty_url) == [head_revision()]


def read_for(seconds: float, url: str, reading: threading.Event) -> None:
    with connect(url) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM users")
        reading.set()
        time.sleep(seconds)


READ = "SELECT count(*) FROM users"
WRITE = (
    "INSERT INTO users (email, created_at, updated_at, preferences, password_hash) "
    "VALUES (gen_random_uuid() || '@example.test', now(), now(), '{}', 'x')"
)


def slowest_of(statement: str, url: str, done: threading.Event) -> float:
    """How long the slowest of many took, in seconds."""
    slowest = 0.0
    with connect(url) as connection:
        while not done.wait(0.02):
            began = time.monotonic()
            connection.exec_driver_sql(statement)
            connection.commit()
            slowest = max(slowest, time.monotonic() - began)
    return slowest
