"""The tables of the families: what the tests found (results/families.json) and what it costs (results/families-*.json)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Results = dict[str, Any]

PICTURE = "a picture in the prompt"


def families(results: Results) -> list[str]:
    """Every family in one line: how a picture is laid out, VLM-Guard's conformance, SafeVLM."""
    rows = [
        [
            marked(results, name),
            row["decoder"],
            row["picture"],
            *(share(row["checks"][group]) for group in ("VLM-Guard", "SafeVLM")),
        ]
        for name, row in results["families"].items()
    ]
    heads = (
        "family",
        "decoder",
        PICTURE,
        "VLM-Guard: checks passed",
        "SafeVLM: checks passed",
    )
    return [*table(heads, rows, left=3), "", about(results)]


def families_full(results: Results) -> list[str]:
    """Every group of checks, and what the model says of itself."""
    groups = list(next(iter(results["families"].values()))["checks"])
    rows = [
        [
            marked(results, name),
            f"`{row['class']}`",
            row["decoder"],
            row["picture"],
            *(share(row["checks"][group]) for group in groups),
            without_torchvision(results, row),
        ]
        for name, row in results["families"].items()
    ]
    heads = ("family", "class in transformers", "decoder", PICTURE, *groups, "processor without torchvision")
    return [*table(heads, rows, left=4), "", about(results)]


def families_limits(results: Results) -> list[str]:
    """What holds for one family only, with the test that shows it."""
    return [f"- `{row['family']}`: {row['what']} ({held(row['test'], row['shown'])})." for row in results["limits"]]


def families_refused(results: Results) -> list[str]:
    """Models that cannot be guarded, by reason."""
    rows = [
        [
            reason,
            ", ".join(f"`{model}`" for model in found["models"]),
            f"{found['why']} ({held(found['test'], found['shown'])})",
        ]
        for reason, found in results["refused"].items()
    ]
    note = (
        f"Read from transformers {results['provenance']['versions']['transformers']}: which of its models that read pictures have no picture "
        "processor for PIL, and which say that they are encoder-decoders."
    )
    return [*table(("", "models", "why, and what helps"), rows, left=3), "", note]


def families_cost(results: Results) -> list[str]:
    """Loading, reading and guarding, family by family."""
    rows = [
        [
            f"`{name}`",
            f"{row['parameters'] / 1e3:.0f} k",
            f"{1000 * row['load_seconds']:.0f} ms",
            f"{1000 * row['capture_seconds']:.0f} ms",
            *(ratio(row["generate"], what) for what in ("prefill", "decode")),
            f"{row['peak_mib']:.0f} MiB (before the model: {row['before_mib']:.0f})",
        ]
        for name, row in results["families"].items()
    ]
    heads = (
        "family",
        "parameters",
        "load from a folder",
        f"states of {results['prompts']} prompts, all layers",
        "first token ÷ unguarded",
        "further token ÷ unguarded",
        "peak memory of the process",
    )
    machine = results["machine"]
    note = (
        f"Tiny random models, float32, {machine['device']}, {machine['threads']} thread(s), each in a process of its own. Ratios of medians over "
        f"{results['rounds']} rounds in which both ways take turns, batch {results['batch']}, [smallest, largest] ratio of a round; the guard acts "
        "on every prompt, at prefill and at every step, and reads its references anew. At this size a layer costs less than the Python around it, so "
        "these are upper bounds of overhead, and no figures about real models."
    )
    return [*table(heads, rows), "", note + busy(machine)]


def families_gpu(results: Results) -> list[str]:
    """Random models of real shapes on an accelerator."""
    rows = [
        [
            f"{name} ({shape['parameters'] / 1e9:.2f} G, {shape['dtype']})",
            batch,
            f"{row['image_tokens']}",
            *(ratio(row["generate"], what) for what in ("prefill", "decode")),
            f"{row['tokens_per_second']['unguarded']:.0f} → {row['tokens_per_second']['guarded']:.0f}",
            f"{row['peak_mib']['unguarded']:.0f} → {row['peak_mib']['guarded']:.0f} MiB",
        ]
        for name, shape in results["shapes"].items()
        for batch, row in shape["batches"].items()
    ]
    heads = (
        "shape",
        "batch",
        "image tokens a prompt",
        "first token ÷ unguarded",
        "further token ÷ unguarded",
        "tokens/s, unguarded → guarded",
        "peak memory, unguarded → guarded",
    )
    machine = results["machine"]
    note = (
        f"Random weights in the shapes of the named checkpoints, {machine['device']}: what they answer means nothing, what they cost is "
        f"the cost of that size. Ratios of medians over {results['rounds']} rounds in which both ways take turns, [smallest, largest]."
    )
    return [*table(heads, rows), "", note + busy(machine)]


VIEWS: dict[str, Callable[[Results], list[str]]] = {
    "families": families,
    "families_full": families_full,
    "families_limits": families_limits,
    "families_refused": families_refused,
    "families_cost": families_cost,
    "families_gpu": families_gpu,
}


def marked(results: Results, name: str) -> str:
    """Return a family's name, with a star where something holds for it only."""
    return f"`{name}`" + (r" \*" if any(limit["family"] == name for limit in results["limits"]) else "")


def without_torchvision(results: Results, row: Results) -> str:
    if results["torchvision"]:
        return "not shown: torchvision was installed"
    return "yes, its video part left out" if row["without_video"] else "yes"


def share(found: dict[str, int]) -> str:
    """Return "12 of 12"; in bold where that is not all."""
    text = f"{found['passed']} of {found['n']}"
    return text if found["passed"] == found["n"] > 0 else f"**{text}**"


def about(results: Results) -> str:
    """Return what a row means, and what it does not."""
    versions = results["provenance"]["versions"]
    kinds = {f"{row['dtype']}, {row['device'].upper()}" for row in results["families"].values()}
    failed = f"; **{len(results['failed'])} failed**" if results["failed"] else ""
    return (
        f"Run on {results['weights']} models of the real architectures, {' and '.join(sorted(kinds))}, with transformers "
        f"{versions['transformers']} and torch {versions['torch']}, {results['cases']} tests{failed}: `python -m scripts.families`. It shows that "
        "the method does what it says on that architecture, and nothing about how much safer it makes a trained model. Token counts are of small "
        r"pictures of four sizes. \*: with a limit of its own, under which some checks are run otherwise: see docs/families.md."
    )


def held(name: str, shown: bool) -> str:
    return f"`{name}` {'holds it' if shown else '**did not pass**'}"


def ratio(found: dict[str, Any], what: str) -> str:
    guarded, plain = found["guarded"], found["unguarded"]
    value = guarded[f"{what}_seconds"] / plain[f"{what}_seconds"]
    return f"{value:.2f} [{guarded[f'{what}_low']:.2f}, {guarded[f'{what}_high']:.2f}]"


def busy(machine: dict[str, Any]) -> str:
    load = machine.get("load_average")
    if load is None:
        return ""
    return f" Load average of the machine: {load[0]:.1f} before, {load[1]:.1f} after" + (
        "; **it was busy with other work**." if machine.get("busy") else "."
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    line = "|".join(["", *(" --- " if index < left else " --: " for index in range(len(heads))), ""])
    return [f"| {' | '.join(heads)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]
