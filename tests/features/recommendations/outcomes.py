"""Outcomes by the score, as rows, and their statistics by definition, in exact fractions."""

import json
import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from statistics import mean, median
from typing import Any, NamedTuple

from tests.support.identity import execute

NOTHING = {"count": 0, "hit_rate": None, "mean_pnl": None, "median_pnl": None, "brier_score": None}
SYMBOLS = ["AAPL", "BRK.B", "BTC/USD", "aapl", "ZZZ"]
TYPES = ["buy", "sell", "hold", "STRONG_BUY"]
NO_PERCENTAGE = ["NaN", "Infinity", "-Infinity", "-0.000000001", "100.000000001", "-5"]
NO_RESULT = [None, None, "NaN", "Infinity", "-Infinity"]


class Outcome(NamedTuple):
    symbol: str = "AAPL"
    recommendation_type: str = "buy"
    created_at: str = "2024-01-31 12:00:00"
    confidence_score: str = "70"
    actual_pnl: str | None = "1"
    status: str = "closed"

    @property
    def profit(self) -> Fraction:
        return Fraction(self.actual_pnl or "NaN")


def add(url: str, user_id: int | None, outcomes: Iterable[Outcome]) -> None:
    execute(
        url,
        "INSERT INTO ai_recommendations (user_id, analysis_data, symbol, recommendation_type, created_at, "
        "confidence_score, actual_pnl, status) "
        "SELECT :id, '{}', o.* FROM json_to_recordset(CAST(:outcomes AS json)) AS o (symbol text, "
        "recommendation_type text, created_at timestamp, confidence_score numeric, actual_pnl numeric, status text)",
        id=user_id,
        outcomes=json.dumps([outcome._asdict() for outcome in outcomes]),
    )


def rounded(number: Fraction) -> str:
    """To 9 fractional digits, half away from zero, without zeros at the end."""
    whole, fraction = divmod(int(abs(number) * 10**9 + Fraction(1, 2)), 10**9)
    text = f"{whole}.{fraction:09}".rstrip("0").rstrip(".")
    return f"-{text}" if number < 0 and text != "0" else text


def statistics(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    known = [(Fraction(each.confidence_score) / 100, each.profit) for each in outcomes if is_known(each)]
    if not known:
        return NOTHING
    hits = [Fraction(pnl > 0) for _, pnl in known]
    return {
        "count": len(known),
        "hit_rate": rounded(mean(hits)),
        "mean_pnl": rounded(mean(pnl for _, pnl in known)),
        "median_pnl": rounded(median(pnl for _, pnl in known)),
        "brier_score": rounded(mean((p - hit) ** 2 for (p, _), hit in zip(known, hits, strict=True))),
    }


def is_known(outcome: Outcome) -> bool:
    confidence = Decimal(outcome.confidence_score)
    has_result = outcome.actual_pnl is not None and Decimal(outcome.actual_pnl).is_finite()
    return has_result and confidence.is_finite() and 0 <= confidence <= 100


def grouped(outcomes: Iterable[Outcome], name: str, key: Callable[[Outcome], str]) -> list[dict[str, Any]]:
    known = sorted(filter(is_known, outcomes), key=key)
    return [statistics(group) | {name: value} for value, group in groupby(known, key)]


def expected(outcomes: list[Outcome]) -> dict[str, Any]:
    symbols = grouped(outcomes, "symbol", lambda each: each.symbol)
    types = grouped(outcomes, "recommendation_type", lambda each: each.recommendation_type)
    months = grouped(outcomes, "month", lambda each: each.created_at[:7])
    return {
        "overall": statistics(outcomes),
        "by_symbol": sorted(symbols, key=lambda group: -group["count"]),
        "by_type": sorted(types, key=lambda group: -group["count"]),
        "by_month": months[::-1],
    }


def without_ties(answer: dict[str, Any]) -> dict[str, Any]:
    """Groups of the same size in an order that is Python's as well."""
    order = {"by_symbol": "symbol", "by_type": "recommendation_type"}
    return answer | {
        name: sorted(answer[name], key=lambda group: (-group["count"], group[field])) for name, field in order.items()
    }


def random_outcome(chance: random.Random) -> Outcome:
    digits = chance.choice([0, 2, 2, 9])
    pnl = Decimal(chance.randint(-(10 ** (digits + 5)), 10 ** (digits + 5))).scaleb(-digits)
    confidence = Decimal(chance.randint(0, 10**9)).scaleb(-7) if chance.random() < 0.5 else chance.randint(0, 100)
    return Outcome(
        symbol=chance.choice(SYMBOLS),
        recommendation_type=chance.choice(TYPES),
        created_at=f"{chance.randint(2022, 2024)}-{chance.randint(1, 12):02}-28 23:59:59.999999",
        confidence_score=chance.choice(NO_PERCENTAGE) if chance.random() < 0.1 else format(confidence, "f"),
        actual_pnl=chance.choice([*NO_RESULT, "0", "0.000"]) if chance.random() < 0.3 else format(pnl, "f"),
        status=chance.choice(["closed", "closed", "open", "executed", "pending"]),
    )
