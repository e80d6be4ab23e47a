"""What the retention setting asks for: old rows go, in small transactions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, event, text

from app.features.activity.service import prune
from tests.support.identity import execute

YEAR = timedelta(days=365)


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    engine = create_engine(clone_url)
    yield engine
    engine.dispose()


def fill(url: str, rows: int) -> None:
    """One row for each day up to now, the last one a minute old."""
    execute(
        url,
        "INSERT INTO activity_log (action_type, details, timestamp) SELECT 'signed_in', '{}', "
        "timezone('utc', now()) - interval '1 minute' - (n - 1) * interval '1 day' FROM generate_series(1, :rows) AS n",
        rows=rows,
    )


def left(url: str) -> int:
    (row,) = execute(url, "SELECT count(*) AS rows FROM activity_log")
    count: int = row["rows"]
    return count


def oldest(url: str) -> timedelta:
    (row,) = execute(url, "SELECT timezone('utc', now()) - min(timestamp) AS age FROM activity_log")
    age: timedelta = row["age"]
    return age


@pytest.mark.parametrize("batch", [1, 7, 10, 1000])
def test_what_is_older_goes(engine: Engine, clone_url: str, batch: int) -> None:
    fill(clone_url, 30)
    assert prune(engine, timedelta(days=20), batch) == 10
    assert oldest(clone_url) < timedelta(days=20)
    assert left(clone_url) == 20
    assert prune(engine, timedelta(days=20), batch) == 0


def test_nothing_to_do(engine: Engine) -> None:
    assert prune(engine, YEAR) == 0


def test_the_oldest_first_and_a_batch_in_each_transaction(engine: Engine, clone_url: str) -> None:
    """Whoever stops it in the middle keeps what was done, and no row that is older than one that went."""
    fill(clone_url, 30)
    commits = 0

    class Stopped(Exception):
        pass

    def stop_at_the_third(_: object) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            raise Stopped

    event.listen(engine, "commit", stop_at_the_third)
    with pytest.raises(Stopped):
        prune(engine, timedelta(days=5), 4)
    assert left(clone_url) == 22
    assert oldest(clone_url) < timedelta(days=22)


def test_it_waits_for_nobody_and_passes_by_what_is_in_use(engine: Engine, clone_url: str) -> None:
    fill(clone_url, 10)
    with engine.begin() as reader:
        reader.execute(text("SELECT 1 FROM activity_log ORDER BY timestamp LIMIT 2 FOR UPDATE"))
        assert prune(engine, timedelta(days=5)) == 3
    assert prune(engine, timedelta(days=5)) == 2


def test_two_at_once_share_the_work(engine: Engine, clone_url: str) -> None:
    fill(clone_url, 300)
    with ThreadPoolExecutor() as pool:
        deleted = [*pool.map(lambda _: prune(engine, timedelta(days=100), 10), range(2))]
    assert sum(deleted) + prune(engine, timedelta(days=100)) == 200
    assert left(clone_url) == 100
