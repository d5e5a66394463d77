"""Rows and adapters that are added while a model runs, against transformers' resized embeddings and peft's LoRA."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from sightguard.errors import ArtifactError
from sightguard.models.additions import Adapter, adapted, extra_rows
from sightguard.models.vlm import VLM
from tests import tiny

SHAPES = {"plain": {}, **tiny.SHAPES}


def prompt(vlm: VLM, first: int, count: int) -> dict[str, Any]:
    """Two prompts, one with a picture, both with the new ids in the midst of the text."""
    batch = vlm.encode([sample for sample in tiny.samples() if sample.id in ("picture", "short")])
    ids = batch.inputs["input_ids"].clone()
    ids[:, -3 - count : -3] = torch.arange(first, first + count)
    return {**batch.inputs, "input_ids": ids}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_added_rows_are_what_a_resized_embedding_would_read(shape: dict[str, Any]) -> None:
    vlm = tiny.vlm(**shape)
    torch.manual_seed(0)
    rows = torch.randn(4, vlm.anatomy.hidden_size)
    before = copy.deepcopy(vlm.model.state_dict())
    resized = copy.deepcopy(vlm.model)
    resized.resize_token_embeddings(116, mean_resizing=False)
    with torch.no_grad():
        resized.get_input_embeddings().weight[112:] = rows
    inputs = prompt(vlm, 112, 4)
    with torch.no_grad(), extra_rows(vlm.anatomy, 112, rows):
        found = vlm.model(**inputs).logits
    with torch.no_grad():
        expected = resized(**inputs).logits
        plain = vlm.model(**{**inputs, "input_ids": inputs["input_ids"].clamp(max=111)}).logits
    torch.testing.assert_close(found[..., :112], expected[..., :112], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain, expected[..., :112], atol=1e-2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vlm.model.state_dict().items())


def test_an_added_id_has_probability_zero_where_an_unused_row_has_not() -> None:
    """What the papers' neighbours do, a copy of an unused token's row, leaves a chance at high temperature; this leaves none."""
    vlm = tiny.vlm()
    rows = torch.zeros(8, vlm.anatomy.hidden_size)
    unused = copy.deepcopy(vlm.model)
    unused.resize_token_embeddings(120, mean_resizing=False)
    with torch.no_grad():
        head = unused.get_output_embeddings().weight
        head[112:] = head[3]  # <unk>, which no text holds
    inputs = vlm.encode(tiny.samples()[:4]).inputs
    options = {"do_sample": True, "temperature": 20.0, "top_k": 0, "max_new_tokens": 60, "min_new_tokens": 60}
    torch.manual_seed(0)
    with extra_rows(vlm.anatomy, 112, rows):
        ours = vlm.model.generate(**inputs, **options, num_return_sequences=4)
    torch.manual_seed(0)
    theirs = unused.generate(**inputs, **options, num_return_sequences=4)
    length = inputs["input_ids"].shape[1]
    assert int((theirs[:, length:] >= 112).sum()) > 10
    assert int((ours[:, length:] >= 112).sum()) == 0


def test_ids_inside_a_roomy_vocabulary_are_silenced_too() -> None:
    vlm = tiny.vlm()
    rows = torch.zeros(3, vlm.anatomy.hidden_size)
    inputs = vlm.encode(tiny.samples()[:2]).inputs
    with torch.no_grad(), extra_rows(vlm.anatomy, 100, rows):
        found = vlm.model(**inputs).logits
    with torch.no_grad():
        plain = vlm.model(**inputs).logits
    assert float(found[..., 100:103].softmax(-1).max()) >= 0
    assert float(found.softmax(-1)[..., 100:103].max()) == 0
    assert torch.equal(found[..., :100], plain[..., :100])
    assert torch.equal(found[..., 103:], plain[..., 103:])


@pytest.mark.parametrize("penalty", [1.3, 1.0])
def test_processors_that_look_up_prompt_ids_in_the_logits_work(penalty: float) -> None:
    vlm = tiny.vlm()
    rows = torch.randn(4, vlm.anatomy.hidden_size)
    inputs = prompt(vlm, 112, 4)
    with extra_rows(vlm.anatomy, 112, rows):
        found = vlm.model.generate(**inputs, max_new_tokens=5, do_sample=False, num_beams=3, repetition_penalty=penalty)
    assert int(found[:, inputs["input_ids"].shape[1] :].max()) < 112


def test_gradients_reach_the_rows_and_nothing_else() -> None:
    vlm = tiny.vlm()
    vlm.model.requires_grad_(False)
    rows = torch.nn.Parameter(torch.randn(4, vlm.anatomy.hidden_size))
    with extra_rows(vlm.anatomy, 112, rows):
        vlm.model(**prompt(vlm, 112, 4)).logits[..., :112].square().mean().backward()
    assert rows.grad is not None
    assert bool((rows.grad.abs().sum(1) > 0).all())
    assert all(parameter.grad is None for parameter in vlm.model.parameters())


def test_an_adapter_gives_what_peft_gives() -> None:
    vlm = tiny.vlm()
    inputs = vlm.encode(tiny.samples()).inputs
    with torch.no_grad():
        plain = vlm.model(**inputs).logits
    config = LoraConfig(r=3, lora_alpha=12, target_modules=["q_proj", "down_proj"])
    with pytest.warns(FutureWarning):
        peft: Any = get_peft_model(copy.deepcopy(vlm.model), config)
    torch.manual_seed(0)
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in peft.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
            torch.nn.init.normal_(b, std=0.1)
            layers[name] = (a.detach(), b.detach())
    with torch.no_grad():
        expected = peft(**inputs).logits
    with torch.no_grad(), adapted(vlm.model, Adapter(layers, scale=4.0)):
        found = vlm.model(**inputs).logits
    with torch.no_grad():
        after = vlm.model(**inputs).logits
    assert not torch.allclose(plain, expected, atol=1e-2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(plain, after)


def test_no_hook_is_left_after_success_or_error() -> None:
    vlm = tiny.vlm()
    vlm(tiny.samples()[:1])
    before = tiny.hooks(vlm.model)
    rows = torch.zeros(2, vlm.anatomy.hidden_size)

    def interrupted() -> None:
        with extra_rows(vlm.anatomy, 112, rows):
            assert tiny.hooks(vlm.model) > before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert tiny.hooks(vlm.model) == before


def test_an_adapter_for_a_layer_that_is_not_there_is_refused() -> None:
    vlm = tiny.vlm()
    gone = Adapter({"model.language_model.layers.9.q": (torch.zeros(1, 1), torch.zeros(1, 1))}, 1.0)
    message = r"changes 'model\.language_model\.layers\.9\.q', and LlavaForCond.* has no"
    with pytest.raises(ArtifactError, match=message), adapted(vlm.model, gone):
        pass
