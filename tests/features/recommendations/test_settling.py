"""What is overdue is written down as expired once an hour, whosever it is: a few rows at a time, in nobody's way."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from app import pruning
from app.core.settings import Settings
from app.db.engine import connect, make_engine
from app.features.recommendations.service import settle
from app.models.database import AIRecommendation
from app.pruning import prune_unless_another_does
from tests.support.identity import add_user, execute
from tests.support.plans import blocks_read, node_types, plans, rows_read
from tests.support.postgres import run_outside_transaction
from tests.support.service import settings_for

# Three of each kind of the first user's, and as many of nobody.
ADD = """
    INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, created_at,
                                    status, expires_at)
    SELECT whose, 'AAPL', 'buy', 70, '{}', timezone('utc', now()), status, timezone('utc', now()) + left_to_it
    FROM (VALUES (1), (NULL)) AS users (whose), generate_series(1, 3),
         (VALUES ('pending', interval '-1 second'), ('pending', interval '1 minute'), ('pending', NULL),
                 ('executed', interval '-1 second')) AS rows (status, left_to_it)
"""
OVERDUE = """
    SELECT count(*) AS rows FROM ai_recommendations WHERE status = 'pending' AND expires_at < timezone('utc', now())
"""

NEVER = Event()
"""Set by nobody."""

MANY = """
    INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, created_at,
                                    status, expires_at)
    SELECT CASE WHEN n % 4 < 2 THEN 1 END, 'AAPL', 'buy', 70, '{}', timezone('utc', now()), 'pending',
           timezone('utc', now()) + (5000 - n) * interval '1 minute'
    FROM generate_series(1, 10000) AS n ORDER BY md5(CAST(n AS text))
"""
BLOCKS = 60
"""That settling a row may look at: its status is in many an index."""


@pytest.fixture
def url(clone_url: str) -> str:
    add_user(clone_url, "ann@example.test")
    execute(clone_url, ADD)
    return clone_url


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    return settings_for(url, tmp_path)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


def overdue(url: str) -> int:
    (row,) = execute(url, OVERDUE)
    rows: int = row["rows"]
    return rows


def test_the_overdue_alone(engine: Engine, url: str, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """And it says so, once."""
    caplog.set_level("INFO", "app.pruning")
    prune_unless_another_does(engine, settings, NEVER)
    counts = "SELECT user_id, status, count(*) AS rows FROM ai_recommendations GROUP BY user_id, status"
    found = {(row["user_id"], row["status"]): row["rows"] for row in execute(url, counts)}
    kinds = {"expired": 3, "pending": 6, "executed": 3}
    assert found == {(whose, status): rows for whose in (1, None) for status, rows in kinds.items()}
    prune_unless_another_does(engine, settings, NEVER)
    assert [record.getMessage() for record in caplog.records if record.name == "app.pruning"] == [
        "settled 6 recommendations that had expired"
    ]


def test_in_batches(engine: Engine, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 4)
    sizes = []

    def note(_: object) -> None:
        sizes.append(overdue(url))

    event.listen(engine, "commit", note)
    prune_unless_another_does(engine, settings, NEVER)
    assert [*dict.fromkeys(sizes)] == [6, 2, 0], "what others see before each commit"


def test_what_somebody_is_at_is_passed_by(engine: Engine, url: str, settings: Settings) -> None:
    with engine.connect() as other:
        other.execute(text("SELECT FROM ai_recommendations WHERE user_id = 1 FOR UPDATE"))
        prune_unless_another_does(engine, settings, NEVER)
        assert overdue(url) == 3
    prune_unless_another_does(engine, settings, NEVER)
    assert overdue(url) == 0


@pytest.mark.parametrize("whose", [1, 2, None])
def test_no_other_is_looked_at(url: str, whose: int | None) -> None:
    """Of ten thousand that are pending half are overdue, of the first user and of nobody in turn."""
    add_user(url, "ben@example.test")
    execute(url, MANY)
    which = [] if whose is None else [AIRecommendation.user_id == whose]
    with connect(url) as connection:
        connection.execute(text("ANALYZE ai_recommendations"))
        (found,) = plans(connection, lambda session: settle(session, 50, *which))
    assert "Seq Scan" not in node_types(found)
    assert rows_read(found) <= 50
    assert blocks_read(found) < 50 * BLOCKS


def test_the_last_batch_beneath_an_old_snapshot_costs_what_the_first_does(url: str) -> None:
    execute(url, MANY)
    run_outside_transaction(url, "VACUUM ANALYZE ai_recommendations")
    with connect(url) as dump, connect(url) as connection:
        dump.execution_options(isolation_level="REPEATABLE READ").execute(text("SELECT FROM ai_recommendations"))
        (first,) = plans(connection, lambda session: settle(session, 20))
        since = None
        for _ in range(9):
            with Session(connection) as session, session.begin():
                since = max(settle(session, 500, since=since))
        (last,) = plans(connection, lambda session: settle(session, 20, since=since))
    assert first["Actual Rows"] == last["Actual Rows"] == 20
    assert blocks_read(last) < 2 * blocks_read(first)
