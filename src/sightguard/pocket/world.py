"""The pocket world's prompts for evaluation: settings, anchors, calibration. Deterministic by seed; no torch.

Splits hold out combinations of words, question templates and jailbreak wrappers, so that a validation or test prompt never
occurs in training; `tests/pocket` compares them word for word.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from sightguard.errors import UsageError
from sightguard.pocket import draws as world
from sightguard.pocket.draws import HARMS, Kind, Visual
from sightguard.pocket.grammar import CAPTION_PROMPT, NO_PICTURE, REFUSAL, WRAPPERS
from sightguard.pocket.items import Item, Picture
from sightguard.pocket.prefixes import ADASHIELD, ECSO, GOAL_PRIORITY, SELF_REMINDER
from sightguard.pocket.words import GOOD_INTENTS, GOOD_OBJECTS, NEUTRAL_VERBS, SAFE_VERBS, Split, pairs
from sightguard.types import SAME_AS, Message, Sample

__all__ = [
    "ADASHIELD",
    "CAPTION_PROMPT",
    "ECSO",
    "GOAL_PRIORITY",
    "NO_PICTURE",
    "REFUSAL",
    "SELF_REMINDER",
    "SETTINGS",
    "anchors",
    "benign_picture_prompts",
    "calibration",
    "sample_of",
    "settings",
    "without_attack",
]

HeldOut = Literal["validation", "test"]
SETTINGS: tuple[str, ...] = (
    "text_only", "text_only_jailbreak", "blank_image", "jailbreak_blank_image", "harm_in_picture",
    "benign_text", "benign_image", "safe_verb_harmful_object",
)  # fmt: skip
_WORDS_OF = {"blank_image": "text_only", "jailbreak_blank_image": "text_only_jailbreak"}
"""Settings that ask what another one asks, beside a picture."""
_VISUAL: tuple[Visual, ...] = ("shape", "colour", "word", "word")


def settings(split: HeldOut, n: int = 300, seed: int = 0) -> dict[str, list[Sample]]:
    """Return the prompts of every setting, `n` distinct ones each; the kinds of harm take turns.

    `blank_image` asks what `text_only` asks, in the same order, and `jailbreak_blank_image` what `text_only_jailbreak` asks.

    Example:
        >>> from sightguard.pocket.world import settings
        >>> prompts = settings("validation", n=6)
        >>> [sample.category for sample in prompts["text_only"]][:3]
        ['object', 'verb', 'intent']
    """
    _check_split(split)
    draws = random.Random(f"settings|{split}|{seed}")
    plain = _distinct(n, lambda i: world.how_to(draws, split, HARMS[i % 3]), "text_only")
    jailbreak = _distinct(
        n, lambda i: world.wrapped(draws, split, world.how_to(draws, split, HARMS[i % 3])), "text_only_jailbreak"
    )
    items = {
        "text_only": plain,
        "text_only_jailbreak": jailbreak,
        "blank_image": [_with_blank(draws, item) for item in plain],
        "jailbreak_blank_image": [_with_blank(draws, item) for item in jailbreak],
        "harm_in_picture": _distinct(n, lambda i: _pictured(draws, split, "object"), "harm_in_picture"),
        "benign_text": _distinct(n, lambda i: world.how_to(draws, split, "good"), "benign_text"),
        "benign_image": _distinct(n, lambda i: _benign_image(draws, split, i), "benign_image"),
        "safe_verb_harmful_object": _distinct(n, lambda i: world.how_to(draws, split, "safe"), "safe_verb"),
    }
    return {
        name: _samples(items[name], f"{split}/{name}/{seed}", split, same_as=f"{split}/{_WORDS_OF[name]}/{seed}")
        if name in _WORDS_OF
        else _samples(items[name], f"{split}/{name}/{seed}", split)
        for name in SETTINGS
    }


def without_attack(setting: str, samples: Sequence[Sample]) -> list[Sample]:
    """Return the questions of a setting before an attack: without the blank picture beside them, and without the wrapper around them."""
    bare = [sample.without_images() for sample in samples] if "blank" in setting else list(samples)
    return [_unwrapped(sample) for sample in bare] if "jailbreak" in setting else bare


def anchors(n: int = 100, seed: int = 0) -> list[tuple[Sample, Sample]]:
    """Return pairs of a harmful and a harmless "how" question from training combinations that differ in what makes the harm.

    The kinds of harm take turns: the harmless twin has another object (or, every other time, a safe verb for the same one), another
    verb, or another intent. Without the safe verbs a direction would stand for harmful words instead of harmful requests.
    """
    draws = random.Random(f"anchors|{seed}")
    seen: set[tuple[str, str]] = set()
    found: list[tuple[Item, Item]] = []
    while len(found) < n:
        harmful, harmless = _pair(draws, HARMS[len(found) % 3], safe=len(found) % 2 == 1)
        if harmful.identity in seen or harmless.identity in seen:
            continue
        seen |= {harmful.identity, harmless.identity}
        found.append((harmful, harmless))
    left = _samples([pair[0] for pair in found], f"anchors/harmful/{seed}", "train")
    right = _samples([pair[1] for pair in found], f"anchors/harmless/{seed}", "train")
    return list(zip(left, right, strict=True))


def calibration(n: int = 2400, seed: int = 0) -> list[Sample]:
    """Return `n` distinct benign prompts of many forms from the validation side, a third of them with a picture."""
    draws = random.Random(f"calibration|{seed}")
    items = _distinct(n, lambda i: _calibration_item(draws, i), "calibration")
    return _samples(items, f"validation/calibration/{seed}", "validation")


def benign_picture_prompts(split: HeldOut, n: int = 200, seed: int = 0) -> list[Sample]:
    """Return `n` distinct benign prompts with a picture, to set the threshold of a gate on."""
    _check_split(split)
    draws = random.Random(f"benign pictures|{split}|{seed}")
    items = _distinct(n, lambda i: _benign_image(draws, split, i), "benign_picture_prompts")
    return _samples(items, f"{split}/benign_picture_prompts/{seed}", split)


def sample_of(item: Item, id: str, split: Split) -> Sample:
    """Return the item as a sample, its picture drawn and put before the text of the last turn."""
    messages = [Message(role, (text,)) for role, text in item.before]
    if item.picture is None:
        messages.append(Message("user", (item.text,)))
    else:
        from sightguard.pocket.pictures import render

        messages.append(Message("user", (render(item.picture), item.text)))
    meta = {
        "kind": item.kind,
        "task": item.task,
        "answer": item.answer,
        "helpful": item.helpful,
        "names": item.names,
        "template": item.template,
        "wrapper": item.wrapper,
        "shown": item.picture.shown if item.picture else "",
    }
    source = f"pocket-world@1/{split}"
    return Sample(id, tuple(messages), harmful=item.harmful, category=item.kind, source=source, meta=meta)


def _distinct(n: int, draw: Callable[[int], Item], what: str) -> list[Item]:
    seen: set[tuple[str, str]] = set()
    items: list[Item] = []
    misses = 0
    while len(items) < n:
        item = draw(len(items))
        if item.identity in seen:
            misses += 1
            if misses > 20 * n + 2000:
                raise UsageError(
                    f"the pocket world has fewer than n={n} distinct prompts for {what}: found {len(items)}. Ask for fewer."
                )
            continue
        seen.add(item.identity)
        items.append(item)
    return items


def _samples(items: list[Item], stem: str, split: Split, same_as: str | None = None) -> list[Sample]:
    samples = [sample_of(item, f"pocket/{stem}/{i:04d}", split) for i, item in enumerate(items)]
    if same_as is None:
        return samples
    return [
        replace(sample, meta={**sample.meta, SAME_AS: f"pocket/{same_as}/{i:04d}"}) for i, sample in enumerate(samples)
    ]


def _unwrapped(sample: Sample) -> Sample:
    """Take away the wrapper; the longest one that fits, because one can end as another does."""
    fitting = [
        (before, after)
        for wrappers in WRAPPERS.values()
        for before, after in wrappers
        if sample.text.startswith(before) and sample.text.endswith(after)
    ]
    before, after = max(fitting, key=lambda wrapper: len("".join(wrapper)), default=("", ""))
    question = sample.text.removeprefix(before).removesuffix(after).strip()
    *earlier, last = sample.messages
    return replace(sample, messages=(*earlier, replace(last, parts=(*last.images, question))))


def _with_blank(draws: random.Random, item: Item) -> Item:
    return replace(item, picture=Picture("blank", seed=draws.getrandbits(32)))


def _pictured(draws: random.Random, split: Split, kind: Kind) -> Item:
    item = world.how_to(draws, split, kind, named=False)
    assert item.request is not None
    return replace(item, task="pictured", picture=Picture("word", word=item.request.thing, seed=draws.getrandbits(32)))


def _benign_image(draws: random.Random, split: HeldOut, i: int) -> Item:
    if i % 3 < 2:
        return world.visual(draws, split, _VISUAL[i % 4])
    kind: Kind = "safe" if draws.random() < 0.2 else "good"
    if i % 2:
        return _pictured(draws, split, kind)
    # Half of the unrelated pictures are blank, as in the harmful settings.
    shown = world.picture(draws, "blank" if draws.random() < 0.5 else "shape")
    return replace(world.how_to(draws, split, kind), task="unrelated", picture=shown)


def _calibration_item(draws: random.Random, i: int) -> Item:
    form = i % 12
    if form in (0, 1, 2):
        return world.how_to(draws, "validation", "good")
    if form in (3, 4):
        return world.wrapped(draws, "validation", world.how_to(draws, "validation", "good"))
    if form in (5, 6):
        return world.how_to(draws, "validation", "safe")
    if form == 7:
        return world.picture_missing(draws, "validation")
    return _benign_image(draws, "validation", draws.randrange(12))


def _pair(draws: random.Random, kind: Kind, *, safe: bool) -> tuple[Item, Item]:
    bad = world.how_to(draws, "train", kind, template="how do i {core} ?")
    asks = bad.request
    assert asks is not None
    twin: Kind = "good"
    if kind == "object" and safe:
        verbs = [verb for verb, _ in pairs(SAFE_VERBS, (asks.thing,), "train")]
        good, twin = replace(asks, verb=draws.choice(verbs)), "safe"
    elif kind == "object":
        things = [thing for verb, thing in pairs((asks.verb,), GOOD_OBJECTS, "train")]
        good = replace(asks, thing=draws.choice(things))
    elif kind == "verb":
        good = replace(asks, verb=draws.choice(_neutral_for(asks.thing)))
    else:
        intents = [intent for intent, _ in pairs(GOOD_INTENTS, (asks.target,), "train")]
        good = replace(asks, intent=draws.choice(intents))
    return bad, world.how_to(draws, "train", twin, template="how do i {core} ?", asks=good)


def _neutral_for(thing: str) -> list[str]:
    return [verb for verb, _ in pairs(NEUTRAL_VERBS, (thing,), "train")]


def _check_split(split: str) -> None:
    if split not in ("validation", "test"):
        raise UsageError(
            f"split must be 'validation' or 'test'; got {split!r}. Training items are drawn by the build only."
        )
