"""Generation: our path against `model.generate` called by hand."""

from __future__ import annotations

import io
from typing import Any

import PIL.Image
import pytest
import torch

from sightguard.errors import DataError, UsageError
from sightguard.models.vlm import VLM
from sightguard.types import Image, Sample
from tests import tiny


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny.vlm()


def by_hand(vlm: VLM, sample: Sample, new: int = 6) -> str:
    """The answer to one sample, as the model card of a LLaVA tells one to get it."""
    messages = [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in message.parts
            ],
        }
        for message in sample.messages
    ]
    text = vlm.processor.apply_chat_template(messages, add_generation_prompt=True)
    pictures = [PIL.Image.open(io.BytesIO(image.read())).convert("RGB") for image in sample.images] or None
    inputs = vlm.processor(text=text, images=pictures, return_tensors="pt")
    with torch.no_grad():
        tokens: Any = vlm.model.generate(**inputs, max_new_tokens=new, do_sample=False)
    return str(vlm.processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_answers_are_those_of_generate_called_by_hand(vlm: VLM, batch: int) -> None:
    expected = [by_hand(vlm, sample) for sample in tiny.samples()]
    assert len(set(expected)) >= 5
    assert [response.text for response in vlm.generate(tiny.samples(), batch=batch)] == expected


def test_answers_come_in_the_order_of_the_samples(vlm: VLM) -> None:
    answers = [response.text for response in vlm.generate(tiny.samples(), batch=2)]
    assert [response.text for response in vlm.generate(tiny.samples()[::-1], batch=3)] == answers[::-1]


def test_a_response_counts_its_tokens_and_says_why_it_ended(vlm: VLM) -> None:
    for sample, response in zip(tiny.samples(), vlm(tiny.samples()), strict=True):
        assert response.prompt_tokens == len(vlm.encode([sample]).rows[0])
        assert response.finish_reason == ("length" if response.answer_tokens == 6 else "stop")
        assert response.seconds > 0
        assert (response.refused_by, response.methods, response.error) == (None, (), None)


def test_an_answer_ends_at_the_end_token_whatever_the_batch_goes_on_with() -> None:
    vlm = tiny.vlm()
    first = vlm.generate(tiny.samples(), max_new_tokens=1)
    ends = [vlm.processor.tokenizer.encode(response.text) for response in first]
    vlm.model.generation_config.eos_token_id = [2, *ends[0]]
    ended = vlm.generate(tiny.samples())
    assert (ended[0].text, ended[0].finish_reason, ended[0].answer_tokens) == ("", "stop", 0)
    assert any(response.text for response in ended)


def test_a_seed_makes_sampling_repeatable_and_leaves_the_global_generator_alone(vlm: VLM) -> None:
    def sampled(seed: int) -> list[str]:
        return [response.text for response in vlm.generate(tiny.samples(), seed=seed, do_sample=True)]

    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = sampled(1)
    assert torch.equal(torch.rand(3), expected)
    assert sampled(1) == first != sampled(2)


def test_no_samples_give_no_answers(vlm: VLM) -> None:
    assert vlm([]) == []


def test_progress_counts_every_sample(vlm: VLM) -> None:
    counts: list[int] = []
    vlm.generate(tiny.samples(), batch=3, progress=counts.append)
    assert counts == [3, 3, 2]


def test_several_sequences_for_one_sample_are_refused(vlm: VLM) -> None:
    with pytest.raises(UsageError, match="one response per sample; num_return_sequences was 2.*guard.on"):
        vlm.generate(tiny.samples(), num_return_sequences=2)


def test_the_same_picture_from_a_file_and_from_bytes_gets_the_same_answer(vlm: VLM, tmp_path: Any) -> None:
    picture = tiny.picture(1)
    (tmp_path / "a.png").write_bytes(picture.read())
    one, two = vlm([Sample.of("what ?", picture), Sample.of("what ?", Image(path=tmp_path / "a.png"))])
    assert one.text == two.text


def test_a_padding_token_is_found_where_the_tokenizer_has_none() -> None:
    processor = tiny.processor()
    assert VLM(tiny.llava(), processor).pad == 0
    processor.tokenizer.pad_token = None
    assert VLM(tiny.llava(), processor).pad == 0


def test_one_prompt_asked_often_is_sampled_anew_in_every_batch(vlm: VLM) -> None:
    asked = [tiny.samples()[0]] * 6
    answers = [response.text for response in vlm.generate(asked, batch=1, seed=1, do_sample=True)]
    assert len(set(answers)) >= 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1; got 0"),
        ({"batch": -1}, "batch must be at least 1; got -1"),
        ({"return_dict_in_generate": True}, "gives responses, not transformers' own output"),
    ],
)
def test_options_that_leave_no_answers_are_refused(vlm: VLM, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        vlm.generate(tiny.samples(), **options)


def test_an_answer_that_ends_at_a_token_of_the_callers_says_so(vlm: VLM) -> None:
    inputs = vlm.encode(tiny.samples()[:1]).inputs
    tokens: Any = vlm.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    written = tokens[0, inputs["input_ids"].shape[1] :].tolist()
    answer = vlm.generate(tiny.samples()[:1], eos_token_id=written[2])[0]
    assert (answer.answer_tokens, answer.finish_reason) == (written.index(written[2]), "stop")


def test_a_template_that_refuses_a_conversation_names_the_sample(vlm: VLM) -> None:
    processor = tiny.processor()
    processor.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match="template of this model refuses sample 'text': roles must alternate"):
        VLM(vlm.model, processor)(tiny.samples()[:1])
