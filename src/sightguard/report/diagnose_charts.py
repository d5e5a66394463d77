"""The figures of the safety gap report as SVG text that stands alone inside a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightguard.report.canvas import GRID, INK, MUTED, figure_of, to_svg
from sightguard.report.charts import HARMFUL, HARMLESS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT, IMAGE = (HARMLESS, "o", "text only"), (HARMFUL, "s", "with the image")
"""Told apart by shape as well as by colour."""


def separability_by_layer_chart(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return how well harmful and harmless are told apart by layer: along the text direction, by a probe, and as clouds."""
    parts = (
        ("auc", "Along the text direction\n(AUROC)"),
        ("probe_auc", "Linear probe\n(AUROC)"),
        ("balanced_accuracy", "Threshold set on text\n(balanced accuracy)"),
    )
    with figure_of(7.6, 2.9) as figure:
        panels = figure.subplots(1, len(parts), sharey=True)
        for axes, (part, title) in zip(panels, parts, strict=True):
            for way, style in (("text", TEXT), ("image", IMAGE)):
                _curve(axes, layers, f"{part}_{way}", style)
            axes.axhline(0.5, color=MUTED, lw=1, ls=":")
            _by_layer(axes, title)
        lowest = min(layer[f"{part}_{way}"] for layer in layers for part, _ in parts for way in ("text", "image"))
        panels[0].set_ylim(min(0.45, lowest - 0.03), 1.03)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=9)
        return to_svg(figure, "separability")


def shift_chart(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return what the picture moves by layer: the direction itself, and the states along it."""
    with figure_of(7.6, 2.9) as figure:
        cosine, moved, share = figure.subplots(1, 3)
        _curve(cosine, layers, "cosine_text_halves", (HARMLESS, "o", "two halves of the text"))
        _curve(cosine, layers, "cosine_text_image", (HARMFUL, "s", "text and image"))
        cosine.axhline(0, color=MUTED, lw=1, ls=":")
        cosine.set_ylim(min(-0.05, *(layer["cosine_text_image"] - 0.05 for layer in layers)), 1.05)
        cosine.legend(loc="best", fontsize=8)
        _by_layer(cosine, "Cosine of two directions")
        _curve(moved, layers, "harmful_moved", (HARMFUL, "s", ""))
        moved.axhline(0, color=MUTED, lw=1, ls=":")
        _by_layer(moved, "Harmful prompts move\n(gaps of text; −1: all of it)")
        _curve(share, [_in_percent(layer) for layer in layers], "shift_share_in_safety_subspace", (HARMFUL, "s", ""))
        share.set_ylim(bottom=0)
        _by_layer(share, "Of the shift, in the\nsafety subspace (%)")
        return to_svg(figure, "shift")


def refusal_chart(refusal: Mapping[str, Any]) -> str | None:
    """Return rates of refusal with their intervals, as text and with the image; None where none was decided."""
    rows = [
        (place, refusal[side][way], style)
        for place, side in enumerate(("harmful", "harmless"))
        for way, style in (("text", TEXT), ("image", IMAGE))
        if refusal[side][way]["value"] is not None
    ]
    if not rows:
        return None
    with figure_of(7.6, 1.9) as figure:
        axes = figure.subplots()
        named: set[str] = set()
        for place, rate, (colour, marker, name) in rows:
            value, low, high = (100 * rate[key] for key in ("value", "low", "high"))
            at = place + (-0.16 if name == TEXT[2] else 0.16)
            axes.errorbar(
                [value],
                [at],
                xerr=[[value - low], [high - value]],
                fmt=marker,
                color=colour,
                ms=6.5,
                lw=1.8,
                label=None if name in named else name,
            )
            named.add(name)
        axes.set_yticks([0, 1])
        axes.set_yticklabels(["harmful prompts", "harmless prompts"], color=INK)
        axes.axhline(0.5, color=GRID, lw=1)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(-3, 103), ylim=(1.5, -0.5), xlabel="refused, % (95% Wilson intervals)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2, fontsize=9)
        return to_svg(figure, "refusal")


def _curve(axes: Axes, layers: Sequence[Mapping[str, Any]], key: str, style: tuple[str, str, str]) -> None:
    colour, marker, name = style
    axes.plot(
        [layer["layer"] for layer in layers],
        [layer[key] for layer in layers],
        color=colour,
        marker=marker,
        ms=4.5 if len(layers) <= 16 else 3,
        lw=1.8,
        label=name,
    )


def _by_layer(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=9.5)
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _in_percent(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {**layer, "shift_share_in_safety_subspace": 100 * layer["shift_share_in_safety_subspace"]}
