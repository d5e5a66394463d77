"""The demo from end to end: fit and choose on train and validation, answer the test split, count, draw."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightguard import __version__
from sightguard.artifacts import LOCK, alone_in, output_folder
from sightguard.demo.conditions import UNDEFINED, conditions
from sightguard.demo.cost import cost
from sightguard.demo.fit import Fitted, fit
from sightguard.demo.fluency import perplexity
from sightguard.demo.impact import impact
from sightguard.demo.page import examples, figures
from sightguard.demo.safety import head_table, shipped
from sightguard.demo.states import read, separability
from sightguard.errors import UsageError
from sightguard.evaluate.names import CONDITIONS, HARMFUL_SETTINGS, OVER_REFUSAL_SETTINGS
from sightguard.evaluate.overlap import overlap
from sightguard.evaluate.results import check_results
from sightguard.evaluate.run import Run, evaluate
from sightguard.evaluate.summarise import summarise
from sightguard.pocket import world
from sightguard.pocket.judge import PocketJudge
from sightguard.pocket.locate import NAMES
from sightguard.report.inputs import EXAMPLES, FIGURES, Example, Figures, save_inputs, save_results
from sightguard.report.page import write_report
from sightguard.steering.memory import Memory

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.safevlm.model import SafeVLM
    from sightguard.steering.choose import Choice
    from sightguard.types import Sample

N = 300
BATCH = 64
MAX_NEW_TOKENS = 24
SCHEMA = 1
UNFINISHED = ("run", "vlm_guard", "vlm_guard_caption", FIGURES, EXAMPLES, "report.html", LOCK)
"""What an interrupted demo may leave; a second call goes on from there."""
Progress = Callable[[str, int, int], None]


def demo(model: str, out: Path, *, seed: int = 0, n: int = N, progress: Progress | None = None) -> dict[str, Any]:
    """Run the demo and write `out`: results.json, report.html, what the page is made of, the answers (run/) and the two guards.

    Args:
        model: "pocket", "pocket-1", "pocket-2", or a folder that `sightguard pocket build` made.
        out: a new or empty folder.
        seed: of anchors, validation and test prompts.
        n: distinct test prompts in each setting.
        progress: called with (stage, done, total).

    Raises:
        OutputError: `out` cannot be written, already holds a run, or another demo is at work there.
        UnknownName: no such model.
    """
    _check_world(model)
    with alone_in(output_folder(out, may_hold=UNFINISHED), "demo") as folder:
        return _demo(model, folder, seed, n, progress or _silent)


def _demo(model: str, folder: Path, seed: int, n: int, show: Progress) -> dict[str, Any]:
    from sightguard.models.vlm import VLM

    test = world.settings("test", n, seed)
    show("load the model", 0, 1)
    vlm = replace(VLM.load(model), batch=BATCH, max_new_tokens=MAX_NEW_TOKENS)
    show("load the model", 1, 1)
    began = time.perf_counter()
    fitted = fit(vlm, seed=seed, progress=show)
    fit_seconds = time.perf_counter() - began
    about = {
        "model": model,
        "seed": seed,
        "version": __version__,
        "max_new_tokens": MAX_NEW_TOKENS,
        "fingerprint": asdict(vlm.fingerprint),
    }
    safe = shipped(vlm, model)
    run = _answers(vlm, fitted, safe, test, folder, about, show)
    show("read states", 0, 1)
    states = read(vlm, fitted.text.guard, test["text_only"], test["benign_text"], test["blank_image"][0].images[0])
    show("read states", 1, 1)
    results = {
        "schema": SCHEMA,
        "model": model,
        "seed": seed,
        **summarise(run.rows),
        "impact": impact(run.rows, seed=seed),
        "perplexity": _by_condition(_perplexity(vlm, run, test)),
        "cost": _by_condition(
            cost(vlm, fitted.guards, safe, test["blank_image"][:16], progress=partial(show, "measure cost"))
        ),
        "head": head_table(safe[-1], n, seed, progress=partial(show, "ask the safety head")) if safe else None,
        "separability": separability(fitted.text.guard, states),
        "fit": {**_chosen(fitted.text), "seconds": fit_seconds, "caption": _chosen(fitted.caption)},
        "choice": {choice.guard.name: _spent(choice) for choice in fitted.choices},
        "overlap": _overlap(test, fitted.seen),
        "provenance": {**about, "seconds": time.perf_counter() - began},
    }
    show("write the report", 0, 1)
    written = _write(folder, results, figures(states, fitted.text), examples(run, test), fitted)
    show("write the report", 1, 1)
    return written


def _answers(
    vlm: VLM,
    fitted: Fitted,
    safe: Sequence[SafeVLM],
    test: Mapping[str, Sequence[Sample]],
    folder: Path,
    about: dict[str, Any],
    show: Progress,
) -> Run:
    """Let every condition answer the test split; goes on where an interrupted call of the same demo stopped."""
    return evaluate(
        conditions(vlm, fitted.guards, safe, memory=Memory(), once=True),
        test,
        PocketJudge(),
        out=folder / "run",
        batch=BATCH,
        undefined=UNDEFINED,
        resume=True,
        about={**about, "guards": {choice.guard.name: _chosen(choice) for choice in fitted.choices}},
        progress=lambda name, done, total: show("answer the test split", done, total),
    )


def _write(
    folder: Path, results: dict[str, Any], drawn: Figures, shown: list[Example], fitted: Fitted
) -> dict[str, Any]:
    """Write everything and return the results as they will be read back.

    results.json comes last of all: a folder that holds it is a finished one.
    """
    for guard in fitted.guards:
        if not (folder / guard.name).exists():
            guard.save_pretrained(folder / guard.name)
    plain: dict[str, Any] = json.loads(json.dumps(results, allow_nan=False))
    check_results(plain, whole=True)
    save_inputs(folder, drawn, shown)
    write_report(plain, drawn, shown, out=folder / "report.html")
    save_results(folder, plain)
    return plain


def _by_condition(found: Mapping[str, Any]) -> dict[str, Any]:
    """Say null of the conditions that were not run: a model that was built anew has no trained safety modules beside it."""
    return {**dict.fromkeys(CONDITIONS), **found}


def _overlap(test: Mapping[str, Sequence[Sample]], seen: Sequence[Sample]) -> dict[str, int]:
    """Return how many test prompts come again among those that fitting or choosing has seen, with their pictures and without.

    Some questions about a picture are few by nature ("which shape is in the picture ?"): without their pictures they repeat.
    """
    asked = [sample for part in test.values() for sample in part]
    words = overlap(asked, seen, pictures=False)
    return {**overlap(asked, seen).counts(), "text_exact": words.exact, "text_near": words.near}


def _silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""


def _check_world(model: str) -> None:
    """Refuse a model that does not speak the demo's language; what is no model at all is told by `VLM.load`."""
    folder = Path(model)
    if model in NAMES:
        return  # a folder of that name does not hide a shipped model
    if folder.is_dir() and not (folder / "pocket.json").is_file():
        raise UsageError(
            f"{model!r} holds no pocket.json: the demo asks in the words of the embedded model's world, which other models do not know. "
            "Use pocket, pocket-1, pocket-2 or a folder that `sightguard pocket build` made; for other models: `sightguard fit`."
        )


def _perplexity(vlm: VLM, run: Run, test: Mapping[str, Sequence[Sample]]) -> dict[str, float | None]:
    """Over the settings whose question the text alone holds: the same ones for every condition."""
    names = [
        name
        for name in (*HARMFUL_SETTINGS, *OVER_REFUSAL_SETTINGS)
        if name not in {setting for _, setting in UNDEFINED}
    ]
    samples = [sample for name in names for sample in test[name]]
    answers: dict[str, dict[tuple[str, str], str]] = {}
    for row in run.rows:
        answers.setdefault(row.condition, {})[row.setting, row.id] = row.response.text
    keys = [(name, sample.id) for name in names for sample in test[name]]
    return perplexity(vlm, samples, {name: [found[key] for key in keys] for name, found in answers.items()})


def _chosen(choice: Choice) -> dict[str, Any]:
    guard = choice.guard
    return {
        "estimator": guard.directions.provenance["estimator"],
        "layers": list(guard.layers),
        "m": guard.m,
        "alpha": guard.alpha,
        "gate": guard.gate,
        "threshold": guard.threshold,
        "max_false_fire": guard.calibration["chosen"]["max_false_fire"],
        "thresholds": [list(pair) for pair in guard.limits()],
    }


def _spent(choice: Choice) -> dict[str, Any]:
    """What the choice on validation prompts promised, and what it cost."""
    trials = {"undefended": choice.undefended, "chosen": choice.guard.calibration["chosen"]}
    return {
        "budget": asdict(choice.budget),
        **{name: t if isinstance(t, dict) else asdict(t) for name, t in trials.items()},
    }
