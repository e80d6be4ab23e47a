"""A queue of notifications that somebody keeps full, in whichever database: nothing can be told, nor changed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from app.db.embedded.server import EmbeddedPostgres
from app.db.migration.migrate import migrate
from tests.support import postgres
from tests.support.postgres import FAST
from tests.support.service import bearer, data_folder, in_process, settings_for

pytestmark = pytest.mark.anyio

ME = "/api/users/me"


@pytest.fixture(scope="module")
def small_queue() -> Iterator[str]:
    """The address of a server."""
    with data_folder() as folder:
        server = EmbeddedPostgres(folder / "postgres", settings=FAST | {"max_notify_queue_pages": "64"})
        try:
            yield server.start()
        finally:
            server.stop()


@contextmanager
def inattentive(url: str) -> Iterator[None]:
    """Somebody listens, and is then at something else."""
    with create_engine(url).connect() as connection:
        connection.exec_driver_sql("LISTEN anything")
        connection.commit()
        connection.exec_driver_sql("SELECT 1")
        yield
        connection.rollback()
        connection.exec_driver_sql("UNLISTEN *")
        connection.commit()
    connection.engine.dispose()


def fill(url: str, *, to: float) -> None:
    engine = create_engine(url)
    send = text("SELECT count(pg_notify('else', n || repeat('x', 7000))) FROM generate_series(1, 4) n")
    usage = text("SELECT pg_notification_queue_usage()")
    try:
        while True:
            with engine.begin() as connection:
                if connection.scalar(usage) >= to:
                    return
                connection.execute(send)
    except OperationalError:
        assert to == 1
    finally:
        engine.dispose()


@pytest.mark.slow
async def test_a_full_queue(small_queue: str, tmp_path: Path) -> None:
    with postgres.database(small_queue) as url, postgres.database(small_queue) as elsewhere:
        migrate(url, apply=True)
        async with in_process(settings_for(url, tmp_path)) as client:
            client.headers.update(bearer())
            with inattentive(elsewhere):
                fill(elsewhere, to=0.6)
                database = (await client.get("/api/health/detailed")).json()["dependencies"]["database"]
                assert database["status"] == "degraded"
                assert "the queue of notifications is" in database["detail"]
                fill(elsewhere, to=1)
                refused = await client.patch(ME, json={"full_name": "Ann"})
                assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
                assert refused.headers["retry-after"]
                shown = await client.get(ME)
                assert (shown.status_code, shown.json().get("full_name")) == (200, None), shown.text
            deadline = time.monotonic() + 10
            while (await client.patch(ME, json={"full_name": "Ann"})).status_code != 200:
                assert time.monotonic() < deadline
            assert (await client.get(ME)).json()["full_name"] == "Ann"
