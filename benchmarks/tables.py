"""Figures of interleaved runs as Markdown tables: medians, spread, and the ratio of each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

Runs = Mapping[str, Sequence[float]]
"""By variant; the n-th figure of each was taken in the n-th round."""


@dataclass(frozen=True)
class Table:
    title: str
    unit: str
    runs: Runs
    """The first variant is what the others are to."""
    target: str
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """More columns by their heading, a cell for each variant."""

    def ratios(self, variant: str) -> list[float]:
        return pair_ratios(self.runs, variant, next(iter(self.runs)))

    def __str__(self) -> str:
        heading = ["", f"median {self.unit}", "min", "max", "ratio (median of pairs)", "of pairs", *self.notes]
        rows = [
            [variant, *_spread(figures), *_ratio_and_spread(self.ratios(variant)), *notes]
            for (variant, figures), *notes in zip(self.runs.items(), *self.notes.values(), strict=True)
        ]
        rounds = len(next(iter(self.runs.values())))
        return f"## {self.title}\n\n{grid(heading, rows)}\n\n{rounds} rounds, interleaved. Target: {self.target}."


class Target(NamedTuple):
    """What the ratio of two variants, or a figure of one, is to be at least, or at most."""

    name: str
    figures: Sequence[float]
    """One for each round."""
    limit: float
    at_most: bool = False

    def row(self) -> list[str]:
        middle = median(self.figures)
        is_met = middle <= self.limit if self.at_most else middle >= self.limit
        wanted = f"{'<=' if self.at_most else '>='} {self.limit:g}"
        return [self.name, *_spread(self.figures), wanted, "yes" if is_met else "**no**"]


def target_table(*targets: Target) -> str:
    """Whether the median of the pairs' ratios meets each target."""
    return "### Targets\n\n" + grid(["", "median", "min", "max", "target", "met"], [each.row() for each in targets])


def pair_ratios(runs: Runs, variant: str, base: str) -> list[float]:
    return [figure / other for figure, other in zip(runs[variant], runs[base], strict=True)]


def grid(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heading, ["-"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def _spread(figures: Sequence[float]) -> list[str]:
    """Median, minimum, maximum."""
    return [_short(figure) for figure in (median(figures), min(figures), max(figures))]


def _ratio_and_spread(ratios: Sequence[float]) -> list[str]:
    return [f"{median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]


def _short(figure: float) -> str:
    """Three digits that count."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
