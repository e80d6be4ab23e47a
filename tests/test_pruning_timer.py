"""What one of the replicas does every hour: as `prune`, and alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ProgrammingError

from app import pruning
from app.core.settings import Settings
from app.pruning import LOCK_KEY, prune_unless_another_does
from tests.support.identity import add_user, execute, statements
from tests.support.prunable import TABLES, fill, impatient, left
from tests.support.service import settings_for

NEVER = Event()
"""Set by nobody."""


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    add_user(clone_url, "ann@example.test")
    with impatient(clone_url) as engine:
        yield engine


@pytest.fixture
def settings(clone_url: str, tmp_path: Path) -> Settings:
    return settings_for(clone_url, tmp_path)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "app.pruning"]


def has_lock(connection: Connection) -> bool:
    """Whether it was to be had, until the transaction ends."""
    return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}))


def test_as_configured(engine: Engine, clone_url: str, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """And it says so, unless nothing was to be done."""
    caplog.set_level("INFO", "app.pruning")
    fill(clone_url, old=2, young=1)
    prune_unless_another_does(engine, settings, NEVER)
    assert left(clone_url) == dict.fromkeys(TABLES, 1) | {"activity_log": 3}
    prune_unless_another_does(engine, settings.model_copy(update={"activity_retention_days": 365}), NEVER)
    assert left(clone_url) == dict.fromkeys(TABLES, 1)
    prune_unless_another_does(engine, settings, NEVER)
    assert told(caplog) == [
        "pruned 2 of sessions, 2 of throttle, 2 of networks, 2 of idempotency_keys",
        "pruned 2 of activity",
    ]


def test_a_table_that_fails(
    engine: Engine, clone_url: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which, and what was done beside it."""
    caplog.set_level("INFO", "app.pruning")
    fill(clone_url, "idempotency_keys", old=2)
    execute(clone_url, "ALTER TABLE throttled_keys RENAME TO elsewhere")
    with pytest.raises(ProgrammingError):
        prune_unless_another_does(engine, settings, NEVER)
    assert told(caplog) == ["pruning of throttle failed: ProgrammingError", "pruned 2 of idempotency_keys"]


def test_another_connection_has_the_lock(engine: Engine, clone_url: str, settings: Settings) -> None:
    fill(clone_url, "user_sessions", old=2)
    with engine.connect() as other:
        assert has_lock(other)
        prune_unless_another_does(engine, settings, NEVER)
        assert left(clone_url)["user_sessions"] == 2
    prune_unless_another_does(engine, settings, NEVER)
    assert left(clone_url)["user_sessions"] == 0


def test_another_takes_the_lock_between_two_batches(
    engine: Engine, clone_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has all before it, so that this one leaves the rest to it."""
    monkeypatch.setattr(pruning, "BATCH", 4)
    fill(clone_url, old=10)
    with impatient(clone_url) as another, another.connect() as other:
        event.listen(engine, "checkin", lambda *_: has_lock(other))
        prune_unless_another_does(engine, settings, NEVER)
    assert left(clone_url) == dict.fromkeys(TABLES, 10) | {"user_sessions": 6}


def test_no_other_works_during_a_batch(
    engine: Engine, clone_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 4)
    fill(clone_url, old=10)
    tried: list[bool] = []

    def try_too(_: object) -> None:
        with impatient(clone_url) as another, statements() as executed:
            prune_unless_another_does(another, settings, NEVER)
        tried.append(any("DELETE" in statement for statement in executed))

    event.listen(engine, "commit", try_too)
    prune_unless_another_does(engine, settings, NEVER)
    assert (set(tried), len(tried)) == ({False}, 4 * 4 + 2), "four batches of each table, and two have nothing"


def test_two_at_once(
    engine: Engine,
    clone_url: str,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gives way, each row is deleted once, and none is left."""
    caplog.set_level("INFO", "app.pruning")
    monkeypatch.setattr(pruning, "BATCH", 5)
    fill(clone_url, "user_sessions", old=100)
    with impatient(clone_url) as another, ThreadPoolExecutor() as pool:
        runs = [pool.submit(prune_unless_another_does, each, settings, NEVER) for each in (engine, another)]
        for run in runs:
            run.result(10)
    assert left(clone_url)["user_sessions"] == 0
    counts = [int(message.removeprefix("pruned ").split()[0]) for message in told(caplog)]
    assert sum(counts) == 100


def test_one_connection_is_enough(clone_url: str, settings: Settings) -> None:
    """It is never held without work: a server may end transactions that idle."""
    add_user(clone_url, "ann@example.test")
    fill(clone_url, old=5)
    narrow = create_engine(clone_url, pool_size=1, max_overflow=0, pool_timeout=1)
    prune_unless_another_does(narrow, settings, NEVER)
    narrow.dispose()
    assert left(clone_url) == dict.fromkeys(TABLES, 0) | {"activity_log": 5}


def test_no_batch_begins_once_it_is_to_stop(
    engine: Engine,
    clone_url: str,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what it has done."""
    caplog.set_level("INFO", "app.pruning")
    monkeypatch.setattr(pruning, "BATCH", 4)
    fill(clone_url, old=10)
    stopping = Event()
    event.listen(engine, "commit", lambda _: stopping.set())
    prune_unless_another_does(engine, settings, stopping)
    assert left(clone_url) == dict.fromkeys(TABLES, 10) | {"user_sessions": 6}
    assert told(caplog) == ["pruned 4 of sessions"]
    with statements() as executed:
        prune_unless_another_does(engine, settings, stopping)
    assert executed == []
