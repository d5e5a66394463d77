"""Where safety tokens stand, in prompts of several templates, and that nobody can write them."""

from __future__ import annotations

import pytest

from sightguard.errors import DataError, ModelError
from sightguard.models.chat import image_mark, render
from sightguard.models.vlm import VLM
from sightguard.safevlm.tokens import names, refuse_signs, with_tokens
from sightguard.types import Message, Sample
from tests import tiny
from tests.models.test_templates import CHATML, GEMMA, THINKING

FIRST = (
    "{% for m in messages %}{{ m['role'] }}: {% for p in m['content'] if p['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}{% if m['role'] == 'assistant' %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}\n"
)
"""As LLaVA's own: every picture of a turn before its words, and a line end at the very end, which Jinja drops."""
TEMPLATES = {"tiny": tiny.TEMPLATE, "pictures first": FIRST, "ChatML": CHATML, "Gemma": GEMMA, "thinking": THINKING}


def two(template: str) -> tuple[VLM, VLM, int]:
    processor = tiny.processor()
    processor.chat_template = template
    plain = VLM(tiny.llava(), processor)
    placed, first = with_tokens(processor, 3)
    return plain, VLM(plain.model, placed), first


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_tokens_stand_before_every_picture_and_nowhere_else(template: str) -> None:
    plain, speaking, first = two(template)
    ours = list(range(first, first + 3))
    for sample in tiny.samples():
        before, after = plain.encode([sample]).rows[0], speaking.encode([sample]).rows[0]
        assert tuple(token for token in after if token not in ours) == before, "only safety tokens are added"
        places = [i for i, token in enumerate(after) if token == first]
        assert len(places) == len(sample.images)
        for place in places:
            assert list(after[place : place + 3]) == ours
            assert after[place + 3] == plain.anatomy.image_token_id


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_the_plain_processor_is_left_as_it_is(template: str) -> None:
    plain, _, first = two(template)
    assert plain.processor.chat_template == template
    assert len(plain.processor.tokenizer) == first
    assert image_mark(plain.processor) == "<image>"
    text = "what is this ?"
    assert "safety" not in render(plain.processor, [Sample.of(text, tiny.picture())])[0]


def test_batches_with_and_without_pictures_and_of_several_turns_mix() -> None:
    plain, speaking, first = two(tiny.TEMPLATE)
    batch = speaking.encode(tiny.samples())
    alone = [speaking.encode([sample]).rows[0] for sample in tiny.samples()]
    assert batch.rows == alone
    counts = [sum(token == first for token in row) for row in batch.rows]
    assert counts == [len(sample.images) for sample in tiny.samples()]
    assert plain.anatomy.image_token_id not in range(first, first + 3)


def test_a_user_cannot_write_one() -> None:
    sample = Sample("mine", (Message("user", (f"look {names(2)[1]} here",)),))
    with pytest.raises(
        DataError, match=r"the text of sample 'mine' holds '<\|safety_1\|>', which stands for a safety token"
    ):
        refuse_signs([sample])


def test_a_template_that_writes_nothing_for_a_picture_is_refused() -> None:
    processor = tiny.processor()
    processor.chat_template = (
        "{% for m in messages %}{{ m['role'] }}{% endfor %}{% if add_generation_prompt %}:{% endif %}"
    )
    with pytest.raises(ModelError, match="writes nothing for a picture"):
        with_tokens(processor, 2)
    processor.chat_template = None
    with pytest.raises(ModelError, match="has no chat template, or several"):
        with_tokens(processor, 2)
