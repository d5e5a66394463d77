"""An offline tokenizer for any family, one token per character beside the family's own special tokens, and plain chat templates."""

from __future__ import annotations

import string
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PLAIN = ("<pad>", "<s>", "</s>", "<unk>")


def tokenizer(special: Sequence[str], **named: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer.

    Args:
        special: tokens of the family.
        named: attributes of the tokenizer that the family's processor reads, such as image_token.
    """
    tokens = list(dict.fromkeys([*PLAIN, *special, *named.values(), *string.printable]))
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (*special, *named.values())]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens=named,
        padding_side="left",
    )  # fmt: skip


def template(mark: str) -> str:
    """Return a chat template that writes `mark` where a picture stands."""
    return (
        "{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}" + mark + "{% else %}{{ p['text'] }} {% endif %}{% endfor %}{% endif %}"
        "{% if m['role'] == 'assistant' %}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
