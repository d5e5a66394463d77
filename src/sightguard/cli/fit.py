"""`sightguard fit`: a guard from a model's own language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightguard.cli.console import Json, Out, Seed, print_json, print_table, progress, say

if TYPE_CHECKING:
    from sightguard.cli.console import Progress
    from sightguard.models.vlm import VLM
    from sightguard.steering.choose import Choice, Trial

COLUMNS = (
    "",
    "layers",
    "m",
    "alpha",
    "threshold",
    "attack success",
    "not refused",
    "worst over-refusal",
    "worst utility",
)


def fit(
    model: Annotated[str, typer.Argument(help="pocket, pocket-1, pocket-2, a folder with a checkpoint, or a hub id.")],
    out: Out,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="CSV or JSONL with columns harmful, harmless. Not needed for pocket.")
    ] = None,
    benign: Annotated[
        Path | None,
        typer.Option("--benign", help="CSV or JSONL with a column prompt (and image): must still be answered."),
    ] = None,
    reference: Annotated[str, typer.Option("--reference", help="text, same_input or caption.")] = "text",
    gate: Annotated[str, typer.Option("--gate", help="text, image, either or always.")] = "text",
    kind: Annotated[str, typer.Option("--kind", help="project_then_shift, shift or project.")] = "project_then_shift",
    phase: Annotated[str, typer.Option("--phase", help="prefill, or prefill+decode.")] = "prefill",
    revision: Annotated[str | None, typer.Option("--revision", help="Commit of a hub repository; pin it.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit VLM-Guard on text alone, choose its parameters on held-out prompts, and write it to a folder."""
    from sightguard.artifacts import output_folder
    from sightguard.errors import UsageError
    from sightguard.models.vlm import VLM
    from sightguard.pocket.locate import NAMES

    if pairs is None and model not in NAMES:
        raise UsageError(
            f"fitting {model!r} needs --pairs FILE: CSV or JSONL with columns harmful and harmless (100 pairs are usual)"
        )
    output_folder(out)
    options = {"reference": reference, "gate": gate, "kind": kind, "phase": phase}
    vlm = VLM.load(model, revision=revision)
    with progress() as show:
        choice = _choose(vlm, pairs, benign, options, seed, show)
    choice.guard.save_pretrained(out)
    if json:
        print_json({"folder": str(out), **choice.as_json(), "chosen": choice.guard.calibration["chosen"]})
        return
    trials = [("undefended", choice.undefended), *(("", trial) for trial in choice.trials), ("chosen", _best(choice))]
    print_table(COLUMNS, [_row(name, trial) for name, trial in trials], title="on validation prompts")
    spent = choice.budget
    say(
        f"guard: {out}   spent: {spent.prompts_read} prompts read, {spent.first_tokens} first tokens, {spent.answers} answers, "
        f"{spent.seconds:.0f} s"
    )


def _row(name: str, trial: Trial) -> tuple[object, ...]:
    rule = trial.threshold if trial.max_false_fire is None else f"{trial.threshold} {trial.max_false_fire:.0%}"
    rates = (
        trial.attack_success,
        trial.unrefused,
        max(trial.over_refusal.values()),
        min(trial.utility.values(), default=1.0),
    )
    edit = ("", "", "", "") if name == "undefended" else (list(trial.layers), trial.m, trial.alpha, rule)
    return (name, *edit, *(f"{rate:.3f}" for rate in rates))


def _choose(
    vlm: VLM, pairs: Path | None, benign: Path | None, options: dict[str, Any], seed: int, show: Progress
) -> Choice:
    from sightguard.data.prompts import read_pairs, read_prompts
    from sightguard.demo.fit import choose_on_world
    from sightguard.evaluate.judges import RefusalPhrases
    from sightguard.steering.recipe import fit_and_choose

    if pairs is None:
        return choose_on_world(vlm, seed=seed, options=options, progress=show)
    clean = read_prompts(benign, harmful=False) if benign else []
    return fit_and_choose(
        vlm, read_pairs(pairs), RefusalPhrases(), benign=clean, seed=seed, options=options, progress=show
    )


def _best(choice: Choice) -> Trial:
    from sightguard.steering.choose import Trial

    return Trial(**choice.guard.calibration["chosen"])
