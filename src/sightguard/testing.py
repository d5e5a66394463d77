"""Public fakes, for tests here and in code that builds on Sightguard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sightguard.errors import UsageError
from sightguard.types import Response, Sample


class FakeGenerate:
    """A `Generate` without a model: it answers from a table or a function, and remembers what it was asked.

    Example:
        >>> fake = FakeGenerate({"hello": "hi"})
        >>> [response.text for response in fake([Sample.of("hello")])]
        ['hi']
        >>> fake.samples[0].text
        'hello'

    Args:
        answers: Answer by text of the sample (`Sample.text`), or a function of the sample.
    """

    def __init__(self, answers: Mapping[str, str] | Callable[[Sample], str]) -> None:
        self._answers = answers
        self.calls: list[tuple[Sample, ...]] = []

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every sample asked so far, in order, over all calls."""
        return tuple(sample for call in self.calls for sample in call)

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        self.calls.append(tuple(samples))
        return [self._respond(sample) for sample in samples]

    def _respond(self, sample: Sample) -> Response:
        text = self._answers(sample) if callable(self._answers) else self._look_up(self._answers, sample)
        return Response(text=text, prompt_tokens=len(sample.text.split()), answer_tokens=len(text.split()))

    @staticmethod
    def _look_up(answers: Mapping[str, str], sample: Sample) -> str:
        if sample.text not in answers:
            raise UsageError(
                f"the fake has no answer for {sample.text!r} (sample {sample.id!r}). Known: {sorted(answers)}"
            )
        return answers[sample.text]
