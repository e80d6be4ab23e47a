"""What signing in and looking around cost with ten million sessions and rows of the log, beside a thousand."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from app.core.settings import load_settings
from app.db.engine import make_engine
from app.identity.sessions import Sessions
from app.lifespan import jwt_secret
from benchmarks.filling import HEAVY, MEASURED, filled
from benchmarks.operations import LIMIT, OPERATIONS, Account, Operation

FEW, MANY, QUICK_MANY = 1_000, 10_000_000, 100_000
"""SCALE_ROWS in the environment stands for MANY."""

FULL_ROUNDS = 10
TURNS = 15
"""Of each operation in a round."""

WARM_UP = 3
"""Turns that are not counted."""

RATIO = 1.3


class Figures(NamedTuple):
    """Milliseconds of one turn."""

    few: float
    many: float
    heavy: float


def measure(url: str, rounds: int) -> str:
    """Each operation in turns: with few rows, with many, and with many for the user who has most of them."""
    many = int(os.environ.get("SCALE_ROWS", MANY)) if rounds >= FULL_ROUNDS else QUICK_MANY
    with filled(url, (FEW, many)) as (urls, cost), _accounts(urls, (FEW, many)) as accounts:
        figures: dict[str, list[Figures]] = {name: [] for name in OPERATIONS}
        for turn in range(WARM_UP + rounds * TURNS):
            for name, operation in OPERATIONS.items():
                figures[name].append(_turn(operation, accounts, backwards=turn % 2 == 1))
    return f"{_table({name: turns[WARM_UP:] for name, turns in figures.items()}, many)}\n\n{cost}"


@contextmanager
def _accounts(urls: tuple[str, str], sizes: tuple[int, int]) -> Iterator[Sequence[Account]]:
    settings = load_settings()
    sessions = Sessions.of(settings, jwt_secret(settings))
    few, many = engines = [make_engine(url) for url in urls]
    try:
        yield (
            Account(few, sessions, MEASURED, sizes[0]),
            Account(many, sessions, MEASURED, sizes[1]),
            Account(many, sessions, HEAVY, sizes[1]),
        )
    finally:
        for engine in engines:
            engine.dispose()


def _turn(operation: Operation, accounts: Sequence[Account], *, backwards: bool) -> Figures:
    """Forth and back by turns: whoever comes first finds the processor's caches full of something else."""
    if backwards:
        return Figures(*reversed([_milliseconds(operation, account) for account in reversed(accounts)]))
    return Figures(*(_milliseconds(operation, account) for account in accounts))


def _milliseconds(operation: Operation, account: Account) -> float:
    began = time.perf_counter()
    operation(account)
    return (time.perf_counter() - began) * 1000


def _table(figures: Mapping[str, Sequence[Figures]], many: int) -> str:
    lines = [
        f"## With {many:,} sessions and as many rows in the log, beside {FEW:,}",
        "",
        f"| median ms (min to max) | {FEW:,} | {many:,} | ratio | {many:,}, user who has most | ratio |",
        "|-|-|-|-|-|-|",
    ]
    for name, turns in figures.items():
        few, lots, heavy = (_spread(each) for each in zip(*turns, strict=True))
        ratio = median(turn.many / turn.few for turn in turns)
        heavy_ratio = median(turn.heavy / turn.few for turn in turns)
        lines.append(f"| {name} | {few} | {lots} | {ratio:.2f} | {heavy} | {heavy_ratio:.2f} |")
    explained = (
        f"Pages have {LIMIT} rows; deep ones begin in the middle. The user has 120 sessions and 200 rows in the log; "
        f"the one who has most {min(1_000, many // 10):,} and {many // 10:,}. "
        f"{min(map(len, figures.values()))} turns, interleaved; ratios are medians of pairs. Target: <= {RATIO}."
    )
    return "\n".join([*lines, "", explained])


def _spread(figures: Sequence[float]) -> str:
    return f"{median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"
