"""The loop that trains one stage, with checkpoints from which a killed build goes on to the same weights."""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from sightguard.pocket.batches import HEADS, Batch, batches_of, draw_items, seen_batch
from sightguard.pocket.checkpoints import Checkpoint, Done, read_checkpoint, write_checkpoint
from sightguard.pocket.recipe import Recipe, Stage
from sightguard.pocket.vocabulary import Encoder

Progress = Callable[[str, int, int, float], None]
_WARMUP = 60
_CLIP = 1.0
_LAST = 50


class Heads(nn.Module):
    """Classifiers on every patch and on their mean, used for the vision warm-up and then thrown away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.each = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in HEADS.items()})

    def forward(self, patches: Tensor, targets: dict[str, Tensor]) -> Tensor:
        total = patches.new_zeros(())
        for name, head in self.each.items():
            target = targets[name]
            if bool((target < 0).all()):
                continue
            scores = head(patches)
            spread = target[:, None].expand(-1, scores.shape[1])
            total = total + functional.cross_entropy(scores.mean(1), target)
            total = total + functional.cross_entropy(scores.flatten(0, 1), spread.flatten())
        return total


def train_stage(
    model: LlavaForConditionalGeneration,
    recipe: Recipe,
    stage: Stage,
    seed: int,
    *,
    checkpoint: Path | None = None,
    every: int = 100,
    progress: Progress | None = None,
) -> Done:
    """Train the parts that the stage names, in place, and return what the whole stage took and reached.

    `checkpoint` is where to go on from and to write to. What a killed run did after its last checkpoint counts nowhere.
    """
    torch.manual_seed(seed)
    extra: nn.Module = Heads(recipe.sizes.vision_hidden) if stage.trains == "vision" else nn.Module()
    parameters = [*_parts(model, stage), *extra.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    teacher = copy.deepcopy(model.model.language_model) if stage.distill else None
    done = Done()
    if checkpoint is not None and checkpoint.exists():
        done = read_checkpoint(checkpoint, Checkpoint(model, extra, optimizer, teacher), stage.name)
    encoder = Encoder(recipe.sizes.image_tokens)
    losses = deque(done.losses, _LAST)
    start = time.monotonic() - done.seconds
    for step in range(done.steps, stage.steps):
        _set_rate(optimizer, stage, step)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            if stage.trains == "vision":
                loss = _backward(_vision_loss(model, extra, stage, seed, step))
            else:
                batches = batches_of(draw_items(stage, seed, step), encoder, refuses=stage.refuses)
                loss = _answer_step(model, batches, stage, teacher)
        nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimizer.step()
        losses.append(loss)
        done = Done(step + 1, time.monotonic() - start, tuple(losses))
        if checkpoint is not None and done.steps % every == 0:
            write_checkpoint(checkpoint, Checkpoint(model, extra, optimizer, teacher), stage.name, done)
        if progress is not None:
            progress(stage.name, done.steps, stage.steps, loss)
    return done


def _parts(model: LlavaForConditionalGeneration, stage: Stage) -> list[nn.Parameter]:
    inner = model.model
    chosen: dict[str, Iterable[nn.Parameter]] = {
        "vision": inner.vision_tower.parameters(),
        "language": inner.language_model.parameters(),
        "projector": inner.multi_modal_projector.parameters(),
    }
    model.requires_grad_(False)
    wanted = [parameter for name in stage.trains.split("+") for parameter in chosen[name]]
    for parameter in wanted:
        parameter.requires_grad_(True)
    return wanted


def _set_rate(optimizer: torch.optim.Optimizer, stage: Stage, step: int) -> None:
    rise = min(1.0, (step + 1) / _WARMUP)
    fall = 0.5 * (1 + math.cos(math.pi * step / stage.steps))
    for group in optimizer.param_groups:
        group["lr"] = stage.learning_rate * rise * fall


def _vision_loss(model: LlavaForConditionalGeneration, heads: nn.Module, stage: Stage, seed: int, step: int) -> Tensor:
    batch = seen_batch(stage, seed, step)
    patches = model.model.vision_tower(batch.pixels).last_hidden_state[:, 1:]
    return heads(patches, batch.targets)  # type: ignore[no-any-return]


def _answer_step(
    model: LlavaForConditionalGeneration, batches: list[Batch], stage: Stage, teacher: nn.Module | None
) -> float:
    """Backpropagate each part of a step with the weight it would have in one batch."""
    total = sum(float(_weights(batch, stage).sum()) for batch in batches)
    return sum(_backward(_answer_loss(model, batch, stage, teacher) / total) for batch in batches)


def _weights(batch: Batch, stage: Stage) -> Tensor:
    return torch.where(batch.first[batch.labels >= 0], stage.first_token, 1.0)


def _answer_loss(model: LlavaForConditionalGeneration, batch: Batch, stage: Stage, teacher: nn.Module | None) -> Tensor:
    hidden = model.model(input_ids=batch.ids, attention_mask=batch.mask, pixel_values=batch.pixels).last_hidden_state
    here = batch.labels >= 0
    scores = model.lm_head(hidden[here]).float()
    loss = functional.cross_entropy(scores, batch.labels[here], reduction="none")
    if teacher is not None and batch.pixels is None:
        loss = (1 - stage.distill) * loss + stage.distill * _divergence(scores, batch, teacher)
    return (loss * _weights(batch, stage)).sum()


def _backward(loss: Tensor) -> float:
    loss.backward()
    return float(loss.detach())


def _divergence(scores: Tensor, batch: Batch, teacher: Any) -> Tensor:
    with torch.no_grad():
        hidden = teacher(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state[batch.labels >= 0]
        known = functional.log_softmax((hidden @ teacher.embed_tokens.weight.T).float(), -1)
    return (known.exp() * (known - functional.log_softmax(scores, -1))).sum(-1)
