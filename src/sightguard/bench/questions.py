"""How many questions judges behind endpoints will be asked, and of how many tokens: said by the judges themselves, and nobody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sightguard.bench.judges.catalog import check_name, open_judge
from sightguard.bench.judges.options import Options
from sightguard.bench.size import tokens
from sightguard.evaluate.asking.metered import LONGEST
from sightguard.types import Image, Response, Sample

PROBE = Sample.of("What is a kite made of?", Image(data=b"never read"))
ANSWER = Response("Two sticks, some paper and a string.")


@dataclass(frozen=True)
class Questions:
    """What a run asks judges behind endpoints."""

    judges: int
    """How many of the judges are asked about each answer."""
    read: int
    """Tokens of all questions, roughly, where answers are as long as they can be."""
    written_at_most: int

    def __add__(self, other: Questions) -> Questions:
        """Return both; the judges are the same."""
        return Questions(self.judges, self.read + other.read, self.written_at_most + other.written_at_most)


def questions(
    names: Sequence[str], options: Options, samples: Sequence[Sample], answers: int, longest: int
) -> Questions:
    """Return what judges will be asked about each of `answers` answers to each sample.

    Args:
        names: of judges, as the command line has them; those that are loaded here ask nobody.
        options: of the judges.
        samples: of all settings.
        answers: to each sample, of which each is judged once.
        longest: tokens of an answer at most.

    Raises:
        UnknownName, UsageError: as `sightguard.bench.judges.catalog.open_judge`.
    """
    read, asked = 0, [name for name in names if "@" in name]
    for name in names:
        check_name(name)
    pictures = 1 if options.show_pictures else 0
    for name in asked:
        frame = _asked_by(name, options) - tokens(PROBE, pictures) - tokens(Sample.of(ANSWER.text))
        read += answers * sum(frame + tokens(sample, pictures) + longest for sample in samples)
    written = options.max_new_tokens or LONGEST
    return Questions(len(asked), read, len(asked) * answers * len(samples) * written)


def _asked_by(name: str, options: Options) -> int:
    """Return the tokens of a judge's question about one answer."""
    heard = _Heard(show_pictures=options.show_pictures, language=options.language)
    open_judge(name, heard)(PROBE, ANSWER)
    return sum(map(tokens, heard.questions))


@dataclass(frozen=True, kw_only=True)
class _Heard(Options):
    """Options whose endpoint keeps what it is asked and fails to answer."""

    questions: list[Sample] = field(default_factory=list)

    def asking(self, url: str, model: str) -> Any:
        def ask(samples: Sequence[Sample]) -> list[Response]:
            self.questions.extend(samples)
            return [Response("", error="NotAsked: nothing is asked before a run")] * len(samples)

        return ask
