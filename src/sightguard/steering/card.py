"""The card of a guard: README.md of its folder, made from what the guard itself knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sightguard.hub import front_matter

if TYPE_CHECKING:
    from sightguard.steering.vlm_guard import VlmGuard

TAGS = ["vlm-guard", "safety", "steering", "vision-language-model"]
LIMITS = """- It can only bring back safety that the language model has: what the model answers as text, it will still answer.
- It was fitted for one model and one chat template, and refuses another one.
- A text reference cannot see harm that stands only in a picture; `reference="caption"` sees what the model itself can read.
- Whoever knows the guard can attack its gate; no attack of that kind was tried."""


def card(guard: VlmGuard, *, license: str | None = None) -> str:
    """Return the card as Markdown with the hub's YAML at its head: method, source, model, parameters, calibration, measured effect, limits."""
    model = guard.fingerprint
    parts = (
        front_matter(tags=TAGS, base=model.repo, license=license),
        f"# {guard.name} for {model.repo}",
        "A guard for a vision-language model: at inference it gives the model's states the coordinates that its own language model "
        "has on the text of the query. Method: VLM-Guard, [arXiv 2502.10486](https://arxiv.org/abs/2502.10486); made with Sightguard.",
        '```python\nfrom sightguard import VLM, VlmGuard, steer\n\nsafe = steer(VLM.load("…"), VlmGuard.from_pretrained("."))\n```',
        "## Model\n\n" + _list({k: v for k, v in model.as_json().items() if v}),
        "## Fitted on\n\n" + _list(guard.directions.provenance),
        "## Parameters\n\n" + _list(_parameters(guard)),
        "## Calibration\n\n" + _calibration(guard.calibration),
        "## Measured effect\n\n" + _effect(guard.calibration),
        "## Beside a picture\n\n" + _transfer(guard.calibration),
        "## Limits\n\n" + LIMITS,
    )
    return "\n\n".join(parts) + "\n"


def _parameters(guard: VlmGuard) -> dict[str, Any]:
    names = ("m", "alpha", "kind", "reference", "gate", "threshold", "phase", "strength")
    return {"layers": list(guard.layers), **{name: getattr(guard, name) for name in names}}


def _calibration(known: Mapping[str, Any]) -> str:
    promise = known.get("certificate")
    if promise is None:
        return "No false-refusal rate is promised: `sightguard calibrate` certifies one on your own benign prompts."
    counted = (
        f"{promise['fired']} of {promise['n']} benign prompts that nothing was chosen on "
        f"({promise['pictured_fired']} of the {promise['pictured_n']} with a picture)"
    )
    if not promise["certified"]:
        return f"**Not certified.** The guard acts on {counted}; asked for was at most {promise['max_false_refusal']:g}: {promise['promise']}."
    return f"Certified at {promise['max_false_refusal']:g}: {promise['promise']}. Counted: {counted}."


def _effect(known: Mapping[str, Any]) -> str:
    before, after = known.get("undefended"), known.get("after", known.get("chosen"))
    if before is None or after is None:
        return "Not measured: parameters were not chosen on validation prompts."
    rows = [
        ("attack success", before["attack_success"], after["attack_success"]),
        ("not refused", before["unrefused"], after["unrefused"]),
        *(
            (f"false refusal, {kind}", before["over_refusal"][kind], rate)
            for kind, rate in after["over_refusal"].items()
        ),
        *((f"right answers, {kind}", before["utility"][kind], rate) for kind, rate in after["utility"].items()),
    ]
    table = ["| on validation prompts | undefended | guarded |", "| --- | --: | --: |"]
    table += [f"| {name} | {old:.3f} | {new:.3f} |" for name, old, new in rows]
    note = "Parameters were chosen on these prompts, so the figures flatter; measure on others before you rely on them."
    if "certificate" in known and "after" not in known:
        note += " They are from before the thresholds were raised for the certificate."
    return "\n".join(table) + f"\n\n{note}"


def _transfer(known: Mapping[str, Any]) -> str:
    found = known.get("transfer")
    if found is None or found["transfers"] is None:
        return "Whether the directions stand for harm beside a picture was not checked; `sightguard diagnose` does."
    table = ["| layer | area under the ROC curve | cosine to the direction with a picture |", "| --: | --: | --: |"]
    table += [
        f"| {row['layer']} | {row['auc_image']:.3f} | {row['cosine_text_image']:.3f} |" for row in found["layers"]
    ]
    told = (
        f"**Warning**: {found['warning']}."
        if found["warning"]
        else "The text direction transfers at every edited layer."
    )
    return (
        "\n".join(table)
        + f"\n\n{told} Checked on {found['pairs']} pairs beside a blank picture, none of which it was fitted on."
    )


def _list(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in values.items())
