"""Each test of the families finds the fault that it is there to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sightguard.models import encode as encoding
from sightguard.models import text
from sightguard.models.encode import Batch
from sightguard.models.vlm import VLM
from sightguard.steering import method
from sightguard.types import Sample
from tests.families import test_families as families

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of processors of transformers

NAMES = ("llava", "qwen2_vl", "gemma3")


class Changed(VLM):
    """A model whose encoded batches are changed."""

    change: Callable[[Batch], Batch]

    def encode(self, samples: Sequence[Sample]) -> Batch:
        return type(self).change(super().encode(samples))


def changed(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> VLM:
    vlm = families.loaded(name)
    kind = type(
        "Kind", (Changed,), {"change": staticmethod(lambda batch: replace(batch, inputs=change(dict(batch.inputs))))}
    )
    found: VLM = kind(vlm.model, vlm.processor, max_new_tokens=6)
    return found


def layers_off_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> VLM:
    vlm = VLM(families.loaded(name).model, families.loaded(name).processor)
    blocks = list(vlm.anatomy.blocks)
    object.__setattr__(vlm, "anatomy", replace(vlm.anatomy, blocks=nn.ModuleList([*blocks[1:], blocks[0]])))
    return vlm


def padding_that_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> VLM:
    return changed(name, lambda inputs: {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])})


def pictures_that_are_not_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> VLM:
    def blank(inputs: dict[str, Any]) -> dict[str, Any]:
        return {key: value * 0 if key == "pixel_values" else value for key, value in inputs.items()}

    return changed(name, blank)


def text_with_other_tokens(name: str, monkeypatch: pytest.MonkeyPatch) -> VLM:
    plain = method.text_rows
    monkeypatch.setattr(families, "text_rows", lambda *args: [row[1:] for row in plain(*args)])
    return families.loaded(name)


def tokens_that_only_text_has(name: str, monkeypatch: pytest.MonkeyPatch) -> VLM:
    plain = text.text_rows
    monkeypatch.setattr(encoding, "text_rows", lambda *args: [[*row, 5] for row in plain(*args)])
    return families.loaded(name)


FAULTS: list[tuple[Callable[[str], None], Callable[[str, pytest.MonkeyPatch], VLM]]] = [
    (families.test_states_are_those_of_transformers, layers_off_by_one),
    (families.test_the_decoder_alone_reads_text_as_the_whole_model_does, text_with_other_tokens),
    (families.test_the_picture_is_seen, pictures_that_are_not_seen),
    (families.test_a_prompt_has_the_same_tokens_alone_and_beside_others, tokens_that_only_text_has),
    (families.test_a_batch_is_read_as_one_by_one, padding_that_is_seen),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("check", "fault"), FAULTS, ids=lambda part: part.__name__)
def test_the_fault_is_found(
    check: Callable[[str], None],
    fault: Callable[[str, pytest.MonkeyPatch], VLM],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty = fault(name, monkeypatch)
    monkeypatch.setattr(families, "loaded", lambda _: faulty)
    with pytest.raises(AssertionError):
        check(name)
