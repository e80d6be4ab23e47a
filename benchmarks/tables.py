"""Figures of interleaved runs as a Markdown table: medians, spread, and the ratio of each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Table:
    title: str
    unit: str
    runs: Mapping[str, Sequence[float]]
    """By variant; the n-th figure of each was taken in the n-th round. The first variant is what the others are to."""
    target: str

    def ratios(self, variant: str) -> list[float]:
        base = next(iter(self.runs))
        return [figure / other for figure, other in zip(self.runs[variant], self.runs[base], strict=True)]

    def __str__(self) -> str:
        lines = [
            f"## {self.title}",
            "",
            f"| | median {self.unit} | min | max | ratio (median of pairs) |",
            "|-|-|-|-|-|",
        ]
        for variant, figures in self.runs.items():
            ratio = median(self.ratios(variant))
            spread = f"{min(figures):.3g} | {max(figures):.3g}"
            lines.append(f"| {variant} | {median(figures):.3g} | {spread} | {ratio:.2f} |")
        rounds = len(next(iter(self.runs.values())))
        return "\n".join([*lines, "", f"{rounds} rounds, interleaved. Target: {self.target}."])
