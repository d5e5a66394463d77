"""Builds a pocket model from nothing: five stages, resumable, finished by one rename."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from sightguard.artifacts import read_json, write_json
from sightguard.errors import OutputError
from sightguard.pocket.architecture import new_model, new_processor
from sightguard.pocket.card import model_card
from sightguard.pocket.checkpoints import Done, write_tensors
from sightguard.pocket.evaluation import Report, evaluate, text_figures
from sightguard.pocket.locate import FIGURES
from sightguard.pocket.recipe import POCKET, Recipe
from sightguard.pocket.training import train_stage
from sightguard.pocket.vocabulary import vocabulary

Progress = Callable[[str, int, int, float | None], None]
_ABOUT, _RUNNING = "about.json", "running.safetensors"


def build(
    seed: int,
    out: Path,
    *,
    progress: Progress | None = None,
    threads: int | None = None,
    recipe: Recipe = POCKET,
    every: int = 100,
    prompts: int = 300,
) -> Path:
    """Train a pocket model and return the folder it is in; a build that was killed goes on where it was.

    The half-made model is kept in `<out>.building`, beside `out`, which appears only when all is done. On one machine and with
    one number of threads a resumed build gives the same weights, bit for bit, as one that was never stopped.

    Args:
        seed: Of the weights and of the drawn data.
        out: The folder to make; it must not hold anything else.
        progress: Called with stage, steps done, steps in all, loss; the evaluation has no loss.
        threads: For torch; None leaves them as they are.
        recipe: Sizes and stages.
        every: Steps between two checkpoints.
        prompts: Distinct prompts per setting in the evaluation of the card; 0 leaves the evaluation out.

    Raises:
        OutputError: `out`, or the half-made build beside it, is of another seed or recipe, or cannot be written.
        ArtifactError: a file of ours in either cannot be read.
    """
    out = Path(out).resolve()
    if _is_finished(out, seed, recipe):
        return out
    work = _Work(out.with_name(out.name + ".building"), seed, recipe)
    work.open()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        model = _train(work, progress, every)
        finished = _write(work, model, progress, prompts)
        _rename(finished, out)
    finally:
        torch.set_num_threads(before)
    shutil.rmtree(work.folder, ignore_errors=True)
    return out


@dataclass(frozen=True, slots=True)
class _Work:
    """The folder of a half-made build."""

    folder: Path
    seed: int
    recipe: Recipe

    def open(self) -> None:
        about = {"seed": self.seed, "recipe": self.recipe.digest}
        path = self.folder / _ABOUT
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the build needs to write {self.folder}, and could not: {error}. Choose another --out."
            ) from error
        if not path.exists():
            write_json(path, about)
        found = read_json(path)
        if found != about:
            raise OutputError(
                f"expected a half-made build of seed {self.seed}, recipe {self.recipe.digest} in {self.folder}; found "
                f"seed {found.get('seed')}, recipe {found.get('recipe')}. Remove that folder, or choose another --out."
            )

    def after(self, stage: str) -> Path:
        return self.folder / f"after-{stage}.safetensors"

    def figures(self, stage: str) -> Path:
        return self.folder / f"after-{stage}.json"


def _is_finished(out: Path, seed: int, recipe: Recipe) -> bool:
    if not out.exists():
        return False
    if not out.is_dir():
        raise OutputError(f"expected a folder at {out}, found a file. Choose another --out.")
    about = out / FIGURES
    if about.exists():
        found = read_json(about)
        if (found.get("seed"), found.get("digest")) == (seed, recipe.digest):
            return True
        raise OutputError(
            f"{out} already holds a finished model of seed {found.get('seed')}, recipe {found.get('digest')}; this build is "
            f"of seed {seed}, recipe {recipe.digest}. Choose another --out, or remove that folder."
        )
    names = sorted(path.name for path in out.iterdir())
    if names:
        raise OutputError(
            f"expected {out} to be missing or empty; it holds {', '.join(names[:5])}. Choose another --out."
        )
    return False


def _train(work: _Work, progress: Progress | None, every: int) -> LlavaForConditionalGeneration:
    model = new_model(work.recipe.sizes, work.seed)
    for stage in work.recipe.stages:
        after = work.after(stage.name)
        if after.exists():
            model.load_state_dict(load_file(after))
            continue
        model.train()
        running = work.folder / _RUNNING
        done = train_stage(model, work.recipe, stage, work.seed, checkpoint=running, every=every, progress=progress)
        write_json(work.figures(stage.name), _stage_figures(done))
        # The weights come last: a stage counts as done only once they are there.
        write_tensors(after, model.state_dict())
        running.unlink(missing_ok=True)
    return model


def _stage_figures(done: Done) -> dict[str, Any]:
    loss = round(sum(done.losses) / len(done.losses), 4) if done.losses else None
    return {"seconds": round(done.seconds, 1), "steps": done.steps, "loss": loss}


def _write(work: _Work, model: LlavaForConditionalGeneration, progress: Progress | None, prompts: int) -> Path:
    finished = work.folder / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    processor = new_processor(work.recipe.sizes)
    # fp16 is what is shipped, so fp16 weights are what is measured.
    model.half().float().eval()
    about: dict[str, Any] = {
        "schema": 1,
        "seed": work.seed,
        "digest": work.recipe.digest,
        "recipe": work.recipe.as_json(),
        "stages": {s.name: read_json(work.figures(s.name)) for s in work.recipe.stages},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
        },
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "words": len(vocabulary()),
    }
    if prompts:
        about["evaluation"] = _evaluation(work, model, progress, prompts)
    model.half().save_pretrained(finished)
    # safetensors writes for the owner alone, and a package is read by others.
    (finished / "model.safetensors").chmod(0o644)
    processor.save_pretrained(finished)
    write_json(finished / FIGURES, about)
    (finished / "README.md").write_text(model_card(about))
    return finished


def _evaluation(work: _Work, model: LlavaForConditionalGeneration, progress: Progress | None, prompts: int) -> Report:
    processor = new_processor(work.recipe.sizes)
    parts: dict[str, Callable[[], Report]] = {
        "validation": lambda: evaluate(model, processor, "validation", prompts),
        "test": lambda: evaluate(model, processor, "test", prompts),
    }
    if work.after("aligned").exists():
        parts["after_text_alignment"] = lambda: text_figures(_aligned(work), processor, "validation", prompts)
    show = progress or _silent
    show("evaluation", 0, len(parts), None)
    report: Report = {}
    for name, measure in parts.items():
        report[name] = measure()
        show("evaluation", len(report), len(parts), None)
    return report


def _aligned(work: _Work) -> LlavaForConditionalGeneration:
    """Return the model as it was before it met a picture."""
    model = new_model(work.recipe.sizes, work.seed)
    model.load_state_dict(load_file(work.after("aligned")))
    return model.eval()


def _silent(stage: str, done: int, total: int, loss: float | None) -> None:
    """Show nothing."""


def _rename(finished: Path, out: Path) -> None:
    try:
        finished.replace(out)
    except OSError as error:
        raise OutputError(f"the model is finished in {finished} but could not be renamed to {out}: {error}.") from error
