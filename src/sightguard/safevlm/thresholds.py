"""Thresholds of the risk types, set for a promised rate of false refusals and certified on requests that nothing was chosen on.

What is promised: on benign requests with a picture, drawn independently and as the calibration ones were, the policy flags at most
`upper_bound` of them, with 95 % confidence; the rest get the plain prompt. The bound is Clopper and Pearson's, computed once, on the half
that chose nothing (`sightguard.steering.guarantee`). Nothing is promised of other requests, and a flagged one need not be refused.

How: on the choosing half each type starts from the rate's own quantile of its log odds, and one common step on top of all of them is
chosen so that the other half passes with probability 0.95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sightguard.data.blank import beside_a_picture
from sightguard.errors import CannotCertify
from sightguard.evaluate.statistics import clopper_pearson_upper
from sightguard.steering.guarantee import CONFIDENCE, allowed, at_order, halves, needed, order_that_passes
from sightguard.steering.splits import refuse_test

if TYPE_CHECKING:
    from sightguard.safevlm.model import SafeVLM
    from sightguard.types import Sample


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was counted on the certifying half."""

    max_false_refusal: float
    n: int
    flagged: int
    upper_bound: float
    by_type: dict[str, int]
    flagged_ids: tuple[str, ...]
    chosen_on: int
    thresholds: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether the target is certified."""
        return self.upper_bound <= self.max_false_refusal

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "flagged_ids": list(self.flagged_ids), "confidence": CONFIDENCE, "certified": self.holds}


def calibrate(
    safe: SafeVLM, benign: Sequence[Sample], *, max_false_refusal: float = 0.01, seed: int = 0, force: bool = False
) -> tuple[SafeVLM, Certificate]:
    """Set the thresholds of the policy on one half of `benign` and certify them on the other; no decoder runs.

    Args:
        safe: trained; its policy's thresholds are replaced.
        benign: requests that must not be refused; where none holds a picture, each is asked beside a blank one.
        max_false_refusal: the promised rate, above 0 and below 1.
        seed: of the split.
        force: return thresholds that are not certified too.

    Raises:
        CannotCertify: too few requests, or too many of them are flagged; the message names them.
        DataError: requests of a test split.
    """
    refuse_test(benign, "calibrating")
    choosing, certifying = halves(beside_a_picture(benign), max_false_refusal, seed)
    kinds = [safe.taxonomy.types.index(name) for name in safe.taxonomy.risks]
    chosen = _log_odds(safe, choosing)[:, kinds]
    base = chosen.quantile(1 - max_false_refusal, dim=0)
    order = order_that_passes(len(choosing), len(certifying), allowed(len(certifying), max_false_refusal))
    step = at_order((chosen - base).amax(1).float(), order)
    limits = torch.sigmoid(base + step)
    thresholds = dict(zip(safe.taxonomy.risks, limits.tolist(), strict=True))
    above = torch.sigmoid(_log_odds(safe, certifying)[:, kinds]) >= limits
    flagged = above.any(1)
    found = Certificate(
        max_false_refusal=max_false_refusal,
        n=len(certifying),
        flagged=int(flagged.sum()),
        upper_bound=clopper_pearson_upper(int(flagged.sum()), len(certifying), confidence=CONFIDENCE),
        by_type=dict(zip(safe.taxonomy.risks, above.sum(0).tolist(), strict=True)),
        flagged_ids=tuple(sample.id for sample, hit in zip(certifying, flagged.tolist(), strict=True) if hit),
        chosen_on=len(choosing),
        thresholds=thresholds,
    )
    if not found.holds and not force:
        raise CannotCertify(
            f"the policy flags {found.flagged} of {found.n} benign requests that nothing was chosen on, so its rate is at most "
            f"{found.upper_bound:.4f} and not {max_false_refusal:g}; that many would need {needed(max_false_refusal, fired=found.flagged)} "
            f"requests. Flagged: {', '.join(found.flagged_ids[:10])}. Look at these, bring more, or ask for a higher rate."
        )
    return replace(safe, policy=replace(safe.policy, thresholds=thresholds)), found


def _log_odds(safe: SafeVLM, samples: Sequence[Sample]) -> Tensor:
    p = safe.probabilities(samples).sum(2).clamp(1e-12, 1 - 1e-12)
    return (p / (1 - p)).log()
