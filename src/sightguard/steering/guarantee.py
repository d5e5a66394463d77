"""Calibrates a guard to a promised rate of false refusals, and certifies it on prompts that nothing was chosen on.

    guard = calibrate(guard, vlm, benign, max_false_refusal=0.01)

What is promised. On a benign prompt the guard can only change an answer, into a refusal or otherwise, if it acts: its gate fires at one of
its layers, and the edit is not the identity (with `guard.spares_text` a prompt without a picture is left as it is). The rate at which it acts
is at most `upper_bound`, with the stated confidence, for prompts that are drawn independently and as the calibration prompts were. The
bound is Clopper and Pearson's, exact and one-sided; it is computed once, on the half that no choice has seen.

What is not promised: anything about other prompts than those drawn alike, about another model, or under an attack on the gate.

How the threshold is set. On the choosing half, a common step above the thresholds that the guard has: to its j-th largest score, with the
largest j for which the other half passes with probability `LIKELY`. How many scores of one half exceed the j-th largest of another is
beta-binomial whatever they are distributed like. Where not even j = 1 will do, the step goes on beyond the largest score, as if
scores fell off exponentially there. The promise does not rest on any of that: a step that is too small fails to be certified.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.blank import beside_a_picture
from sightguard.errors import CannotCertify, DataError, UsageError
from sightguard.evaluate.statistics import clopper_pearson_upper
from sightguard.models.states import prompt_states
from sightguard.steering.memory import Memory
from sightguard.steering.method import Reading, text_rows
from sightguard.steering.references import query_states
from sightguard.steering.splits import refuse_test

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Sample

CONFIDENCE = 0.95
LIKELY = 0.95
"""How likely the certifying half should pass, when the threshold is set on the choosing half."""
FEWEST = 50
"""Prompts that the choosing half needs at least."""
TAIL = 10
"""How many of the largest scores the tail is read from."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was counted on the certifying half, and what follows from it."""

    max_false_refusal: float
    confidence: float
    n: int
    """Benign prompts that were counted, distinct and not used for any choice."""
    fired: int
    """On so many of them the guard acted."""
    upper_bound: float
    """Of the rate at which the guard acts on prompts drawn alike."""
    pictured_n: int
    pictured_fired: int
    """The same among prompts with a picture."""
    fired_ids: tuple[str, ...]
    chosen_on: int
    """Prompts of the other half, on which the threshold was set."""
    step: float
    """How far the thresholds were raised."""

    @property
    def holds(self) -> bool:
        """Whether the target is certified."""
        return self.upper_bound <= self.max_false_refusal

    def as_json(self) -> dict[str, Any]:
        """Return plain data for the artefact, with the promise in words."""
        return {
            **{name: getattr(self, name) for name in self.__slots__ if name != "fired_ids"},
            "fired_ids": list(self.fired_ids),
            "certified": self.holds,
            "promise": (
                f"with {self.confidence:.0%} confidence, the guard acts on at most {self.upper_bound:.4f} of benign prompts that are drawn "
                "independently and as the calibration prompts were; nothing is promised of other prompts, of another model, or under attack"
            ),
        }


def needed(max_false_refusal: float, *, fired: int = 0, confidence: float = CONFIDENCE) -> int:
    """Return how many prompts certify a rate if the guard acts on `fired` of them: the smallest n whose bound is not above it.

    Example:
        >>> needed(0.01)
        299
    """
    _check_target(max_false_refusal)
    low, high = fired, fired + 1
    while clopper_pearson_upper(fired, high, confidence=confidence) > max_false_refusal:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if clopper_pearson_upper(fired, middle, confidence=confidence) > max_false_refusal:
            low = middle
        else:
            high = middle
    return high


def halves(benign: Sequence[Sample], max_false_refusal: float, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
    """Split benign prompts at random into a half to choose on and a half to certify on; the second gets more where it needs more.

    Raises:
        CannotCertify: too few prompts for the target; the message says how many are needed.
    """
    least = needed(max_false_refusal)
    if len(benign) < least + FEWEST:
        raise CannotCertify(
            f"{len(benign)} benign prompts cannot certify a false-refusal rate of {max_false_refusal:g} at {CONFIDENCE:.0%} confidence: "
            f"{least} prompts on which the guard does not act are needed for the bound, and {FEWEST} others to set the threshold on, "
            f"{least + FEWEST} in all. Bring more, or ask for a higher rate (--max-false-refusal)."
        )
    shuffled = list(benign)
    random.Random(f"halves|{seed}").shuffle(shuffled)
    cut = min(len(shuffled) // 2, len(shuffled) - least)
    return shuffled[:cut], shuffled[cut:]


def calibrate(
    guard: VlmGuard,
    vlm: VLM,
    benign: Sequence[Sample],
    *,
    max_false_refusal: float = 0.01,
    seed: int = 0,
    force: bool = False,
    memory: Memory | None = None,
) -> VlmGuard:
    """Raise the thresholds of `guard` on one half of `benign`, and certify the result on the other; states only, no generation.

    Args:
        guard: fitted; it keeps everything but its thresholds.
        vlm: the model.
        benign: prompts that must not be refused, distinct and drawn like the traffic that is to come; where none of them holds a picture,
            each is read beside a blank one.
        max_false_refusal: the promised rate, above 0 and below 1.
        seed: of the split.
        force: return the guard even where the target is not certified; its `calibration` then says so.
        memory: share what was read with others on the same model.

    Returns:
        The guard, with `calibration["certificate"]` and `calibration["upper_bound"]`.

    Raises:
        CannotCertify: too few prompts, or the guard acts on too many of them.
        UsageError: a gate that cannot be calibrated by its states.
    """
    choosing, certifying = halves(beside_a_picture(benign), max_false_refusal, seed)
    return certify(guard, vlm, choosing, certifying, max_false_refusal=max_false_refusal, force=force, memory=memory)


def certify(
    guard: VlmGuard,
    vlm: VLM,
    choosing: Sequence[Sample],
    certifying: Sequence[Sample],
    *,
    max_false_refusal: float,
    force: bool = False,
    memory: Memory | None = None,
) -> VlmGuard:
    """Calibrate on `choosing` and certify on `certifying`, as `calibrate` does with the halves that it makes."""
    _check_gate(guard)
    shared = memory if memory is not None else Memory()
    before = margins(guard, vlm, choosing, shared)
    order = order_that_passes(len(choosing), len(certifying), allowed(len(certifying), max_false_refusal))
    step = max(0.0, at_order(before, order))
    raised = replace(
        guard,
        threshold="calibrated",
        thresholds={
            layer: (text + step, image + step)
            for layer, (text, image) in zip(guard.layers, guard.limits(), strict=True)
        },
    )
    acts = (margins(raised, vlm, certifying, shared) > 0).tolist()
    pictured = [bool(sample.images) for sample in certifying]
    found = Certificate(
        max_false_refusal=max_false_refusal,
        confidence=CONFIDENCE,
        n=len(certifying),
        fired=sum(acts),
        upper_bound=clopper_pearson_upper(sum(acts), len(certifying), confidence=CONFIDENCE),
        pictured_n=sum(pictured),
        pictured_fired=sum(act and seen for act, seen in zip(acts, pictured, strict=True)),
        fired_ids=tuple(sample.id for sample, act in zip(certifying, acts, strict=True) if act),
        chosen_on=len(choosing),
        step=step,
    )
    if not found.holds and not force:
        raise CannotCertify(
            f"the guard acts on {found.fired} of {found.n} benign prompts that nothing was chosen on, so its rate is at most "
            f"{found.upper_bound:.4f} and not {max_false_refusal:g}; that many would need {needed(max_false_refusal, fired=found.fired)} "
            f"prompts to certify the rate. They look harmful to the gate: {_some(found.fired_ids)}. Look at these rows, bring more "
            "prompts, ask for a higher rate (--max-false-refusal), or keep the guard uncertified (--force)."
        )
    return replace(
        raised,
        calibration={**guard.calibration, "upper_bound": found.upper_bound, "certificate": found.as_json()},
    )


def margins(guard: VlmGuard, vlm: VLM, samples: Sequence[Sample], memory: Memory | None = None) -> Tensor:
    """Return how far each prompt is above the threshold of its highest layer, `n`; above 0 the guard acts.

    A prompt on which the edit is the identity, whatever the gate does, stands at minus infinity.
    """
    refuse_test(samples, "calibrating")
    limits = torch.tensor(guard.limits())
    found = [torch.full((len(samples),), -torch.inf)]
    if guard.gate in ("text", "either"):
        reading = Reading(vlm.anatomy, vlm.pad, tuple(text_rows(vlm, samples)), tuple(samples), vlm, memory or Memory())
        found.append(_above(guard, _reference(guard, reading), limits[:, 0]))
    if guard.gate in ("image", "either"):
        found.append(_above(guard, prompt_states(vlm, samples, guard.layers), limits[:, 1]))
    above = torch.stack(found).amax(0)
    untouched = torch.tensor([guard.spares_text and not sample.images for sample in samples])
    return torch.where(untouched, -torch.inf, above)


def _reference(guard: VlmGuard, reading: Reading) -> Tensor:
    if guard.reference == "same_input":
        assert reading.vlm is not None
        assert reading.samples is not None
        return prompt_states(reading.vlm, reading.samples, guard.layers)
    return query_states(reading, guard.reference_rows(reading), guard.layers)


def _above(guard: VlmGuard, states: Tensor, limits: Tensor) -> Tensor:
    scores = guard.directions.scores(states, guard.layers).cpu()
    if not torch.isfinite(scores).all():
        raise DataError(
            "the states of a calibration prompt are not finite (an overflow in float16?); load the model in bfloat16 or float32"
        )
    return (scores - limits[:, None]).amax(0)


def allowed(n: int, max_false_refusal: float) -> int:
    """Return on how many of n prompts a guard may act and still be certified; -1 where none is few enough."""
    count = -1
    while clopper_pearson_upper(count + 1, n, confidence=CONFIDENCE) <= max_false_refusal:
        count += 1
    return count


def order_that_passes(n_choosing: int, n_certifying: int, at_most: int) -> float:
    """Return the largest j for which at most `at_most` of one half exceed the j-th largest of the other with probability LIKELY.

    Below 1 it stands for a place beyond the largest, with a share j of the probability that a new score exceeds that one.

    Example:
        >>> round(order_that_passes(300, 300, 0), 2)    # the next 300 stay below with probability 2**-j
        0.07
    """
    low, high = 0.0, float(n_choosing)
    for _ in range(60):
        middle = (low + high) / 2
        passes = _beta_binomial_cdf(at_most, n_certifying, middle, n_choosing - middle + 1) >= LIKELY
        low, high = (middle, high) if passes else (low, middle)
    return low


def at_order(values: Tensor, order: float) -> float:
    """Return the j-th largest of `values`, or for j below 1 a place beyond the largest, by the mean excess of the TAIL largest.

    Args:
        values: `n`; minus infinity where a prompt can never exceed anything.
        order: j, above 0.
    """
    finite = values[torch.isfinite(values)].double().sort(descending=True).values
    if order >= len(finite) + 1 or not len(finite):
        return -math.inf
    if order >= 1:
        return float(finite[int(order) - 1])
    top = min(TAIL, len(finite) - 1)
    excess = float((finite[:top] - finite[top]).mean()) if top else 0.0
    return float(finite[0]) - excess * math.log(order)


def _beta_binomial_cdf(k: int, n: int, a: float, b: float) -> float:
    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    whole = log_beta(a, b)
    return sum(math.exp(math.log(math.comb(n, i)) + log_beta(i + a, n - i + b) - whole) for i in range(k + 1))


def _check_gate(guard: VlmGuard) -> None:
    if guard.gate == "always":
        raise UsageError(
            "a guard without a gate (gate='always') acts on every prompt, so no false-refusal rate can be promised"
        )
    if guard.gate != "text" and len(guard.layers) > 1:
        raise UsageError(
            f"gate={guard.gate!r} at {len(guard.layers)} layers reads states that its own edits have changed, so its rate cannot be counted "
            "from unedited states. Use gate='text', or one layer."
        )
    if guard.reference == "same_input" and len(guard.layers) > 1:
        raise UsageError(
            "reference='same_input' at several layers reads states that its own edits have changed; use one layer"
        )


def _check_target(max_false_refusal: float) -> None:
    if not 0 < max_false_refusal < 1:
        raise UsageError(f"a false-refusal rate lies above 0 and below 1; got {max_false_refusal}")


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
