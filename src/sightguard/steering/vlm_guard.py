"""VLM-Guard: Safeguarding Vision-Language Models via Fulfilling Safety Alignment Gap.

Qin Liu, Fei Wang, Chaowei Xiao, Muhao Chen; arXiv 2502.10486 v1 (2025). The safety steering direction and equations (1) to (3).

A safety-aligned language model tells harmful from harmless requests along a few directions of its hidden states. A picture, even
a blank one, moves the states along those directions. VLM-Guard reads the text of the query with the language model alone and
gives the vision-language model's states the coordinates that the language model would have had.

    paper      here
    V_{m,l}    vectors[layer, :m]      first m right singular vectors of the paired differences, as rows
    h_l(q)     reference               last-token state of the text-only query q at layer l
    h_l(Q)     hidden                  last-token state of the whole prompt Q, picture included
    g_l        gate                    (2)  1 where h_l(q)·V₁ᵀ > threshold
    α, m, L_G  alpha, m, layers

    (1) h' = h − hVᵀV        (3) h* = h + α·g·h(q)VᵀV        default, (1) then (3):  h* = h + g·(α·h(q)Vᵀ − hVᵀ)V

Differences from the paper. Its full text was not available to us, only the abstract and two summaries that agree on the formulas:
- m, α, L_G are published nowhere; ours are chosen on validation data (`sightguard.steering.choose`).
- q in (2) and (3) is read as the text-only query (reference="text"); reference="same_input" takes q = Q.
- (1) and (3) are joined and both gated (kind="project_then_shift"); "project" and "shift" apply one of them alone.
- the literal threshold 0 of (2) suits centred states only; ours defaults to one set on prompts that the directions were not fitted
  on (threshold="calibrated"): the anchors of other folds in `fit`, validation prompts in `choose`.
- reference="caption" is ours: the text-only query then holds what the model itself reads in the picture.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Unpack

import torch
from torch import Tensor

from sightguard.artifacts import Fingerprint
from sightguard.errors import EditError, UnknownName, UsageError
from sightguard.steering.activations import capture
from sightguard.steering.directions import ESTIMATORS, RANK, Directions, Estimator, fit_directions
from sightguard.steering.folds import held_out_scores
from sightguard.steering.gates import RULES, SOURCES, Rule, Source, calibrated, fires
from sightguard.steering.method import Reading, Row
from sightguard.steering.null_space import TOLERANCE, benign_span, outside
from sightguard.steering.references import caption_rows, query_states
from sightguard.steering.splits import refuse_test
from sightguard.types import Sample, Step

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import nn

    from sightguard.hub import Fetch, Push
    from sightguard.models.hooks import Trace
    from sightguard.models.vlm import VLM

Kind = Literal["project", "shift", "project_then_shift"]
KINDS: tuple[Kind, ...] = ("project", "shift", "project_then_shift")
Reference = Literal["text", "same_input", "caption"]
REFERENCES: tuple[Reference, ...] = ("text", "same_input", "caption")
Phase = Literal["prefill", "prefill+decode"]
PHASES: tuple[Phase, ...] = ("prefill", "prefill+decode")
CAPTION_PROMPT = "What does the picture show? Write out any text in it."


@dataclass(frozen=True)
class VlmGuard:
    """A fitted VLM-Guard; a value, changed with `dataclasses.replace`.

    Args:
        directions: what the language model's states differ by.
        fingerprint: the model that they were fitted on.
        layers: decoder blocks to edit, 0-based.
        m: how many directions per layer, from 1 to `directions.rank`.
        alpha: how much of the reference's coordinates is added; 1 replaces, with project_then_shift.
        kind: "project_then_shift", "shift" or "project"; projection alone removes refusals and warns.
        reference: where the coordinates come from: "text", "same_input" or "caption".
        gate: which score decides whether a prompt is edited: "text", "image", "either" or "always".
        threshold: how the thresholds were made: "literal" (0), "midpoint", "anchored" or "calibrated".
        thresholds: for "anchored" and "calibrated": by layer, (for the reference's score, for the image state's score); every edited
            layer must be there.
        phase: "prefill" edits the last prompt token; "prefill+decode" also every token of the answer.
        strength: how much of the whole edit is applied; 0 is the identity.
        caption_prompt: how the model is asked to read a picture, for reference="caption".
        calibration: how parameters and thresholds were chosen, for the artefact.

    Thresholds belong to the reference and the directions that they were made for: after `replace(guard, reference=…)` make new ones.
    """

    directions: Directions
    fingerprint: Fingerprint
    layers: tuple[int, ...]
    m: int = 4
    alpha: float = 1.0
    kind: Kind = "project_then_shift"
    reference: Reference = "text"
    gate: Source = "text"
    threshold: Rule = "calibrated"
    thresholds: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    phase: Phase = "prefill"
    strength: float = 1.0
    caption_prompt: str = CAPTION_PROMPT
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
        for name, value, known in (
            ("kind", self.kind, KINDS), ("reference", self.reference, REFERENCES), ("gate", self.gate, SOURCES),
            ("threshold", self.threshold, RULES), ("phase", self.phase, PHASES),
        ):  # fmt: skip
            if value not in known:
                raise UnknownName(name, value, known)
        if not self.layers:
            raise UsageError("VLM-Guard needs at least one layer to edit; got none")
        self.directions.at(self.layers, self.m)
        missing = [layer for layer in self.layers if layer not in self.thresholds]
        if self.threshold in ("anchored", "calibrated") and missing:
            raise UsageError(
                f"threshold={self.threshold!r} needs a pair of thresholds for every edited layer; there are none for layers {missing}. "
                "Use VlmGuard.fit or sightguard.steering.calibrate, or threshold='midpoint'."
            )
        if not all(math.isfinite(limit) for pair in self.thresholds.values() for limit in pair):
            raise UsageError(
                f"a threshold is not a finite number, so the gate would not work; got {dict(self.thresholds)}"
            )
        if not math.isfinite(self.alpha) or not math.isfinite(self.strength):
            raise UsageError(f"alpha and strength must be finite numbers; got {self.alpha} and {self.strength}")
        if self.kind == "project":
            warnings.warn(
                "projection alone takes the model's own refusals away (kind='project'); it is here to be compared, not to be used. "
                "Use kind='project_then_shift', or mute this with warnings.filterwarnings.",
                stacklevel=3,
            )

    @property
    def name(self) -> str:
        return "vlm_guard_caption" if self.reference == "caption" else "vlm_guard"

    @classmethod
    def fit(
        cls,
        vlm: VLM,
        pairs: Sequence[tuple[Sample, Sample]],
        *,
        layers: Sequence[int] | None = None,
        m: int | None = None,
        rank: int = RANK,
        estimator: Estimator = "svd",
        max_false_fire: float = 0.01,
        spare: Sequence[Sample] = (),
        tolerance: float = TOLERANCE,
        provenance: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> VlmGuard:
        """Fit directions on (harmful, harmless) pairs, text only, in one batched pass.

        The calibrated threshold is set on the same pairs, each scored on directions fitted without it (five folds), at every layer;
        `sightguard.steering.choose` sets it on validation prompts, pictures included.

        Args:
            vlm: the model.
            pairs: matched anchors; the paper uses 100.
            layers: which to edit; default all but the first third. Directions are fitted at every layer.
            m: directions per layer; default 4, or fewer where fewer exist.
            rank: directions kept per layer.
            estimator: "svd" (the paper) or "mean_difference".
            max_false_fire: largest share of harmless anchors on which the calibrated gate may fire.
            spare: benign prompts that the edit should leave nearly alone: directions are fitted in the null space of their states, with
                and without their pictures (`sightguard.steering.null_space`); none leaves the directions as published.
            tolerance: of the null space.
            provenance: where the anchors come from; kept in the artefact.
            options: other fields of VlmGuard.

        Raises:
            UsageError: fewer than two pairs.
            DataError: a prompt of a test split or without text, or anchors that do not differ.
        """
        return cls.fit_each(
            vlm,
            pairs,
            (estimator,),
            layers=layers,
            m=m,
            rank=rank,
            max_false_fire=max_false_fire,
            spare=spare,
            tolerance=tolerance,
            provenance=provenance,
            **options,
        )[0]

    @classmethod
    def fit_each(
        cls,
        vlm: VLM,
        pairs: Sequence[tuple[Sample, Sample]],
        estimators: Sequence[Estimator] = ESTIMATORS,
        *,
        layers: Sequence[int] | None = None,
        m: int | None = None,
        rank: int = RANK,
        max_false_fire: float = 0.01,
        spare: Sequence[Sample] = (),
        tolerance: float = TOLERANCE,
        provenance: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[VlmGuard]:
        """Fit one guard for each estimator, reading the pairs once; arguments as for `fit`."""
        if len(pairs) < 2:
            raise UsageError(
                f"fitting needs at least 2 pairs of harmful and harmless prompts (the paper uses 100); got {len(pairs)}"
            )
        refuse_test((sample for pair in pairs for sample in pair), "fitting")
        # in one order, so that neither folds nor batches depend on the caller's
        pairs = sorted(pairs, key=lambda pair: (pair[0].text, pair[1].text))
        states = capture(vlm, [sample for pair in pairs for sample in pair], images=False)
        harmful, harmless = states[:, 0::2], states[:, 1::2]
        everywhere = vlm.anatomy.layers
        chosen = vlm.anatomy.check_layers(layers if layers is not None else everywhere[len(everywhere) // 3 :])
        known = {"pairs": len(pairs), "position": "last prompt token", **(provenance or {})}
        if spare:
            refuse_test(spare, "fitting")
            seen = torch.cat(
                [capture(vlm, spare), capture(vlm, [s for s in spare if s.text.strip()], images=False)], dim=1
            )
            spans = benign_span(seen, tolerance)
            harmful, harmless = outside(harmful, spans), outside(harmless, spans)
            known |= {"spared": len(spare), "tolerance": tolerance, "kept_out": [len(span) for span in spans]}
        found = []
        for estimator in estimators:
            directions = fit_directions(
                harmful,
                harmless,
                layers=everywhere,
                rank=rank,
                estimator=estimator,
                provenance={**known, "estimator": estimator},
            )
            fields = dict(options)
            if fields.get("threshold", "calibrated") == "calibrated" and "thresholds" not in fields:
                scores = held_out_scores(harmful, harmless, estimator=estimator)
                limits = calibrated(*scores, max_false_fire=max_false_fire).tolist()
                fields["thresholds"] = {layer: (limit, limit) for layer, limit in zip(everywhere, limits, strict=True)}
            found.append(
                cls(directions, vlm.fingerprint, chosen, m=min(4, directions.rank) if m is None else m, **fields)
            )
        return found

    @property
    def decodes(self) -> bool:
        return self.phase == "prefill+decode" and self.strength != 0

    @property
    def spares_text(self) -> bool:
        """A prompt without a picture is its own reference; whether the edit then is the identity, the gate open or shut."""
        return self.kind == "project_then_shift" and self.alpha == 1 and self.phase == "prefill"

    def bind(self, reading: Reading) -> BoundVlmGuard:
        """Read the text-only queries of `reading` and decide the gate from them."""
        vectors = self.directions.at(self.layers, self.m)
        limits = self.limits()
        coordinates = None if self.reference == "same_input" else self._coordinates(reading, vectors)
        return BoundVlmGuard(self, vectors.to(reading.anatomy.device), limits, coordinates)

    def limits(self) -> tuple[tuple[float, float], ...]:
        """Return the thresholds in force, per edited layer: (for the reference's score, for the image state's score)."""
        if self.threshold == "literal":
            return tuple((0.0, 0.0) for _ in self.layers)
        if self.threshold == "midpoint":
            middle = dict(zip(self.directions.layers, self.directions.midpoints.tolist(), strict=True))
            return tuple((middle[layer], middle[layer]) for layer in self.layers)
        return tuple(self.thresholds[layer] for layer in self.layers)

    def on(self, model: VLM | nn.Module, *, other_model: bool = False) -> AbstractContextManager[Trace]:
        """Guard a model that is called elsewhere: `with guard.on(model): model.generate(...)`."""
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
        """Write the guard as a folder: guard.json, directions.safetensors, its card, and the text files in `beside`.

        With `push_to_hub` it is put on the hub too, as `repo_id` or under the folder's name; options as for `push_to_hub`.
        """
        from sightguard.hub import saved
        from sightguard.steering.artefact import save

        return saved(save(self, folder, beside=beside, license=license), repo_id, push_to_hub=push_to_hub, **push)

    def push_to_hub(self, repo_id: str, *, license: str | None = None, **push: Unpack[Push]) -> str:
        """Put the guard on the hub as `repo_id`; returns the address of the commit. See `sightguard.hub.push`."""
        from sightguard.hub import pushed

        return pushed(lambda place: self.save_pretrained(place, license=license), repo_id, **push)

    @staticmethod
    def from_pretrained(source: str | Path, **fetch: Unpack[Fetch]) -> VlmGuard:
        """Read a guard that `save_pretrained` wrote: from a folder, or from the hub by its id and `revision`."""
        from sightguard.steering.artefact import load

        return load(source, **fetch)

    def _coordinates(self, reading: Reading, vectors: Tensor) -> Tensor:
        """Return h(q)Vᵀ, `layers x rows x m`."""
        states = query_states(reading, self.reference_rows(reading), self.layers)
        coordinates = torch.einsum("lrd,lmd->lrm", states, vectors.to(states.device))
        _check_finite(coordinates, "the text-only reference of a prompt")
        return coordinates

    def reference_rows(self, reading: Reading) -> list[Row]:
        """Return the text-only queries q; a prompt that is only pictures is read through its caption."""
        if self.reference == "caption":
            return caption_rows(reading, self.caption_prompt)
        wordless = [i for i, row in enumerate(reading.text) if not row]
        if not wordless:
            return list(reading.text)
        read = iter(caption_rows(reading.only(wordless), self.caption_prompt))
        return [row or next(read) for row in reading.text]


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate saw at one layer, each `n` long."""

    layer: int
    rows: Tensor
    """Which prompt each score is of."""
    text: Tensor
    """Score of the reference."""
    image: Tensor
    """Score of the state that is about to be edited."""
    limits: tuple[float, float]
    fired: Tensor


Watch = Callable[[Gated], None]


@dataclass(frozen=True)
class BoundVlmGuard:
    """VLM-Guard for one batch of prompts: the reference is read, the gate of the reference is known.

    Args:
        guard: the fitted method.
        vectors: `edited layers x m x hidden`, float32.
        limits: thresholds per edited layer.
        coordinates: h(q)Vᵀ, `edited layers x rows x m`; None for reference="same_input".
        watch: is told what the gate saw at each layer, while the prompt is read.
    """

    guard: VlmGuard
    vectors: Tensor
    limits: tuple[tuple[float, float], ...]
    coordinates: Tensor | None
    watch: Watch | None = None

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
        """Apply (1) to (3) where the gate fires; every other state is returned bit by bit.

        Args:
            hidden: `rows x tokens x hidden`.
            step: where we are.
        """
        where = (step.last if step.prefill else step.real).to(hidden.device)
        if self.guard.strength == 0 or not (step.prefill or self.decodes):
            return hidden
        place = self.layers.index(step.layer)
        rows = where.nonzero()[:, 0]
        states = hidden[where]
        edited, fired = self._edit(states.float(), place, rows, told=step.prefill)
        if not fired.any():
            return hidden
        result = hidden.clone()
        result[where] = torch.where(fired[:, None], edited.to(hidden.dtype), states)
        return result

    def _edit(self, states: Tensor, place: int, rows: Tensor, *, told: bool = False) -> tuple[Tensor, Tensor]:
        """Edit `n x hidden` float32 states of the given prompt rows; returns them and where the gate fired."""
        vectors = self.vectors[place].to(states.device)
        own = states @ vectors.T
        if self.coordinates is None or self.guard.gate in ("image", "either"):
            _check_finite(own, "the state of a prompt")
        query = own if self.coordinates is None else self.coordinates[place].to(states.device)[rows]
        fired = fires(self.guard.gate, query[:, 0], own[:, 0], self.limits[place])
        if self.watch is not None and told:
            self.watch(Gated(self.layers[place], rows, query[:, 0], own[:, 0], self.limits[place], fired))
        change = -own if self.guard.kind != "shift" else torch.zeros_like(own)
        if self.guard.kind != "project":
            change = change + self.guard.alpha * query
        return states + self.guard.strength * (change @ vectors), fired


def _check_finite(scores: Tensor, whose: str) -> None:
    if not torch.isfinite(scores).all():
        raise EditError(
            f"{whose} is not finite in the safety directions, so the gate cannot be decided (an overflow in float16?). "
            "Load the model in bfloat16 or float32."
        )
