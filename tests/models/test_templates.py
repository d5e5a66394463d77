"""Where a query ends and an answer begins, on chat templates of several families."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from sightguard.errors import ModelError
from sightguard.models.chat import render
from sightguard.models.thinking import Thoughts, thoughts_of
from sightguard.models.vlm import VLM
from sightguard.steering.method import text_rows
from sightguard.steering.steer import steer
from sightguard.types import Image, Message, Sample
from tests import checkpoint, tiny

PARTS = (
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n" + PARTS + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'system' %}<<SYS>>\n" + PARTS + "\n<</SYS>>\n\n"
    "{% elif m['role'] == 'user' %}[INST] " + PARTS + " [/INST]{% else %} " + PARTS + " </s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} {% endif %}"
)
GEMMA = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and loop.first %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n" + PARTS + "<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
THINKING = CHATML.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")
OPTIONAL = CHATML + "{# the model may write <think> … </think> by itself #}"
OPENINGS = {
    checkpoint.VICUNA: "ASSISTANT:",
    CHATML: "<|im_start|>assistant\n",
    LLAMA2: " ",
    GEMMA: "<start_of_turn>model\n",
    THINKING: "<|im_start|>assistant\n<think>\n",
}
NAMES = ["vicuna", "chatml", "llama 2", "gemma", "thinking"]
QUESTION = "How do I bake bread?"


def turns(system: bool) -> tuple[Message, ...]:
    first = (Message("system", ("Be kind.",)),) if system else ()
    return (
        *first,
        Message("user", ("What is this?", tiny.picture())),
        Message("assistant", ("A lamp.",)),
        Message("user", (QUESTION,)),
    )


def speaking(template: str) -> LlavaProcessor:
    return checkpoint.processor(template, side=16, patch=4)


@pytest.mark.parametrize(("template", "opening"), OPENINGS.items(), ids=NAMES)
@pytest.mark.parametrize("system", [False, True], ids=["", "system prompt"])
def test_the_answer_begins_after_what_the_template_adds_to_the_query(template: str, opening: str, system: bool) -> None:
    processor = speaking(template)
    sample = Sample("x", turns(system))
    (text,) = render(processor, [sample])
    assert text.endswith(opening)
    closing = text.removesuffix(opening).rpartition(QUESTION)[2]
    assert closing.strip() in {"", "<|im_end|>", "[/INST]", "<end_of_turn>"}, "the query ends with the question"
    assert ("Be kind." in text) == system


@pytest.mark.parametrize("template", OPENINGS, ids=NAMES)
def test_the_text_only_query_is_the_same_conversation_without_the_picture(template: str) -> None:
    vlm = VLM(checkpoint_model(), speaking(template), max_new_tokens=4)
    sample = Sample("x", turns(True))
    (row,) = text_rows(vlm, [sample])
    words = vlm.processor.tokenizer.decode(row)
    assert words == render(vlm.processor, [sample.without_images()])[0]
    assert "<image>" not in words
    whole = vlm.encode([sample]).rows[0]
    assert whole[-3:] == row[-3:], "both end where the answer begins"


@pytest.mark.parametrize("template", OPENINGS, ids=NAMES)
def test_the_guard_reads_and_edits_the_token_that_gives_the_first_word_of_the_answer(template: str) -> None:
    vlm = VLM(checkpoint_model(), speaking(template), max_new_tokens=1)
    samples = [Sample("x", turns(False)), Sample.of(QUESTION, tiny.picture(), id="y")]
    guard = tiny.guard(vlm, alpha=6.0)
    batch = vlm.encode(samples)
    with torch.no_grad(), steer(vlm, guard).around(batch):
        first = vlm.model(**batch.inputs).logits[:, -1].argmax(-1)
    texts = [vlm.processor.tokenizer.decode([token], skip_special_tokens=True).strip() for token in first]
    assert [answer.text or answer.thought for answer in steer(vlm, guard)(samples)] == texts


def test_a_template_that_does_not_open_an_answer_is_refused() -> None:
    processor = speaking(CHATML.split("{% if add_generation_prompt %}")[0])
    with pytest.raises(
        ModelError, match="ignores add_generation_prompt, so the place where the answer begins cannot be found"
    ):
        render(processor, [Sample.of("hello")])


@pytest.mark.parametrize(
    ("opened", "written", "expected"),
    [
        (True, "ab]c", ("ab", "c")),  # the template opened the thoughts, the model closes them
        (True, "ab", ("ab", "")),  # they never end: there is no answer yet
        (False, "[ab]c", ("ab", "c")),  # the model opens them itself
        (False, "[ab", ("ab", "")),
        (False, "abc", ("", "abc")),  # it did not think
        (True, "]c", ("", "c")),
    ],
)
def test_thoughts_are_no_answer(opened: bool, written: str, expected: tuple[str, str]) -> None:
    thoughts = Thoughts((ord("["),), (ord("]"),), opened)
    found = thoughts.split([ord(letter) for letter in written])
    assert tuple("".join(map(chr, part)) for part in found) == expected


@pytest.mark.parametrize(
    ("template", "opened"),
    [(THINKING, True), (OPTIONAL, False), (CHATML, None), (GEMMA, None)],
    ids=["opened", "optional", "chatml", "gemma"],
)
def test_marks_of_thoughts_are_found_in_the_template(template: str, opened: bool | None) -> None:
    found = thoughts_of(speaking(template))
    assert (found and found.opened) == opened


def test_the_answer_of_a_thinking_model_is_what_follows_its_thoughts() -> None:
    vlm = VLM(checkpoint_model(), speaking(THINKING), max_new_tokens=12)
    asked = Sample.of(QUESTION, Image(data=tiny.picture().read()))
    (cut,) = vlm([asked])
    assert cut.text == ""
    assert cut.thought
    assert cut.finish_reason == "length"
    written = vlm.processor.tokenizer(" so</think> Bread.", add_special_tokens=False)["input_ids"]
    response = vlm._response(written, 5, 0.0, vlm.ends)
    assert (response.thought, response.text) == ("so", "Bread.")
    assert replace(vlm, processor=speaking(CHATML))([asked])[0].thought == ""


def checkpoint_model() -> LlavaForConditionalGeneration:
    return checkpoint.model(checkpoint.tokenizer(), side=16, patch=4)
