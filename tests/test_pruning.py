"""What is of no use goes, and nothing else: a few rows in each transaction, and in nobody's way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Engine, create_engine, event, text

from app import pruning
from app.pruning import LOCK_KEY, prune, prune_unless_another_does
from tests.support.identity import add_user, execute, statements
from tests.support.service import settings_for

YEAR = timedelta(days=365)


class Kind(NamedTuple):
    name: str
    """What the rows are counted as."""
    kept_for: timedelta
    insert: str


TABLES = {
    "user_sessions": Kind(
        "sessions",
        timedelta(days=30),
        "(user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, created_at) "
        "SELECT 1, gen_random_uuid(), gen_random_uuid(), moment, moment, moment",
    ),
    "throttled_keys": Kind(
        "throttle",
        timedelta(hours=24),
        "(key, failures, last_failed_at, blocked_until) SELECT sha256(random()::text::bytea), 1, moment, moment",
    ),
    "known_addresses": Kind("throttle", YEAR, "(user_id, network, last_seen_at) SELECT 1, gen_random_uuid(), moment"),
    "idempotency_keys": Kind(
        "idempotency_keys",
        timedelta(hours=24),
        "(user_id, operation, key, fingerprint, created_at) "
        "SELECT 1, 'recommend', gen_random_uuid(), sha256(''), moment",
    ),
    "activity_log": Kind("activity", YEAR, "(action_type, details, timestamp) SELECT 'signed_in', '{}', moment"),
}
NOTHING = dict.fromkeys(("exchanges", *(kind.name for kind in TABLES.values())), 0)


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    add_user(clone_url, "ann@example.test")
    with impatient(clone_url) as engine:
        yield engine


@contextmanager
def impatient(url: str) -> Iterator[Engine]:
    """For whoever has to wait for nobody: they are not kept waiting for long."""
    engine = create_engine(url, connect_args={"options": "-c lock_timeout=2s"})
    yield engine
    engine.dispose()


def fill(url: str, *tables: str, old: int = 0, young: int = 0) -> None:
    """Rows an hour from each other, the first of them a minute too old, or not yet."""
    for table in tables or TABLES:
        kind = TABLES[table]
        for rows, sign in ((old, "-"), (young, "+")):
            moment = (
                f"SELECT timezone('utc', now()) - :kept_for {sign} interval '1 minute' {sign} n * interval '1 hour' "
                "AS moment FROM generate_series(0, :rows - 1) AS n"
            )
            execute(
                url, f"INSERT INTO {table} {kind.insert} FROM ({moment}) AS rows", kept_for=kind.kept_for, rows=rows
            )


def left(url: str) -> dict[str, int]:
    """How many rows by table."""
    counts = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in TABLES)
    return dict(execute(url, f"SELECT {counts}")[0])


@pytest.mark.parametrize("batch", [1, 4, 5, 1000])
def test_what_is_old_goes_and_nothing_young(
    engine: Engine, clone_url: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", batch)
    fill(clone_url, old=5, young=2)
    assert prune(engine, YEAR) == NOTHING | {"sessions": 5, "throttle": 10, "idempotency_keys": 5, "activity": 5}
    assert left(clone_url) == dict.fromkeys(TABLES, 2)
    assert prune(engine, YEAR) == NOTHING


def test_without_a_retention_the_log_is_kept_for_ever(engine: Engine, clone_url: str) -> None:
    fill(clone_url, old=2)
    assert prune(engine, None) == {"sessions": 2, "exchanges": 0, "throttle": 4, "idempotency_keys": 2}
    assert left(clone_url) == dict.fromkeys(TABLES, 0) | {"activity_log": 2}


def test_what_hangs_on_a_session_goes_with_it(engine: Engine, clone_url: str) -> None:
    fill(clone_url, "user_sessions", old=1, young=1)
    exchanges = "INSERT INTO refresh_token_exchanges (jti, session_id, successor_jti) SELECT id, id, id"
    execute(clone_url, f"{exchanges} FROM user_sessions")
    assert prune(engine, None)["sessions"] == 1
    assert execute(clone_url, "SELECT session_id AS id FROM refresh_token_exchanges") == execute(
        clone_url, "SELECT id FROM user_sessions"
    )


def test_an_exchange_goes_before_its_session_does(engine: Engine, clone_url: str) -> None:
    """After an hour, so that no request is left that came while it might be repeated."""
    fill(clone_url, "user_sessions", young=1)
    exchanges = (
        "INSERT INTO refresh_token_exchanges (jti, session_id, successor_jti, exchanged_at) "
        "SELECT n, id, n, timezone('utc', now()) - n * interval '1 minute' "
        "FROM user_sessions, (VALUES (59), (61)) AS ages (n)"
    )
    execute(clone_url, exchanges)
    assert prune(engine, None) == {"sessions": 0, "exchanges": 1, "throttle": 0, "idempotency_keys": 0}
    assert [row["jti"] for row in execute(clone_url, "SELECT jti FROM refresh_token_exchanges")] == ["59"]
    assert left(clone_url)["user_sessions"] == 1


def test_a_thousand_in_each_transaction(engine: Engine, clone_url: str) -> None:
    fill(clone_url, "activity_log", old=2001)
    sizes = []

    def note(_: object) -> None:
        sizes.append(left(clone_url)["activity_log"])

    event.listen(engine, "commit", note)
    assert prune(engine, YEAR)["activity"] == 2001
    assert [*dict.fromkeys(sizes)] == [2001, 1001, 1, 0], "what others see before each commit"


def test_whoever_stops_it_keeps_what_was_done(engine: Engine, clone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no row that is older than one that went."""
    monkeypatch.setattr(pruning, "BATCH", 4)
    fill(clone_url, "activity_log", old=10)

    class Stopped(Exception):
        pass

    def stop(_: object) -> None:
        if left(clone_url)["activity_log"] < 10:
            raise Stopped

    event.listen(engine, "commit", stop)
    with pytest.raises(Stopped):
        prune(engine, YEAR)
    (oldest,) = execute(
        clone_url, "SELECT count(*) AS rows, timezone('utc', now()) - min(timestamp) AS age FROM activity_log"
    )
    assert oldest["rows"] == 6
    assert oldest["age"] < YEAR + timedelta(hours=6)


@pytest.mark.parametrize("table", TABLES)
def test_what_somebody_is_at_is_passed_by(engine: Engine, clone_url: str, table: str) -> None:
    """Nobody waits, and it ends; a later look finds what was left."""
    fill(clone_url, table, old=10)
    name = TABLES[table].name
    with engine.connect() as other:
        other.execute(text(f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} LIMIT 4)"))
        assert prune(engine, YEAR) == NOTHING | {name: 6}
        other.rollback()
    assert left(clone_url)[table] == 4
    assert prune(engine, YEAR) == NOTHING | {name: 4}


def test_two_at_once_share_the_work(clone_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 10)
    fill(clone_url, old=100, young=20)
    with impatient(clone_url) as another, ThreadPoolExecutor() as pool:
        counts = [*pool.map(lambda each: prune(each, YEAR), (engine, another)), prune(engine, YEAR)]
    total = {name: sum(count[name] for count in counts) for name in NOTHING}
    assert total == {"sessions": 100, "exchanges": 0, "throttle": 200, "idempotency_keys": 100, "activity": 100}
    assert left(clone_url) == dict.fromkeys(TABLES, 20)


class TestUnlessAnotherDoes:
    def test_as_configured(
        self, engine: Engine, clone_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And it says so, unless nothing was to be done."""
        caplog.set_level("INFO", "app.pruning")
        settings = settings_for(clone_url, tmp_path)
        fill(clone_url, old=2, young=1)
        prune_unless_another_does(engine, settings)
        assert left(clone_url) == dict.fromkeys(TABLES, 1) | {"activity_log": 3}
        prune_unless_another_does(engine, settings.model_copy(update={"activity_retention_days": 365}))
        assert left(clone_url) == dict.fromkeys(TABLES, 1)
        prune_unless_another_does(engine, settings)
        assert [record.getMessage() for record in caplog.records if record.name == "app.pruning"] == [
            "pruned 2 of sessions, 4 of throttle, 2 of idempotency_keys",
            "pruned 2 of activity",
        ]

    def test_another_connection_has_the_lock(self, engine: Engine, clone_url: str, tmp_path: Path) -> None:
        settings = settings_for(clone_url, tmp_path)
        fill(clone_url, "user_sessions", old=2)
        with engine.connect() as other:
            other.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            prune_unless_another_does(engine, settings)
            assert left(clone_url)["user_sessions"] == 2
        prune_unless_another_does(engine, settings)
        assert left(clone_url)["user_sessions"] == 0

    def test_it_has_the_lock_until_it_is_done(
        self, engine: Engine, clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pruning, "BATCH", 4)
        settings = settings_for(clone_url, tmp_path)
        fill(clone_url, old=10)
        tried: list[bool] = []

        def try_too(_: object) -> None:
            with impatient(clone_url) as another, statements() as executed:
                prune_unless_another_does(another, settings)
            tried.append(any("DELETE" in statement for statement in executed))

        event.listen(engine, "commit", try_too)
        prune_unless_another_does(engine, settings)
        event.remove(engine, "commit", try_too)
        assert (set(tried), len(tried)) == ({False}, 14)
        fill(clone_url, old=10)
        prune_unless_another_does(engine, settings)
        assert left(clone_url)["user_sessions"] == 0, "it has given the lock back"
