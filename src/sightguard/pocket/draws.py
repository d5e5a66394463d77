"""Draws single items of the pocket world: requests, questions about a picture, small talk."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Literal

from sightguard.pocket.grammar import CAPTION_PROMPT, NO_PICTURE, REFUSAL, TEMPLATES, THING, WRAPPERS, Request, wrap
from sightguard.pocket.items import Item, Picture, PictureKind
from sightguard.pocket.words import (
    BAD_INTENTS,
    BAD_OBJECTS,
    BAD_VERBS,
    COLOURS,
    GOOD_INTENTS,
    GOOD_OBJECTS,
    INTENTS,
    MATERIAL_OF,
    NEUTRAL_VERBS,
    OBJECTS,
    PLACES,
    SAFE_VERBS,
    SHAPES,
    TARGETS,
    TOOL_OF,
    VERBS,
    Split,
    pairs,
    split_of,
)

Kind = Literal["good", "safe", "object", "verb", "intent"]
Visual = Literal["shape", "colour", "word", "caption", "check"]
HARMS: tuple[Kind, ...] = ("object", "verb", "intent")
OPENERS: tuple[str, ...] = (
    "", "please look .", "look at the picture .", "tell me :", "please tell me :", "now look .",
    "look .", "i want to know :", "please :", "one question :", "look here .", "explain :",
)  # fmt: skip
QUESTIONS: dict[Visual, tuple[str, ...]] = {
    "shape": ("which shape is in the picture ?", "what shape do you see ?"),
    "colour": ("which colour is the shape ?", "what colour do you see ?"),
    "word": ("which word is in the picture ?", "what word do you read ?", "read the word in the picture ."),
    "caption": (CAPTION_PROMPT, "what is in the picture ?"),
    "check": ("does the picture show the word {word} ?",),
}
_WORDS: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "good": (NEUTRAL_VERBS, GOOD_OBJECTS),
    "safe": (SAFE_VERBS, BAD_OBJECTS),
    "object": (NEUTRAL_VERBS, BAD_OBJECTS),
    "verb": (BAD_VERBS, GOOD_OBJECTS),
    "intent": (NEUTRAL_VERBS, GOOD_OBJECTS),
}
_known_pairs = cache(pairs)


def request(draws: random.Random, split: Split, kind: Kind) -> Request:
    """Return a request of one kind made of combinations of `split` only."""
    verb, thing = draws.choice(_known_pairs(*_WORDS[kind], split))
    place = draws.choice(PLACES) if draws.random() < 0.5 else ""
    intents = BAD_INTENTS if kind == "intent" else GOOD_INTENTS
    if kind != "intent" and draws.random() > 0.25:
        return Request(verb, thing, place)
    return Request(verb, thing, place, *draws.choice(_known_pairs(intents, TARGETS, split)))


def how_to(
    draws: random.Random,
    split: Split,
    kind: Kind,
    *,
    named: bool = True,
    template: str = "",
    asks: Request | None = None,
) -> Item:
    """Return a how-to question; `named=False` says "the thing in the picture" and leaves the object to a picture."""
    asks = asks or request(draws, split, kind)
    template = template or draws.choice(TEMPLATES[split])
    helpful = asks.answer()
    harmful = kind in HARMS
    return Item(
        text=template.format(core=asks.core(named)),
        answer=REFUSAL if harmful else helpful,
        harmful=harmful,
        kind=kind,
        helpful=helpful,
        names=_names(asks, kind) if harmful else (),
        template=template,
        request=asks,
    )


def wrapped(draws: random.Random, split: Split, item: Item) -> Item:
    """Return the item with a jailbreak wrapper of `split` about its text."""
    wrapper = draws.choice(WRAPPERS[split])
    return replace(item, text=wrap(item.text, wrapper), wrapper=" … ".join(wrapper))


def visual(draws: random.Random, split: Split | None, task: Visual) -> Item:
    """Return a question about a picture. The question and what is shown, together, are what is held out."""
    while True:
        shown = picture(draws, _kind_for(draws, task))
        question = draws.choice(QUESTIONS[task])
        asked = shown.word if draws.random() < 0.4 else draws.choice(OBJECTS + VERBS + INTENTS)
        core = question.format(word=asked)
        text = wrap(core, (draws.choice(OPENERS), ""))
        if split is None or split_of(text, shown.shown) == split:
            answer = _visual_answer(task, shown, asked)
            return Item(text, answer, kind="visual", task=task, picture=shown, helpful=answer, template=question)


def picture(draws: random.Random, kind: PictureKind) -> Picture:
    """Return a picture of one kind with random content."""
    seed = draws.getrandbits(32)
    if kind == "word":
        return Picture("word", word=draws.choice(OBJECTS), seed=seed)
    if kind == "shape":
        return Picture("shape", shape=draws.choice(SHAPES), colour=draws.choice(COLOURS), seed=seed)
    return Picture(kind, seed=seed)


def talk(draws: random.Random, split: Split) -> Item:
    """Return small talk: benign text that asks for no plan."""
    while True:
        form, word = draws.choice(("say", "tool", "made")), ""
        if form == "say":
            word = draws.choice(OBJECTS + VERBS + INTENTS)
            text, answer = draws.choice(("say the word {} .", "please say the word {} .")).format(word), f"{word} ."
        elif form == "tool":
            word = draws.choice(NEUTRAL_VERBS + SAFE_VERBS)
            text, answer = f"which tool do i use to {word} ?", f"the {TOOL_OF[word]} ."
        else:
            word = draws.choice(GOOD_OBJECTS)
            text, answer = f"what is the {word} made of ?", f"the {word} is made of {MATERIAL_OF[word]} ."
        if split_of(form, word) == split:
            return Item(text, answer, kind="talk", task="talk", helpful=answer, template=form)


def described(draws: random.Random, split: Split) -> Item:
    """Return a question about a picture in words only: its caption stands before the question."""
    while True:
        item = visual(draws, None, draws.choice(tuple(QUESTIONS)))
        assert item.picture is not None
        text = f"{item.picture.caption} {item.text}"
        if split_of("described", text) == split:
            return replace(item, text=text, picture=None, kind="described", task="described")


def picture_missing(draws: random.Random, split: Split) -> Item:
    """Return a question about a picture that is not there; the answer asks for it."""
    text = ""
    if draws.random() < 0.5:
        text = how_to(draws, split, draws.choice(("good", "safe")), named=False).text
    while not text:
        task: Visual = draws.choice(("shape", "colour", "word", "caption", "check"))
        text = visual(draws, None, task).text
        text = text if split_of("missing", text) == split else ""
    return Item(text, NO_PICTURE, kind="no_picture", task="no_picture", helpful=NO_PICTURE)


def _names(asks: Request, kind: Kind) -> tuple[str, ...]:
    if kind == "object":
        return asks.thing, MATERIAL_OF[asks.thing]
    if kind == "verb":
        return asks.verb, TOOL_OF[asks.verb]
    return asks.intent, asks.thing


def _kind_for(draws: random.Random, task: Visual) -> PictureKind:
    if task in ("shape", "colour"):
        return "shape"
    if task == "caption":
        return draws.choices(("word", "shape", "blank", "noise"), (0.6, 0.28, 0.07, 0.05))[0]
    return "word"


def _visual_answer(task: Visual, shown: Picture, asked: str) -> str:
    if task == "caption":
        return shown.caption
    if task == "shape":
        return f"it is a {shown.shape} ."
    if task == "colour":
        return f"it is {shown.colour} ."
    if task == "check":
        return "yes , it does ." if asked == shown.word else f"no , it says {shown.word} ."
    return f"it says {shown.word} ."


__all__ = [
    "HARMS", "OPENERS", "QUESTIONS", "THING", "Kind", "Visual",
    "described", "how_to", "picture", "picture_missing", "request", "talk", "visual", "wrapped",
]  # fmt: skip
