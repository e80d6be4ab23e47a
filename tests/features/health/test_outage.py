"""The database goes away while the service runs, and comes back."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from app.db.embedded.server import EmbeddedPostgres
from tests.support.postgres import FAST
from tests.support.service import MVP_TOKEN, Server, bearer, data_folder, processes_in, uvicorn_process

WITHIN = 2.0


class Database:
    """A server of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=FAST)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.postgres.stop()
        yield
        self.postgres.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Every process of it is there and does nothing."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in processes_in(self.folder):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with data_folder() as folder:
        database = Database(folder)
        try:
            yield database
        finally:
            database.postgres.stop()


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("outage")
    variables = {"DATABASE_URL": database.postgres.start(), "API_TOKEN": MVP_TOKEN, "DATA_DIR": str(folder)}
    with uvicorn_process(folder, variables) as server:
        server.wait_until_up()
        yield server


@pytest.fixture(scope="module")
def api_token(server: Server) -> str:
    body = {"name": "a colleague's", "scopes": ["read"]}
    made = httpx.post(f"{server.url}/api/tokens", headers=bearer(), json=body, trust_env=False)
    token: str = made.json()["token"]
    return token


def timed(ask: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return ask(), time.monotonic() - began


def assert_problem(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == code
    assert int(answer.headers["Retry-After"]) > 0


def assert_reported(server: Server) -> None:
    """The owner of the MVP token reads in the report what is wrong, and soon; others may not."""
    answer, seconds = timed(lambda: server.get("/api/health/detailed", MVP_TOKEN))
    report = answer.json()
    assert seconds < WITHIN
    assert (answer.status_code, report["status"]) == (503, "unhealthy")
    assert int(answer.headers["Retry-After"]) > 0
    assert report["auth"]["method"] == "mvp_token"
    dependencies = report["dependencies"]
    assert {name: each["status"] for name, each in dependencies.items()} == {
        "database": "unhealthy", "schema": "unhealthy", "revocations": "degraded",
    }  # fmt: skip
    assert all(each["detail"] for each in dependencies.values())
    assert dependencies["revocations"]["detail"].startswith("every request asks the database: ")
    assert report["system"]["memory_total_bytes"] > 0


def assert_alive(server: Server) -> None:
    for path in ("/api/health", "/api/health/live"):
        answer, seconds = timed(lambda: server.get(path))  # noqa: B023
        assert answer.status_code == 200
        assert seconds < 0.5


def assert_back(server: Server, api_token: str) -> None:
    server.wait_for(server.is_ready, timeout=10)
    assert server.get("/api/health/detailed", MVP_TOKEN).json()["status"] in {"healthy", "degraded"}
    server.wait_for(lambda: is_healthy(server), timeout=10)  # once it hears of revocations again
    assert server.get("/api/users/me", api_token).status_code == 200


def is_healthy(server: Server) -> bool:
    report = server.get("/api/health/detailed", MVP_TOKEN)
    return (report.status_code, report.json()["status"]) == (200, "healthy")


def test_a_database_that_is_down(server: Server, database: Database, api_token: str) -> None:
    with database.stopped():
        assert_alive(server)
        assert_problem(server.get("/api/health/ready"), "not_ready")
        for token in (MVP_TOKEN, api_token):
            assert_problem(server.get("/api/users/me", token), "database_unavailable")
        assert_reported(server)
        assert_problem(server.get("/api/health/detailed", api_token), "database_unavailable")
    assert_back(server, api_token)


def test_a_database_that_hangs(server: Server, database: Database, api_token: str) -> None:
    with database.hanging():
        assert_reported(server)
        assert_alive(server)
        for path, token, code in [
            ("/api/health/ready", None, "not_ready"),
            ("/api/health/detailed", api_token, "database_unavailable"),
        ]:
            answer, seconds = timed(lambda: server.get(path, token))  # noqa: B023
            assert_problem(answer, code)
            assert seconds < WITHIN
        with ThreadPoolExecutor(8) as many:
            for report in [many.submit(assert_reported, server) for _ in range(8)]:
                report.result()
    assert_back(server, api_token)


def test_a_crowd_waits_for_a_database_that_hangs(server: Server, database: Database, api_token: str) -> None:
    """More requests than there are threads and connections."""
    with ThreadPoolExecutor(60) as crowd:
        with database.hanging():
            waiting = [crowd.submit(lambda: server.get("/api/users/me", MVP_TOKEN)) for _ in range(60)]
            time.sleep(1)
            assert_alive(server)
            assert_reported(server)
        assert {answer.result().status_code for answer in waiting} <= {200, 503}
    assert_back(server, api_token)
