"""`sightguard demo`: the safety gap and its mending on the embedded model, with a report to look at."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sightguard.cli.console import Json, Out, Seed, print_json, print_rich, progress, say


def demo(
    out: Out,
    model: Annotated[
        str, typer.Option("--model", help="pocket, pocket-1, pocket-2, or a folder made by `pocket build`.")
    ] = "pocket",
    n: Annotated[int, typer.Option("--n", min=20, help="Distinct test prompts in each setting.")] = 300,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit VLM-Guard, evaluate it beside SafeVLM and baselines on held-out prompts, write results.json and report.html (about 3 minutes)."""
    from sightguard.demo.run import demo as run_demo
    from sightguard.report.terminal import head_table, headline_table

    with progress() as show:
        results = run_demo(model, out, seed=seed, n=n, progress=show)
    if json:
        print_json(results)
    else:
        print_rich(headline_table(results))
        if (head := head_table(results)) is not None:
            print_rich(head)
        say(f"report: {out / 'report.html'}   figures: {out / 'results.json'}")
    if crashed := _crashes(results):
        say(
            f"error: a guard or the model crashed on {crashed} prompts; the rates leave these out, so do not trust them"
        )
        raise typer.Exit(1)


def _crashes(results: dict[str, Any]) -> int:
    parts = [*results["settings"].values(), *results["over_refusal"].values()]
    return sum(count or 0 for part in parts for count in part["guard_error"].values())
