from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from sightguard.errors import LayoutNotFound, NoVision, UnknownName
from sightguard.models.anatomy import find_anatomy, unwrap
from sightguard.models.vlm import VLM
from tests import tiny


@pytest.mark.parametrize("shape", tiny.SHAPES)
def test_the_parts_of_a_llava_are_its_own_modules(shape: str) -> None:
    model = tiny.llava(**tiny.SHAPES[shape])
    anatomy, inner = find_anatomy(model), model.model
    assert anatomy.decoder is inner.language_model
    assert anatomy.blocks is inner.language_model.layers
    assert anatomy.norm is inner.language_model.norm
    assert anatomy.head is model.lm_head
    assert anatomy.embeddings is inner.language_model.embed_tokens
    assert anatomy.vision is inner.vision_tower
    assert anatomy.projector is inner.multi_modal_projector
    sizes = (tiny.SHAPES[shape]["hidden"], tiny.SHAPES[shape]["layers"], 4)
    assert (anatomy.hidden_size, anatomy.depth, anatomy.image_token_id) == sizes


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_parts_are_found_inside_a_peft_model() -> None:
    model = tiny.llava()
    wrapped = get_peft_model(model, LoraConfig(target_modules=["q_proj"], r=2))
    assert unwrap(wrapped) is model
    assert find_anatomy(wrapped).blocks is model.model.language_model.layers


def test_a_text_only_model_has_no_vision() -> None:
    config = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(NoVision, match="LlamaForCausalLM has no vision part: no image encoder .* for example a LLaVA"):
        find_anatomy(LlamaForCausalLM(config))


def test_what_is_no_transformers_model_is_said_so() -> None:
    with pytest.raises(LayoutNotFound, match="Linear is no transformers model"):
        find_anatomy(nn.Linear(2, 2))


def lose_projector(model: Any) -> None:
    model.model.bridge = model.model.multi_modal_projector
    del model.model.multi_modal_projector


def lose_norm(model: Any) -> None:
    model.model.language_model.last = model.model.language_model.norm
    del model.model.language_model.norm


def lose_block(model: Any) -> None:
    del model.model.language_model.layers[-1]


def hide_blocks(model: Any) -> None:
    blocks = model.model.language_model.layers
    del model.model.language_model.layers
    model.model.language_model.layers = nn.Sequential(*blocks)


def forget_token(model: Any) -> None:
    model.config.image_token_id = None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lose_projector,
            LayoutNotFound,
            "no projector found in Llava.*Looked for: multi_modal_projector.*there: .*bridge",
        ),
        (lose_norm, LayoutNotFound, "no 'norm' in the decoder LlamaModel of Llava.*Modules there: .*last"),
        (lose_block, LayoutNotFound, "says 4 decoder blocks; its decoder has 3"),
        (hide_blocks, LayoutNotFound, "says 4 decoder blocks; its decoder has Sequential"),
        (forget_token, NoVision, "names no image_token_id"),
    ],
)
def test_an_odd_layout_is_named(change: Any, error: type[Exception], message: str) -> None:
    model = tiny.llava()
    change(model)
    with pytest.raises(error, match=message):
        find_anatomy(model)


def test_layers_come_back_sorted_and_once() -> None:
    anatomy = find_anatomy(tiny.llava())
    assert anatomy.check_layers([3, 0, 3]) == (0, 3)
    with pytest.raises(UnknownName, match="no layer '4'. Known: 0, 1, 2, 3. Layer l is the output"):
        anatomy.check_layers([4])


def test_the_model_is_not_changed_by_being_looked_at() -> None:
    model = tiny.llava()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    VLM(model, tiny.processor())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
