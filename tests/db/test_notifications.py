"""What a listener hears, and what it says where it cannot."""

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import make_url, text

from app.core.clock import steady
from app.db import interruptible, notifications
from app.db.engine import connect
from app.db.notifications import PROOF_INTERVAL, Channel, Hearing, Listener
from tests.support import postgres
from tests.support.chain import execute, fetch
from tests.support.overhearing import MISSED, NEWS, Overheard, backends, overhearing, tell
from tests.support.pgbouncer import pgbouncer
from tests.support.service import free_port


@pytest.fixture(scope="module")
def url(server_url: str) -> Iterator[str]:
    with postgres.database(server_url) as url:
        yield url


@pytest.fixture
def overheard(url: str) -> Iterator[Overheard]:
    with overhearing(url) as overheard:
        overheard.becomes(current=True)
        yield overheard
    wait_until_left(url)


def wait_until_left(url: str) -> None:
    deadline = time.monotonic() + 5
    while backends(url):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def seconds_of_catching_up(listener: Listener, timeout: float = 5.0) -> float:
    began = time.monotonic()
    listener.catch_up(timeout)
    return time.monotonic() - began


def test_it_hears_its_channel_in_the_order_of_the_commits(overheard: Overheard, url: str) -> None:
    tell(url, "one", "two")
    execute(url, "NOTIFY others; NOTIFY news, 'three'")
    overheard.listener.catch_up(5)
    assert overheard.story == [MISSED, "one", "two", "three"]
    current, detail, lag = overheard.listener.hearing
    assert (current, detail) == (True, None)
    assert lag is not None
    assert 0 < lag < 1


def test_one_that_was_not_started_hears_nothing(url: str) -> None:
    listener = Listener(url, NEWS, print, print, via=url)
    assert listener.hearing == Hearing(current=False, detail="not connected yet", lag=None)
    assert seconds_of_catching_up(listener) < 1
    listener.start()
    listener.close()


def test_one_that_was_thrown_out_has_missed_something(overheard: Overheard, url: str) -> None:
    tell(url, "before")
    overheard.listener.catch_up(5)
    execute(url, *(f"SELECT pg_terminate_backend({pid}); NOTIFY news, 'meanwhile'" for pid in backends(url)))
    overheard.becomes(current=False, within=1)
    assert seconds_of_catching_up(overheard.listener) < 1
    overheard.becomes(current=True)
    tell(url, "after")
    overheard.listener.catch_up(5)
    assert [each for each in overheard.story if each != "meanwhile"] == [MISSED, "before", MISSED, "after"]


def test_what_should_notify_and_does_not(overheard: Overheard, url: str) -> None:
    execute(url, "CREATE TABLE silence ()")
    try:
        overheard.becomes(current=False, within=1)
        overheard.says("there is silence")
    finally:
        execute(url, "DROP TABLE silence")
    overheard.becomes(current=True)
    assert overheard.story[:2] == [MISSED, MISSED]


def test_a_guard_that_cannot_be_asked(url: str) -> None:
    with overhearing(url, channel=Channel("news", "SELECT nothing", "")) as overheard:
        overheard.says("the database gives no answer (UndefinedColumn)")


def test_another_database(url: str, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PATIENCE", 0.3)
    with overhearing(empty_url, via=url) as overheard:
        overheard.says("leads to another database than DATABASE_URL")
        assert seconds_of_catching_up(overheard.listener) < 1


def test_behind_a_pooler_it_listens_at_the_server_itself(url: str) -> None:
    with pgbouncer(url) as bouncer:
        pooled = bouncer.url(url)
        with overhearing(pooled) as overheard:
            overheard.says("LISTEN cannot work behind a pooler: set DATABASE_LISTEN_URL to the server itself")
        with overhearing(url, via=pooled) as overheard:
            overheard.becomes(current=True)
            tell(pooled, "news")
            overheard.listener.catch_up(5)
            assert overheard.story == [MISSED, "news"]


class TestNowhere:
    def test_nobody_is_there(self, url: str) -> None:
        nowhere = f"postgresql+psycopg2://nobody@127.0.0.1:{free_port()}/trading"
        for there, via in ((nowhere, url), (url, nowhere)):
            with overhearing(there, via=via) as overheard:
                overheard.says("the database gives no answer (OperationalError)")

    def test_the_first_of_two_hosts_says_nothing(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(interruptible, "PATIENCE", 0.3)
        there = make_url(url)
        with closing(socket.create_server(("127.0.0.1", 0))) as silent, pgbouncer(url) as bouncer:
            hosts = (f"127.0.0.1:{silent.getsockname()[1]}", f"127.0.0.1:{bouncer.port}")
            two = there.set(host=None, port=None, query={"host": hosts}).render_as_string(hide_password=False)
            with overhearing(url, via=two) as overheard:
                overheard.becomes(current=True)

    def test_somebody_is_there_and_says_nothing(self, url: str) -> None:
        """Neither where it listens nor where requests go does a wait for an answer keep it from ending."""
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            nowhere = f"postgresql+psycopg2://nobody@127.0.0.1:{silent.getsockname()[1]}/trading"
            for there, via in ((nowhere, url), (url, nowhere)):
                with overhearing(there, via=via) as overheard:
                    time.sleep(0.3)
                    assert overheard.listener.hearing == Hearing(current=False, detail="not connected yet", lag=None)


class TestCatchingUp:
    def test_whoever_asks_is_answered_at_once(self, overheard: Overheard) -> None:
        """Well before the next proof would have been sent anyway."""
        seconds = sorted(seconds_of_catching_up(overheard.listener) for _ in range(200))
        assert seconds[len(seconds) // 2] < PROOF_INTERVAL / 10
        assert seconds[-5] < PROOF_INTERVAL / 2

    def test_each_of_many_has_what_was_told_before(self, overheard: Overheard, url: str) -> None:
        def ask(number: int) -> bool:
            news = [f"{number} {count}" for count in range(3)]
            found = []
            for each in news:
                tell(url, each)
                overheard.listener.catch_up(5)
                found.append(each in overheard.story)
            return all(found)

        with ThreadPoolExecutor(20) as pool:
            assert all(pool.map(ask, range(60)))
        assert len(overheard.story) == 181

    def test_it_is_harmless_while_it_ends_and_afterwards(self, url: str) -> None:
        ended = threading.Event()

        def ask(listener: Listener) -> float:
            slowest = 0.0
            while not ended.is_set():
                slowest = max(slowest, seconds_of_catching_up(listener))
            return slowest

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(time.sleep, [0.05] * 20))  # so that its threads are there
            try:
                with overhearing(url) as overheard:
                    overheard.becomes(current=True)
                    asked = [pool.submit(ask, overheard.listener) for _ in range(20)]
                    time.sleep(0.1)
                time.sleep(0.05)
            finally:
                ended.set()
            assert max(each.result() for each in asked) < 1

    def test_a_proof_from_before_is_none_for_who_did_not_wait(self, overheard: Overheard) -> None:
        """The lease was over when somebody asked, and a proof had been sent already."""
        listener = overheard.listener
        sent = steady()
        listener._current_until = 0.0  # noqa: SLF001 - moments that are a hair apart
        listener.catch_up(5)
        listener._renew(sent, steady())  # noqa: SLF001
        assert not overheard.current
        overheard.becomes(current=True)

    def test_it_does_not_hasten_attempts_to_connect(self, url: str) -> None:
        silence = Channel("news", "SELECT NULL FROM nextval('attempts')", "there is silence")
        execute(url, "CREATE SEQUENCE attempts")
        try:
            with overhearing(url, channel=silence) as overheard:
                overheard.says("there is silence")
                until = time.monotonic() + 1.2
                while time.monotonic() < until:
                    overheard.listener.catch_up(1)
            assert overheard.story == []
            (attempts,) = fetch(url, "SELECT last_value FROM attempts")
            assert 2 <= int(attempts["last_value"] or 0) <= 3
        finally:
            execute(url, "DROP SEQUENCE attempts")


def test_whatever_others_say_is_passed_on_as_it_is(overheard: Overheard, url: str) -> None:
    news = ["", "0", "'; DROP TABLE users --", "\\x00", "\n\u202e\u0665\U0001f600", "x" * 7999, MISSED.upper()]
    with connect(url) as connection:
        for each in news:
            connection.execute(text("SELECT pg_notify('news', :each)"), {"each": each})
        connection.commit()
    overheard.listener.catch_up(5)
    assert overheard.story == [MISSED, *news]


def test_who_cannot_bear_what_is_told_has_missed_it(
    overheard: Overheard, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(overheard.listener, "_hear", int)
        tell(url, "unheard")
        overheard.becomes(current=False, within=1)
    overheard.becomes(current=True)
    tell(url, "after")
    overheard.listener.catch_up(5)
    assert overheard.story == [MISSED, MISSED, "after"]
    assert "invalid literal for int() with base 10: 'unheard'" in caplog.text


def test_a_guard_that_changes(url: str) -> None:
    """What it watched was otherwise for a moment: nobody knows what it told meanwhile."""
    watched = Channel("news", "SELECT oid FROM pg_class WHERE relname = 'watched'", "nobody watches")
    execute(url, "CREATE TABLE watched ()")
    with overhearing(url, channel=watched) as watching:
        watching.becomes(current=True)
        execute(url, "DROP TABLE watched; CREATE TABLE watched (); NOTIFY news, 'then'")
        deadline = time.monotonic() + 1
        while watching.story != [MISSED, "then", MISSED]:
            assert time.monotonic() < deadline, watching.story
            time.sleep(0.01)
        assert watching.current
        execute(url, "DROP TABLE watched")
        watching.becomes(current=False, within=1)
        watching.says("nobody watches")


def test_a_flood_is_heard_to_its_end(overheard: Overheard, url: str) -> None:
    execute(url, "SELECT pg_notify('news', n::text) FROM generate_series(1, 20000) n")
    assert seconds_of_catching_up(overheard.listener) < 4
    assert overheard.story == [MISSED, *(str(number) for number in range(1, 20_001))]
    assert overheard.becomes(current=True).current


def test_it_hears_where_a_thousand_descriptors_are_in_use(url: str) -> None:
    """More than select() can take."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    try:
        with ExitStack() as stack:
            for _ in range(1100):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            with overhearing(url) as overheard:
                overheard.becomes(current=True)
                tell(url, "news")
                overheard.listener.catch_up(5)
                assert overheard.story == [MISSED, "news"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
