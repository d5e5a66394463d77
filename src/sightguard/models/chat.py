"""Turns samples into the prompt strings that a model was trained on, with the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightguard.errors import DataError, ModelError
from sightguard.types import Message, Sample


def conversation(sample: Sample) -> list[dict[str, Any]]:
    """Return the messages of `sample` in the form that chat templates take, parts in their order."""
    return [{"role": m.role, "content": [_part(p) for p in m.parts]} for m in sample.messages]


def render(processor: Any, samples: Sequence[Sample]) -> list[str]:
    """Return one prompt string per sample, ending where the answer begins.

    Raises:
        ModelError: the processor has no chat template, or its template cannot open an answer.
        DataError: a sample holds no message, or does not end with the user.
    """
    if not getattr(processor, "chat_template", None):
        raise ModelError(
            f"{type(processor).__name__} has no chat template, so it is unknown how this model is spoken to. "
            "Set processor.chat_template to the one that the model was trained with."
        )
    for sample in samples:
        _check(sample)
    texts = [
        processor.apply_chat_template(conversation(s), add_generation_prompt=True, tokenize=False) for s in samples
    ]
    if samples and texts[0] == processor.apply_chat_template(
        conversation(samples[0]), add_generation_prompt=False, tokenize=False
    ):
        raise ModelError(
            "the chat template of this model ignores add_generation_prompt, so the place where the answer begins cannot be found. "
            "Give processor.chat_template a block for `add_generation_prompt` that opens the assistant's turn."
        )
    return texts


def _part(part: Any) -> dict[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


def _check(sample: Sample) -> None:
    if not any(message.parts for message in sample.messages):
        raise DataError(f"sample {sample.id!r} has nothing in it: expected at least one message with text or a picture")
    last: Message = sample.messages[-1]
    if last.role != "user":
        raise DataError(
            f"sample {sample.id!r} ends with a turn of {last.role!r}; the last turn must be the user's, so that there is something to answer"
        )
