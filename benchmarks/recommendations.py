"""What pages of recommendations and their accuracy cost with a million rows, beside a thousand."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import mean, median
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

from app.db.engine import connect
from app.features.recommendations.accuracy import accuracy
from app.features.recommendations.schemas import RecommendationFilter, Status
from app.features.recommendations.service import NEWEST_FIRST, recommendations
from app.models.database import RECOMMENDATION_FILTERS
from app.web.paging import PageParams, Place, encode_cursor, paginate

MANY, QUICK_MANY, FEW = 1_000_000, 50_000, 1_000
FULL_ROUNDS = 10
TURNS = 20
"""Pages of each kind in a round."""

LIMIT = 50
RATIO = 1.3
LIMIT_MS = 500
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=730)
WANTED: Mapping[str, Any] = {"symbol": "S0", "type": "buy", "status": Status.CLOSED}
WIDTH = 140
PARTS = ("overall", "by symbol", "by type", "by month")

_NOISE = re.compile(r"::(text|numeric)|actual |ix_ai_recommendations_| on ai_recommendations|(?<=\d)\.00(?= loops)")

# Half of the rows have one symbol, so that with a thousand of them, too, each page is full.
_FILL = """
INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, status,
                                actual_pnl, created_at)
SELECT user_id, 'S' || CASE WHEN random() < 0.5 THEN 0 ELSE floor(1 + random() * 499) END,
       (ARRAY['buy', 'sell', 'hold'])[CAST(floor(1 + random() * 3) AS integer)],
       round(CAST(random() * 100 AS numeric), 2), CAST(:analysis AS json), 'closed',
       round(CAST(random() * 2000 - 900 AS numeric), 2), CAST(:first AS timestamp) + random() * CAST(:span AS interval)
FROM (
    SELECT CASE WHEN n <= :few THEN CAST(:small AS integer) WHEN n <= :few + :others THEN NULL
                WHEN n <= :few + 2 * :others THEN CAST(:third AS integer) ELSE CAST(:large AS integer) END AS user_id
    FROM generate_series(1, :few + 2 * :others + :many) AS n ORDER BY random()
) AS owners
"""


@dataclass(frozen=True)
class Kind:
    """Pages with these filters: the first, or some further down."""

    filters: tuple[str, ...]
    deep: bool

    def __str__(self) -> str:
        return f"{' + '.join(self.filters) or 'all'}, {'deep' if self.deep else 'first'} page"

    def take(self, session: Session, user_id: int, share: float) -> None:
        """Read the page; where it is deep, the one after this share of the user's rows."""
        time_there = FIRST + (1 - share) * SPAN
        place = Place("ai_recommendations", (round(time_there.timestamp() * 1_000_000), 1))
        page = PageParams(LIMIT, encode_cursor(place) if self.deep else None)
        wanted = RecommendationFilter(**{name: WANTED[name] for name in self.filters})
        found, _ = paginate(session, recommendations(user_id, wanted), NEWEST_FIRST, page)
        if len(found) < LIMIT:
            raise RuntimeError(f"{self}: only {len(found)} rows")


KINDS = [
    Kind(tuple(name.removeprefix("recommendation_") for name in filters), deep)
    for filters in RECOMMENDATION_FILTERS
    for deep in (False, True)
]


@dataclass(frozen=True)
class Query:
    statement: str
    parameters: Any
    milliseconds: float


def measure(url: str, rounds: int) -> str:
    """Pages of a user with a thousand rows and of one with a million, in turns; then the accuracy of the million."""
    many = MANY if rounds >= FULL_ROUNDS else QUICK_MANY
    with connect(url) as connection:
        small, large, sizes = _fill(connection, many)
    with connect(url) as connection:
        pages = _pages(connection, (small, large), rounds * TURNS)
        answers = _answers(connection, large, rounds)
        plans = [_plan_of_page(connection, large, KINDS[0]), _plan_of_page(connection, large, KINDS[-1])]
        plans += _plans_of_accuracy(connection, large)
    return "\n\n".join([_page_table(pages, many), _accuracy_table(answers, many), sizes, "## Plans", *plans])


def _fill(connection: Connection, many: int) -> tuple[int, int, str]:
    """Users with a thousand and with a million rows, between rows of a third and of nobody; and what they all take."""
    insert = "INSERT INTO users (email, preferences, created_at, updated_at) VALUES (:email, '{}', now(), now())"
    small, large, third = (
        connection.execute(text(f"{insert} RETURNING id"), {"email": f"{name}@recommendations.test"}).scalar_one()
        for name in ("small", "large", "third")
    )
    rows = {"few": FEW, "many": many, "others": many // 20, "small": small, "large": large, "third": third}
    values = {"analysis": json.dumps({"note": "x" * 188}), "first": FIRST.replace(tzinfo=None), "span": SPAN}
    connection.execute(text("SELECT setseed(0.5)"))
    connection.execute(text(_FILL), rows | values)
    connection.commit()
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.execute(text("VACUUM ANALYZE ai_recommendations"))
    connection.execute(text("CHECKPOINT"))
    table, indexes = connection.execute(
        text("SELECT pg_table_size('ai_recommendations') / 1e6, pg_indexes_size('ai_recommendations') / 1e6")
    ).one()
    return small, large, f"All rows take {table:.0f} MB, their indexes {indexes:.0f} MB."


def _pages(connection: Connection, users: tuple[int, int], turns: int) -> Mapping[Kind, list[tuple[float, float]]]:
    """Milliseconds for each user, side by side; the first turn is not counted."""
    figures: dict[Kind, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for turn in range(turns + 1):
        share = 0.3 + 0.25 * turn / turns
        for kind in KINDS:
            small, large = (_page(connection, user_id, kind, share) for user_id in users)
            figures[kind].append((small, large))
    return {kind: pairs[1:] for kind, pairs in figures.items()}


def _page(connection: Connection, user_id: int, kind: Kind, share: float) -> float:
    with Session(connection) as session:
        began = time.perf_counter()
        kind.take(session, user_id, share)
        return (time.perf_counter() - began) * 1000


def _answers(connection: Connection, user_id: int, rounds: int) -> Mapping[str, list[float]]:
    """Milliseconds for each query and for the whole answer; the first round is not counted."""
    figures: dict[str, list[float]] = {name: [] for name in (*PARTS, "the whole answer")}
    for _ in range(rounds + 1):
        with Session(connection) as session, _noting(connection) as queries:
            began = time.perf_counter()
            accuracy(session, user_id)
            whole = (time.perf_counter() - began) * 1000
        for name, figure in zip(figures, [*(query.milliseconds for query in queries), whole], strict=True):
            figures[name].append(figure)
    return {name: each[1:] for name, each in figures.items()}


@contextmanager
def _noting(connection: Connection) -> Iterator[list[Query]]:
    """The queries that are sent meanwhile; settings are none."""
    queries: list[Query] = []
    began = 0.0

    def before(*_: Any) -> None:
        nonlocal began
        began = time.perf_counter()

    def after(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if not statement.startswith("SET "):
            queries.append(Query(statement, parameters, (time.perf_counter() - began) * 1000))

    event.listen(connection, "before_cursor_execute", before)
    event.listen(connection, "after_cursor_execute", after)
    yield queries
    event.remove(connection, "before_cursor_execute", before)
    event.remove(connection, "after_cursor_execute", after)


def _plan_of_page(connection: Connection, user_id: int, kind: Kind) -> str:
    return "\n\n".join(_plans(connection, [str(kind)], lambda session: kind.take(session, user_id, 0.5)))


def _plans_of_accuracy(connection: Connection, user_id: int) -> list[str]:
    return _plans(connection, [f"accuracy, {part}" for part in PARTS], lambda session: accuracy(session, user_id))


def _plans(connection: Connection, names: Sequence[str], ask: Callable[[Session], object]) -> list[str]:
    """By EXPLAIN (ANALYZE), in the transaction of the queries, as settings of theirs may end with it."""
    with Session(connection) as session:
        with _noting(connection) as queries:
            ask(session)
        explained = [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF) {query.statement}", query.parameters)
            for query in queries
        ]
        return [
            f"{name}:\n\n```text\n{_shortened(lines.scalars())}\n```"
            for name, lines in zip(names, explained, strict=True)
        ]


def _shortened(lines: Iterable[str]) -> str:
    told = ("actual time", "SubPlan", "Cond:", "Filter:", "Removed", "Sort Key", "Heap Fetches", "Execution Time")
    kept = [_NOISE.sub("", line) for line in lines if any(word in line for word in told)]
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in kept)


def _page_table(pages: Mapping[Kind, Sequence[tuple[float, float]]], many: int) -> str:
    heading = " | ".join(f"{rows:,} rows: median ms | mean | min to max" for rows in (FEW, many))
    lines = [
        f"## A page of {LIMIT} recommendations, of {FEW:,} and of {many:,}",
        "",
        f"| | {heading} | ratio (median of pairs) |",
        "|-|-|-|-|-|-|-|-|",
    ]
    for kind, pairs in pages.items():
        few, lots = zip(*pairs, strict=True)
        ratio = median(large / small for small, large in pairs)
        lines.append(f"| {kind} | {_spread(few)} | {_spread(lots)} | {ratio:.2f} |")
    turns = len(next(iter(pages.values())))
    return "\n".join([*lines, "", f"{turns} turns, interleaved. Target: ratio <= {RATIO}."])


def _accuracy_table(answers: Mapping[str, Sequence[float]], many: int) -> str:
    lines = [f"## The accuracy of {many:,} recommendations", "", "| | median ms | mean | min to max |", "|-|-|-|-|"]
    lines += [f"| {name} | {_spread(figures)} |" for name, figures in answers.items()]
    rounds = len(next(iter(answers.values())))
    return "\n".join(
        [*lines, "", f"{rounds} rounds, interleaved. Target: < {LIMIT_MS} ms for each of the four queries."]
    )


def _spread(figures: Sequence[float]) -> str:
    middle, average, least, most = (
        f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"
        for figure in (median(figures), mean(figures), min(figures), max(figures))
    )
    return f"{middle} | {average} | {least} to {most}"
