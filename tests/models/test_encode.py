from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from sightguard.errors import DataError, ModelError, PictureError
from sightguard.models.chat import conversation, render
from sightguard.models.vlm import VLM
from sightguard.steering.method import text_rows
from sightguard.types import Image, Message, Sample
from tests import tiny


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny.vlm()


def test_prompts_are_padded_on_the_left_and_masked(vlm: VLM) -> None:
    batch = vlm.encode(tiny.samples())
    ids = batch.inputs["input_ids"]
    assert batch.length == ids.shape[1] == max(map(len, batch.rows))
    assert batch.real[:, -1].all()
    assert (batch.real.int().diff(dim=1) >= 0).all(), "padding only on the left"
    assert (ids[~batch.real] == vlm.pad).all()
    # 16 x 16 pixels in pieces of 4 x 4
    assert batch.image.sum(1).tolist() == [16 * len(sample.images) for sample in tiny.samples()]
    assert (ids[batch.image] == vlm.anatomy.image_token_id).all()


def test_a_prompt_is_encoded_alike_alone_and_in_a_batch(vlm: VLM) -> None:
    assert vlm.encode(tiny.samples()).rows == [vlm.encode([sample]).rows[0] for sample in tiny.samples()]


def test_turns_and_parts_keep_their_order() -> None:
    picture = tiny.picture()
    sample = Sample(
        id="x",
        messages=(
            Message("system", ("be kind",)),
            Message("user", ("a", picture, "b")),
            Message("assistant", ("c",)),
            Message("user", (picture,)),
        ),
    )
    text, image = {"type": "text"}, {"type": "image"}
    assert conversation(sample) == [
        {"role": "system", "content": [{**text, "text": "be kind"}]},
        {"role": "user", "content": [{**text, "text": "a"}, image, {**text, "text": "b"}]},
        {"role": "assistant", "content": [{**text, "text": "c"}]},
        {"role": "user", "content": [image]},
    ]
    assert render(tiny.processor(), [sample]) == [
        "system: be kind user: a <image>b assistant: c </s>user: <image>assistant:"
    ]


@pytest.mark.parametrize("template", [tiny.TEMPLATE, "{{ '<s>' }}" + tiny.TEMPLATE])
@pytest.mark.parametrize("images", [(), (tiny.picture(),)])
def test_the_token_that_begins_a_text_is_written_once(template: str, images: tuple[Image, ...]) -> None:
    processor = tiny.processor()
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    processor.chat_template = template
    model = VLM(tiny.llava(), processor)
    sample = Sample.of("hi", *images)
    for row in (model.encode([sample]).rows[0], *text_rows(model, [sample])):
        assert row.count(1) == 1
        assert row[0] == 1


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ((), "sample 's' has nothing in it"),
        ((Message("user", ()),), "sample 's' has nothing in it"),
        ((Message("user", ("a",)), Message("assistant", ("b",))), "sample 's' ends with a turn of 'assistant'"),
        ((Message("system", ("a",)),), "sample 's' ends with a turn of 'system'"),
        ((Message("user", ("see <image> here",)),), "the text of sample 's' holds '<image>'"),
        ((Message("user", ("x" * 600,)),), r"the prompt of sample 's' has 6\d\d tokens; this model takes at most 512"),
    ],
)
def test_a_conversation_that_cannot_be_answered_is_named(vlm: VLM, messages: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        vlm([Sample.of("fine"), Sample(id="s", messages=messages)])


def test_nothing_cannot_be_encoded(vlm: VLM) -> None:
    with pytest.raises(DataError, match="at least one sample"):
        vlm.encode([])


def cut(picture: Image) -> bytes:
    return picture.read()[:-200]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"sample 's': the picture '.*a\.png' does not exist. Check the path"),
        (cut(tiny.picture(size=(64, 64))), r"sample 's': the picture '.*a\.png' is truncated or damaged"),
        (b"not a picture", r"sample 's': the picture '.*a\.png' is not a picture"),
        (b"", r"sample 's': the picture '.*a\.png' is empty"),
    ],
)
def test_a_bad_picture_is_named_with_its_sample(vlm: VLM, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError, match=message):
        vlm([Sample.of("fine", tiny.picture()), Sample.of("what ?", Image(path=path), id="s")])


def test_a_processor_without_template_is_refused() -> None:
    processor = tiny.processor()
    processor.chat_template = None
    with pytest.raises(ModelError, match="LlavaProcessor has no chat template.*Set processor.chat_template"):
        VLM(tiny.llava(), processor)([Sample.of("hi")])


def test_a_template_that_cannot_open_an_answer_is_refused() -> None:
    processor = tiny.processor()
    processor.chat_template = tiny.TEMPLATE.split("{% if add_generation_prompt")[0]
    with pytest.raises(ModelError, match="ignores add_generation_prompt"):
        VLM(tiny.llava(), processor)([Sample.of("hi")])
