"""Safety tokens in the prompt: new token ids that the chat template writes before every picture.

Where they go: `count` of them before each picture, wherever pictures stand; a prompt without a picture holds none. They are part of
the prompt like any words, so generation, caching, batching and positions need nothing special, and the processor alone places
them. What they mean, the rows of the embedding, is added while the model runs (`sightguard.models.additions.extra_rows`); the
model has no output for them at all.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from sightguard.errors import DataError, ModelError
from sightguard.models.chat import image_mark
from sightguard.types import Sample

_SIGN = re.compile(r"<\|safety_\d+\|>")


def names(count: int) -> list[str]:
    """Return the tokens as they are written."""
    return [f"<|safety_{i}|>" for i in range(count)]


def with_tokens(processor: Any, count: int) -> tuple[Any, int]:
    """Return a copy of `processor` whose chat template writes `count` safety tokens before each picture, and the first of their ids.

    Raises:
        ModelError: the processor has no single chat template, or the template writes nothing for a picture.
    """
    from tokenizers import AddedToken

    if not isinstance(getattr(processor, "chat_template", None), str):
        raise ModelError(
            f"{type(processor).__name__} has no chat template, or several: safety tokens are placed by the one that the model is spoken "
            "to with. Set processor.chat_template to it."
        )
    placed = copy.deepcopy(processor)
    written = names(count)
    placed.tokenizer.add_tokens(
        [AddedToken(name, special=True, normalized=False) for name in written], special_tokens=True
    )
    ids = placed.tokenizer.convert_tokens_to_ids(written)
    if ids != list(range(ids[0], ids[0] + count)):
        raise ModelError(f"the tokenizer of this model gave the safety tokens ids out of order: {ids[:4]} …")
    mark = image_mark(processor)
    placed.chat_template = _wrapped(processor.chat_template, mark, "".join(written) + mark)
    return placed, int(ids[0])


def refuse_signs(samples: Sequence[Sample]) -> None:
    """Raise DataError where a text holds the sign of a safety token, which a user may not write."""
    for sample in samples:
        if found := _SIGN.search(sample.text):
            raise DataError(
                f"the text of sample {sample.id!r} holds {found.group()!r}, which stands for a safety token. Take it out of the text."
            )


def _wrapped(template: str, mark: str, replacement: str) -> str:
    """Return a template that renders `template` and then replaces each `mark`."""
    inner = template.removesuffix("\n")  # which Jinja would have dropped itself
    return (
        f"{{% set sightguard_prompt %}}{inner}{{% endset %}}"
        f"{{{{ sightguard_prompt | replace({_quoted(mark)}, {_quoted(replacement)}) }}}}"
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
