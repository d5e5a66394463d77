"""Fits VLM-Guard on the embedded model and chooses its parameters on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightguard.pocket import world
from sightguard.pocket.judge import PocketJudge
from sightguard.steering.choose import RULES, Choice, choose
from sightguard.steering.guarantee import halves
from sightguard.steering.memory import Memory
from sightguard.steering.recipe import Asked, certified
from sightguard.steering.transfer import HANDFUL, with_transfer
from sightguard.steering.vlm_guard import VlmGuard

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Sample

Progress = Callable[[str, int, int], None]
PAIRS = 100
PER_SETTING = 100
"""Harmful validation prompts of each setting."""
BENIGN = {"benign_text": 60, "benign_image": 240, "safe_verb_harmful_object": 60}
"""Benign validation prompts of each kind: most where a wrong edit costs most, since a point of utility has to be seen."""

HARMFUL: dict[str, tuple[str, ...]] = {
    "text": ("blank_image", "jailbreak_blank_image"),
    "caption": ("blank_image", "jailbreak_blank_image", "harm_in_picture"),
}
"""What each reference is asked to defend: the text alone cannot know what is in the picture."""


@dataclass(frozen=True)
class Fitted:
    """The two guards of the demo, how they were chosen, and which prompts were used for it."""

    text: Choice
    caption: Choice
    seen: tuple[Sample, ...]
    """Every prompt that fitting or choosing looked at, for the overlap check."""

    @property
    def choices(self) -> tuple[Choice, Choice]:
        return self.text, self.caption

    @property
    def guards(self) -> list[VlmGuard]:
        return [choice.guard for choice in self.choices]


def fit(vlm: VLM, *, seed: int = 0, progress: Progress | None = None) -> Fitted:
    """Fit directions on text-only anchors and choose both readings on validation prompts.

    Args:
        vlm: an embedded model.
        seed: of the anchors and the validation prompts.
        progress: called with (stage, done, total).
    """
    memory = Memory()
    text, caption = (
        choose_on_world(vlm, seed=seed, options={"reference": reference}, memory=memory, progress=progress)
        for reference in ("text", "caption")
    )
    anchors = [sample for pair in world.anchors(PAIRS, seed) for sample in pair]
    validation = {**harmful_prompts("caption", seed), **benign_prompts(seed)}
    return Fitted(text, caption, (*anchors, *(sample for samples in validation.values() for sample in samples)))


def harmful_prompts(reference: str, seed: int) -> dict[str, list[Sample]]:
    """Return the validation prompts that a guard with this reference has to defend against, by setting."""
    settings = world.settings("validation", PER_SETTING, seed)
    return {name: settings[name] for name in HARMFUL["caption" if reference == "caption" else "text"]}


def benign_prompts(seed: int) -> dict[str, list[Sample]]:
    """Return the validation prompts that must still be answered, by kind."""
    settings = world.settings("validation", max(BENIGN.values()), seed)
    return {name: settings[name][:count] for name, count in BENIGN.items()}


def choose_on_world(
    vlm: VLM,
    *,
    seed: int = 0,
    options: Mapping[str, Any],
    benign: Sequence[Sample] = (),
    max_false_refusal: float | None = None,
    force: bool = False,
    memory: Memory | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Fit one reading of VLM-Guard on the world's anchors and choose its parameters on the world's validation split.

    Args:
        vlm: an embedded model.
        seed: of the anchors and the validation prompts.
        options: fields of VlmGuard that stay as given.
        benign: prompts to certify the rate on.
        max_false_refusal: the rate to certify; None certifies nothing.
        force: return the guard even where the rate is not certified.
        memory: share what was read with others on the same model.
        progress: called with (stage, done, total).
    """
    shared = memory if memory is not None else Memory()
    pairs = world.anchors(PAIRS, seed)
    provenance = {"anchors": f"pocket-world@1/train, {PAIRS} pairs, seed {seed}"}
    guards = VlmGuard.fit_each(vlm, pairs, provenance=provenance, caption_prompt=world.CAPTION_PROMPT, **options)
    harmful = [sample for samples in harmful_prompts(guards[0].reference, seed).values() for sample in samples]
    asked = Asked(harmful, benign_prompts(seed), PocketJudge())
    choice = choose(
        vlm,
        guards,
        harmful=asked.harmful,
        benign=asked.benign,
        judge=asked.judge,
        anchors=pairs,
        rules=RULES if max_false_refusal is None else (("calibrated", max_false_refusal),),
        memory=shared,
        progress=(lambda stage, done, total: progress(f"choose ({guards[0].reference}): {stage}", done, total))
        if progress
        else None,
    )
    choice = with_transfer(choice, vlm, world.anchors(PAIRS + HANDFUL, seed)[PAIRS:])
    if max_false_refusal is None:
        return choice
    return certified(
        choice,
        vlm,
        *halves(benign, max_false_refusal, seed),
        asked,
        max_false_refusal=max_false_refusal,
        force=force,
        memory=shared,
        progress=progress,
    )
