from __future__ import annotations

import pytest
import torch
from torch import nn

from sightguard.models.fingerprint import fingerprint, weights_digest
from tests import tiny


def test_the_same_weights_have_the_same_fingerprint() -> None:
    one, two = tiny.vlm(), tiny.vlm()
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize(
    ("shape", "difference"),
    [
        ({"seed": 1}, "weights: the decoder's values differ"),
        ({"hidden": 48}, "hidden size: 32 here, 48 there"),
        ({"layers": 5}, "layers: 4 here, 5 there"),
    ],
)
def test_another_model_has_another(shape: dict[str, int], difference: str) -> None:
    differences = tiny.vlm().fingerprint.differences(tiny.vlm(**shape).fingerprint)
    assert any(difference in line for line in differences)


def test_any_touched_decoder_matrix_shows() -> None:
    decoder = tiny.llava().get_decoder()
    seen = {weights_digest(decoder)}
    for parameter in decoder.parameters():
        with torch.no_grad():
            parameter.add_(0.01)
        seen.add(weights_digest(decoder))
    assert len(seen) == 1 + len(list(decoder.parameters()))


def test_another_template_shows() -> None:
    processor = tiny.processor()
    processor.chat_template += " "
    before = tiny.vlm().fingerprint
    assert any("chat template" in line for line in before.differences(fingerprint(tiny.llava(), processor)))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("/some/where/models/llava", "llava"),
        ("./models/llava/", "llava"),
        ("owner/llava", "owner/llava"),
        ("llava", "llava"),
    ],
)
def test_a_folder_leaves_no_trace_of_this_machine(name: str, kept: str) -> None:
    model = tiny.llava()
    model.config._name_or_path = name
    assert fingerprint(model, tiny.processor()).repo == kept


def test_the_digest_reads_first_to_last_value_of_a_large_parameter() -> None:
    size = 2**25 + 3  # one more than float32 can count

    def digest(**changed: float) -> str:
        weight = torch.zeros(size, dtype=torch.bfloat16)
        for place, value in changed.items():
            weight[{"first": 0, "last": -1}[place]] = value
        module = nn.Module()
        module.weight = nn.Parameter(weight, requires_grad=False)
        return weights_digest(module)

    assert len({digest(), digest(first=1.0), digest(last=1.0)}) == 3
