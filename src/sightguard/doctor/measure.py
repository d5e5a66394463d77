"""How like two results are, how like they have to be, and what there is to tell them apart by.

All figures are relative, so that they mean the same in every model: the root mean square of a difference, over that of what was
expected about its mean.

    what            tolerance          reason
    same pass       0                  two ways of reading one number
    same prompt     8·u·√(2·depth)     each block adds two rounded terms to the residual stream, and roundings add up as a random
                    at least 1e-4      walk; up to 3.4 times that was seen in tiny models in bfloat16, where padding also rounds
                                       the rotary angles otherwise; the floor is for sums in another order
    an edit         4·u                the vector and the sum are rounded, and both are about as long as the state
                    at least 1e-6

u is the unit roundoff of the model's dtype: 2⁻⁸ in bfloat16, 2⁻¹¹ in float16, 2⁻²⁴ in float32, and 2⁻¹¹ for float32 on CUDA, where
convolutions run in TF32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.environment import Check
from sightguard.errors import ModelError

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM

TF32 = 2.0**-11
LARGEST = 1e6
"""What is said of vectors without spread, since JSON has no infinity."""


class NotApplicable(Exception):
    """This check says nothing about this model; the message says why."""


def same_prompt(vlm: VLM) -> float:
    """Return how far two ways of reading one prompt may differ."""
    own = torch.finfo(vlm.model.dtype).eps / 2
    unit = max(own, TF32) if vlm.device.type == "cuda" else own
    return max(1e-4, 8 * unit * math.sqrt(2 * vlm.anatomy.depth))


def rounded_edit(vlm: VLM) -> float:
    """Return how far an edit, as it is read back, may be from what was asked for, relative to its length."""
    return max(1e-6, 2 * torch.finfo(vlm.model.dtype).eps)


def difference(found: Tensor, expected: Tensor) -> Tensor:
    """Return the relative difference of vectors, `... x n` to `...`, float64; at most 1e6, for vectors without spread.

    Raises:
        ModelError: the shapes differ, or a number is NaN, or infinite on one side only.
    """
    if found.shape != expected.shape:
        raise ModelError(f"expected a result of the shape {tuple(expected.shape)}; got {tuple(found.shape)}")
    ours, theirs = found.cpu().double(), expected.cpu().double()
    finite = ours.isfinite() & theirs.isfinite()
    if not bool((finite | (ours == theirs)).all()):
        raise ModelError("the model gives numbers that are not finite; load it in another dtype")
    ours, theirs = (part.where(finite, torch.zeros_like(part)) for part in (ours, theirs))
    spread = (theirs - theirs.mean(-1, keepdim=True)).square().mean(-1).sqrt()
    off = (ours - theirs).square().mean(-1).sqrt()
    return (off / spread.clamp(min=torch.finfo(torch.float64).tiny)).clamp(max=LARGEST)


def apart(rows: Tensor) -> float:
    """Return the smallest difference between two of some results, `rows x n`; for `rows x steps x n`, at the step that tells them best."""
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    return min(float(difference(rows[i], rows[j]).max()) for i, j in pairs)


def likeness(name: str, measured: float, tolerance: float, *, others: float, detail: str = "") -> Check:
    """Return whether results that should be the same are, on inputs of which two differ by `others` at least.

    Up to half of `others`, each result is nearer to its own than to any other; beyond, likeness shows nothing and is a failure.
    """
    told = f"inputs that differ do so by at least {others:.2g}"
    if others <= 0 or measured > others / 2:
        told = f"{told}, too little beside this for likeness to show anything"
        return Check(name, "fail", measured, min(tolerance, others / 2), _joined(detail, told))
    return Check(name, "pass" if measured <= tolerance else "fail", measured, tolerance, _joined(detail, told))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
