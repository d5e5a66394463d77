"""Two-stage training of SafeVLM.

    stage 1   safety projector, head and both sets of tokens learn; vision tower, projector and language model are frozen
    stage 2   the language model learns by LoRA; the safety modules are frozen

L = L_LM + weight * (L_type + L_level), PSA-VLM (arXiv 2411.11543), supplement; the weight of 10 is the released code's.
Batches, dropout and learning rate depend on seed, stage and step alone, so a run that was killed and started again gives the weights of
one that never stopped.

Differences from the released code: stage 2 leaves the classification losses out, which are constant there; the learning rate falls as a
cosine; training stops where held-out benign requests are refused; hints may stand in the prompt (`hint_share`, off by default).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sightguard.errors import ArtifactError, TrainingStopped
from sightguard.safevlm import checkpoint, zero
from sightguard.safevlm.config import CLIP, Config, Stage
from sightguard.safevlm.learner import Learner, lesson
from sightguard.safevlm.looks import HeldOut, head_figures, head_logits
from sightguard.safevlm.lora import adapter_of, lora
from sightguard.safevlm.sharding import gather, together

if TYPE_CHECKING:
    from sightguard.data.records import Record
    from sightguard.safevlm.model import SafeVLM

Progress = Callable[..., None]


@dataclass(frozen=True)
class Training:
    """What one stage is given.

    Args:
        safe: the model with its safety modules; changed in place.
        records: to learn from.
        held_out: to look at.
        config: how.
        folder: the run folder: checkpoint and logs are written here.
        accelerator: of `accelerate`; None makes one on the device of the model.
        progress: called with (stage, steps done, steps in all, loss).
    """

    safe: SafeVLM
    records: Sequence[Record]
    held_out: HeldOut
    config: Config
    folder: Path
    accelerator: Any
    progress: Progress


def stage_one(training: Training) -> SafeVLM:
    """Train the safety modules in place, and return the SafeVLM with them in one piece."""
    safe = training.safe
    model = safe.vlm.model
    with _frozen(model), _attending(model, training.config.attention):
        safe.modules.requires_grad_(True)
        learner = _run("stage1", training, training.config.stage1, classifies=True, learning=[safe.modules])
        safe.modules.requires_grad_(False)
        done = replace(safe, modules=together(safe.modules))
        gather(learner)  # reading weights shards them again
        return done


def stage_two(training: Training) -> SafeVLM:
    """Train LoRA on the language model and return the SafeVLM with its adapter; the model's own weights stay as they are."""
    safe, sizes = training.safe, training.config.lora
    plain = safe.vlm.model
    attending = _attending(plain, training.config.attention)
    with _frozen(plain), attending, _seeded(training.config.seed), lora(safe.vlm, sizes) as model:
        safe.modules.requires_grad_(False)
        learner = _run("stage2", training, training.config.stage2, classifies=False, learning=_dropouts(model))
        done = replace(safe, modules=together(safe.modules), adapter=adapter_of(model, sizes))
        gather(learner)
        return done


def steps_of(stage: Stage, records: int, processes: int = 1) -> int:
    """Return how many steps of the optimizer a stage takes."""
    return max(1, math.ceil(stage.epochs * records / (stage.batch * stage.accumulate * processes)))


def _run(name: str, training: Training, stage: Stage, *, classifies: bool, learning: Sequence[nn.Module]) -> Learner:
    safe, config, accelerator = training.safe, training.config, training.accelerator
    learner = Learner(safe, classifies=classifies, weight=config.weight)
    learnt = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=stage.learning_rate, weight_decay=0.0)
    steps = steps_of(stage, len(training.records), accelerator.num_processes)
    path = training.folder / "checkpoint.safetensors"
    wrapped, driven = _prepared(training, learner, optimizer, stage)
    trained = {key: p for key, p in learner.named_parameters() if p.requires_grad}  # sharding makes new ones
    told = checkpoint.about(path)
    start = 0
    if told.get("stage") == name:
        _check_shares(told, path, accelerator)
        checkpoint.read(path, trained, driven)
        start = int(told["step"])
    log = _Log(training.folder / "log.jsonl", name, start, main=accelerator.is_main_process)
    order = _Order(len(training.records), config.seed, name)
    for step in range(start, steps):
        for module in learning:
            module.train()
        torch.manual_seed(_seed_of(config.seed, name, step))
        _set_rate(driven, stage, step, steps)
        parts = _step(name, training, wrapped, driven, stage, order, step, trained.values())
        for module in learning:
            module.eval()
        done = step + 1
        log.add({"stage": name, "step": done, **parts})
        training.progress(name, done, steps, parts["loss"])
        if done % config.evaluate_every == 0 or done == steps:
            gather(learner)
            _look(name, training, done, log, last=done == steps)
        if done % config.save_every == 0 and done < steps:
            about = {"stage": name, "step": str(done), **_shares(accelerator)}
            checkpoint.write(path, trained, driven, about, writes=accelerator.is_main_process)
    accelerator.free_memory()
    return learner


def _prepared(
    training: Training, learner: nn.Module, optimizer: torch.optim.Optimizer, stage: Stage
) -> tuple[nn.Module, Any]:
    """Return what accelerate makes of a learner and its optimizer."""
    accelerator = training.accelerator
    if zero.used(accelerator):
        return zero.prepared(accelerator, learner, optimizer, stage, training.config.precision)
    wrapped, driven = accelerator.prepare(learner, optimizer)
    return wrapped, driven


def _shares(accelerator: Any) -> dict[str, str]:
    """Return what decides how a checkpoint's optimizer is laid out, and how many records make a step."""
    by = "DeepSpeed" if zero.used(accelerator) else "accelerate"
    return {"processes": str(accelerator.num_processes), "by": by}


def _check_shares(told: Mapping[str, str], path: Path, accelerator: Any) -> None:
    now = _shares(accelerator)
    before = {name: told.get(name, value) for name, value in now.items()}
    if before != now:
        raise ArtifactError(
            f"the checkpoint {path} was written by {before['processes']} processes of {before['by']}, now there are {now['processes']} of "
            f"{now['by']}; start it as before, or remove it to begin its stage again"
        )


def _step(
    name: str,
    training: Training,
    learner: nn.Module,
    optimizer: Any,
    stage: Stage,
    order: _Order,
    step: int,
    trained: Any,
) -> dict[str, float]:
    """Make one step of the optimizer; return the mean of each part of the loss over the passes of all processes."""
    accelerator, config = training.accelerator, training.config
    size = stage.batch * accelerator.num_processes
    sums: dict[str, float] = {}
    spoken = 0
    optimizer.zero_grad()
    for turn in range(stage.accumulate):
        at = (step * stage.accumulate + turn) * size + accelerator.process_index * stage.batch
        chosen = [_maybe_hinted(training, p, training.records[i]) for p, i in order.at(range(at, at + stage.batch))]
        last = turn == stage.accumulate - 1
        with _syncing(accelerator, learner, last):
            gather(learner)
            speaks = name != "stage1" or _speaks(config, step * stage.accumulate + turn)
            parts = learner(lesson(training.safe, chosen), speaks=speaks)
            accelerator.backward(parts["loss"] / stage.accumulate)
        spoken += speaks
        for key, value in parts.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach()) / stage.accumulate
    if spoken:
        sums["lm"] *= stage.accumulate / spoken
    else:
        del sums["lm"]  # it was not taken, which is no loss of zero
    if accelerator.num_processes > 1:
        means = accelerator.reduce(torch.tensor(list(sums.values()), device=accelerator.device), "mean")
        sums = dict(zip(sums, means.tolist(), strict=True))
    if not all(math.isfinite(value) for value in sums.values()):
        raise TrainingStopped(
            f"the loss is not finite at step {step + 1} ({sums}); lower the learning rate, or train with precision 'no' or 'bf16' "
            f"(now {config.precision!r})"
        )
    accelerator.clip_grad_norm_(list(trained), CLIP)
    optimizer.step()
    return sums


def _look(name: str, training: Training, step: int, log: _Log, *, last: bool) -> None:
    """Measure on held-out data, and stop a training that refuses what is benign."""
    safe, config = training.safe, training.config
    figures: dict[str, Any] = head_figures(
        safe, training.held_out.records, head_logits(safe, training.held_out.records)
    )
    refusal = training.held_out.over_refusal(safe)
    log.add({"stage": name, "step": step, "held_out": {**figures, "over_refusal": refusal}})
    exceeded = [look["value"] - look["before"] > config.max_over_refusal for look in log.refusals]
    if exceeded[-1] and (last or (len(exceeded) >= config.patience and all(exceeded[-config.patience :]))):
        raise TrainingStopped(
            f"{name} stopped at step {step}: {refusal['value']:.1%} of {refusal['n']} held-out benign requests are refused, by the plain model "
            f"{refusal['before']:.1%}; at most {config.max_over_refusal:.1%} more is allowed (max_over_refusal). The data teach to refuse too much: "
            "add benign records, safe questions about risky things among them. Nothing was finished; log.jsonl shows how it came."
        )


def _speaks(config: Config, turn: int) -> bool:
    """Spread the passes that take the language loss evenly over all."""
    return math.floor((turn + 1) * config.language_share) > math.floor(turn * config.language_share)


def _maybe_hinted(training: Training, position: int, record: Record) -> Record:
    safe, config = training.safe, training.config
    if record.type == safe.taxonomy.safe_type or not config.hint_share:
        return record
    if random.Random(f"hint|{config.seed}|{position}").random() >= config.hint_share:
        return record
    rule = safe.policy.rules[safe.taxonomy.types[record.type], record.level]
    return replace(record, sample=safe.policy.hinted(record.sample, rule))


@dataclass(frozen=True)
class _Order:
    """In which order records are taken: each epoch its own permutation."""

    n: int
    seed: int
    name: str

    def at(self, positions: range) -> Iterator[tuple[int, int]]:
        """Yield (position, index of the record)."""
        known: dict[int, list[int]] = {}
        for position in positions:
            epoch, place = divmod(position, self.n)
            if epoch not in known:
                known[epoch] = list(range(self.n))
                random.Random(f"order|{self.seed}|{self.name}|{epoch}").shuffle(known[epoch])
            yield position, known[epoch][place]


class _Log:
    """The lines of a run: one a step, and one a look. What a killed run wrote after its last checkpoint is dropped."""

    def __init__(self, path: Path, stage: str, start: int, *, main: bool) -> None:
        self.path, self.main = path, main
        self.refusals: list[dict[str, Any]] = []
        """What each look of this stage found, those before a kill too."""
        kept = []
        for line in path.read_text().splitlines() if path.exists() else []:
            told = _line(line)
            if told is not None and (told["stage"] != stage or told["step"] <= start):
                kept.append(line + "\n")
                self._remember(told, stage)
        if main:
            path.write_text("".join(kept))

    def add(self, entry: dict[str, Any]) -> None:
        self._remember(entry, entry["stage"])
        if self.main:
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def _remember(self, entry: dict[str, Any], stage: str) -> None:
        if entry["stage"] == stage and "held_out" in entry:
            self.refusals.append(entry["held_out"]["over_refusal"])


def _line(text: str) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(text)
    except ValueError:
        return None  # torn by a kill
    return told


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Let no weight of the model learn inside the `with`; afterwards they are as they were."""
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    training = model.training
    model.requires_grad_(False).eval()
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before.get(name, False))
        model.train(training)


@contextmanager
def _attending(model: Any, attention: str | None) -> Iterator[None]:
    """Let the model use another attention inside the `with`."""
    before = model.config._attn_implementation
    if attention is not None:
        model.set_attn_implementation(attention)
    try:
        yield
    finally:
        if attention is not None:
            model.set_attn_implementation(before)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and leave the global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _syncing(accelerator: Any, learner: nn.Module, last: bool) -> Any:
    """Exchange gradients between processes at the last pass of a step only."""
    boundary = getattr(learner, "set_gradient_accumulation_boundary", None)
    if boundary is not None:  # DeepSpeed
        boundary(last)
        return nullcontext()
    return nullcontext() if last else accelerator.no_sync(learner)


def _dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the adapter's own dropout layers; the model's stay off, as when it answers."""
    return [m for name, m in model.named_modules() if "lora_dropout" in name and not isinstance(m, nn.ModuleDict)]


def _set_rate(optimizer: Any, stage: Stage, step: int, steps: int) -> None:
    rise = min(1.0, (step + 1) / max(1, stage.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = stage.learning_rate * rise * fall


def _seed_of(seed: int, name: str, step: int) -> int:
    return random.Random(f"{seed}|{name}|{step}").getrandbits(31)
