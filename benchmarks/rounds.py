"""Taking turns."""

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def interleaved(variants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each variant answers in each round; every other round goes backwards. One before them does not count."""
    runs: dict[str, list[T]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name in list(variants)[:: -1 if turn % 2 else 1]:
            runs[name].append(variants[name]())
    return {name: figures[1:] for name, figures in runs.items()}
