"""What is of no use goes, and nothing else: a few rows in each transaction, and in nobody's way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import ProgrammingError

from app import pruning
from app.pruning import prune
from tests.support.identity import add_user, execute
from tests.support.prunable import NOTHING, TABLES, YEAR, fill, impatient, left


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    add_user(clone_url, "ann@example.test")
    with impatient(clone_url) as engine:
        yield engine


@pytest.mark.parametrize("batch", [1, 4, 5, 1000])
def test_what_is_old_goes_and_nothing_young(
    engine: Engine, clone_url: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", batch)
    fill(clone_url, old=5, young=2)
    assert prune(engine, YEAR) == dict.fromkeys(NOTHING, 5) | {"exchanges": 0}
    assert left(clone_url) == dict.fromkeys(TABLES, 2)
    assert prune(engine, YEAR) == NOTHING


def test_without_a_retention_the_log_is_kept_for_ever(engine: Engine, clone_url: str) -> None:
    fill(clone_url, old=2)
    assert prune(engine, None) == {"exchanges": 0} | {
        kind.name: 2 for table, kind in TABLES.items() if table != "activity_log"
    }
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
    assert prune(engine, YEAR) == NOTHING | {"exchanges": 1}
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


@pytest.mark.parametrize("table", TABLES)
def test_each_batch_begins_where_the_last_one_ended(
    engine: Engine, clone_url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was at the oldest row lets go of it after the first batch; it is left to the next run all the same."""
    monkeypatch.setattr(pruning, "BATCH", 4)
    fill(clone_url, table, old=10)
    name, age = TABLES[table].name, TABLES[table].age
    with engine.connect() as other:
        other.execute(text(f"SELECT FROM {table} ORDER BY {age} LIMIT 1 FOR UPDATE"))

        def let_go(_: object) -> None:
            if left(clone_url)[table] < 10:
                other.rollback()

        event.listen(engine, "commit", let_go)
        assert prune(engine, YEAR) == NOTHING | {name: 9}
        event.remove(engine, "commit", let_go)
    assert prune(engine, YEAR) == NOTHING | {name: 1}


def test_a_table_that_fails_keeps_no_other_from_it(
    engine: Engine, clone_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(clone_url, old=2)
    for table in ("user_sessions", "known_addresses"):
        execute(clone_url, f"ALTER TABLE {table} RENAME TO no_{table}")
    with pytest.raises(ProgrammingError, match="user_sessions"):
        prune(engine, YEAR)
    assert [record.getMessage() for record in caplog.records if record.name == "app.pruning"] == [
        "pruning of sessions failed: ProgrammingError",
        "pruning of networks failed: ProgrammingError",
    ]
    for table in ("user_sessions", "known_addresses"):
        execute(clone_url, f"ALTER TABLE no_{table} RENAME TO {table}")
    assert left(clone_url) == dict.fromkeys(TABLES, 0) | {"user_sessions": 2, "known_addresses": 2}


def test_two_at_once_share_the_work(clone_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 10)
    fill(clone_url, old=100, young=20)
    with impatient(clone_url) as another, ThreadPoolExecutor() as pool:
        counts = [*pool.map(lambda each: prune(each, YEAR), (engine, another)), prune(engine, YEAR)]
    total = {name: sum(count[name] for count in counts) for name in NOTHING}
    assert total == dict.fromkeys(NOTHING, 100) | {"exchanges": 0}
    assert left(clone_url) == dict.fromkeys(TABLES, 20)
