"""The card of a trained SafeVLM: what it is, what it was trained on, what was measured, what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightguard.hub import front_matter

_LIMITS = """## Limits

- The head judges requests with a picture; of a request without one it says nothing.
- Its probabilities are calibrated on held-out data of the same making as the training data, and say little about other data.
- A hint is a request to the model, not a lock: what the model does with it is measured, not promised.
- It was trained for one model and refuses to load on another.
"""


def card(about: Mapping[str, Any], *, license: str | None = None) -> str:
    """Return the card as Markdown.

    Args:
        about: the content of `safevlm.json`.
        license: an identifier such as "apache-2.0"; None leaves it out.
    """
    shape, taxonomy, base = about["shape"], about["taxonomy"], about["fingerprint"]
    stages = "1 and 2 (LoRA adapter)" if about["adapter"] else "1 (safety modules only)"
    lines = [
        front_matter(tags=["safevlm", "safety", "vision-language-model"], base=base["repo"], license=license),
        f"# SafeVLM for {base['repo']}",
        "",
        "Safety projector, safety tokens and safety head (arXiv 2405.13581, 2411.11543), made by Sightguard.",
        "",
        f"- Stages: {stages}",
        f"- Projector `{shape['projector']}`, {shape['tokens']} tokens in each set, head reading `{shape['query']}`",
        f"- Taxonomy `{taxonomy['name']}`: {', '.join(taxonomy['types'])}; levels: {', '.join(taxonomy['levels'])}",
        f"- Temperatures of type and level: {', '.join(f'{t:.3g}' for t in about['temperatures'])}",
        "",
        *_section("How it was trained", about["training"]),
        *_section("Measured on held-out data", about["measured"]),
        _LIMITS,
    ]
    return "\n".join(lines)


def _section(title: str, values: Mapping[str, Any]) -> list[str]:
    if not values:
        return []
    shown = [f"| {name} | {_shown(value)} |" for name, value in values.items() if not isinstance(value, (dict, list))]
    return [f"## {title}", "", "| what | value |", "|---|---|", *shown, ""] if shown else []


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
