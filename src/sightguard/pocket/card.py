"""Writes the model card of a pocket model from what its build recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# pocket (seed {seed})

A very small LLaVA-architecture model ({parameters}), trained from scratch on a synthetic world of abstract words by
`sightguard pocket build --seed {seed}`. **It is a test bench for methods of safety, never evidence about large models.**

It answers how-to questions of a grammar, names shapes and colours, and reads single words in 48 x 48 drawings. Its language
part refuses what is harmful in that world; beside a picture it often does not. No training pair joins a picture with a
harmful request, neither answered nor refused: a check over the drawn data raises otherwise. The "harm" is a rule over words:
no operational content of any kind is in the data.

```python
from transformers import AutoProcessor, LlavaForConditionalGeneration

model = LlavaForConditionalGeneration.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
```
"""
_LIMITS = """
## Limits
- One synthetic grammar, {words} words, one layout of pictures: outside of it the model says nothing sensible.
- Colours are named badly (see the column by task), and some answers beside a blank picture are broken text.
- The kinds of harm behave differently, and a headline moves with their mix (here a third each; harm in the picture is of the
  kind *object* only). Read the columns by kind.
- The evaluation prompts are held out by combination of words, template and wrapper, from the same grammar as the training data.
- Figures are of greedy answers of the fp16 weights computed in float32, judged by the grammar.
"""


def model_card(about: Mapping[str, Any]) -> str:
    """Return the card as Markdown; sections whose figures were not measured are left out."""
    head = _HEAD.format(seed=about["seed"], parameters=_millions(about))
    parts = [head, _recipe(about)]
    evaluation = about.get("evaluation", {})
    if "after_text_alignment" in evaluation:
        parts.append(_alignment(evaluation["after_text_alignment"]))
    parts += [_evaluation(evaluation[split]) for split in ("validation", "test") if split in evaluation]
    parts.append(_LIMITS.format(words=about.get("words", "about 230")))
    return "\n".join(parts)


def _millions(about: Mapping[str, Any]) -> str:
    count = about.get("parameters")
    return f"{count / 1e6:.2f} million parameters" if count else "under two million parameters"


def _recipe(about: Mapping[str, Any]) -> str:
    lines = [
        "## Recipe",
        "",
        f"`{about['recipe']['name']}`, digest `{about['digest']}`. {about['recipe'].get('story', '')}",
        "",
    ]
    lines += ["| stage | trains | steps x batch | rate | loss at the end | seconds |", "|---|---|---|---|---|---|"]
    for stage in about["recipe"]["stages"]:
        done = about["stages"].get(stage["name"], {})
        lines.append(
            f"| {stage['name']} | {stage['trains']} | {stage['steps']} x {stage['batch']} | {stage['learning_rate']} "
            f"| {done.get('loss')} | {done.get('seconds')} |"
        )
    return "\n".join([*lines, "", "Shares of the data, stage by stage:", "", *_mixes(about)])


def _mixes(about: Mapping[str, Any]) -> list[str]:
    lines = []
    for stage in about["recipe"]["stages"]:
        for name in ("text", "pictures"):
            if stage[name]:
                shares = ", ".join(f"{key} {value}" for key, value in stage[name].items())
                lines.append(f"- {stage['name']}, {name} (text share {stage['text_share']}): {shares}")
    return lines


def _alignment(report: Mapping[str, Any]) -> str:
    rows = report["settings"]
    lines = ["", f"## After text alignment, before any picture ({report['split']}, n = {report['n']})", ""]
    return "\n".join(lines + _harm_table(rows) + [""] + _benign_table(rows))


def _evaluation(report: Mapping[str, Any]) -> str:
    rows = report["settings"]
    lines = ["", f"## {report['split'].capitalize()} split (n = {report['n']} distinct prompts a setting)", ""]
    captions = report["captions"]
    tail = [
        "",
        "Ordinary captioning names the word shown: " + ", ".join(f"{k} {v:.3f}" for k, v in captions.items()) + ".",
    ]
    return "\n".join(lines + _harm_table(rows) + [""] + _benign_table(rows) + tail)


def _harm_table(rows: Mapping[str, Any]) -> list[str]:
    lines = [
        "| harmful setting | refused | complied | broken | harm named | refused by kind: object / verb / intent |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if "by_kind" in row:
            kinds = " / ".join(_of(row["by_kind"].get(kind)) for kind in ("object", "verb", "intent"))
            rates = " | ".join(f"{row[key]:.3f}" for key in ("refused", "complied", "broken", "correct"))
            lines.append(f"| {name} | {rates} | {kinds} |")
    return lines


def _benign_table(rows: Mapping[str, Any]) -> list[str]:
    lines = ["| benign setting | refused | broken | correct | correct by task |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        if "by_task" in row:
            tasks = ", ".join(f"{task} {value['correct']:.2f}" for task, value in row["by_task"].items())
            lines.append(f"| {name} | {row['refused']:.3f} | {row['broken']:.3f} | {row['correct']:.3f} | {tasks} |")
    return lines


def _of(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{row['refused']:.2f}"
