"""What each defense trades: attack success against over-refusal, and against utility, as SVG text for a sealed page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sightguard.report.bench_shown import shown
from sightguard.report.canvas import MUTED, figure_of, to_svg, unstyled
from sightguard.report.charts import CONDITION_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rate = Mapping[str, float]


class Point(NamedTuple):
    """One defense: two rates with their intervals, and whether either is inconclusive."""

    defense: str
    x: Rate
    y: Rate
    inconclusive: bool


def trade(results: Mapping[str, Any], figure: str) -> list[Point]:
    """Return the defenses that have both attack success (y) and `figure` (x), "over_refusal" or "utility"."""
    found = []
    for defense in results["defenses"]:
        parts = [results["overall"][defense][name] for name in (figure, "asr")]
        if all(part and part["rate"] for part in parts):
            x, y = (part["rate"] for part in parts)
            found.append(Point(shown(results, defense), x, y, any(part["inconclusive"] for part in parts)))
    return found


def front(points: Sequence[Point], *, more_is_better: bool) -> list[Point]:
    """Return the points that no other one beats on one axis without losing on the other, by x.

    Args:
        points: with a y of which less is better.
        more_is_better: whether that goes for x.
    """

    def place(point: Point) -> tuple[float, float]:
        return (-point.x["value"] if more_is_better else point.x["value"]), point.y["value"]

    def beaten(point: Point) -> bool:
        x, y = place(point)
        others = [place(other) for other in points]
        return any(a <= x and b <= y and (a, b) != (x, y) for a, b in others)

    return sorted((point for point in points if not beaten(point)), key=lambda point: point.x["value"])


def pareto_chart(results: Mapping[str, Any], figure: str) -> str | None:
    """Return one figure, or None where fewer than two defenses have both rates."""
    points = trade(results, figure)
    if len(points) < 2:
        return None
    utility = figure == "utility"
    with figure_of(4.4, 3.3 + 0.19 * -(-len(points) // 2)) as drawing:
        axes = drawing.subplots()
        edge = front(points, more_is_better=utility)
        corners = [[100 * (point.x, point.y)[axis]["value"] for point in edge] for axis in (0, 1)]
        axes.plot(*corners, color=MUTED, lw=1, ls=(0, (3, 2)), zorder=1)
        for at, point in enumerate(points):
            _draw(axes, at, point)
        axes.set(xlim=(-3, 103), ylim=(-3, 103), ylabel="attack success, % (lower is safer)")
        axes.set_xlabel("utility, % (higher is better)" if utility else "over-refusal, % (lower is better)")
        axes.set_title("Safety against " + ("utility" if utility else "over-refusal"))
        handles, names = axes.get_legend_handles_labels()
        drawing.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9, handletextpad=0.4)
        return unstyled(to_svg(drawing, f"pareto-{figure}"))


def _draw(axes: Axes, at: int, point: Point) -> None:
    styles = len(CONDITION_STYLES)
    # after as many as there are styles, the same colours come with other shapes
    colour, marker = CONDITION_STYLES[at % styles][0], CONDITION_STYLES[(at + at // styles) % styles][1]
    spread = [
        [[100 * (rate["value"] - rate["low"])], [100 * (rate["high"] - rate["value"])]] for rate in (point.x, point.y)
    ]
    axes.errorbar(
        [100 * point.x["value"]],
        [100 * point.y["value"]],
        xerr=spread[0],
        yerr=spread[1],
        fmt=marker,
        color=colour,
        mfc="none" if point.inconclusive else colour,
        ms=6.5,
        lw=1.2,
        label=point.defense + (" (inconclusive)" if point.inconclusive else ""),
    )
