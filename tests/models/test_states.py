"""Our states against transformers' own."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from sightguard.errors import DataError, LayoutNotFound, UnknownName
from sightguard.models.hooks import early_states, recording
from sightguard.models.states import prompt_states, text_states
from sightguard.models.vlm import VLM
from sightguard.steering.activations import capture
from sightguard.steering.method import text_rows
from sightguard.types import Sample
from tests import tiny

close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", params=tiny.SHAPES)
def vlm(request: pytest.FixtureRequest) -> VLM:
    return tiny.vlm(**tiny.SHAPES[request.param])


def test_prompt_states_are_the_hidden_states_of_transformers(vlm: VLM) -> None:
    samples, depth = tiny.samples(), vlm.anatomy.depth
    ours = prompt_states(vlm, samples, range(depth), batch=3)
    assert len({tuple(state) for state in ours[0].tolist()}) >= 5
    for i, sample in enumerate(samples):
        with torch.no_grad():
            theirs = vlm.model(**vlm.encode([sample]).inputs, output_hidden_states=True).hidden_states
        for layer in range(depth - 1):
            close(ours[layer, i], theirs[layer + 1][0, -1])
        # transformers' last entry comes after the final norm
        with torch.no_grad():
            close(vlm.anatomy.norm(ours[-1, i]), theirs[-1][0, -1])
        assert not torch.allclose(ours[-1, i], theirs[-1][0, -1], atol=1e-2)


def test_the_last_state_gives_the_first_token_of_the_answer(vlm: VLM) -> None:
    samples = tiny.samples()
    with torch.no_grad():
        logits = vlm.anatomy.head(vlm.anatomy.norm(prompt_states(vlm, samples, [vlm.anatomy.depth - 1])[0]))
    inputs = vlm.encode(samples)
    first = vlm.model.generate(**inputs.inputs, max_new_tokens=1, do_sample=False, suppress_tokens=None)[:, -1]
    assert logits.argmax(1).tolist() == first.tolist()


def test_text_states_are_those_of_the_whole_model_on_text(vlm: VLM) -> None:
    samples = [sample.without_images() for sample in tiny.samples()]
    depth = vlm.anatomy.depth
    rows = text_rows(vlm, samples)
    ours = text_states(vlm.anatomy, rows, range(depth), pad=vlm.pad, batch=3)
    close(ours, prompt_states(vlm, samples, range(depth), batch=2))
    for i, row in enumerate(rows):
        with torch.no_grad():
            theirs = vlm.model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states
        close(ours[:-1, i], torch.stack([state[0, -1] for state in theirs[1:-1]]))


def test_a_prompt_has_the_same_states_alone_and_in_a_padded_batch(vlm: VLM) -> None:
    samples, layers = tiny.samples(), range(vlm.anatomy.depth)
    together = prompt_states(vlm, samples, layers, batch=len(samples))
    alone = torch.cat([prompt_states(vlm, [sample], layers) for sample in samples], dim=1)
    close(together, alone)


def test_an_early_end_gives_the_same_states_as_a_whole_pass(vlm: VLM) -> None:
    inputs = vlm.encode(tiny.samples()).inputs
    with recording(vlm.anatomy, [0, 1]) as whole, torch.no_grad():
        vlm.model(**inputs)
        early = early_states(vlm.anatomy, vlm.model.base_model, [1, 0], inputs)
    assert early.keys() == whole.keys() == {0, 1}
    assert all(torch.equal(early[layer], whole[layer]) for layer in early)


def test_hooks_are_taken_off_after_reading(vlm: VLM) -> None:
    prompt_states(vlm, tiny.samples(), [0])
    before = tiny.hooks(vlm.model)
    capture(vlm, tiny.samples())
    capture(vlm, tiny.samples(), images=False)
    with pytest.raises(RuntimeError), recording(vlm.anatomy, [0, 1]):
        raise RuntimeError
    with pytest.raises(UnknownName), recording(vlm.anatomy, [0, 99]):
        pass
    assert tiny.hooks(vlm.model) == before


def test_capture_keeps_the_order_and_the_layers_asked_for(vlm: VLM) -> None:
    samples = tiny.samples()
    every = capture(vlm, samples)
    assert every.shape == (vlm.anatomy.depth, len(samples), vlm.anatomy.hidden_size)
    assert every.dtype == torch.float32
    close(capture(vlm, samples[::-1], layers=[1]), every[1:2].flip(1))


def test_a_prompt_without_tokens_has_no_state(vlm: VLM) -> None:
    with pytest.raises(DataError, match=r"holds no tokens \(row 1\)"):
        text_states(vlm.anatomy, [(5, 6), ()], [0], pad=0)


def test_a_module_that_runs_other_blocks_is_refused(vlm: VLM) -> None:
    other = tiny.vlm()
    with pytest.raises(LayoutNotFound, match=r"blocks \[0\] did not run when LlavaModel was called"):
        early_states(vlm.anatomy, other.model.base_model, [0], other.encode([Sample.of("hi")]).inputs)
