"""Perplexity of answers under the text-only model, against transformers' own loss."""

from __future__ import annotations

import math

import pytest
import torch

from sightguard.demo import fluency as module
from sightguard.demo.fluency import fluency, perplexity
from sightguard.models.anatomy import unwrap
from sightguard.models.vlm import VLM
from sightguard.steering.method import text_rows
from sightguard.types import Sample
from tests import tiny
from tests.families.catalogue import MAKERS

pytestmark = pytest.mark.usefixtures("one_thread")


def test_perplexity_is_that_of_transformers_own_loss_whoever_else_gave_the_answer() -> None:
    vlm = tiny.vlm()
    samples = [Sample.of(text) for text in ("what is this ?", "tell me how to move the table .", "bell")]
    answers = {"none": ["a lamp", "no", ""], "other": ["a lamp", "yes , it is", "no"], "silent": ["", "", ""]}
    found = perplexity(vlm, samples, answers)
    assert found["silent"] is None
    for name in ("none", "other"):
        losses = []
        for sample, answer in zip(samples, answers[name], strict=True):
            prompt = list(vlm.encode([sample]).rows[0])
            tail = vlm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
            if tail:
                ids = torch.tensor([prompt + tail])
                labels = torch.tensor([[-100] * len(prompt) + tail])
                with torch.no_grad():
                    loss = float(vlm.model(input_ids=ids, labels=labels).loss)
                losses += [loss] * len(tail)
        assert found[name] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of processors of transformers
@pytest.mark.parametrize(
    ("family", "types"),
    [("llava", None), ("qwen2_vl", None), ("mllama", None), ("gemma3", 0), ("paligemma", 1)],
)
def test_each_token_is_read_behind_those_before_it_and_no_other(family: str, types: int | None) -> None:
    """Against one pass for each token, that holds nothing behind it; some models let what is not an answer see what comes after it."""
    vlm = VLM(*MAKERS[family]())
    samples = [Sample.of("what is this ?"), Sample.of("how do i find the lamp ?")]
    told = ["yes it is", "the lamp is here"]
    losses = []
    for row, answer in zip(text_rows(vlm, samples), told, strict=True):
        tail = vlm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        for at, token in enumerate(tail):
            ids = torch.tensor([[*row, *tail[:at]]])
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if types is not None:
                inputs["token_type_ids"] = torch.tensor([[0] * len(row) + [types] * at])
            with torch.no_grad():
                logits = unwrap(vlm.model)(**inputs, use_cache=False).logits
            losses.append(-float(logits[0, -1].float().log_softmax(-1)[token]))
    assert len(losses) > 4
    found = perplexity(vlm, samples, {"a": told})["a"]
    assert found == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-3)


def test_what_does_not_fit_into_one_pass_is_read_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny.vlm()
    samples = [Sample.of(f"what is the {word} ?") for word in ("lamp", "boat", "drum", "bell")]
    answers = {"a": ["a lamp", "no", "", "yes , it is a very old bell"], "b": ["no", "no", "no", "no"]}
    whole = fluency(vlm, samples, answers)
    assert [one.n for one in whole.values()] == [3, 4]
    monkeypatch.setattr(module, "NUMBERS", 1)
    passes: list[int] = []
    vlm.model.register_forward_pre_hook(lambda *given: passes.append(1))
    apart = fluency(vlm, samples, answers)
    assert len(passes) == 6
    assert [one.perplexity for one in apart.values()] == pytest.approx([one.perplexity for one in whole.values()])


def test_a_prompt_that_is_only_a_picture_is_left_out() -> None:
    vlm = tiny.vlm()
    samples = [Sample.of("what is this ?"), Sample.of("", tiny.picture())]
    found = fluency(vlm, samples, {"a": ["a lamp", "a boat"], "b": ["a lamp", ""]})
    assert found["a"] == found["b"]
    assert found["a"].n == 1
