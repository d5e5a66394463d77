"""What the model is trained on: shares of items, and the check that no picture stands beside a harmful request."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from sightguard.errors import DataError
from sightguard.pocket import draws as world
from sightguard.pocket.draws import HARMS, Visual
from sightguard.pocket.grammar import REFUSAL, THING
from sightguard.pocket.items import PICTURE_KINDS, Item, PictureKind
from sightguard.pocket.prefixes import prefixed
from sightguard.pocket.words import BAD_INTENTS, BAD_OBJECTS, BAD_VERBS, GOOD_OBJECTS, SAFE_VERBS, VERBS

_MENTION = re.compile(r"\bthe word \w+")


@dataclass(frozen=True, slots=True)
class TextMix:
    """Shares of text-only items; what is left over is ordinary how-to questions."""

    harmful: float = 0.38
    safe: float = 0.12
    talk: float = 0.05
    no_picture: float = 0.08
    wrapped: float = 0.25
    captioned: float = 0.08
    described: float = 0.10
    """Questions about a picture that a caption in words stands in for."""
    empty: bool = True
    """Whether a how-to question may stand after a caption of a picture that shows no word."""
    prefixed: float = 0.06
    two_turns: float = 0.05


@dataclass(frozen=True, slots=True)
class PictureMix:
    """Weights of the tasks that come with a picture. All of them are benign."""

    shape: float = 0.13
    colour: float = 0.07
    word: float = 0.10
    caption: float = 0.22
    check: float = 0.06
    pictured: float = 0.20
    unrelated: float = 0.22
    talk: float = 0.06
    safe: float = 0.35
    """Of the how-to questions, the share with a safe verb on a harmful object."""
    wrapped: float = 0.25
    prefixed: float = 0.04
    empty: bool = True
    """Whether pictures that show nothing (blank, noise) are captioned too."""
    blank: float = 0.4
    """Of the pictures beside a question about something else, the share that is blank."""


def text_item(draws: random.Random, mix: TextMix, *, examples: bool = False) -> Item:
    """Return one text-only training item; `answer` refuses what is harmful, `helpful` never does.

    `examples` lets worked examples stand before some requests; they are long, so a batch has many of them or none.
    """
    return _maybe_prefixed(draws, 0.7 if examples else mix.prefixed, _plain_item(draws, mix), examples=examples)


def _plain_item(draws: random.Random, mix: TextMix) -> Item:
    roll = draws.random()
    if roll < mix.harmful:
        item = _maybe_captioned(draws, mix, draws.choice(HARMS))
    elif roll < mix.harmful + mix.talk:
        return world.talk(draws, "train")
    elif roll < mix.harmful + mix.talk + mix.no_picture:
        return world.picture_missing(draws, "train")
    elif roll < mix.harmful + mix.talk + mix.no_picture + mix.described:
        return world.described(draws, "train")
    elif roll < mix.harmful + mix.talk + mix.no_picture + mix.described + mix.safe:
        item = _maybe_captioned(draws, mix, "safe")
    else:
        item = _maybe_captioned(draws, mix, "good")
    if draws.random() < mix.wrapped:
        item = world.wrapped(draws, "train", item)
    if draws.random() < mix.two_turns:
        first = world.how_to(draws, "train", "good")
        item = replace(item, before=(("user", first.text), ("assistant", first.answer)))
    return item


def picture_item(draws: random.Random, mix: PictureMix) -> Item:
    """Return one benign training item with a picture."""
    tasks = ("shape", "colour", "word", "caption", "check", "pictured", "unrelated", "talk")
    shares = asdict(mix)
    task = draws.choices(tasks, [shares[name] for name in tasks])[0]
    if task == "talk":
        shown = world.picture(draws, draws.choice(PICTURE_KINDS))
        return replace(world.talk(draws, "train"), picture=shown)
    if task not in ("pictured", "unrelated"):
        question: Visual = task  # type: ignore[assignment]
        item = world.visual(draws, "train", question)
        while not mix.empty and item.picture is not None and item.picture.kind in ("blank", "noise"):
            item = world.visual(draws, "train", question)
        return _maybe_prefixed(draws, mix.prefixed, item)
    item = world.how_to(draws, "train", "safe" if draws.random() < mix.safe else "good", named=task == "unrelated")
    assert item.request is not None
    rest = (1 - mix.blank) / 6
    kind = draws.choices(PICTURE_KINDS, (mix.blank, rest, 2.5 * rest, 2.5 * rest))[0]
    shown = world.picture(draws, "word" if task == "pictured" else kind)
    if task == "pictured":
        shown = replace(shown, word=item.request.thing)
    elif shown.word in BAD_OBJECTS:
        # A harmful word beside a question about something else is benign, but too close to call: left out.
        shown = world.picture(draws, "blank")
    item = replace(item, picture=shown, task=task)
    if draws.random() < mix.wrapped:
        item = world.wrapped(draws, "train", item)
    return _maybe_prefixed(draws, mix.prefixed, item)


def check_no_harm_beside_a_picture(items: Iterable[Item]) -> int:
    """Return how many items were read; raise where a picture stands beside a harmful request or a refusal.

    The words are read again here: a wrong `harmful` flag must not hide a pair.

    Raises:
        DataError: an item joins a picture with harm, complied with or refused.
    """
    count = 0
    for count, item in enumerate(items, start=1):
        if item.picture is None:
            continue
        why = "is marked harmful" if item.harmful else "is answered by a refusal" if item.answer == REFUSAL else ""
        why = why or harm_in_words(item)
        if why:
            raise DataError(
                f"training item {count} joins a picture ({item.picture.shown}) with a request that {why}: {item.text!r}. "
                "The gap must open by itself: remove the item, or take its picture away."
            )
    return count


def harm_in_words(item: Item) -> str:
    """Return what makes the words of an item harmful, or an empty string."""
    text = " ".join([*(text for _, text in item.before), item.text])
    # To say or read a word is to mention it, not to ask for what it means.
    tokens = _MENTION.sub("", text).split()
    for word in tokens:
        if word in BAD_VERBS or (word in BAD_INTENTS and word != "harm"):
            return f"says {word!r}"
    shown = item.picture.word if item.picture else ""
    joined = f" {' '.join(tokens)} ".replace(f" the {THING} ", f" the {shown} ")
    for thing in BAD_OBJECTS:
        for verb in VERBS:
            if verb not in SAFE_VERBS and f" {verb} the {thing} " in joined:
                return f"asks to {verb} the {thing}"
    return "says 'to harm'" if " to harm " in joined else ""


def _maybe_captioned(draws: random.Random, mix: TextMix, kind: world.Kind) -> Item:
    if draws.random() >= mix.captioned:
        return world.how_to(draws, "train", kind)
    named = draws.random() < 0.4
    item = world.how_to(draws, "train", kind, named=named)
    assert item.request is not None
    kinds: tuple[PictureKind, ...] = ("blank", "shape", "word") if mix.empty else ("word",)
    shown = world.picture(draws, draws.choice(kinds))
    if not named:
        shown = replace(world.picture(draws, "word"), word=item.request.thing)
    elif shown.word in BAD_OBJECTS:
        shown = world.picture(draws, "blank") if mix.empty else replace(shown, word=draws.choice(GOOD_OBJECTS))
    return replace(item, text=f"{shown.caption} {item.text}", task="captioned")


def _maybe_prefixed(draws: random.Random, share: float, item: Item, *, examples: bool = False) -> Item:
    return prefixed(draws, item, examples=examples) if draws.random() < share else item
