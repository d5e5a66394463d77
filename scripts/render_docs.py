"""Write the tables of the documentation from the committed results.

A table stands between two marks, and the first names the file and, if it is not the short one, the view:

    <!-- table:results/demo-pocket.json view=attack -->
    <!-- /table -->

A file that ends in .yaml is a map of a data set's labels, and its views are in `map_tables`; or the table of benchmarks, whose views are in
`benchmark_tables`; or a table of the server's wire format, whose views are in `serve_tables`.

    python -m scripts.render_docs
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts import (
    adaptive_tables,
    audit_tables,
    bench_tables,
    benchmark_tables,
    family_tables,
    fault_tables,
    map_tables,
    serve_speed,
    serve_tables,
    sizing,
    suite_tables,
    turn_tables,
)
from scripts.provenance import ROOT
from sightguard.artifacts import read_json, write_text
from sightguard.data.facts import FILE as BENCHMARKS
from sightguard.report.tables import broken

BLOCK = re.compile(
    r"(?P<open><!-- table:(?P<file>\S+\.(?:json|yaml))(?: view=(?P<view>\w+))? -->\n)(?P<body>.*?)(?P<close><!-- /table -->)",
    re.DOTALL,
)

Results = dict[str, Any]

DEFENCES = {
    "none": "no guard",
    "text_only_model": "text-only model (upper bound)",
    "self_reminder": "Self-Reminder",
    "goal_priority": "Goal Priority",
    "vlm_guard": "**VLM-Guard**",
    "vlm_guard_caption": "**VLM-Guard**, own caption as reference",
    "safevlm_stage1": "**SafeVLM**, stage 1",
    "safevlm": "**SafeVLM**, stage 1 and 2",
}
SETTINGS = {
    "text_only": "text only",
    "text_only_jailbreak": "jailbreak, text only",
    "blank_image": "blank image",
    "jailbreak_blank_image": "jailbreak + blank image",
    "harm_in_picture": "harm in the picture",
}
UTILITY = "right answers, benign image"
REFUSALS = {
    "benign_text": "false refusal, benign text",
    "benign_image": "false refusal, benign image",
    "safe_verb_harmful_object": "false refusal, safe verb on harmful object",
}


def pages() -> Iterator[Path]:
    """Yield every page that may hold a table."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def render(text: str) -> str:
    """Return a page with its tables made again."""
    return BLOCK.sub(
        lambda found: found["open"] + _table(found["file"], found["view"] or "short") + found["close"], text
    )


def _table(file: str, view: str) -> str:
    path = ROOT / file
    if not path.is_file():
        return f"*Not measured yet: `{file}` does not exist.*\n"
    if path.name == BENCHMARKS.name:
        return "\n".join([*benchmark_tables.table(view), ""])
    if path.parent.name == "suites":
        return "\n".join([*suite_tables.table(path, view), ""])
    if path.parent.name == "wire":
        return "\n".join([*serve_tables.table(view), ""])
    if path.suffix == ".yaml":
        return "\n".join([*map_tables.table(path, view), ""])
    if view not in VIEWS:
        raise SystemExit(f"{file}: no view {view!r}. Known: {', '.join(VIEWS)}")
    return "\n".join([*VIEWS[view](read_json(path, schema=1)), ""])


def short(results: Results) -> list[str]:
    """What a newcomer needs: the three attacks, and the price."""
    attacks = [_attack(results, name) for name in ("blank_image", "jailbreak_blank_image", "harm_in_picture")]
    return _by_defence(results, [*attacks, _refusal(results, "benign_image"), _utility(results)])


def attack(results: Results) -> list[str]:
    """Attack success in all settings."""
    return _by_defence(results, [_attack(results, name) for name in results["settings"]])


def kinds(results: Results) -> list[str]:
    """Attack success by kind of harm; the mix of kinds is in the headings."""
    columns = []
    for setting, part in results["settings"].items():
        for kind, row in part["by_kind"].items():
            title = f"{SETTINGS.get(setting, setting)}: {kind} ({row['n']} of {part['n']})"
            columns.append((title, {name: _rate(value, interval=False) for name, value in row["asr"].items()}))
    return _by_defence(results, columns)


def strict(results: Results) -> list[str]:
    """Strict attack success: complied, and named the right harm."""
    return _by_defence(results, [_attack(results, name, "strict_asr") for name in results["settings"]])


def price(results: Results) -> list[str]:
    """Over-refusal, utility, fluency and cost."""
    cost = results["cost"]
    ratios = [
        (f"{phase} time ÷ no guard", {name: _number(row and row.get(f"{phase}_ratio")) for name, row in cost.items()})
        for phase in ("prefill", "decode")
    ]
    fluency = ("perplexity", {name: _number(value) for name, value in results["perplexity"].items()})
    return _by_defence(
        results, [*(_refusal(results, name) for name in results["over_refusal"]), _utility(results), fluency, *ratios]
    )


def separability(results: Results) -> list[str]:
    """How well harmful and harmless states are told apart, layer by layer."""
    columns = ("layer", "auc_text", "auc_blank", "balanced_accuracy_text", "balanced_accuracy_blank")
    heads = ("layer", "AUROC, text", "AUROC, blank image", "accuracy at text threshold, text", "the same, blank image")
    rows = [[str(row["layer"]), *(_number(row[name]) for name in columns[1:])] for row in results["separability"]]
    return _markdown(heads, rows)


def readings(results: Results) -> list[str]:
    """Every reading of VLM-Guard on validation prompts, one option changed at a time."""
    columns = {
        "blank image: complied": "blank_image/complied",
        "refused": "blank_image/refused",
        "jailbreak + blank image: complied": "jailbreak_blank_image/complied",
        "refused ": "jailbreak_blank_image/refused",
        "harm in the picture: complied": "harm_in_picture/complied",
        "refused  ": "harm_in_picture/refused",
        "benign image: right": "benign_image/right",
        "safe verb: right": "safe_verb_harmful_object/right",
    }
    rows = [
        [name, *(_rate(row[key], interval=False) for key in columns.values())]
        for name, row in results["readings"].items()
    ]
    table = _markdown(["reading", *(title.strip() for title in columns)], rows)
    about = (
        f"Model `{results['model']}`, validation split, n = {results['n']} prompts a setting, % (95 % intervals are up to ±10; they are "
        f"in the file), judge `{results['judge']}`; what is neither complied with nor refused is broken."
    )
    return [*table, "", about + " A test bench for methods, never evidence about large models."]


def promises(results: Results) -> list[str]:
    """What certificates promise, and what is observed."""
    heads = (
        "model",
        "acted on, of the certifying prompts",
        "promised: at most",
        "acts on fresh benign prompts",
        "new refusals among them",
    )
    rows = []
    for model, found in results["models"].items():
        p = found["promise"]
        rows.append(
            [
                f"`{model}`",
                f"{p['fired']} of {p['n']}",
                f"{p['upper_bound']:.4f}" + ("" if p["certified"] else " (not certified)"),
                f"{p['fresh_rate']:.4f} ({p['fresh_acts']} of {p['fresh_n']})",
                str(p["fresh_new_refusals"]),
            ]
        )
    return [*_markdown(heads, rows), "", "A test bench for methods, never evidence about large models."]


def variants(results: Results) -> list[str]:
    """The plain guard, the certified one and the null-space one, on validation prompts."""
    columns = {
        "blank image: complied": "blank_image/complied",
        "refused": "blank_image/refused",
        "jailbreak + blank image: complied": "jailbreak_blank_image/complied",
        "refused ": "jailbreak_blank_image/refused",
        "false refusal, benign text": "benign_text/refused",
        "benign image": "benign_image/refused",
        "safe verb": "safe_verb_harmful_object/refused",
        "benign image: right": "benign_image/right",
    }
    rows = [
        [f"`{model}`", name, *(_rate(row[key]) for key in columns.values())]
        for model, found in results["models"].items()
        for name, row in found["variants"].items()
    ]
    table = _markdown(["model", "variant", *(title.strip() for title in columns)], rows)
    about = (
        f"Validation split, n = {results['n']} prompts a setting that nothing was chosen on, % with 95 % Wilson intervals, judge "
        f"`{results['judge']}`; null space with a tolerance of {results['tolerance']:g}. A test bench for methods, never evidence about large models."
    )
    return [*table, "", about]


def bench(results: Results) -> list[str]:
    """Speed and memory: ratios to the unguarded model in the same run."""
    heads = (
        "model",
        "batch",
        "guard acts at",
        "first token ÷ unguarded",
        "further token ÷ unguarded",
        "unguarded: first token, further token",
        "peak memory, unguarded → guarded",
    )
    rows = []
    for shape, found in results["shapes"].items():
        for batch, ways in found["batches"].items():
            base, peak = ways["unguarded"], found["memory_mib"][batch]
            for way in ("prefill", "prefill+decode"):
                row = ways[way]
                rows.append(
                    [
                        f"{shape} ({found['parameters'] / 1e6:.0f} M, {found['dtype']})",
                        batch,
                        way,
                        *(
                            f"{row[f'{what}_ratio']:.3f} [{row[f'{what}_low']:.2f}, {row[f'{what}_high']:.2f}]"
                            for what in ("prefill", "decode")
                        ),
                        f"{1000 * base['prefill_seconds']:.0f} ms, {1000 * base['decode_seconds']:.1f} ms",
                        f"{peak['unguarded']:.0f} → {peak['guarded']:.0f} MiB",
                    ]
                )
    fits = [
        f"- fitting 100 pairs at all layers, `{shape}`: {found['fit']['ratio']:.3f} × one plain pass over the same 200 prompts "
        f"[{found['fit']['low']:.2f}, {found['fit']['high']:.2f}], {found['fit']['seconds']:.2f} s"
        for shape, found in results["shapes"].items()
    ]
    starts = "- start: " + ", ".join(f"`{name}` {seconds:.2f} s" for name, seconds in results["start"].items())
    machine = results["machine"]
    about = f"Medians over rounds in which the ways take turns, [smallest, largest]; {machine['device']}, {machine['threads']} thread(s)."
    return [*_markdown(heads, rows), "", *fits, starts, "", about]


def head(results: Results) -> list[str]:
    """What the safety head knows, split by split and by type, with a linear probe on raw pixels beside it."""
    told = results.get("head")
    if not told:
        return ["*This model has no safety head.*"]
    heads = (
        "records",
        "n",
        "type right",
        "macro-F1",
        "level right",
        "risky flagged",
        "safe flagged",
        "raw pixels, type right",
    )
    rows = []
    for part in told["splits"].values():
        shares = (
            part["type"]["accuracy"],
            part["level"]["accuracy"],
            part["risky_flagged"],
            part["safe_flagged"],
            part["pixels"],
        )
        kind, level, risky, safe, pixels = (_rate(share) for share in shares)
        f1 = _number(part["type"]["macro_f1"])
        rows.append([part["what"], str(part["type"]["n"]), kind, f1, level, risky, safe, pixels])
    test = told["splits"]["test"]["type"]
    by_type = ", ".join(f"{name} {_number(test['f1'][name])} ({n})" for name, n in test["support"].items())
    return [
        *_markdown(heads, rows),
        "",
        f"% with 95 % Wilson intervals; model `{results['model']}`, reading `{told['query']}`. F1 by type on held-out combinations (n): {by_type}. "
        "A test bench for methods, never evidence about large models.",
    ]


def impact(results: Results) -> list[str]:
    """What each defence costs the honest user: paired differences to no guard."""
    told = results.get("impact")
    if not told:
        return ["*Not measured yet.*"]
    whats = list(dict.fromkeys(what for parts in told["conditions"].values() for what in parts))
    titles = (
        "defence",
        *(f"{UTILITY if w.startswith('utility') else REFUSALS[w.split('/')[1]]}, points" for w in whats),
    )
    rows = []
    for name, parts in told["conditions"].items():
        cells = [_rate(parts.get(what)) + (" ✓" if parts.get(what, {}).get("within_margin") else "") for what in whats]
        rows.append([DEFENCES.get(name, name), *cells])
    about = (
        f"Model `{results['model']}`: difference to no guard on the same prompts in percentage points, with 95 % intervals (paired "
        f"bootstrap); ✓: the whole interval lies within the stated margin of {100 * told['margin']:.0f} points. "
        "A test bench for methods, never evidence about large models."
    )
    return [*_markdown(titles, rows), "", about]


def rtvlm(results: Results) -> list[str]:
    """The published RTVLM table."""
    names = results["subtasks"]
    rows = [
        [
            row["model"],
            *("" if score is None else f"{score:.2f}" for score in row["scores"] or [None] * len(names)),
            f"{row['average']:.2f}",
        ]
        for row in results["rows"]
    ]
    return _markdown(["model", *names, "average"], rows)


def heads(results: Results) -> list[str]:
    """Readings of the safety head and projectors, side by side."""
    titles = (
        "model",
        "reading, projector",
        "type right",
        "macro-F1",
        "level right",
        "risky flagged",
        "safe flagged",
        "parameters",
    )
    rows = []
    for model, variants in results["models"].items():
        for name, part in variants.items():
            shares = (part["type"]["accuracy"], part["level"]["accuracy"], part["risky_flagged"], part["safe_flagged"])
            kind, level, risky, safe = (_rate(share) for share in shares)
            f1 = _number(part["type"]["macro_f1"])
            rows.append([f"`{model}`", name, kind, f1, level, risky, safe, f"{part['parameters'] / 1000:.0f} k"])
    about = (
        f"Validation records, n = {results['n']}, % with 95 % Wilson intervals; trained on {results['train']} records by the classification "
        "losses alone. A test bench for methods, never evidence about large models."
    )
    return [*_markdown(titles, rows), "", about]


def safevlm_cost(results: Results) -> list[str]:
    """What SafeVLM costs in a request and in training."""
    titles = (
        "model",
        "batch",
        "way",
        "first token ÷ plain",
        "further token ÷ plain",
        "plain: first token, further token",
    )
    rows = []
    for shape, found in results["shapes"].items():
        for batch, ways in found["batches"].items():
            base = ways["plain"]
            for way in ("tokens", "tokens and head"):
                ratios = [
                    f"{ways[way][f'{what}_ratio']:.3f} [{ways[way][f'{what}_low']:.2f}, {ways[way][f'{what}_high']:.2f}]"
                    for what in ("prefill", "decode")
                ]
                plain = f"{1000 * base['prefill_seconds']:.0f} ms, {1000 * base['decode_seconds']:.1f} ms"
                size = f"{shape} ({found['parameters'] / 1e6:.0f} M + {found['safety_parameters'] / 1e6:.1f} M)"
                rows.append([size, batch, way, *ratios, plain])
    training = [
        f"- training, `{shape}`, {name}, batch {part['batch']:.0f}: {part['seconds']:.2f} s a pass with its step, peak memory "
        f"{part['peak_mib']:.0f} MiB (model loaded: {part['loaded_mib']:.0f} MiB)"
        for shape, found in results["shapes"].items()
        for name, part in found["training"].items()
    ]
    machine = results["machine"]
    about = f"Medians over rounds in which the ways take turns, [smallest, largest]; {machine['device']}, {machine['threads']} thread(s)."
    return [*_markdown(titles, rows), "", *training, "", about]


VIEWS: dict[str, Callable[[Results], list[str]]] = {
    "short": short,
    "attack": attack,
    "kinds": kinds,
    "strict": strict,
    "price": price,
    "readings": readings,
    "promises": promises,
    "variants": variants,
    "bench": bench,
    "separability": separability,
    "head": head,
    "impact": impact,
    "heads": heads,
    "rtvlm": rtvlm,
    "safevlm_cost": safevlm_cost,
    **family_tables.VIEWS,
    **fault_tables.VIEWS,
    "audit_corpus": audit_tables.corpus,
    "audit_score": audit_tables.score,
    "audit_speed": audit_tables.speed,
    "suite": bench_tables.suite,
    "adaptive": adaptive_tables.adaptive,
    "runner": bench_tables.runner,
    "turns": turn_tables.table,
    "turns_validation": turn_tables.validation,
    "serve_speed": serve_speed.speed,
    "sizing": sizing.table,
}

Column = tuple[str, dict[str, str]]


def _attack(results: Results, setting: str, rate: str = "asr") -> Column:
    row = results["settings"][setting]
    title = (
        f"{'strict ' if rate == 'strict_asr' else ''}attack success: {SETTINGS.get(setting, setting)} (n = {row['n']})"
    )
    if rate == "strict_asr":
        return title, {name: _rate(value) for name, value in row[rate].items()}
    shares = {name: broken(row, name) for name in row[rate]}
    return title, {
        name: _rate(v) + (f", {shares[name]} broken" if shares[name] else "") for name, v in row[rate].items()
    }


def _refusal(results: Results, kind: str) -> Column:
    row = results["over_refusal"][kind]
    return f"{REFUSALS.get(kind, kind)} (n = {row['n']})", {name: _rate(value) for name, value in row["rate"].items()}


def _utility(results: Results) -> Column:
    row = results["utility"]["benign_image"]
    return f"right answers, benign image (n = {row['n']})", {name: _rate(v) for name, v in row["accuracy"].items()}


def _by_defence(results: Results, columns: Sequence[Column]) -> list[str]:
    names = list(dict.fromkeys([*DEFENCES, *(name for _, cells in columns for name in cells)]))
    present = [name for name in names if any(name in cells for _, cells in columns)]
    rows = [[DEFENCES.get(name, name), *(cells.get(name, "–") for _, cells in columns)] for name in present]
    table = _markdown(["defence", *(title for title, _ in columns)], rows)
    note = (
        f"Model `{results['model']}`, test split, seed {results['seed']}, judge `{results['judge']}`; % with 95 % Wilson intervals where "
        "given; "
        '"broken": answers that are neither the harm nor a refusal.'
    )
    return [*table, "", note + " A test bench for methods, never evidence about large models."]


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    line = "|".join(["", *(" --: " if index else " --- " for index in range(len(heads))), ""])
    return [f"| {' | '.join(heads)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]


def _rate(value: dict[str, float] | None, *, interval: bool = True) -> str:
    if value is None:
        return "–"
    shown = f" [{100 * value['low']:.1f}, {100 * value['high']:.1f}]" if interval else ""
    return f"{100 * value['value']:.1f}{shown}"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}"


def main() -> None:
    for page in pages():
        old = page.read_text(encoding="utf-8")
        if (new := render(old)) != old:
            write_text(page, new)
            print(f"rendered {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
