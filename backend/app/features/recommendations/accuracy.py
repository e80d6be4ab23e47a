"""How good recommendations were: of those whose outcome is known, that is `HAS_OUTCOME` in `app.models.database`.

With n recommendations, of which number i was given the probability p_i = confidence_score / 100 and made the profit
x_i, and with the hit o_i = 1 where x_i > 0 and 0 otherwise:

- hit rate: the mean of o_i;
- mean and median P&L: of x_i, where the median of an even number is the mean of the two in the middle;
- Brier score: the mean of (p_i - o_i)^2, from 0 for a seer to 1 for whoever is always sure and wrong; 0.25 is what one
  gets who always says 50 (G. W. Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather
  Review 78, 1950, in the form for two outcomes, which is half of his).

Each is computed in PostgreSQL's decimals and rounded to 9 fractional digits at the end.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    Subquery,
    case,
    desc,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import Session

from app.features.recommendations.schemas import (
    AccuracyReply,
    MonthStatistics,
    Statistics,
    SymbolStatistics,
    TypeStatistics,
)
from app.models.database import HAS_OUTCOME, AIRecommendation

MAX_GROUPS: Final = 1000

_TABLE = AIRecommendation.__table__
_Key = Callable[[FromClause], ColumnElement[Any]]


def accuracy(session: Session, user_id: int) -> AccuracyReply:
    """Of one user's recommendations: overall, by symbol, by type and by the month they were made; one query each."""

    def ask(statement: Select[Any]) -> list[Mapping[str, Any]]:
        return [dict(row) for row in session.execute(statement).mappings()]

    # The planner thinks the way to the median long, and would compile a query that takes less time than that.
    session.execute(text("SET LOCAL jit = off"))
    (overall,) = ask(_statistics(user_id))
    symbols = ask(_statistics(user_id, _symbol).order_by(desc("count"), "key").limit(MAX_GROUPS))
    types = ask(_statistics(user_id, _type).order_by(desc("count"), "key").limit(MAX_GROUPS))
    months = ask(_statistics(user_id, _month).order_by(desc("key")))
    return AccuracyReply(
        overall=Statistics(**overall),
        by_symbol=[SymbolStatistics(symbol=row["key"], **row) for row in symbols],
        by_type=[TypeStatistics(recommendation_type=row["key"], **row) for row in types],
        by_month=[MonthStatistics(month=row["key"].isoformat()[:7], **row) for row in months],
    )


def _symbol(rows: FromClause) -> ColumnElement[Any]:
    return rows.c.symbol


def _type(rows: FromClause) -> ColumnElement[Any]:
    return rows.c.recommendation_type


def _month(rows: FromClause) -> ColumnElement[Any]:
    return func.date_trunc(literal_column("'month'"), rows.c.created_at)


def _statistics(user_id: int, key: _Key | None = None) -> Select[Any]:
    """A row for each value of the key, or where there is none a row for all."""
    rows = _TABLE.alias("outcomes")
    hit = rows.c.actual_pnl > 0
    missed = case((hit, 100 - rows.c.confidence_score), else_=rows.c.confidence_score)
    statement = select(
        func.count().label("count"),
        func.count().filter(hit).label("hits"),
        func.sum(rows.c.actual_pnl).label("pnl"),
        (func.avg(missed * missed) / 10_000).label("brier_score"),
    ).where(rows.c.user_id == user_id, HAS_OUTCOME)
    if key is not None:
        statement = statement.add_columns(key(rows).label("key")).group_by(key(rows))
    groups = statement.subquery("groups")
    answer = select(
        groups.c.count,
        _rounded(groups.c.hits / func.nullif(groups.c.count, 0)).label("hit_rate"),
        _rounded(_mean(groups.c.pnl, groups.c.count)).label("mean_pnl"),
        _rounded(_median(user_id, key, groups)).label("median_pnl"),
        _rounded(groups.c.brier_score).label("brier_score"),
    )
    return answer if key is None else answer.add_columns(groups.c.key)


def _median(user_id: int, key: _Key | None, groups: Subquery) -> ColumnElement[Any]:
    """By going half way along an index that is in order: sorting would cost more than all else together."""
    rows = _TABLE.alias("ranked")
    ranked = select(rows.c.actual_pnl).where(rows.c.user_id == user_id, HAS_OUTCOME)
    if key is not None:
        ranked = ranked.where(key(rows) == groups.c.key)
    in_the_middle = ranked.order_by(rows.c.actual_pnl).offset((groups.c.count - 1) // 2).limit(2 - groups.c.count % 2)
    middle = in_the_middle.correlate(groups).subquery("middle")
    return select(_mean(func.sum(middle.c.actual_pnl), func.count())).scalar_subquery()


def _mean(total: ColumnElement[Any], count: ColumnElement[int]) -> ColumnElement[Any]:
    # Neither a division nor avg() goes beyond 16 significant digits, unless what is divided has more fractional ones.
    return (total + literal_column("0e-20", Numeric)) / func.nullif(count, 0)


def _rounded(number: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.trim_scale(func.round(number, 9))
