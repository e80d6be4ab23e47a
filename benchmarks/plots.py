"""`python -m benchmarks.plots`: draws the tables of rates in results/, each as an SVG beside it.

Runs in the environment of requirements.lock. The same tables always give the same file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib import pyplot as plt

RESULTS = Path(__file__).with_name("results")
DRAWN = ("requests", "beside_sign_ins", "sign_in_rate", "connections")
SERVICE, OTHERS = "#1f6f8b", "#b0b7bf"

_TABLE = re.compile(
    r"^## (?P<title>.+)\n\n\| \| median (?P<unit>.+?) \| min.*\n\|.*\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE
)


class Bar(NamedTuple):
    name: str
    median: float
    least: float
    most: float


class Panel(NamedTuple):
    title: str
    unit: str
    bars: list[Bar]


def main() -> None:
    mpl.use("svg")
    plt.rcParams |= {"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9}
    for name in DRAWN:
        if (table := RESULTS / f"{name}.md").exists():
            _draw(_panels(table.read_text(encoding="utf-8").replace("`", "")), RESULTS / f"{name}.svg")


def _panels(report: str) -> list[Panel]:
    return [Panel(table["title"], table["unit"], list(_bars(table["rows"]))) for table in _TABLE.finditer(report)]


def _bars(rows: str) -> Iterator[Bar]:
    for line in rows.splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        median, least, most = (float(cell.replace(",", "")) for cell in cells[:3])
        yield Bar(name, median, least, most)


def _draw(panels: list[Panel], file: Path) -> None:
    heights = [len(panel.bars) + 1.5 for panel in panels]
    figure, axes = plt.subplots(
        len(panels), figsize=(8, 0.4 * sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels, axes.flat, strict=True):
        _draw_panel(panel, axis)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _draw_panel(panel: Panel, axis: plt.Axes) -> None:
    medians = [bar.median for bar in panel.bars]
    spread = [[bar.median - bar.least for bar in panel.bars], [bar.most - bar.median for bar in panel.bars]]
    colours = [SERVICE if "the service" in (bar.name + panel.title).lower() else OTHERS for bar in panel.bars]
    bars = axis.barh([bar.name for bar in panel.bars], medians, xerr=spread, color=colours, ecolor="#444", capsize=2)
    axis.bar_label(
        bars,
        [f" {median:,.0f}" if median >= 100 else f" {median:.3g}" for median in medians],
        label_type="edge",
        padding=4,
    )
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(panel.title, loc="left", fontweight="bold", fontsize=9)
    axis.set_xlabel(panel.unit)


if __name__ == "__main__":
    main()
