"""CMRM: Unraveling and Mitigating Safety Alignment Degradation of Vision-Language Models.

arXiv 2410.09047 (2024): cross-modality representation manipulation, at the level of a data set and of a single sample.

A picture, even one that means nothing, shifts the hidden states away from where the language model was aligned. CMRM reads that
shift off a meaningless picture and takes it out again.

    paper        here
    x, img       the words and the picture of a request
    img'         picture                    a blank page, or noise
    v^l          shifts[layer]              h^l(x, img') − h^l(x), last prompt token
    α            alpha

    h^l ← h^l − α · v^l

    data set     one v^l for all requests: the first principal component of the differences of anchors, times the projection of
                 their mean on it; estimator="mean" takes the mean itself
    sample       v^l of the request itself, from two further passes over its prompt: with the meaningless picture, and as text

Differences from the paper. Its full text was not available to us, only summaries that agree on the idea:
- its equations (3) and (6) differ in sign; the line above is the only reading in which the shift is taken out.
- it does not say how long the principal component is, nor whether it is centred; ours is of the differences as they are, so that
  their mean is in it (estimator="pc1_centred" takes the mean off first), and is as long as the mean's projection on it.
- editing every layer by the shift of untouched states takes it out again and again, since each layer passes its edit on; so the paper
  has it, and so has ours. in_turn=True fits each layer behind the edits of those before it, which is ours alone.
- it does not say which tokens are edited; ours are the last of the prompt and each of the answer (phase="prefill+decode").
- a request without a picture has no shift to take out: its states are returned bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack

import torch
from torch import Tensor

from sightguard.artifacts import Fingerprint
from sightguard.errors import DataError, EditError, UnknownName, UsageError
from sightguard.steering.activations import capture
from sightguard.steering.meaningless import PICTURES, Estimator, Meaningless, beside, fit_shifts, sample_shifts
from sightguard.steering.method import Reading
from sightguard.steering.splits import refuse_test
from sightguard.types import Sample, Step

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import nn

    from sightguard.hub import Fetch, Push
    from sightguard.models.hooks import Trace
    from sightguard.models.vlm import VLM

Level = Literal["dataset", "sample"]
LEVELS: tuple[Level, ...] = ("dataset", "sample")
Phase = Literal["prefill", "prefill+decode"]
PHASES: tuple[Phase, ...] = ("prefill", "prefill+decode")


@dataclass(frozen=True)
class Cmrm:
    """A fitted CMRM; a value, changed with `dataclasses.replace`.

    Args:
        shifts: `layers x hidden`, float32: v^l of the data set; `0 x hidden` at the level of the sample.
        fitted: the decoder blocks that the first axis of `shifts` holds.
        fingerprint: the model that it was made for.
        layers: decoder blocks to edit, 0-based.
        alpha: how much of the shift is taken out; 0 is the identity.
        level: "dataset" or "sample".
        phase: "prefill" edits the last prompt token; "prefill+decode" also every token of the answer.
        picture: what the meaningless picture is, for the level of the sample: "blank" or "noise".
        provenance: what it was fitted on.
    """

    shifts: Tensor
    fitted: tuple[int, ...]
    fingerprint: Fingerprint
    layers: tuple[int, ...]
    alpha: float = 1.0
    level: Level = "dataset"
    phase: Phase = "prefill+decode"
    picture: Meaningless = "blank"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
        for name, value, known in (
            ("level", self.level, LEVELS), ("phase", self.phase, PHASES), ("picture", self.picture, PICTURES),
        ):  # fmt: skip
            if value not in known:
                raise UnknownName(name, value, known)
        if not self.layers:
            raise UsageError("CMRM needs at least one layer to edit; got none")
        if not math.isfinite(self.alpha):
            raise UsageError(f"alpha must be a finite number; got {self.alpha}")
        if self.shifts.ndim != 2 or len(self.shifts) != len(self.fitted) or not torch.isfinite(self.shifts).all():
            raise DataError(
                f"expected finite shifts, layers x hidden, for the {len(self.fitted)} layers {list(self.fitted)}; got the shape "
                f"{tuple(self.shifts.shape)}{'' if torch.isfinite(self.shifts).all() else ' with numbers that are not finite'}"
            )
        for layer in self.layers if self.level == "dataset" else ():
            if layer not in self.fitted:
                raise UnknownName("layer", layer, self.fitted, "These are the layers that a shift was fitted for.")

    @property
    def name(self) -> str:
        return "cmrm_sample" if self.level == "sample" else "cmrm"

    @property
    def decodes(self) -> bool:
        return self.phase == "prefill+decode" and self.alpha != 0

    @classmethod
    def fit(
        cls,
        vlm: VLM,
        anchors: Sequence[Sample],
        *,
        layers: Sequence[int] | None = None,
        estimator: Estimator = "pc1",
        picture: Meaningless = "blank",
        in_turn: bool = False,
        provenance: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Cmrm:
        """Fit one shift per layer on the words of `anchors`, read as text and beside a meaningless picture.

        Args:
            vlm: the model.
            anchors: conversations that end with the user; pictures of their own are left out. The paper mixes harmful and benign ones.
            layers: which to edit; default all. Shifts are fitted at every layer, unless in turn.
            estimator: "pc1", "pc1_centred" or "mean".
            picture: "blank", or "noise" (another one for each anchor).
            in_turn: fit each edited layer on states from which the earlier shifts are out already, one pass a layer; not in the paper.
            provenance: where the anchors come from; kept in the artefact.
            options: other fields of Cmrm.

        Raises:
            UsageError: no anchors.
            DataError: an anchor of a test split or without text, or a picture that shifts nothing.
        """
        if not anchors:
            raise UsageError("fitting CMRM needs at least one anchor; got none")
        refuse_test(anchors, "fitting")
        words = [sample.without_images() for sample in anchors]
        shown = [beside(sample, picture, seed=i) for i, sample in enumerate(words)]
        text = capture(vlm, words, images=False)
        everywhere = vlm.anatomy.layers
        known = {
            "anchors": len(anchors),
            "estimator": estimator,
            "picture": picture,
            "in_turn": in_turn,
            "position": "last prompt token",
        }
        guard = cls(
            fit_shifts(capture(vlm, shown) - text, estimator),
            tuple(everywhere),
            vlm.fingerprint,
            vlm.anatomy.check_layers(everywhere if layers is None else layers),
            picture=picture,
            provenance={**known, **(provenance or {})},
            **options,
        )
        return guard._in_turn(vlm, shown, text, estimator) if in_turn else guard

    def _in_turn(self, vlm: VLM, shown: Sequence[Sample], text: Tensor, estimator: Estimator) -> Cmrm:
        """Return the guard with each edited layer fitted anew behind the edits of those before it."""
        from sightguard.steering.steer import Steered

        found = [self.shift_at(self.layers[0])]
        for count, layer in enumerate(self.layers[1:], start=1):
            before = self.layers[:count]
            edited = Steered(vlm, replace(self, shifts=torch.stack(found), fitted=before, layers=before))
            states, reference = edited.states(shown, [layer]), text[self.fitted.index(layer)]
            found.append(fit_shifts(states - reference.to(states.device), estimator)[0])
        return replace(self, shifts=torch.stack(found), fitted=self.layers)

    @classmethod
    def per_sample(cls, vlm: VLM, *, layers: Sequence[int] | None = None, **options: Any) -> Cmrm:
        """Return CMRM at the level of the sample: nothing is fitted, each prompt is read twice more."""
        chosen = vlm.anatomy.check_layers(vlm.anatomy.layers if layers is None else layers)
        nothing = torch.zeros(0, vlm.anatomy.hidden_size)
        return cls(nothing, (), vlm.fingerprint, chosen, level="sample", **options)

    def shift_at(self, layer: int) -> Tensor:
        """Return v^l of the data set, `hidden`."""
        return self.shifts[self.fitted.index(layer)]

    def bind(self, reading: Reading) -> BoundCmrm:
        """Find the shift of each prompt: the one of the data set, or its own; none where it has no picture.

        Raises:
            UsageError: at the level of the sample, around a bare `model.generate`, where there are tokens but no pictures to replace.
            DataError: at the level of the sample, a request that is only a picture: it has no text to be compared with.
        """
        pictured = torch.tensor(reading.pictured, dtype=torch.bool)
        if self.alpha == 0:
            shifts = torch.zeros(len(self.layers), len(pictured), reading.anatomy.hidden_size)
        elif self.level == "sample":
            shifts = sample_shifts(reading, self.layers, self.picture)
        else:
            each = torch.stack([self.shift_at(layer) for layer in self.layers])
            shifts = each[:, None].expand(-1, len(pictured), -1)
        return BoundCmrm(self, shifts, pictured)

    def on(self, model: VLM | nn.Module, *, other_model: bool = False) -> AbstractContextManager[Trace]:
        """Guard a model that is called elsewhere: `with guard.on(model): model.generate(...)`; at the level of the data set only."""
        from sightguard.steering.steer import on

        return on(self, model, other_model=other_model)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        beside: Mapping[str, str] | None = None,
        license: str | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push: Unpack[Push],
    ) -> Path:
        """Write the guard as a folder: guard.json, shifts.safetensors, its card, and the text files in `beside`."""
        from sightguard.hub import saved
        from sightguard.steering.cmrm_artefact import save

        return saved(save(self, folder, beside=beside, license=license), repo_id, push_to_hub=push_to_hub, **push)

    def push_to_hub(self, repo_id: str, *, license: str | None = None, **push: Unpack[Push]) -> str:
        """Put the guard on the hub as `repo_id`; returns the address of the commit. See `sightguard.hub.push`."""
        from sightguard.hub import pushed

        return pushed(lambda place: self.save_pretrained(place, license=license), repo_id, **push)

    @staticmethod
    def from_pretrained(source: str | Path, **fetch: Unpack[Fetch]) -> Cmrm:
        """Read a guard that `save_pretrained` wrote: from a folder, or from the hub by its id and `revision`."""
        from sightguard.steering.cmrm_artefact import load

        return load(source, **fetch)


@dataclass(frozen=True)
class BoundCmrm:
    """CMRM for one batch of prompts.

    Args:
        guard: the method.
        shifts: `edited layers x rows x hidden`, float32.
        pictured: `rows`, bool: which prompts are edited at all.
    """

    guard: Cmrm
    shifts: Tensor
    pictured: Tensor

    @property
    def name(self) -> str:
        return self.guard.name

    @property
    def layers(self) -> tuple[int, ...]:
        return self.guard.layers

    @property
    def decodes(self) -> bool:
        return self.guard.decodes

    def edit(self, hidden: Tensor, step: Step) -> Tensor:
        """Take the shift out of the last prompt token, and of each token of the answer; every other state is returned bit by bit.

        Args:
            hidden: `rows x tokens x hidden`.
            step: where we are.
        """
        if self.guard.alpha == 0 or not (step.prefill or self.decodes):
            return hidden
        where = (step.last if step.prefill else step.real).to(hidden.device) & self.pictured.to(hidden.device)[:, None]
        if not where.any():
            return hidden
        rows = where.nonzero()[:, 0]
        shifts = self.shifts[self.layers.index(step.layer)].to(hidden.device)[rows]
        edited = hidden[where].float() - self.guard.alpha * shifts
        if not torch.isfinite(edited).all():
            raise EditError(
                "the state of a prompt is not finite once the shift is taken out (an overflow in float16?). Load the model in bfloat16 or float32."
            )
        result = hidden.clone()
        result[where] = edited.to(hidden.dtype)
        return result
