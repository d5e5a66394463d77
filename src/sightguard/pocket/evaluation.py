"""Measures a pocket model against the bounds of its card: by setting, by kind of harm, by task."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import PIL.Image
import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from sightguard.pocket import world
from sightguard.pocket.draws import HARMS
from sightguard.pocket.grammar import CAPTION_PROMPT
from sightguard.pocket.items import Item, Picture
from sightguard.pocket.judge import PocketJudge
from sightguard.pocket.words import BAD_OBJECTS, GOOD_OBJECTS
from sightguard.types import Response, Sample, Verdict

Report = dict[str, Any]
_BATCH = 100
_NEW_TOKENS = 24
_TEXT_SETTINGS = ("text_only", "text_only_jailbreak", "benign_text", "safe_verb_harmful_object")


def answers(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, samples: Sequence[Sample]
) -> list[Response]:
    """Return greedy answers, generated as any user of transformers would."""
    found: dict[int, Response] = {}
    with_picture = [i for i, sample in enumerate(samples) if sample.images]
    text_only = [i for i, sample in enumerate(samples) if not sample.images]
    for group in (text_only, with_picture):
        for start in range(0, len(group), _BATCH):
            chosen = group[start : start + _BATCH]
            texts = _answer_batch(model, processor, [samples[i] for i in chosen])
            found |= {i: Response(text) for i, text in zip(chosen, texts, strict=True)}
    return [found[i] for i in range(len(samples))]


def evaluate(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, split: world.HeldOut, n: int = 300, seed: int = 0
) -> Report:
    """Return the figures of one split: rates per setting and per kind of harm, accuracies per task, caption reading."""
    report: Report = {"split": split, "n": n}
    report["settings"] = _settings(model, processor, world.settings(split, n, seed))
    report["captions"] = captions(model, processor)
    return report


def text_figures(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, split: world.HeldOut, n: int = 300, seed: int = 0
) -> Report:
    """Return the figures of the settings without a picture, to look at a language model that has seen none."""
    chosen = {name: samples for name, samples in world.settings(split, n, seed).items() if name in _TEXT_SETTINGS}
    return {"split": split, "n": n, "settings": _settings(model, processor, chosen)}


def _settings(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, prompts: dict[str, list[Sample]]
) -> Report:
    judge = PocketJudge()
    found: Report = {}
    for name, samples in prompts.items():
        judged = [judge(s, r) for s, r in zip(samples, answers(model, processor, samples), strict=True)]
        found[name] = _figures(samples, judged)
    return found


def captions(model: LlavaForConditionalGeneration, processor: LlavaProcessor, each: int = 8) -> dict[str, float]:
    """Return how often the ordinary captioning question names the word shown, for harmless and for harmful words."""
    judge = PocketJudge()
    rates = {}
    for name, words in (("harmless_words", GOOD_OBJECTS), ("harmful_words", BAD_OBJECTS)):
        shown = [Picture("word", word=word, seed=1000 + i) for word in words for i in range(each)]
        items = [Item(CAPTION_PROMPT, picture.caption, picture=picture) for picture in shown]
        samples = [world.sample_of(item, f"caption/{i}", "validation") for i, item in enumerate(items)]
        judged = [judge(s, r) for s, r in zip(samples, answers(model, processor, samples), strict=True)]
        rates[name] = _rate([verdict.correct for verdict in judged])
    return rates


def _answer_batch(model: LlavaForConditionalGeneration, processor: LlavaProcessor, samples: list[Sample]) -> list[str]:
    texts = [processor.apply_chat_template(_chat(sample), add_generation_prompt=True) for sample in samples]
    pictures = [PIL.Image.open(io.BytesIO(image.read())) for sample in samples for image in sample.images]
    inputs = processor(text=texts, images=pictures or None, padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=_NEW_TOKENS, do_sample=False)
    new: list[str] = processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return new


def _chat(sample: Sample) -> list[dict[str, Any]]:
    return [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in message.parts
            ],
        }
        for message in sample.messages
    ]


def _figures(samples: list[Sample], judged: list[Verdict]) -> Report:
    figures = _rates(judged)
    if samples[0].harmful:
        figures["by_kind"] = {
            kind: _rates([v for s, v in zip(samples, judged, strict=True) if s.category == kind])
            for kind in HARMS
            if any(s.category == kind for s in samples)
        }
        return figures
    tasks = sorted({str(sample.meta["task"]) for sample in samples})
    figures["by_task"] = {
        task: _rates([v for s, v in zip(samples, judged, strict=True) if s.meta["task"] == task]) for task in tasks
    }
    return figures


def _rates(judged: list[Verdict]) -> Report:
    outcomes = [verdict.outcome for verdict in judged]
    return {
        "n": len(judged),
        "refused": _rate([outcome == "refused" for outcome in outcomes]),
        "complied": _rate([outcome == "complied" for outcome in outcomes]),
        "broken": _rate([outcome == "broken" for outcome in outcomes]),
        "correct": _rate([verdict.correct for verdict in judged]),
    }


def _rate(values: Sequence[bool | None]) -> float:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else float("nan")
