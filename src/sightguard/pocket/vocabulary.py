"""The tokens of the pocket model: every word of the world, and how a conversation becomes token ids."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from sightguard.pocket import draws, grammar, prefixes, words
from sightguard.types import Role

SPECIAL: tuple[str, ...] = ("<pad>", "<unk>", "<bos>", "<eos>", "<image>", "<system>", "<user>", "<assistant>")
_TOKEN = re.compile(r"\w+|[^\w\s]+")


def tokens_of(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, lower case, as the tokenizer splits it."""
    return _TOKEN.findall(text.lower())


def vocabulary() -> dict[str, int]:
    """Return token -> id, special tokens first, the rest in alphabetical order."""
    texts: list[str] = [
        grammar.REFUSAL,
        grammar.NO_PICTURE,
        grammar.CAPTION_PROMPT,
        grammar.THING,
        prefixes.GOAL_PRIORITY,
    ]
    texts += [
        *prefixes.SELF_REMINDER,
        *prefixes.sentences(),
        *draws.OPENERS,
        "which tool what made of say a the is user helper",
    ]
    texts += [text.format(core="") for split in grammar.TEMPLATES.values() for text in split]
    texts += [part for split in grammar.WRAPPERS.values() for pair in split for part in pair]
    texts += [text.format(word="") for group in draws.QUESTIONS.values() for text in group]
    texts += [" ".join(group) for group in (words.OBJECTS, words.VERBS, words.TOOLS, words.MATERIALS, words.PLACES)]
    texts += [" ".join(group) for group in (words.INTENTS, words.TARGETS, words.SHAPES, words.COLOURS)]
    texts += ["use with and to in it is says yes no does , . ? :"]
    texts += [grammar.caption(kind, "", "", "") for kind in ("word", "shape", "blank", "noise")]
    found = sorted({token for text in texts for token in tokens_of(text)})
    return {token: i for i, token in enumerate((*SPECIAL, *found))}


class Encoder:
    """Turns conversations into token ids, exactly as the shipped chat template and tokenizer do."""

    def __init__(self, image_tokens: int) -> None:
        self.ids = vocabulary()
        self.words = list(self.ids)
        self._image = [self.ids["<image>"]] * image_tokens

    def text(self, text: str) -> list[int]:
        return [self.ids.get(token, self.ids["<unk>"]) for token in tokens_of(text)]

    def prompt(self, turns: Iterable[tuple[Role, str]], *, picture: bool = False) -> list[int]:
        """Return the ids up to the point where the assistant speaks; a picture stands first in the last turn."""
        ids = [self.ids["<bos>"]]
        turns = list(turns)
        for i, (role, text) in enumerate(turns):
            ids.append(self.ids[f"<{role}>"])
            ids += self._image if picture and i == len(turns) - 1 else []
            ids += self.text(text)
            ids += [self.ids["<eos>"]] if role == "assistant" else []
        return [*ids, self.ids["<assistant>"]]

    def answer(self, text: str) -> list[int]:
        return [*self.text(text), self.ids["<eos>"]]

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.words[i] for i in ids if i >= len(SPECIAL))


def seeded(*parts: object) -> random.Random:
    """Return a generator whose draws depend on the parts only."""
    return random.Random("|".join(str(part) for part in parts))
