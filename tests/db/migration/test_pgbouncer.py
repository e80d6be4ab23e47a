"""The service and its migrations behind PgBouncer in transaction mode."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import make_url, text

from app.core.errors import StartupError
from app.db.engine import connect, make_engine, wait_for_database
from app.db.migration.migrate import migrate
from tests.support import postgres
from tests.support.chain import CHAIN, INITIAL, ORDER_TEMPLATES, execute, fetch, revision_of, upgrade
from tests.support.crowd import assert_at_head, at_work, dawdle, gathered, wait_for_work
from tests.support.identity import application, statements
from tests.support.pgbouncer import Bouncer, pgbouncer
from tests.support.postgres import run_outside_transaction
from tests.support.rows import fill
from tests.support.service import bearer, free_port, heed_changes, in_process, settings_for, uvicorn_process
from tests.support.start import has_data, leave_data, pasted

POOL = 2
"""What a migration needs: the lock's connection and the one that runs the revisions."""

OWN = {"statement_timeout": "31s", "lock_timeout": "32s", "idle_in_transaction_session_timeout": "33s"}
"""What the server sets for every session; no migration may take it away from the sessions of others."""

UNTOUCHED = OWN | {"client_connection_check_interval": "0"}

POOLED = "LISTEN cannot work behind a pooler: set DATABASE_LISTEN_URL to the server itself"

REFUSE = """
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF strpos(current_query(), 'ix_users_role') > 0 THEN
        RAISE EXCEPTION 'not today';
    END IF;
END
$$;
CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def bouncer(server_url: str) -> Iterator[Bouncer]:
    with pgbouncer(server_url, default_pool_size=POOL) as bouncer:
        yield bouncer


@pytest.fixture
def strict_url(empty_url: str) -> str:
    """An empty database whose server has timeouts of its own."""
    set_timeouts(empty_url)
    return empty_url


def set_timeouts(url: str) -> None:
    for setting, value in OWN.items():
        run_outside_transaction(url, f"ALTER DATABASE \"{make_url(url).database}\" SET {setting} = '{value}'")


def sessions(url: str, count: int) -> dict[int, dict[str, str]]:
    """The settings of as many server sessions at once as a pool has, by backend."""
    names = ", ".join(f"current_setting('{name}') AS {name}" for name in UNTOUCHED)
    found = {}
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(connect(url))
            row = connection.exec_driver_sql(f"SELECT pg_backend_pid() AS pid, {names}").mappings().one()
            found[row["pid"]] = {name: row[name] for name in UNTOUCHED}
    return found


def assert_only_deaf(report: dict[str, Any]) -> None:
    """Revocations are not heard, and nothing else is wrong."""
    statuses = {name: each["status"] for name, each in report["dependencies"].items()}
    assert (report["status"], statuses) == (
        "degraded", {"database": "healthy", "schema": "healthy", "revocations": "degraded"},
    )  # fmt: skip
    assert not report["dependencies"]["revocations"]["listening"]


def test_a_whole_start_and_requests(bouncer: Bouncer, empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": bouncer.url(empty_url), "DATA_DIR": str(tmp_path)}
    with uvicorn_process(tmp_path, variables) as server:
        server.wait_until_up()
        server.wait_for(lambda: POOLED in server.logged())
        assert_only_deaf(pasted(server).json())
        left = leave_data(server)
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(lambda _: has_data(server, left), range(40)))
        assert_only_deaf(server.get("/api/health/detailed", left).json())
        assert server.logged().count("Running upgrade") == len(CHAIN)
        assert server.stop(signal.SIGTERM) == -signal.SIGTERM
        assert "Traceback" not in server.logged()


@pytest.mark.anyio
class TestRevocations:
    async def test_they_are_heeded_by_asking_each_time(self, bouncer: Bouncer, clone_url: str, tmp_path: Path) -> None:
        async with in_process(settings_for(bouncer.url(clone_url), tmp_path)) as client:
            client.headers.update(bearer())
            report = await self.report_with(client, f"every request asks the database: {POOLED}")
            assert_only_deaf(report)
            with statements() as asked:
                assert (await client.get("/api/users/me")).status_code == 200
            assert any("api_tokens" in statement for statement in asked)
            execute(clone_url, "UPDATE users SET is_active = false")
            assert (await client.get("/api/users/me")).status_code == 401
            assert not application(client).state.listener.hearing.current

    async def test_they_are_heard_at_the_server_itself(self, bouncer: Bouncer, clone_url: str, tmp_path: Path) -> None:
        settings = settings_for(bouncer.url(clone_url), tmp_path, database_listen_url=clone_url)
        async with in_process(settings) as client:
            client.headers.update(bearer())
            assert (await self.report_with(client, None))["status"] == "healthy"
            assert (await client.get("/api/users/me")).status_code == 200
            with statements() as asked:
                assert (await client.get("/api/users/me")).status_code == 200
            assert asked == []
            execute(clone_url, "UPDATE users SET is_active = false")
            await anyio.to_thread.run_sync(heed_changes)
            assert (await client.get("/api/users/me")).status_code == 401

    async def report_with(self, client: httpx.AsyncClient, detail: str | None) -> dict[str, Any]:
        """The first that says so, a moment after the start."""
        deadline = time.monotonic() + 10
        while True:
            report: dict[str, Any] = (await client.get("/api/health/detailed")).json()
            if report["dependencies"]["revocations"]["detail"] == detail:
                return report
            assert time.monotonic() < deadline, report


class TestServerSessions:
    """What is left in them for the next client that they are handed to."""

    def test_a_migration_leaves_nothing(self, bouncer: Bouncer, strict_url: str) -> None:
        upgrade(strict_url, INITIAL)
        fill(strict_url)
        url = bouncer.url(strict_url)
        migrate(url, apply=True)
        used = {row["remote_pid"] for row in bouncer.show("SERVERS", strict_url)}
        found = sessions(url, POOL)
        assert used == set(found)
        assert list(found.values()) == [UNTOUCHED] * POOL
        assert_at_head(strict_url)

    def test_one_that_fails_outside_a_transaction_leaves_nothing(self, bouncer: Bouncer, strict_url: str) -> None:
        execute(strict_url, REFUSE)
        with pytest.raises(StartupError, match=r"^not today$"):
            migrate(bouncer.url(strict_url), apply=True)
        assert revision_of(strict_url) == [ORDER_TEMPLATES]
        assert list(sessions(bouncer.url(strict_url), POOL).values()) == [UNTOUCHED] * POOL

    @pytest.mark.slow
    def test_one_that_is_killed_leaves_nothing(self, bouncer: Bouncer, strict_url: str, tmp_path: Path) -> None:
        dawdle(strict_url, "ix_users_role", seconds=3)
        with gathered(tmp_path, 1) as crowd:
            (process,) = crowd.members
            crowd.release(bouncer.url(strict_url))
            backend = wait_for_work(strict_url)
            process.stop(signal.SIGKILL)
        found = sessions(bouncer.url(strict_url), POOL)
        assert backend not in found
        assert list(found.values()) == [UNTOUCHED] * POOL
        assert at_work(strict_url) == [backend]
        migrate(bouncer.url(strict_url), apply=True)
        assert_at_head(strict_url)

    @pytest.mark.slow
    def test_a_crowd_in_a_small_pool_leaves_nothing(self, bouncer: Bouncer, strict_url: str, tmp_path: Path) -> None:
        with gathered(tmp_path, 8) as crowd:
            crowd.release(bouncer.url(strict_url))
            crowd.wait_until_done()
        assert list(sessions(bouncer.url(strict_url), POOL).values()) == [UNTOUCHED] * POOL

    @pytest.mark.slow
    def test_so_a_timeout_of_the_server_may_end_what_runs_outside_a_transaction(
        self, bouncer: Bouncer, strict_url: str
    ) -> None:
        run_outside_transaction(
            strict_url, f"ALTER DATABASE \"{make_url(strict_url).database}\" SET statement_timeout = '1s'"
        )
        dawdle(strict_url, "ix_users_role", seconds=2)
        with pytest.raises(StartupError, match=r"statement timeout .*CREATE INDEX CONCURRENTLY .*ix_users_role"):
            migrate(bouncer.url(strict_url), apply=True)
        migrate(strict_url, apply=True)
        assert_at_head(strict_url)

    @pytest.mark.anyio
    async def test_requests_leave_nothing_in_the_one_that_all_share(
        self, server_url: str, clone_url: str, tmp_path: Path
    ) -> None:
        set_timeouts(clone_url)
        with pgbouncer(server_url, default_pool_size=1) as bouncer:
            url = bouncer.url(clone_url)
            async with in_process(settings_for(url, tmp_path)) as client:
                client.headers.update(bearer())
                assert (await client.get("/api/users/me")).status_code == 200
                assert_only_deaf((await client.get("/api/health/detailed")).json())
            (server,) = bouncer.show("SERVERS", clone_url)
            assert sessions(url, 1) == {server["remote_pid"]: UNTOUCHED}


class TestConnecting:
    def test_what_libpq_is_told_is_accepted_and_passed_on(self, bouncer: Bouncer, empty_url: str) -> None:
        engine = make_engine(bouncer.url(empty_url))
        try:
            with engine.connect() as connection:
                pid = connection.scalar(text("SELECT pg_backend_pid()"))
                seen = fetch(empty_url, f"SELECT application_name AS name FROM pg_stat_activity WHERE pid = {pid}")
        finally:
            engine.dispose()
        assert seen == [{"name": "trading-backend api"}]

    def test_a_pooler_that_is_full_is_waited_for(self, server_url: str, empty_url: str) -> None:
        with pgbouncer(server_url, max_client_conn=1) as bouncer, connect(bouncer.url(empty_url)) as client:
            leave = threading.Timer(0.5, client.close)
            leave.start()
            self.wait(bouncer.url(empty_url), timeout=10)
            leave.join()

    @pytest.mark.slow
    def test_one_whose_server_is_away_is_waited_for(self, empty_url: str) -> None:
        with (
            pgbouncer(f"postgresql+psycopg2://someone@127.0.0.1:{free_port()}/trading") as bouncer,
            pytest.raises(StartupError, match="did not answer within 1 seconds"),
        ):
            self.wait(bouncer.url(empty_url), timeout=1)

    def test_a_missing_database_is_refused_at_once(self, bouncer: Bouncer, server_url: str) -> None:
        with pytest.raises(StartupError, match=r' refuses: .* database "nowhere" does not exist'):
            self.wait(bouncer.url(postgres.address_of(server_url, "nowhere")), timeout=30)

    def wait(self, url: str, timeout: float) -> None:
        engine = make_engine(url)
        try:
            wait_for_database(engine, timeout)
        finally:
            engine.dispose()
