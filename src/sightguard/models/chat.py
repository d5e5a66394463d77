"""Turns samples into the prompt strings that a model was trained on, with the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jinja2.exceptions import TemplateError

from sightguard.errors import DataError, ModelError
from sightguard.types import Image, Message, Sample


def conversation(sample: Sample) -> list[dict[str, Any]]:
    """Return the messages of `sample` in the form that chat templates take, parts in their order."""
    return [{"role": m.role, "content": [_part(p) for p in m.parts]} for m in sample.messages]


def render(processor: Any, samples: Sequence[Sample]) -> list[str]:
    """Return one prompt string per sample, ending where the answer begins.

    Raises:
        ModelError: the processor has no chat template, or its template cannot open an answer.
        DataError: a sample holds no message, does not end with the user, or is refused by the template (turns out of order, say).
    """
    if not getattr(processor, "chat_template", None):
        raise ModelError(
            f"{type(processor).__name__} has no chat template, so it is unknown how this model is spoken to. "
            "Set processor.chat_template to the one that the model was trained with."
        )
    for sample in samples:
        _check(sample)
    texts = [_apply(processor, sample, opens=True) for sample in samples]
    if samples and texts[0] == _apply(processor, samples[0], opens=False):
        raise ModelError(
            "the chat template of this model ignores add_generation_prompt, so the place where the answer begins cannot be found. "
            "Give processor.chat_template a block for `add_generation_prompt` that opens the assistant's turn."
        )
    return texts


def answered(processor: Any, sample: Sample, answer: str) -> str:
    """Return what the chat template writes behind the prompt of `sample` when the assistant has answered: the answer and its end."""
    (prompt,) = render(processor, [sample])
    said = replace(sample, messages=(*sample.messages, Message("assistant", (answer,))))
    whole = _apply(processor, said, opens=False)
    return whole[len(prompt) :] if whole.startswith(prompt) else answer


def image_mark(processor: Any) -> str:
    """Return what the chat template of `processor` writes for a picture, without the white space about it.

    Found by what it adds: one message is rendered with a picture and without.

    Raises:
        ModelError: the template writes nothing for a picture.
    """
    word = "Question"
    bare = _apply(processor, Sample("probe", (Message("user", (word,)),)), opens=True)
    picture = Image(data=b"probe")
    shown = _apply(processor, Sample("probe", (Message("user", (picture, word)),)), opens=True)
    start = _alike(bare, shown)
    end = _alike(bare[start:][::-1], shown[start:][::-1])
    mark = shown[start : len(shown) - end].strip()
    if not mark:
        raise ModelError(
            f"the chat template of {type(processor).__name__} writes nothing for a picture, so nothing can be put before it. "
            "Set processor.chat_template to the one that the model was trained with."
        )
    return mark


def _alike(left: str, right: str) -> int:
    """Return how many characters two texts share at their beginning."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _apply(processor: Any, sample: Sample, *, opens: bool) -> str:
    try:
        text: str = processor.apply_chat_template(conversation(sample), add_generation_prompt=opens, tokenize=False)
    except TemplateError as error:
        raise DataError(
            f"the chat template of this model refuses sample {sample.id!r}: {error}", sample=sample.id
        ) from error
    return text


def _part(part: Any) -> dict[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


def _check(sample: Sample) -> None:
    if not any(message.parts for message in sample.messages):
        raise DataError(
            f"sample {sample.id!r} has nothing in it: expected at least one message with text or a picture",
            sample=sample.id,
        )
    last: Message = sample.messages[-1]
    if last.role != "user":
        raise DataError(
            f"sample {sample.id!r} ends with a turn of {last.role!r}; the last turn must be the user's, so that there is something to answer",
            sample=sample.id,
        )
