"""The figures of a report as SVG text that stands alone inside a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightguard.evaluate.names import label
from sightguard.report.canvas import GRID, INK, figure_of, to_svg
from sightguard.report.inputs import Panel, TradeOff

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HARMFUL, HARMLESS = "#c2410c", "#1d6fb8"
CONDITION_STYLES = (
    ("#5b6673", "o"),
    ("#009e73", "D"),
    ("#b8860b", "s"),
    ("#a3528f", "v"),
    ("#1d6fb8", "P"),
    ("#c2410c", "X"),
    ("#1d2733", "^"),
    ("#7a9e1f", "p"),
)
"""Told apart by shape as well as by colour."""


def attack_chart(settings: Mapping[str, Any], conditions: Sequence[str]) -> str:
    """Return attack success by setting: one row of points with intervals for each condition."""
    with figure_of(7.6, 0.75 + 0.165 * len(settings) * (len(conditions) + 1)) as figure:
        axes = figure.subplots()
        step = len(conditions) + 1
        for column, condition in enumerate(conditions):
            colour, marker = CONDITION_STYLES[column % len(CONDITION_STYLES)]
            rows = [(row, part["asr"].get(condition)) for row, part in enumerate(settings.values())]
            known = [(row * step + column, rate) for row, rate in rows if rate is not None]
            values = [100 * rate["value"] for _, rate in known]
            spread = [
                [100 * (rate["value"] - rate["low"]) for _, rate in known],
                [100 * (rate["high"] - rate["value"]) for _, rate in known],
            ]
            places = [place for place, _ in known]
            axes.errorbar(values, places, xerr=spread, fmt=marker, color=colour, ms=6, lw=1.6, label=label(condition))
        axes.set_yticks([row * step + (len(conditions) - 1) / 2 for row in range(len(settings))])
        axes.set_yticklabels([_broken(label(name)) for name in settings], color=INK)
        for row in range(1, len(settings)):
            axes.axhline(row * step - 1, color=GRID, lw=1)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(-3, 103), ylim=(len(settings) * step - 1, -1), xlabel="attack success, % (lower is safer)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=9, handletextpad=0.4)
        return to_svg(figure, "attack")


def states_chart(panels: Sequence[Panel], explained: tuple[float, float] | None) -> str:
    """Return the clouds of last-token states side by side, on shared axes."""
    with figure_of(7.6, 3.1) as figure:
        row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            _cloud(axes, panel)
        shares = [f" ({100 * share:.0f}% of variance)" for share in explained] if explained else ["", ""]
        row[0].set_ylabel(f"component 2{shares[1]}")
        row[len(row) // 2].set_xlabel(f"component 1{shares[0]}")
        handles, names = row[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=9)
        return to_svg(figure, "states")


def separability_chart(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return how well harmful and harmless prompts can be told apart by layer, with and without a blank image."""
    with figure_of(7.6, 2.9) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        titles = ("Ranking (AUROC)", "Threshold set on text (balanced accuracy)")
        for axes, part, title in zip(panels, ("auc", "balanced_accuracy"), titles, strict=True):
            for kind, colour, marker, name in (
                ("text", HARMLESS, "o", "text only"),
                ("blank", HARMFUL, "s", "with blank image"),
            ):
                known = [(row["layer"], row[f"{part}_{kind}"]) for row in layers if row[f"{part}_{kind}"] is not None]
                axes.plot(
                    [x for x, _ in known],
                    [y for _, y in known],
                    color=colour,
                    marker=marker,
                    ms=4.5,
                    lw=1.8,
                    label=name,
                )
            axes.set_title(title)
            axes.set_xlabel("layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylim(min(0.45, *_lowest(layers)), 1.03)
        panels[0].legend(loc="lower right", fontsize=9)
        return to_svg(figure, "separability")


def trade_off_chart(curve: TradeOff) -> str:
    """Return the gate's curve of harmless prompts caught against harmful prompts caught."""
    with figure_of(4.2, 3.1) as figure:
        axes = figure.subplots()
        points = sorted(zip(curve.false_positive, curve.true_positive, strict=True))
        if curve.low and curve.high:
            corners = [*sorted(curve.high), *sorted(curve.low, reverse=True)]
            axes.fill(*[[100 * corner[i] for corner in corners] for i in (0, 1)], color=HARMLESS, alpha=0.15, lw=0)
        axes.plot([100 * x for x, _ in points], [100 * y for _, y in points], color=HARMLESS, lw=1.8)
        if curve.chosen is not None:
            axes.plot(*[[100 * value] for value in curve.chosen], "D", color=HARMFUL, ms=7, label="in use")
            axes.legend(loc="lower right", fontsize=9)
        axes.set(xlim=(-3, 103), ylim=(-3, 103), title=curve.title)
        axes.set_xlabel("harmless prompts caught, %")
        axes.set_ylabel("harmful prompts caught, %")
        return to_svg(figure, "trade")


def _cloud(axes: Axes, panel: Panel) -> None:
    for harmful, colour, marker, name in ((False, HARMLESS, "o", "harmless"), (True, HARMFUL, "^", "harmful")):
        points = [point for point, is_harmful in zip(panel.points, panel.harmful, strict=True) if is_harmful == harmful]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.scatter(xs, ys, s=15, c=colour, marker=marker, alpha=0.6, linewidths=0, label=name)
    axes.set_title(panel.title)
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.tick_params(length=0)


def _lowest(layers: Sequence[Mapping[str, Any]]) -> list[float]:
    names = ("auc_text", "auc_blank", "balanced_accuracy_text", "balanced_accuracy_blank")
    return [row[name] - 0.03 for row in layers for name in names if row[name] is not None] or [0.45]


def _broken(text: str) -> str:
    return text.replace(" + ", "\n+ ").replace(", ", ",\n")
