"""Asks a plan of several defenses, judges, counts and writes: what a bench of any kind of model has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sightguard.artifacts import LOCK, read_json, write_json
from sightguard.bench.bill import FILE as ASKING
from sightguard.bench.configured import by_length, in_order
from sightguard.bench.examples import PER_SETTING
from sightguard.bench.judging import Judging
from sightguard.bench.measure import Measure
from sightguard.bench.noise import FOLDER as NOISE
from sightguard.bench.noise import Noise
from sightguard.bench.options import Options
from sightguard.bench.plan import Plan
from sightguard.bench.report import write_report
from sightguard.bench.results import MEASURED
from sightguard.evaluate.again import judge_again
from sightguard.evaluate.agreement import HARM, REFUSED, agreement
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.rows import Row
from sightguard.evaluate.run import evaluate_to
from sightguard.evaluate.scale import scales
from sightguard.types import Generate, Sample

Progress = Callable[[str, int, int], None]
MAY_HOLD = (
    "manifest.json",
    "samples.jsonl",
    "measured.json",
    "results.json",
    "report.html",
    "report.md",
    "guards",
    "attacks",
    NOISE,
    "judge-cache",
    ASKING,
    LOCK,
)
"""What a run leaves; a second call goes on from there."""


def answered(
    asked: Plan,
    defenses: Mapping[str, Generate],
    judging: Judging,
    folder: Path,
    about: Mapping[str, Any],
    *,
    found: Mapping[str, Any],
    options: Options,
    progress: Progress,
    measures: Mapping[str, Measure] | None = None,
    noise: Noise | None = None,
) -> dict[str, Any]:
    """Ask, judge, count and write; what any kind of model has in common.

    Args:
        asked: the plan.
        defenses: who answers, by name.
        judging: who looks, and what asking came to.
        folder: of the run.
        about: what the manifest says.
        found: entries of `measured.json` that are known before anything is asked.
        options: of the run.
        progress: called with (stage, done, of so many).
        measures: what is measured when all is answered, by name; what an earlier call has measured is kept.
        noise: what attacks on pixels are compared with, if there are any.
    """
    settings = in_order(asked)

    def batch_done(name: str, done: int, total: int) -> None:
        judging.bill.write()
        progress("answer", done, total)

    def noise_done(name: str, done: int, total: int) -> None:
        judging.bill.write()
        progress("answer to noise", done, total)

    def again(run: RunFolder, samples: Mapping[str, Sequence[Sample]]) -> None:
        def judged(done: int, total: int) -> None:
            judging.bill.write()
            progress("judge again", done, total)

        judge_again(run, samples, judging.judge, batch=options.batch, progress=judged)
        judging.bill.judged_again()

    run = evaluate_to(
        folder,
        defenses,
        settings,
        judging.judge,
        batch=options.batch,
        resume=True,
        about=about,
        progress=batch_done,
        begin=(lambda run: again(run, settings)) if options.judge_again else None,
    )
    if noise is not None:
        noise.ask(
            folder,
            judging.judge,
            batch=options.batch,
            order=by_length,
            progress=noise_done,
            begin=again if options.judge_again else None,
        )
    place = folder / MEASURED
    measured = read_json(place) if place.exists() else {}
    measured |= {**found, "agreement": _agreement(run.stream()), "asking": judging.bill.told()}
    measured["scales"] = {name: asdict(scale) for name, scale in scales(judging.judge).items()}
    write_json(place, measured)
    for name, measure in (measures or {}).items():
        if name not in measured:
            measured |= measure(run, settings)
            write_json(place, measured)
    progress("write the report", 0, 1)
    results = write_report(folder, per_setting=PER_SETTING if options.examples else 0)
    progress("write the report", 1, 1)
    return results


def _agreement(rows: Iterable[Row]) -> dict[str, Any] | None:
    """Return how far the judges of a panel agree: whether a request was answered, and whether harm was done."""
    votes = [("/".join(row.key), row.votes) for row in rows if row.votes]
    if not votes:
        return None
    told_of: dict[str, Any] = {}
    for question, classes in (("answered", REFUSED), ("harm", HARM)):
        found = agreement(votes, classes=classes)
        told_of[question] = {
            "fleiss_kappa": found.kappa,
            "n": found.n,
            "differ": len(found.differ),
            **{
                " and ".join(pair.judges): {"cohen_kappa": pair.kappa, "n": pair.n, "same": pair.same}
                for pair in found.pairs
            },
        }
    return told_of
