"""Fits a guard on a model of the user's own: directions on one half of the anchors, parameters chosen on the other, the rate certified."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sightguard.data.blank import beside_a_picture, blank, pictured
from sightguard.errors import DataError, UsageError
from sightguard.steering.choose import FINALISTS, RULES, Choice, choose, try_once
from sightguard.steering.guarantee import certify, halves
from sightguard.steering.memory import Memory
from sightguard.steering.transfer import with_transfer
from sightguard.steering.vlm_guard import VlmGuard

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Judge, Sample

FEWEST = 8
SEPARATES = 0.8
"""Area under the ROC curve, at the best layer, below which a language model does not tell harmful from harmless requests."""
ASKED = 200
"""At most so many benign prompts are answered while parameters are chosen; all of the half set the thresholds."""


def fit_and_choose(
    vlm: VLM,
    pairs: Sequence[tuple[Sample, Sample]],
    judge: Judge,
    *,
    benign: Sequence[Sample] = (),
    max_false_refusal: float | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    finalists: int = FINALISTS,
    force: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Choice:
    """Fit VLM-Guard on (harmful, harmless) pairs and choose its parameters; no prompt is used for both.

    The choice is made on the other half of the pairs: harmful ones with a blank picture must be refused; harmless ones with it
    and without it, and `benign`, must still be answered. With `max_false_refusal`, the thresholds are set on one half of `benign`
    and certified on the other. Whether the directions stand for harm beside a picture at all is in `guard.calibration["transfer"]`.

    Args:
        vlm: the model.
        pairs: matched anchors, at least 8.
        judge: says refused or complied.
        benign: further prompts that must be answered; where none of them holds a picture, each is read beside a blank one.
        max_false_refusal: the rate to certify; None certifies nothing.
        seed: of the splits.
        options: fields of VlmGuard that stay as given (reference, kind, gate, phase, …).
        finalists: candidates that answer in full.
        force: go on where the model does not separate the anchors, or the rate is not certified; the guard then says so.
        progress: called with (stage, done, total).

    Raises:
        UsageError: too few pairs.
        CannotCertify: too few benign prompts, or the gate acts on too many.
        DataError: the language model does not separate the anchors.
    """
    if len(pairs) < FEWEST:
        raise UsageError(
            f"choosing parameters needs at least {FEWEST} pairs, half to fit and half to choose on; got {len(pairs)}"
        )
    clean = beside_a_picture(benign)
    choosing, certifying = (clean, []) if max_false_refusal is None else halves(clean, max_false_refusal, seed)
    fitted, held_out = split(pairs, seed)
    guards = VlmGuard.fit_each(vlm, fitted, provenance={"half": len(fitted), "seed": seed}, **(options or {}))
    picture, memory = blank(), Memory()
    asked = Asked(
        harmful=[pictured(harmful, picture) for harmful, _ in held_out],
        benign={
            "text": [good for _, good in held_out],
            "blank picture": [pictured(good, picture) for _, good in held_out],
            **({"own": choosing[:ASKED]} if choosing else {}),
        },
        judge=judge,
    )
    choice = choose(
        vlm,
        guards,
        harmful=asked.harmful,
        benign=asked.benign,
        judge=judge,
        anchors=fitted,
        rules=RULES if max_false_refusal is None else (("calibrated", max_false_refusal),),
        finalists=finalists,
        memory=memory,
        progress=progress,
    )
    check_separates(choice, force=force)
    choice = with_transfer(choice, vlm, held_out)
    if max_false_refusal is None:
        return choice
    return certified(
        choice,
        vlm,
        choosing,
        certifying,
        asked,
        max_false_refusal=max_false_refusal,
        force=force,
        memory=memory,
        progress=progress,
    )


def split(
    pairs: Sequence[tuple[Sample, Sample]], seed: int
) -> tuple[list[tuple[Sample, Sample]], list[tuple[Sample, Sample]]]:
    """Return the pairs that directions are fitted on, and those that parameters are chosen on: halves, drawn by `seed`."""
    shuffled = sorted(pairs, key=lambda pair: (pair[0].text, pair[1].text))
    random.Random(seed).shuffle(shuffled)
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


@dataclass(frozen=True, slots=True)
class Asked:
    """The validation prompts of a choice, and who judges the answers."""

    harmful: Sequence[Sample]
    benign: Mapping[str, Sequence[Sample]]
    judge: Judge


def certified(
    choice: Choice,
    vlm: VLM,
    choosing: Sequence[Sample],
    certifying: Sequence[Sample],
    asked: Asked,
    *,
    max_false_refusal: float,
    force: bool,
    memory: Memory,
    progress: Callable[[str, int, int], None] | None = None,
) -> Choice:
    """Raise the thresholds of the chosen guard, certify it, and let it answer the validation prompts once more as it now is."""
    show = progress or (lambda *_: None)
    show("certify", 0, 2)
    guard = certify(
        choice.guard, vlm, choosing, certifying, max_false_refusal=max_false_refusal, force=force, memory=memory
    )
    show("certify", 1, 2)
    after = try_once(vlm, guard, harmful=asked.harmful, benign=asked.benign, judge=asked.judge, memory=memory)
    show("certify", 2, 2)
    return replace(choice, guard=replace(guard, calibration={**guard.calibration, "after": asdict(after)}))


def check_separates(choice: Choice, *, force: bool) -> None:
    """Raise DataError, or warn if forced, where no layer tells harmful from harmless validation prompts."""
    best = max(choice.separability)
    if best >= SEPARATES:
        return
    told = (
        f"the language model does not tell harmful from harmless anchors: the area under the ROC curve is {best:.2f} at the best layer "
        f"(1 is apart, 0.5 is chance, {SEPARATES} is asked for). A guard can only bring back safety that is there"
    )
    if not force:
        raise DataError(
            f"{told}. Is it a safety-tuned model, and are the anchors in its language? --force fits all the same."
        )
    warnings.warn(told, stacklevel=3)
