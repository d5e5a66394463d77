"""Tables of the page on the bench."""

from __future__ import annotations

from typing import Any

Results = dict[str, Any]


def suite(results: Results) -> list[str]:
    """Return attack success by setting with over-refusal, utility and cost, for each defense."""
    settings = {name: part for name, part in results["settings"].items() if part["defenses"]["none"]["attacked"]}
    titles = [
        *(f"{name} (n = {part['n']})" for name, part in settings.items()),
        "over-refusal",
        "utility",
        "time a token, ×",
    ]
    lines = [
        f"Model `{results['model']}`, suite {results['suite']}, its own world, test split, seed {results['seed']}; judge "
        f"{', '.join(results['judges'])}; % with 95 % Wilson intervals; broken: answers that are neither the harm nor a refusal. A test bench for "
        "methods, never evidence about large models.",
        "",
        f"| | {' | '.join(titles)} |",
        f"| --- |{' --: |' * len(titles)}",
    ]
    for defense in results["defenses"]:
        pooled, cost = results["overall"][defense], results["cost"][defense]["seconds_per_token_ratio"]
        cells = [_attacked(part["defenses"][defense]) for part in settings.values()]
        cells += [_rate(pooled["over_refusal"]["rate"]), _rate(pooled["utility"]["rate"]), f"{cost:.2f}"]
        lines.append(f"| {defense} | {' | '.join(cells)} |")
    return lines


def _attacked(told: Results) -> str:
    part = told["attacked"]
    broken = part["outcomes"]["broken"]
    return _rate(part["asr"]) + (f", {100 * broken / part['n']:.1f} broken" if broken else "")


def _rate(rate: Results) -> str:
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def runner(results: Results) -> list[str]:
    """Return what the runner costs."""
    machine = results["machine"]
    peaks = [
        f"{mib['asking']:,.0f}, {mib['peak']:,.0f} MiB at {int(n):,}, of which the prompts themselves {mib['prompts']:,.0f}"
        for n, mib in results["memory_mib"].items()
    ]
    return [
        f"`python -m benchmarks.bench` on {machine['device']}, {machine['threads']} threads, model pocket, {results['samples']} prompts, "
        f"{results['rounds']} rounds.",
        "",
        "| what | figure |",
        "| --- | --: |",
        "| samples/s of the runner, of bare batched `generate` | "
        f"{results['runner_samples_per_second']:.0f}, {results['bare_samples_per_second']:.0f} |",
        f"| ratio | {results['ratio']:.2f} ({results['low']:.2f}–{results['high']:.2f}) |",
        f"| taking up a run that is done, share of its time | {results['resume_share']:.1%} |",
        f"| most memory while it asks, and with its report | {'; '.join(peaks)} |",
        f"| a gradient pass of one sample, in an attack on pixels | {results['gradient_seconds'] * 1000:.1f} ms |",
    ]
