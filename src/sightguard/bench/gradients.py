"""How many gradients attacks on pixels take, told before anything is loaded: a pass of one sample forwards and backwards is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sightguard.bench.defenses import parts
from sightguard.bench.pixels import STEPS, OnModel
from sightguard.bench.plan import Plan, Planned
from sightguard.bench.suite import is_on_model

Range = tuple[int, int]
SURFACES: Mapping[str, Range] = {"vlm_guard_caption": (2, 2), "safevlm": (1, 2), "safevlm_stage1": (1, 2)}
"""Ways in which an attack differentiates a defense, at least and at most (`sightguard.attacks.adaptive.surfaces_of`); one where it is not named:
with a caption in its reference it is attacked once more for each decoy, and a SafeVLM once more where its policy puts a hint into the prompt."""


def gradient_passes(plan: Plan, defenses: Sequence[str]) -> dict[str, Range]:
    """Return, for each setting under an attack on pixels, the gradient passes at least and at most: samples x steps x surfaces."""
    found = {}
    for one in plan.asked:
        kinds = [OnModel.of(name).kind for name in one.setting.attacks if is_on_model(name)]
        for kind in kinds:
            if kind != "icet":
                found[one.setting.name] = _passes(one, defenses if kind == "pgd_adaptive" else ["none"])
    return found


def _passes(one: Planned, against: Sequence[str]) -> Range:
    low, high = (sum(_surfaces(name)[i] for name in against) for i in (0, 1))
    return len(one.samples) * STEPS * low, len(one.samples) * STEPS * high


def _surfaces(defense: str) -> Range:
    stack = parts(defense)
    # a stack is a black box, attacked by transfer
    return SURFACES.get(defense, (1, 1)) if len(stack) == 1 else (1, 1)
