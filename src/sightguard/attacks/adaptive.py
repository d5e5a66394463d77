"""Attacks on pixels that know the defense, and what they did to its gate.

"On Adaptive Attacks to Adversarial Example Defenses", Tramer et al., arXiv 2002.08347; "Obfuscated Gradients Give a False Sense of
Security", Athalye et al., arXiv 1802.00420: a defense is measured by attacks that are made for it, and gradients go through it.

    surfaces = surfaces_of(vlm, defense)                 # a VLM-Guard, a SafeVLM, a guard on prompts; anything else by transfer
    found = adaptive(surfaces, samples, target, Pgd(eps=8 / 255))

Differences from the papers: the threshold of a gate is made soft (`sightguard.attacks.soft`) in place of a straight-through estimate;
where a defense decides by words (a hint, a caption), the attacker bets on a decision and what is found is scored by the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sightguard.attacks.headed import Headed
from sightguard.attacks.perturbed import Perturbed
from sightguard.attacks.pgd import TARGET, Pgd, Target
from sightguard.attacks.soft import DECOYS, TEMPERATURE, Methodical
from sightguard.attacks.surfaces import Plain, Prompted, Surface, Transfer
from sightguard.guards.adashield import AdaShieldS
from sightguard.guards.prompts import GoalPriority, SelfReminder
from sightguard.models.vlm import VLM
from sightguard.safevlm.model import SafeVLM
from sightguard.steering.acted import Acted, Acting
from sightguard.steering.method import Binds
from sightguard.steering.steer import Steered
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Generate, Guard, Method, Sample

Defense = VLM | Steered | SafeVLM | Method | Binds | Guard | Generate
ON_PROMPTS = (SelfReminder, GoalPriority, AdaShieldS)
"""Guards that only put words around the question."""


def surfaces_of(
    vlm: VLM, defense: Defense | None, *, temperature: float = TEMPERATURE, decoys: Sequence[str] = DECOYS
) -> list[Surface]:
    """Return the ways in which a defense of `vlm` can be attacked with gradients; of the results the best is taken.

    Args:
        vlm: the model behind the defense.
        defense: None or a VLM is no defense; a method or a model steered by one; a SafeVLM; a guard on prompts. Whatever else it is, it
            is a black box, attacked by transfer; wrap a guard of your own that only adds words in `Prompted`.
        temperature: of a soft gate (`sightguard.attacks.soft`).
        decoys: what the model is made to say of the picture, where a defense reads its caption; a bet each, beside that on its own words.
    """
    if defense is None or isinstance(defense, VLM):
        return [Plain(vlm)]
    if isinstance(defense, SafeVLM):
        return [Headed(defense), Headed(defense, hinted=True)] if defense.hints else [Headed(defense)]
    if isinstance(defense, ON_PROMPTS):
        return [Prompted(vlm, defense)]
    method = defense.method if isinstance(defense, Steered) else defense
    if isinstance(method, Binds | Method):
        read = isinstance(method, VlmGuard) and method.reference == "caption"
        bets = (None, *decoys) if read else (None,)
        return [Methodical(vlm, method, temperature, decoy) for decoy in bets]
    return [Transfer(vlm, str(getattr(defense, "name", type(defense).__name__)))]


def adaptive(
    surfaces: Sequence[Surface],
    samples: Sequence[Sample],
    target: Target = TARGET,
    options: Pgd | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Perturbed]:
    """Attack every surface and return, sample by sample, what is best against the defense as it is.

    Args:
        surfaces: of one defense (see `surfaces_of`).
        samples: each with a picture.
        target: what the answer is to begin with.
        options: of PGD.
        progress: called with (done, total) over all surfaces.
    """
    attack, total = options or Pgd(), len(samples) * len(surfaces)
    runs: list[list[Perturbed]] = []
    for number, surface in enumerate(surfaces):

        def told(done: int, count: int, before: int = number * len(samples)) -> None:
            if progress is not None:
                progress(before + done, total)

        runs.append(attack.run(surface, samples, target, progress=told))
    return [min(found, key=lambda result: result.loss_after_png) for found in zip(*runs, strict=True)]


def blind(surfaces: Sequence[Surface]) -> bool:
    """Return whether these surfaces are the undefended model's: whatever is found there does not depend on the defense."""
    return all(isinstance(surface, Plain) for surface in surfaces)


def gates(vlm: VLM, defense: Defense | None, samples: Sequence[Sample]) -> list[bool] | None:
    """Return, for each sample, whether the defense acts on it; None where that is no question that it answers.

    A method acts where it changes the last token's state at any layer, a SafeVLM where its verdict puts a hint into the prompt.
    """
    if isinstance(defense, SafeVLM):
        return [risk is not None and bool(defense.policy.decide(risk).hint) for risk in defense.risks(samples)]
    method = defense.method if isinstance(defense, Steered) else defense
    if not isinstance(method, Binds | Method):
        return None
    acted = Acted()
    for places in vlm.batches(samples, vlm.batch):
        batch = vlm.encode([samples[i] for i in places])
        # a memory of its own: what was read of one perturbed picture is not the reference of another
        with Steered(vlm, Acting(method, acted)).around(batch), torch.no_grad():
            vlm.anatomy.base(**batch.inputs, use_cache=False)
    return [acted.on(sample) is True for sample in samples]
