"""A server that stands still, is stopped and started, or whose notifications wait; one of the tests' own."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from app.db import notifications
from app.db.embedded.server import EmbeddedPostgres
from app.db.notifications import LEASE
from tests.support.chain import execute, fetch
from tests.support.overhearing import MISSED, Overheard, backends, overhearing, tell
from tests.support.postgres import FAST, run_outside_transaction
from tests.support.service import data_folder, processes_in

WITHIN = 1.0
"""Seconds in which a revocation has to be heeded."""

BACK = 8.0
"""Seconds in which it hears again, once nothing keeps it from that."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "postgres", settings=FAST)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def url(server: EmbeddedPostgres) -> str:
    return server.start()


@contextmanager
def standing_still(processes: list[psutil.Process]) -> Iterator[None]:
    assert processes
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def the_listeners(url: str) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in backends(url)]


LATE = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'tests', ''); NOTIFY news, 'late'"


@contextmanager
def waiting_commits(url: str) -> Iterator[None]:
    """A transaction that notifies waits for a standby that never comes; so do all that would notify after it."""
    done = threading.Event()

    def notify() -> None:
        while not done.is_set():  # what is asked of the server takes a moment to be heeded
            execute(url, LATE)

    change_standbys(url, "SET synchronous_standby_names = 'nobody'")
    with ThreadPoolExecutor(1) as pool:
        notifying = pool.submit(notify)
        try:
            wait_for(url, "wait_event = 'SyncRep'")
            yield
        finally:
            done.set()
            change_standbys(url, "RESET synchronous_standby_names")
            notifying.result(10)


def change_standbys(url: str, change: str) -> None:
    run_outside_transaction(url, f"ALTER SYSTEM {change}", "SELECT pg_reload_conf()")


def wait_for(url: str, state: str) -> None:
    deadline = time.monotonic() + 10
    while not fetch(url, f"SELECT pid FROM pg_stat_activity WHERE {state}"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_bounded(overheard: Overheard) -> None:
    """Whoever asks goes on, at once or when the lease is over."""
    began = time.monotonic()
    overheard.listener.catch_up(LEASE)
    assert time.monotonic() - began < WITHIN


def test_its_backend_stands_still(url: str) -> None:
    """Nothing says so: the connection is there, and no error comes."""
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        with standing_still(the_listeners(url)):
            assert_bounded(overheard)
            overheard.becomes(current=False, within=WITHIN)
            assert_bounded(overheard)
            tell(url, "meanwhile")
        overheard.becomes(current=True, within=BACK)
        assert overheard.story == [MISSED, "meanwhile"]


def test_it_ends_while_its_backend_stands_still(url: str) -> None:
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        backends = the_listeners(url)
        for backend in backends:
            backend.suspend()
    for backend in backends:
        backend.resume()
    assert psutil.wait_procs(backends, timeout=5)[1] == []


@pytest.mark.slow
def test_its_backend_stands_still_for_long(url: str) -> None:
    """It goes elsewhere, and leaves none behind."""
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        still = the_listeners(url)
        with standing_still(still):
            overheard.becomes(current=False, within=WITHIN)
            tell(url, "meanwhile")
            overheard.becomes(current=True, within=BACK)
        assert overheard.story == [MISSED, MISSED]
        assert psutil.wait_procs(still, timeout=5)[1] == []


def test_notifications_wait(url: str) -> None:
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        with waiting_commits(url):
            overheard.becomes(current=False, within=WITHIN)
            assert_bounded(overheard)
        overheard.becomes(current=True, within=BACK)
        overheard.listener.catch_up(LEASE)
        assert "late" in overheard.story or overheard.story.count(MISSED) == 2


def test_it_ends_while_notifications_wait(url: str) -> None:
    """Also while it cannot tell whether both ways lead to one database."""
    with waiting_commits(url), overhearing(url) as overheard:
        wait_for(url, "query LIKE '%%pg_notify%%' AND wait_event_type = 'Lock'")
        assert not overheard.current
        assert overheard.story == []


@pytest.mark.slow
def test_the_server_stands_still(url: str, folder: Path) -> None:
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        with standing_still(processes_in(folder)):
            overheard.becomes(current=False, within=WITHIN)
            overheard.says("the database does not answer")
        overheard.becomes(current=True, within=BACK)


def test_it_ends_while_the_server_stands_still(url: str, folder: Path) -> None:
    with standing_still(processes_in(folder)), overhearing(url) as overheard:
        time.sleep(0.3)
        assert overheard.listener.hearing.detail == "not connected yet"


def test_the_server_is_stopped_and_started(url: str, server: EmbeddedPostgres) -> None:
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        server.stop()
        overheard.becomes(current=False, within=WITHIN)
        overheard.says("the database gives no answer")
        assert server.start() == url
        overheard.becomes(current=True, within=BACK)
        tell(url, "after")
        overheard.listener.catch_up(LEASE)
        assert overheard.story[0] == MISSED
        assert overheard.story[-2:] == [MISSED, "after"]


@pytest.mark.slow
@pytest.mark.parametrize("told", [False, True])
def test_requests_go_to_another_server(url: str, monkeypatch: pytest.MonkeyPatch, *, told: bool) -> None:
    """The one where it listens lives on, and would hear whatever is sent there."""
    monkeypatch.setattr(notifications, "SAME_WAY", 60.0 if told else 0.5)
    with data_folder() as folder:
        other = EmbeddedPostgres(folder / "postgres", settings=FAST)
        elsewhere = other.start()
        way = folder / "way" / ".s.PGSQL.5432"
        way.parent.mkdir()
        way.symlink_to(socket_of(url))
        try:
            with overhearing(url, via=at(url, way.parent)) as overheard:
                overheard.becomes(current=True)
                way.unlink()
                way.symlink_to(socket_of(elsewhere))
                if told:
                    overheard.listener.look_anew()
                overheard.becomes(current=False, within=1 + notifications.LEASE + WITHIN)
                overheard.says("another database than DATABASE_URL", within=BACK)
        finally:
            other.stop()


def socket_of(url: str) -> str:
    return f"{make_url(url).query['host']}/.s.PGSQL.5432"


def at(url: str, folder: Path) -> str:
    there = make_url(url).update_query_dict({"host": str(folder)})
    return there.render_as_string(hide_password=False)
