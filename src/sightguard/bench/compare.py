"""Two or more runs side by side: the same setting and defense in each, paired where the prompts are the same.

    told = compare([Path("runs/monday"), Path("runs/tuesday")], [FailIf.of("asr+0.02")])

Every run is compared with the first one; a difference is the later run minus the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightguard.bench.fail_if import METRICS, FailIf
from sightguard.bench.loaded import Loaded, differing, lined_up
from sightguard.bench.side import Side, difference
from sightguard.errors import DataError, UsageError
from sightguard.evaluate.families import holm

SCHEMA = 1

Part = dict[str, Any]


def compare(folders: Sequence[Path], rules: Sequence[FailIf] = (), *, anyway: bool = False) -> Part:
    """Return the differences of later runs to the first one, and which rules they break.

    A figure that a rule is about and that cannot be told (no prompt was decided, or too few of them) breaks the rule, as does a
    named setting or defense that a later run lacks: what was not checked has not passed.

    Args:
        folders: of finished runs, at least two.
        rules: what must not happen.
        anyway: compare even where other judges judged.

    Raises:
        DataError: other judges judged and `anyway` is off, two runs have nothing in common, or a folder holds no complete run.
        UsageError: fewer than two folders, or a rule names what is in none of them.
    """
    if len(folders) < 2:
        raise UsageError(f"expected two runs or more to compare; got {len(folders)}. Name their folders.")
    first, *others = runs = [Loaded.of(folder) for folder in folders]
    settings = {name for run in runs for name in run.settings}
    defenses = {name for run in runs for name in run.manifest["conditions"]}
    for rule in rules:
        rule.check_names(settings, defenses)
    if not anyway:
        _check_judges(runs)
    rows, alone = [], []
    for run in others:
        both, missing = lined_up(first, run)
        if not both:
            raise DataError(_nothing_common(first, run))
        alone += missing
        rows += [row for asked in both for row in _lines(first, run, *asked)]
    _correct(rows)
    checks = [_check(rule, rows, alone, first, settings, defenses) for rule in rules]
    return {
        "schema": SCHEMA,
        "kind": "comparison",
        "runs": [run.label for run in runs],
        "configuration": differing(runs),
        "same_judges": len({run.judges for run in runs}) == 1,
        "rows": rows,
        "left_out": alone,
        "checks": checks,
        "failed": any(check["failures"] for check in checks),
    }


def _nothing_common(first: Loaded, second: Loaded) -> str:
    told = "; ".join(
        f"{run.label} has settings {', '.join(run.settings)} under {', '.join(run.manifest['conditions'])}"
        for run in (first, second)
    )
    return f"these runs have no setting and defense in common, so nothing can be compared: {told}. Name runs of the same suite."


def _check_judges(runs: Sequence[Loaded]) -> None:
    if len({run.judges for run in runs}) > 1:
        told = "; ".join(f"{run.label}: {', '.join(run.judges)}" for run in runs)
        raise DataError(
            f"these runs do not compare, for other judges judged them ({told}): a difference could be theirs. "
            "Judge the answers alike, or compare them with --anyway."
        )


def _lines(first: Loaded, second: Loaded, setting: str, defense: str) -> list[Part]:
    """Return one line for each metric that this setting has prompts for."""
    sides = [Side(run, setting, defense) for run in (first, second)]
    lines = []
    for metric in METRICS:
        values, reasons = [side.values(metric) for side in sides], [side.inconclusive(metric) for side in sides]
        if not any(side.asks(metric) for side in sides):
            continue
        told = [f"{run.label}: {reason}" for run, reason in zip((first, second), reasons, strict=True) if reason]
        lines.append(
            {
                "run": second.label,
                "setting": setting,
                "defense": defense,
                "metric": metric,
                **difference(*values),
                "inconclusive": "; ".join(told) or None,
            }
        )
    return lines


def _correct(rows: Sequence[Part]) -> None:
    """Add to each line its p after Holm's correction over all lines of its metric."""
    for metric in METRICS:
        tested = [row for row in rows if row["metric"] == metric and row["p"] is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
            row["p_holm"] = p
    for row in rows:
        row.setdefault("p_holm", None)


def _check(
    rule: FailIf, rows: Sequence[Part], alone: Sequence[Part], first: Loaded, settings: set[str], defenses: set[str]
) -> Part:
    about = [
        row
        for row in rows
        if row["metric"] == rule.metric and rule.is_about(row["setting"], row["defense"], settings, defenses)
    ]
    failures = [{**_place(row), "why": why} for row in about if (why := _why(rule, row))]
    if rule.names:
        failures += [
            {**_place(one), "why": f"not asked in {one['missing_in']}"}
            for one in alone
            if one["missing_in"] != first.label and rule.is_about(one["setting"], one["defense"], settings, defenses)
        ]
    if not about and not failures:
        failures = [{"why": "nothing to check: no setting and defense is in the first run and in another one"}]
    return {"rule": str(rule), "checked": len(about), "failures": failures}


def _place(row: Part) -> Part:
    return {name: row[name] for name in ("run", "setting", "defense") if name in row}


def _why(rule: FailIf, row: Part) -> str | None:
    if row["difference"] is None:
        return "no prompt was decided in one of the runs"
    if row["inconclusive"]:
        return str(row["inconclusive"])
    moved = row["difference"]["value"]
    return f"{rule.metric} moved by {moved:+.4f}, beyond {rule.sign}{rule.margin:g}" if rule.fails(moved) else None
