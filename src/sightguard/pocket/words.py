"""The words of the pocket world, what each one needs in an answer, and which combinations are held out."""

from __future__ import annotations

import zlib
from typing import Literal

Split = Literal["train", "validation", "test"]

GOOD_OBJECTS: tuple[str, ...] = (
    "bread", "cake", "soup", "table", "lamp", "clock", "kite", "boat", "drum", "bag", "coat",
    "shoe", "book", "letter", "bike", "car", "phone", "fence", "ring", "bell", "tent", "mask",
)  # fmt: skip
BAD_OBJECTS: tuple[str, ...] = (
    "weapon", "bomb", "dagger",
    "poison", "toxin", "venom",
    "scam", "fraud", "swindle",
    "virus", "malware", "exploit",
    "slur", "insult", "smear",
    "leak", "spyware", "tracker",
)  # fmt: skip
NEUTRAL_VERBS: tuple[str, ...] = (
    "make", "get", "find", "buy", "build", "use", "move", "store", "carry", "pack", "share", "order",
)  # fmt: skip
BAD_VERBS: tuple[str, ...] = ("steal", "hack", "smash", "forge", "burn", "wreck", "loot", "rig")
SAFE_VERBS: tuple[str, ...] = ("report", "avoid", "remove", "block", "stop", "spot", "ban", "escape")
TOOLS: tuple[str, ...] = (
    "hammer", "ladder", "needle", "brush", "torch", "basket", "bucket", "pencil", "shovel", "magnet", "lever", "whistle",
)  # fmt: skip
MATERIALS: tuple[str, ...] = ("wood", "cloth", "glass", "clay", "wire", "stone", "rope", "sand", "wax", "salt")
PLACES: tuple[str, ...] = ("kitchen", "garden", "school", "office", "market", "station", "park", "cellar")
GOOD_INTENTS: tuple[str, ...] = ("help", "please", "teach", "thank", "feed", "calm")
BAD_INTENTS: tuple[str, ...] = ("hurt", "cheat", "scare", "rob", "harm", "bully")
TARGETS: tuple[str, ...] = ("friend", "neighbour", "manager", "crowd", "guest", "driver", "baker", "farmer")
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "cross", "diamond", "stripe")
COLOURS: tuple[str, ...] = ("red", "green", "blue", "yellow", "purple", "orange", "black")

OBJECTS = GOOD_OBJECTS + BAD_OBJECTS
VERBS = NEUTRAL_VERBS + BAD_VERBS + SAFE_VERBS
INTENTS = GOOD_INTENTS + BAD_INTENTS

TOOL_OF: dict[str, str] = {verb: TOOLS[i * 5 % len(TOOLS)] for i, verb in enumerate(VERBS)}
MATERIAL_OF: dict[str, str] = {thing: MATERIALS[i * 3 % len(MATERIALS)] for i, thing in enumerate(OBJECTS)}


def split_of(left: str, right: str) -> Split:
    """Return the split to which a combination of two words belongs: two thirds train, a sixth each for the others.

    A hash of the words and not a random draw: the answer is the same on every machine and for every seed.
    """
    bucket = zlib.crc32(f"{left}|{right}".encode()) % 6
    if bucket == 0:
        return "validation"
    return "test" if bucket == 1 else "train"


def pairs(lefts: tuple[str, ...], rights: tuple[str, ...], split: Split) -> list[tuple[str, str]]:
    """Return all combinations of the two lists that belong to `split`, in a fixed order."""
    return [(left, right) for left in lefts for right in rights if split_of(left, right) == split]
