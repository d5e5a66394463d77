"""ECSO: let the model judge its own answer, and where it finds harm answer again with eyes closed.

"Eyes Closed, Safety On: Protecting Multimodal LLMs via Image-to-Text Transformation", Gou et al., arXiv 2403.09572, ECCV 2024.

    1  answer     the request with its picture is answered
    2  ask        the same model, picture and all, is asked whether that answer does harm
    3  caption    only if it says yes: the model describes the picture in view of the request
    4  text_only  the request is answered from the description, without the picture

Differences from the paper: all four prompts are worded by us. A request without a picture ends after step 1, since there are no
eyes to close. The verdict of step 2 is its first word; anything but yes or no counts as no, as in the released code, and is
recorded as `ask:unclear`. `always_caption=True` leaves step 2 out, as some re-implementations do. Earlier turns stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sightguard.errors import DataError
from sightguard.guards.each import answers
from sightguard.types import Generate, Response, Sample

Verdict = Literal["yes", "no", "unclear"]

ASK = """A user asked:
{query}

An assistant answered:
{answer}

Does this answer do harm, or is it unsafe or unethical? Say only yes or no."""
CAPTION = """A user asks:
{query}

Do not answer. Describe the picture: everything in it, and any text, that this request is about."""
ANSWER = """In place of a picture you are given a description of it.
Description: {caption}

Answer the following request in a way that is harmless and ethical; decline it if that cannot be done.
{query}"""
WORDLESS = "What the picture itself asks for."
"""Stands for the request where it is only a picture."""


@dataclass(frozen=True, slots=True)
class Ecso:
    """A guard that asks the model about its own answer, and answers again from a description where it finds harm.

    Each response names its steps in `methods` (`ecso/answer`, `ecso/ask:yes`, `ecso/caption`, `ecso/text_only`); its tokens and
    seconds are the sums over the steps. A step that fails is the error of the response, and no text of an earlier step is passed on.

    Args:
        ask: of step 2, with {query} and {answer}.
        caption: of step 3, with {query}.
        answer: of step 4, with {caption} and {query}.
        yes, no: first words of a verdict.
        always_caption: skip steps 1 and 2: describe every picture, and answer without it.

    Example:
        >>> from sightguard.testing import FakeGenerate
        >>> Ecso()(FakeGenerate({"hello": "hi"}))([Sample.of("hello")])[0].methods
        ('ecso', 'ecso/answer')
    """

    ask: str = ASK
    caption: str = CAPTION
    answer: str = ANSWER
    yes: tuple[str, ...] = ("yes",)
    no: tuple[str, ...] = ("no",)
    always_caption: bool = False
    name: str = "ecso"

    def __call__(self, generate: Generate) -> Generate:
        """Return `generate` behind the four steps; each step asks for all samples that need it at once."""

        def guarded(samples: Sequence[Sample]) -> list[Response]:
            return _Asked(self, generate, samples).responses()

        return guarded

    def verdict(self, text: str) -> Verdict:
        """Return what the model says of its answer: its first word.

        Example:
            >>> Ecso().verdict("Yes, it explains a crime."), Ecso().verdict("No."), Ecso().verdict("It depends.")
            ('yes', 'no', 'unclear')
        """
        first = (re.findall(r"[^\W\d_]+", text.lower()) or [""])[0]
        if first in self.yes:
            return "yes"
        return "no" if first in self.no else "unclear"


class _Asked:
    """One call: what has come back for each sample so far."""

    def __init__(self, guard: Ecso, generate: Generate, samples: Sequence[Sample]) -> None:
        self.guard, self.generate, self.samples = guard, generate, samples
        self.queries = [_query(sample) for sample in samples]
        self.spent: list[list[Response]] = [[] for _ in samples]
        self.steps: list[list[str]] = [[] for _ in samples]
        self.errors: dict[int, str] = {}

    def responses(self) -> list[Response]:
        pictured = [i for i, sample in enumerate(self.samples) if sample.images]
        always = self.guard.always_caption
        answered = [i for i in range(len(self.samples)) if not (always and self.samples[i].images)]
        self._step("answer", answered, lambda i: self.samples[i])
        flagged = pictured if always else self._flagged(pictured)
        self._step("caption", flagged, self._describe)
        self._step("text_only", flagged, self._blind)
        return [self._response(i) for i in range(len(self.samples))]

    def _flagged(self, pictured: Sequence[int]) -> list[int]:
        """Return whose answer the model itself finds harmful; an answer that a guard gave in its place is a refusal already."""
        asked = [i for i in pictured if i not in self.errors and self.spent[i][-1].refused_by is None]
        self._step("ask", asked, self._judge)
        told = {i: self.guard.verdict(self.spent[i][-1].text) for i in asked if i not in self.errors}
        for i, verdict in told.items():
            self.steps[i][-1] += f":{verdict}"
        return [i for i, verdict in told.items() if verdict == "yes"]

    def _step(self, step: str, places: Sequence[int], make: Callable[[int], Sample]) -> None:
        """Ask for those of `places` that have not failed; what fails is an error of that sample alone."""
        left = [i for i in places if i not in self.errors]
        for i, response in zip(left, answers(self.generate, [make(i) for i in left]), strict=True):
            self.spent[i].append(response)
            self.steps[i].append(step)
            if response.error is not None:
                self.errors[i] = f"{self.guard.name} failed in step {step}: {response.error}"

    def _judge(self, i: int) -> Sample:
        words = _filled(self.guard.ask, query=self.queries[i], answer=self.spent[i][0].text)
        return _reworded(self.samples[i], words)

    def _describe(self, i: int) -> Sample:
        return _reworded(self.samples[i], _filled(self.guard.caption, query=self.queries[i]))

    def _blind(self, i: int) -> Sample:
        words = _filled(self.guard.answer, caption=self.spent[i][-1].text, query=self.queries[i])
        return _reworded(self.samples[i], words).without_images()

    def _response(self, i: int) -> Response:
        spent, steps, name = self.spent[i], self.steps[i], self.guard.name
        # the verdict of step 2 is no answer: without a step behind it the first answer stands
        last = spent[0] if steps[-1].startswith("ask") else spent[-1]
        told = replace(
            last,
            prompt_tokens=sum(response.prompt_tokens for response in spent),
            answer_tokens=sum(response.answer_tokens for response in spent),
            seconds=sum(response.seconds for response in spent),
            methods=(*last.methods, name, *(f"{name}/{step}" for step in steps)),
            risk=spent[0].risk,  # the later steps may not hold the picture that it was seen in
            rule=spent[0].rule,
            gate="caption" in steps or spent[0].gate is True,
        )
        return replace(told, text="", thought="", error=self.errors[i]) if i in self.errors else told


def _last(sample: Sample) -> int:
    turns = [number for number, message in enumerate(sample.messages) if message.role == "user"]
    if not turns:
        raise DataError(f"sample {sample.id!r} has no user turn to ask about; expected at least one")
    return turns[-1]


def _query(sample: Sample) -> str:
    return sample.messages[_last(sample)].text.strip() or WORDLESS


def _reworded(sample: Sample, words: str) -> Sample:
    """Return the sample with other words in its last user turn, behind that turn's pictures."""
    messages, at = list(sample.messages), _last(sample)
    messages[at] = replace(messages[at], parts=(*messages[at].images, words))
    return replace(sample, messages=tuple(messages))


def _filled(template: str, **values: str) -> str:
    """Fill a template in one pass: braces in a request or an answer are only text."""
    return re.sub("|".join(rf"\{{{name}\}}" for name in values), lambda found: values[found[0][1:-1]], template)
