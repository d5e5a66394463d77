"""What the demo shows beside its table: clouds of states, the gate's trade-off, ten conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.demo.states import States
from sightguard.evaluate.run import Run
from sightguard.report.inputs import Example, Figures, Panel, TradeOff

if TYPE_CHECKING:
    from sightguard.steering.choose import Choice
    from sightguard.types import Sample

SHOWN = (
    ("blank_image", 3),
    ("jailbreak_blank_image", 2),
    ("harm_in_picture", 2),
    ("benign_image", 2),
    ("safe_verb_harmful_object", 1),
)
"""Which conversations are shown, spread over the prompts of their setting: never picked by outcome."""
TITLES = {"text": "Text only", "blank": "With a blank image", "guarded": "With a blank image, guarded"}
POINTS = 300


def figures(states: States, choice: Choice) -> Figures:
    """Return the points to draw, at the deepest layer that the guard edits."""
    layer = choice.guard.layers[-1]
    clouds, explained = plane(states, layer)
    harmful = states.harmful.tolist()
    keep = range(0, len(harmful), max(1, len(harmful) // POINTS))
    panels = tuple(
        Panel(
            TITLES[name],
            tuple((float(x), float(y)) for x, y in (points[i].tolist() for i in keep)),
            tuple(harmful[i] for i in keep),
        )
        for name, points in clouds.items()
    )
    return Figures(states=panels, states_layer=layer, explained=explained, trade_off=trade_off(choice))


def plane(states: States, layer: int) -> tuple[dict[str, Tensor], tuple[float, float]]:
    """Return `n x 2` points of all three sets on the first two principal components of the text-only states, and their shares."""
    text = states.text[layer].double()
    centre = text.mean(0)
    _, singular, axes = torch.linalg.svd(text - centre, full_matrices=False)
    shares = (singular.square() / singular.square().sum())[:2].tolist()
    parts = {"text": states.text, "blank": states.blank, "guarded": states.guarded}
    return {name: (part[layer].double() - centre) @ axes[:2].T for name, part in parts.items()}, (shares[0], shares[1])


def trade_off(choice: Choice) -> TradeOff:
    """Return the gate's curve on validation prompts, with the threshold that was chosen on it."""
    title = f"Gate at layer {choice.guard.layers[-1]} on validation prompts"
    return TradeOff.of(choice.curve, choice.guard.limits()[-1][0], title)


def examples(run: Run, test: Mapping[str, Sequence[Sample]]) -> list[Example]:
    """Return ten conversations with every condition's answer."""
    rows = {(row.setting, row.id, row.condition): row for row in run.rows}
    names = list(dict.fromkeys(row.condition for row in run.rows))
    found = []
    for setting, count in SHOWN:
        step = max(1, len(test[setting]) // count)
        for sample in test[setting][step // 2 :: step][:count]:
            answered = {name: rows[setting, sample.id, name] for name in names if (setting, sample.id, name) in rows}
            found.append(
                Example(
                    id=sample.id,
                    setting=setting,
                    prompt=sample.text,
                    answers={name: row.response.text for name, row in answered.items()},
                    outcomes={name: row.outcome for name, row in answered.items()},
                    picture=sample.images[0].read() if sample.images else None,
                    category=sample.category,
                    harmful=sample.harmful,
                )
            )
    return found
