"""The table of what serving costs."""

from __future__ import annotations

from typing import Any

Results = dict[str, Any]


def speed(results: Results) -> list[str]:
    """Return throughput and latency by clients, and the ratios, for each shape."""
    machine = results["machine"]
    lines = [
        f"`python -m benchmarks.serve` on {machine['device']}, {machine['cores']} cores, server and offline with {machine['threads']} "
        f"thread(s), batches of at most {results['batch']}; medians over rounds that take turns, smallest to largest. "
        "Clients run on the same machine.",
    ]
    for shape, found in results["shapes"].items():
        lines += [
            "",
            f"**{shape}**, {found['requests']} requests of {found['tokens']} tokens beside a picture, {found['rounds']} rounds, {found['lost']} "
            f"lost; offline {found['offline_tokens_per_second']:,.0f} tokens/s:",
            "",
            "| clients | guarded, tokens/s | of plain | of offline | mean batch | p50, s | p95, s | p99, s |",
            "| --: | --: | --: | --: | --: | --: | --: | --: |",
            *(_row(found, name) for name in found["servers"] if name.startswith("guarded/")),
        ]
    start, memory = results["start"], results["memory"]
    return [
        *lines,
        "",
        f"From the command to the first answer of the embedded model: {start['seconds']:.1f} s ({start['low']:.1f}–{start['high']:.1f}), "
        f"its canary included. Memory over {memory['requests']:,} requests: {memory['mib'][0]:,.0f} MiB after a tenth of them, "
        f"{memory['mib'][-1]:,.0f} MiB after all.",
    ]


def _row(found: Results, name: str) -> str:
    one, count = found["servers"][name], name.partition("/")[2]
    ratios = found["ratios"]
    cells = [
        count,
        f"{one['tokens_per_second']:,.0f}",
        _ratio(ratios[f"{name} against plain/{count}"]),
        _ratio(ratios[f"{name} against offline"]),
        f"{one['mean_batch']:.1f}",
        *(f"{one[p]:.2f}" for p in ("p50", "p95", "p99")),
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(told: Results) -> str:
    return f"{told['ratio']:.2f} ({told['low']:.2f}–{told['high']:.2f})"
