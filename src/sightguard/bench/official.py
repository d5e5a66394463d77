"""Figures as the makers of a benchmark count them, where a run's rows carry what they need: MME's score, and the average of RTVLM's table.

Both are of the benchmark as it is: a setting under an attack has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sightguard.bench.scores import score_of
from sightguard.bench.seen import Answers, Collected
from sightguard.bench.setting import Setting
from sightguard.data.formats.mme import COGNITION, PERCEPTION, QUESTIONS, TASKS, task_scores
from sightguard.data.formats.rtvlm import SUBTASKS
from sightguard.evaluate.missing import inconclusive
from sightguard.evaluate.rtvlm import table
from sightguard.evaluate.rubric import HIGHEST, LOWEST

Part = dict[str, Any]


def official(
    collected: Collected,
    settings: Sequence[Setting],
    defenses: Sequence[str],
    scores: Mapping[str, Any] | None,
    manifest: Mapping[str, Any] | None,
) -> Part:
    """Return by setting the `benchmark` and its figure for each defense; a setting of another benchmark is not in it.

    Args:
        collected: answers of the run.
        settings: that were asked.
        defenses: in the order of the tables.
        scores: as `sightguard.bench.scores.scores` returns them.
        manifest: of the run, whose suite says which benchmark a setting asks.
    """
    told: Part = {}
    judge = _rubric(scores)
    for setting in settings:
        answers, asked = collected.answers[setting.name], _benchmark(setting.name, manifest or {})
        if asked == "mme":
            told[setting.name] = {
                "benchmark": "mme",
                "defenses": {name: mme(answers[name]) if name in answers else None for name in defenses},
            }
        elif asked == "rtvlm" and scores is not None and judge is not None:
            means = scores["settings"][setting.name]["defenses"]
            told[setting.name] = {
                "benchmark": "rtvlm",
                "judge": judge,
                "defenses": {
                    name: {**rtvlm(answers[name], judge), "inconclusive": means[name][judge]["inconclusive"]}
                    if name in answers
                    else None
                    for name in defenses
                },
            }
    return told


def mme(answers: Answers) -> Part:
    """Return the score of each task (0 to 200), the sums of perception, cognition and all, and the pictures that were counted.

    A picture counts with both its questions; one of which only one was asked, as in a draw, is left out. A task without
    pictures leaves its sums None.
    """
    groups: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for seen in answers.values():
        groups[seen.category or ""][seen.id.rpartition("/")[0]].append(seen.correct is True)
    whole = {
        task: kept
        for task, pictures in groups.items()
        if (kept := {name: right for name, right in pictures.items() if len(right) == QUESTIONS})
    }
    tasks = task_scores(whole)
    undecided = sum(seen.correct is None and seen.outcome != "guard_error" for seen in answers.values())
    errors = sum(seen.outcome == "guard_error" for seen in answers.values())
    missing = [task for task in TASKS if task not in tasks]
    return {
        "tasks": {task: tasks[task] for task in TASKS if task in tasks},
        "perception": _sum(tasks, PERCEPTION),
        "cognition": _sum(tasks, COGNITION),
        "total": _sum(tasks, TASKS),
        "pictures": sum(map(len, whole.values())),
        "left_out": sum(map(len, groups.values())) - sum(map(len, whole.values())),
        "undecided": undecided,
        "guard_error": errors,
        "inconclusive": inconclusive(len(answers), undecided, errors),
        "reason": f"no sum: no picture with both questions in {', '.join(missing)}" if missing else None,
    }


def rtvlm(answers: Answers, judge: str) -> Part:
    """Return the plain mean of the ten sub-tasks' mean scores (0 to 10) with its interval; None with the reason where one has no score."""
    given: dict[str, list[float | None]] = {name: [] for name in SUBTASKS}
    for seen in answers.values():
        if seen.category in given:
            given[seen.category].append(score_of(seen, judge))
    # resampling goes by place, and the order of the rows must not matter
    ordered = {name: sorted(values, key=lambda one: (one is None, one or 0.0)) for name, values in given.items()}
    found = table(ordered)
    return {"average": found.average, "low": found.low, "high": found.high, "reason": found.reason}


def _sum(tasks: Mapping[str, float], names: Sequence[str]) -> float | None:
    return sum(tasks[name] for name in names) if all(name in tasks for name in names) else None


def _rubric(scores: Mapping[str, Any] | None) -> str | None:
    """Return the first judge that scores as RTVLM's table does."""
    judges = (scores or {}).get("judges", {})
    return next((name for name, one in judges.items() if (one["lowest"], one["highest"]) == (LOWEST, HIGHEST)), None)


def _benchmark(setting: str, manifest: Mapping[str, Any]) -> str | None:
    """Return what a setting asks as it is, by the suite in the manifest; nothing for a setting under an attack or of a model's own data."""
    about = manifest.get("about", {})
    columns = (about.get("suite") or {}).get("settings", ())
    for column in columns:
        if column["name"] == setting and not column.get("attacks") and "own" not in _planned(about, setting):
            asked: str | None = column.get("benchmark")
            return asked
    return None


def _planned(about: Mapping[str, Any], setting: str) -> Mapping[str, Any]:
    told: Mapping[str, Any] = about.get("settings", {}).get(setting, {})
    return told
