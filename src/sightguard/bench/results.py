"""The rows of a bench to `results.json`: every defense x setting with its counts, intervals and paired tests, its cost beside it.

write_results(folder)       # reads manifest.json, samples.jsonl and, where it is there, measured.json; nothing else
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightguard.artifacts import read_json, write_json
from sightguard.bench.adaptive import adaptive
from sightguard.bench.against import corrected, non_inferiority, tests
from sightguard.bench.between import between
from sightguard.bench.beyond_noise import NoiseRows, beyond_noise, failures
from sightguard.bench.costs import cost, gate
from sightguard.bench.figures import figures, is_attack, is_benign, known_prompts
from sightguard.bench.official import official
from sightguard.bench.overall import overall
from sightguard.bench.scores import Scales, scores
from sightguard.bench.seen import Collected, collect
from sightguard.bench.setting import Setting, check_pairs
from sightguard.bench.unlabelled import unlabelled
from sightguard.errors import DataError
from sightguard.evaluate.bench_shape import SCHEMA, check_bench
from sightguard.evaluate.differences import MARGIN
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.missing import LIMIT
from sightguard.evaluate.rows import Row

RESULTS = "results.json"
MEASURED = "measured.json"
"""What a run measured beside its answers, by the arguments of `results`, `PARTS`."""
PARTS = ("overlap", "attacks", "agreement", "asking", "costs", "timing", "perplexity", "fluency", "scales")
BASELINE = "none"


def results(
    rows: Iterable[Row],
    settings: Sequence[Setting],
    defenses: Sequence[str],
    *,
    model: str,
    baseline: str = BASELINE,
    margin: float = MARGIN,
    seed: int = 0,
    overlap: Mapping[str, Any] | None = None,
    attacks: Mapping[str, Any] | None = None,
    agreement: Mapping[str, Any] | None = None,
    asking: Mapping[str, Any] | None = None,
    perplexity: Mapping[str, float | None] | None = None,
    fluency: Mapping[str, Any] | None = None,
    costs: Mapping[str, Mapping[str, Any]] | None = None,
    timing: Mapping[str, Any] | None = None,
    noise: NoiseRows | None = None,
    scales: Scales | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what `results.json` holds; the order of the rows does not matter, and each is read once.

    Args:
        rows: of the run; condition = defense. Read as a stream, their texts are not kept.
        settings: in the order of the tables.
        defenses: in the order of the tables; the undefended model is put first.
        model: what was defended.
        baseline: the name of the undefended model. Without it in the run there are no tests and no ratios.
        margin: how many right answers (as a share) a defense may lose and still be called non-inferior.
        seed: of the resamples that intervals between defenses are made of.
        overlap: duplicates between the prompts of the bench and those that anything was fitted on; None: not checked.
        attacks: what attacks on pixels found, by setting and defense; None where there is none of them.
        agreement: how far the judges agree with each other and with people.
        asking: what asking the judges came to (`sightguard.bench.bill.Bill.told`); None: no model was asked.
        perplexity: of the answers to benign prompts, by defense, where the run took it.
        fluency: what it was taken over: `settings`, `prompts`, and `answers` with `n`, `empty` and `crashed` by defense.
        costs: `prefill_ratio` and `decode_ratio` by defense, where the run took them; `*_range`, `n_decode` and `note` beside them.
        timing: on what they were taken: `n`, `pictured`, `rounds`, `tokens`.
        noise: what attacks on pixels are compared with; None: noise was not asked.
        scales: of the judges that score, by name.
        manifest: of the run, shown as it is.

    Raises:
        DataError: the run is not complete, or holds settings or defenses that were not named.
    """
    check_pairs(settings)
    collected = collect(rows)
    _check_named(collected, settings, defenses)
    asked = [setting for setting in settings if setting.name in collected.answers]
    order = sorted(dict.fromkeys(defenses), key=lambda name: name != baseline)
    known = {setting.name: known_prompts(collected.answers[setting.name].values(), setting) for setting in asked}
    losses = attacks or (manifest or {}).get("about", {}).get("attacks", {})  # where runs from before them kept it
    beyond = None if noise is None else beyond_noise(collected, noise, asked, losses)
    scored = scores(collected, asked, order, scales)
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "bench",
        "model": model,
        "judges": list(collected.judges),
        "baseline": baseline if baseline in collected.defenses else None,
        "defenses": order,
        "confidence": 0.95,
        "undecided_limit": LIMIT,
        "margin": margin,
        "overlap": None if overlap is None else dict(overlap),
        "overall": overall(collected, asked, order, known),
        "cost": {name: cost(collected, asked, name, baseline, (costs or {}).get(name, {})) for name in order},
        "timing": None if timing is None else dict(timing),
        "perplexity": {name: (perplexity or {}).get(name) for name in order},
        "fluency": None if fluency is None else dict(fluency),
        "gate": {name: gate(collected, asked, name) for name in order},
        "settings": {setting.name: _setting(collected, setting, order, known[setting.name]) for setting in asked},
        "tests": tests(collected, asked, order, baseline),
        "non_inferiority": non_inferiority(collected, asked, order, baseline, known, margin),
        "between": between(collected, asked, order, known, seed=seed),
        "adaptive": corrected(adaptive(collected, asked, order, failures(beyond or ()))),
        "noise": beyond,
        "attacks": None if attacks is None else dict(attacks),
        "scores": scored,
        "official": official(collected, asked, order, scored, manifest),
        "agreement": None if agreement is None else dict(agreement),
        "asking": None if asking is None else dict(asking),
        "manifest": dict(manifest or {}),
    }
    check_bench(told)
    return told


def results_of(folder: Path) -> dict[str, Any]:
    """Return the results of a run folder, from what it holds alone.

    The manifest's `about` may say `model`, `baseline`, `margin`, `seed`, and `settings` ({name: {"kind", "static", "benchmark"}}, see `Setting`).

    Raises:
        DataError: no run, a run that is not complete, or a damaged one.
        ArtifactError: `measured.json` is damaged.
    """
    run = RunFolder(folder)
    manifest = run.manifest
    about = manifest.get("about", {})
    measured = read_json(folder / MEASURED) if (folder / MEASURED).exists() else {}
    return results(
        run.stream(),
        settings_of(manifest),
        manifest["conditions"],
        model=str(about.get("model", "")),
        baseline=str(about.get("baseline", BASELINE)),
        margin=about.get("margin", MARGIN),
        seed=about.get("seed", 0),
        noise=NoiseRows.of(folder),
        manifest=manifest,
        **{name: measured.get(name) for name in PARTS},
    )


def settings_of(manifest: Mapping[str, Any]) -> list[Setting]:
    """Return the settings of a run in the order in which they were asked."""
    told = manifest.get("about", {}).get("settings", {})
    return [Setting.of(name, told.get(name, {})) for name in manifest["settings"]]


def write_results(folder: Path) -> dict[str, Any]:
    """Write `results.json` into a run folder, whole or not at all, and return what it holds."""
    told = results_of(folder)
    write_json(folder / RESULTS, told)
    return told


def _setting(collected: Collected, setting: Setting, defenses: Sequence[str], known: set[str]) -> dict[str, Any]:
    table = collected.answers[setting.name]
    prompts = {prompt: seen for answers in table.values() for prompt, seen in answers.items()}
    kinds = sorted({seen.category for seen in prompts.values() if seen.category is not None})
    return {
        "benchmark": setting.benchmark,
        "attack": setting.attack,
        "kind": setting.kind,
        "static": setting.static,
        "n": len(prompts),
        "n_harmful": sum(is_attack(seen, setting) for seen in prompts.values()),
        "n_benign": sum(is_benign(seen, setting) for seen in prompts.values()),
        "n_answerable": len(known),
        "unlabelled": unlabelled(prompts, setting, known),
        "defenses": {name: figures(table[name], setting, known) if name in table else None for name in defenses},
        "by_category": {kind: _category(collected, setting, defenses, known, kind) for kind in kinds},
    }


def _category(
    collected: Collected, setting: Setting, defenses: Sequence[str], known: set[str], kind: str
) -> dict[str, Any]:
    table = {
        name: {prompt: seen for prompt, seen in answers.items() if seen.category == kind}
        for name, answers in collected.answers[setting.name].items()
    }
    return {
        "n": len({prompt for answers in table.values() for prompt in answers}),
        "defenses": {name: figures(table[name], setting, known) if table.get(name) else None for name in defenses},
    }


def _check_named(collected: Collected, settings: Sequence[Setting], defenses: Sequence[str]) -> None:
    for what, found, named in (
        ("settings", set(collected.answers), {setting.name for setting in settings}),
        ("defenses", set(collected.defenses), set(defenses)),
    ):
        if found - named:
            raise DataError(
                f"the rows hold {what} that were not named: {', '.join(sorted(found - named))}. Named: "
                f"{', '.join(sorted(named)) or 'none'}. Name them, or read another run."
            )
    if not collected.answers:
        raise DataError("the run holds no answers. Let it run first.")
