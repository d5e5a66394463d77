"""A whole training: from records to a folder with the trained SafeVLM, resumable, everything of it in one run folder.

run.json                    model, data, configuration, environment
log.jsonl                   one line a step with the parts of the loss, one a look at the held-out data
checkpoint.safetensors      where a killed run goes on from
stage1/, stage2/            the finished stages, each a SafeVLM that loads
metrics.json                held-out figures of each stage; written last
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sightguard import __version__
from sightguard.artifacts import LOCK, alone_in, output_folder, read_json, sha256_json, write_json
from sightguard.data.records import Record, check_answers, check_classes
from sightguard.data.taxonomy import Taxonomy
from sightguard.errors import DataError, OutputError, UsageError
from sightguard.safevlm.artefact import load, save
from sightguard.safevlm.config import Config
from sightguard.safevlm.looks import HeldOut, fitted_temperatures, head_figures, head_logits
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.modules import SafetyModules, Shape
from sightguard.safevlm.policy import Policy
from sightguard.safevlm.sharding import check_sharding
from sightguard.safevlm.thresholds import calibrate
from sightguard.safevlm.train import Training, stage_one, stage_two
from sightguard.safevlm.zero import asked

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.types import Judge

FILES = ("run.json", "log.jsonl", "checkpoint.safetensors", "stage1", "stage2", "metrics.json", LOCK)
STAGES = ("1", "2", "both")


@dataclass(frozen=True)
class Data:
    """What a SafeVLM learns from and is looked at with."""

    train: Sequence[Record]
    held_out: Sequence[Record]
    taxonomy: Taxonomy
    policy: Policy
    policy_file: Mapping[str, Any] | None = None
    """The data of the policy's file, to be kept beside the weights; None for the default policy."""


def train(
    vlm: VLM,
    data: Data,
    out: Path | str,
    config: Config,
    judge: Judge,
    *,
    stage: str = "both",
    half: bool = False,
    max_false_refusal: float | None = None,
    progress: Callable[..., None] = lambda *_: None,
    warn: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train SafeVLM on `vlm` and return the held-out figures; the weights of `vlm` are as before afterwards.

    Args:
        vlm: the model.
        data: records to learn from and to look at.
        out: the run folder: new, empty, or one of the same run that was killed.
        config: how.
        judge: says which answers are refusals, for the look at over-refusal.
        stage: "1", "2" (on a finished stage 1 in `out`) or "both".
        half: write the weights in float16.
        max_false_refusal: set the policy's thresholds for this rate on the held-out benign records, and certify it.
        progress: called with (stage, done, total, loss).
        warn: called with what a user should know and need not stop for.

    Raises:
        DataError: data that cannot teach the difference between safe and risky.
        OutputError: `out` holds another run, cannot be written, or another training is at work there.
        TrainingStopped: held-out benign requests were refused, or the loss was not finite.
    """
    if stage not in STAGES:
        raise UsageError(f"stage is one of {', '.join(STAGES)}; got {stage!r}")
    _check(data, warn)
    accelerator = _accelerator(config, vlm)
    check_sharding(accelerator, stage, config)
    found = output_folder(out, may_hold=FILES)
    with alone_in(found, "training") if accelerator.is_main_process else nullcontext(found) as folder:
        _open(folder, vlm, data, config, max_false_refusal)
        held_out = HeldOut(data.held_out, judge, config.benign_checked)
        run = _Run(vlm, data, config, folder, held_out, accelerator, progress, half, max_false_refusal)
        if stage in ("1", "both") and not run.has("stage1"):
            run.first()
        if stage in ("2", "both") and not run.has("stage2"):
            run.second()
        return run.figures()


@dataclass(frozen=True)
class _Run:
    """One run folder and what fills it."""

    vlm: VLM
    data: Data
    config: Config
    folder: Path
    held_out: HeldOut
    accelerator: Any
    progress: Callable[..., None]
    half: bool
    max_false_refusal: float | None = None

    def has(self, stage: str) -> bool:
        return (self.folder / stage).exists() and stage in self.figures()["stages"]

    def figures(self) -> dict[str, Any]:
        path = self.folder / "metrics.json"
        return read_json(path) if path.exists() else {"schema": 1, "stages": {}}

    def first(self) -> None:
        """Train stage 1 and write it."""
        safe = SafeVLM(self.vlm, _fresh(self.vlm, self.data, self.config), self.data.taxonomy, self.data.policy)
        safe = stage_one(self._training(safe))
        temperatures, calibration = fitted_temperatures(safe, self.held_out.records)
        safe, certificate = self._certified(replace(safe, temperatures=temperatures))
        self._finish("stage1", safe, {"calibration": calibration, "certificate": certificate})

    def second(self) -> None:
        """Train stage 2 on the stage 1 of this folder and write it."""
        if not self.has("stage1"):
            raise UsageError(
                f"stage 2 goes on from stage 1, and {self.folder} holds none that was finished. Train it first: --stage 1, or both."
            )
        safe = load(self.folder / "stage1", self.vlm)
        self._finish("stage2", stage_two(self._training(safe)), {})

    def _certified(self, safe: SafeVLM) -> tuple[SafeVLM, dict[str, Any] | None]:
        """Set thresholds where a rate is promised."""
        if self.max_false_refusal is None:
            return safe, None
        benign = [record.sample for record in self.held_out.records if record.type == safe.taxonomy.safe_type]
        found, certificate = calibrate(safe, benign, max_false_refusal=self.max_false_refusal, seed=self.config.seed)
        return found, certificate.as_json()

    def _training(self, safe: SafeVLM) -> Training:
        return Training(safe, self.data.train, self.held_out, self.config, self.folder, self.accelerator, self.progress)

    def _finish(self, stage: str, safe: SafeVLM, more: dict[str, Any]) -> None:
        """Measure a finished stage, on every process since weights may be sharded, and write it on one."""
        records = self.held_out.records
        figures = {
            **head_figures(safe, records, head_logits(safe, records)),
            "over_refusal": self.held_out.over_refusal(safe),
            **more,
        }
        if self.accelerator.is_main_process:
            self._write(stage, safe, figures)
        self.accelerator.wait_for_everyone()

    def _write(self, stage: str, safe: SafeVLM, figures: dict[str, Any]) -> None:
        """Write the weights of a stage, then its figures, which say that it is finished."""
        told = {
            "records": len(self.data.train),
            "seed": self.config.seed,
            "query": self.config.modules.query,
            "digest": self.config.digest,
        }
        shutil.rmtree(self.folder / stage, ignore_errors=True)  # of a run that was killed between weights and figures
        save(
            safe,
            self.folder / stage,
            half=self.half,
            policy=self.data.policy_file,
            measured=_summary(figures),
            training=told,
        )
        done = self.figures()
        write_json(self.folder / "metrics.json", {**done, "stages": {**done["stages"], stage: figures}})
        (self.folder / "checkpoint.safetensors").unlink(missing_ok=True)


def _check(data: Data, warn: Callable[[str], None]) -> None:
    check_answers(data.train, "training data")
    check_answers(data.held_out, "held-out data")
    missing = check_classes(data.train, data.taxonomy, "training data")
    if not any(record.type == data.taxonomy.safe_type for record in data.held_out):
        raise DataError("the held-out data hold no benign record, so over-refusal cannot be watched; add some")
    if missing:
        warn(f"no training example of: {', '.join(missing)}. The head cannot learn these, and they get no F1.")


def split(records: Sequence[Record], share: float = 0.1) -> tuple[list[Record], list[Record]]:
    """Split records into those to learn from and those to look at, by a digest of their ids: the same on every machine.

    Returns:
        (train, held out)
    """
    chosen = [int(sha256_json(record.sample.id)[:8], 16) / 0xFFFFFFFF < share for record in records]
    train = [record for record, held in zip(records, chosen, strict=True) if not held]
    return train, [record for record, held in zip(records, chosen, strict=True) if held]


def _open(folder: Path, vlm: VLM, data: Data, config: Config, max_false_refusal: float | None) -> None:
    """Write what the run is, or check that the folder is of the same run."""
    about = {
        "schema": 1,
        "sightguard": __version__,
        "model": vlm.fingerprint.as_json(),
        "config": config.as_json(),
        "digest": config.digest,
        "max_false_refusal": max_false_refusal,
        "data": {"train": _digest(data.train), "held_out": _digest(data.held_out), "taxonomy": data.taxonomy.as_json()},
        "counts": {"train": len(data.train), "held_out": len(data.held_out)},
        "environment": {"python": platform.python_version(), "torch": torch.__version__},
    }
    path = folder / "run.json"
    if not path.exists():
        write_json(path, about)
        return
    found = read_json(path)
    other = [name for name in ("model", "digest", "data", "max_false_refusal") if found.get(name) != about[name]]
    if other:
        raise OutputError(
            f"{folder} holds a training with another {', '.join(other).replace('digest', 'configuration')}; it can only go on with the same. "
            "Name another folder, or remove this one."
        )


def _digest(records: Sequence[Record]) -> str:
    return sha256_json(
        [
            [r.sample.id, r.sample.text, [image.sha256 for image in r.sample.images], r.answer, r.type, r.level]
            for r in records
        ]
    )


def _fresh(vlm: VLM, data: Data, config: Config) -> SafetyModules:
    from sightguard.safevlm.features import picture_features

    sizes = config.modules
    (shown,) = picture_features(vlm, [data.train[0].sample])
    shape = Shape(
        vision=int(shown[0].shape[-1]),
        hidden=vlm.anatomy.hidden_size,
        types=len(data.taxonomy.types),
        levels=len(data.taxonomy.levels),
        tokens=sizes.tokens,
        projector=sizes.projector,
        inner=sizes.inner,
        side=sizes.side,
        depth=sizes.depth,
        heads=sizes.heads,
        query=sizes.query,
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return SafetyModules(shape)


def _accelerator(config: Config, vlm: VLM) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # an earlier training of this process may have had another precision
    cpu = vlm.device.type == "cpu"
    precision = "no" if asked() and not cpu else config.precision  # DeepSpeed would turn the model's own weights
    return Accelerator(mixed_precision=precision, cpu=cpu)


def _summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that the card shows."""
    kind, level, refusal = figures["type"], figures["level"], figures["over_refusal"]
    calibration = figures.get("calibration") or {}
    return {
        "held-out records": kind["n"],
        "accuracy by type": kind["accuracy"]["value"],
        "macro-F1 by type": kind["macro_f1"],
        "accuracy by level": level["accuracy"]["value"],
        "macro-F1 by level": level["macro_f1"],
        **{f"calibration error ({when})": calibration[f"ece_{when}"] for when in ("before", "after") if calibration},
        "benign requests refused": refusal["value"],
        "benign requests refused by the plain model": refusal["before"],
        "benign requests asked": refusal["n"],
        "judge": refusal["judge"],
    }
