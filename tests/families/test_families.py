"""VLM-Guard and the ways in and out of a model hold on a tiny random model of every family."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import torch

from sightguard.models.anatomy import unwrap
from sightguard.models.hooks import recording
from sightguard.models.states import prompt_states, text_states
from sightguard.models.vlm import VLM
from sightguard.steering.method import text_rows
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample
from tests import tiny
from tests.conformance import suite
from tests.conformance.test_methods import CHECKS
from tests.families.catalogue import MAKERS

FAMILIES = list(MAKERS)

REPEATING = (
    suite.check_repeated_rows_are_edited_like_single_ones,
    suite.check_beams_and_sampling_are_answered_as_one_by_one,
)

EVERY = tiny.samples()
ONE_EACH = [Sample.of(sample.text, tiny.picture(i), id=sample.id) for i, sample in enumerate(EVERY)]
AT_MOST_ONE = [sample if len(sample.images) < 2 else one for sample, one in zip(EVERY, ONE_EACH, strict=True)]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of processors of transformers


@cache
def loaded(family: str) -> VLM:
    model, processor = MAKERS[family]()
    return VLM(model, processor, max_new_tokens=6)


@cache
def guard_of(family: str, strength: float) -> VlmGuard:
    return tiny.guard(loaded(family), strength=strength, kind="shift", alpha=3.0)


def maker(family: str) -> suite.MakeMethod:
    return lambda vlm, strength=1.0: guard_of(family, strength)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_transformers(family: str) -> None:
    vlm = loaded(family)
    batch = vlm.encode(ONE_EACH)
    layers = vlm.anatomy.layers
    with recording(vlm.anatomy, layers) as seen, torch.no_grad():
        theirs = vlm.model(**batch.inputs, output_hidden_states=True).hidden_states
    suite.distinct(theirs[-1][:, -1].tolist())
    assert len(theirs) == vlm.anatomy.depth + 1
    for layer in layers[:-1]:
        torch.testing.assert_close(seen[layer], theirs[layer + 1], rtol=0, atol=0)
    last = seen[layers[-1]]
    assert not torch.allclose(last, theirs[-1])  # theirs stands behind the final norm
    torch.testing.assert_close(vlm.anatomy.norm(last), theirs[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_decoder_alone_reads_text_as_the_whole_model_does(family: str) -> None:
    vlm = loaded(family)
    samples = [sample.without_images() for sample in tiny.samples()]
    layers = vlm.anatomy.layers
    alone = text_states(vlm.anatomy, text_rows(vlm, samples), layers, pad=vlm.pad)
    suite.distinct(alone[-1].tolist())
    whole = torch.stack([prompt_states(vlm, [sample], layers)[:, 0] for sample in samples], 1)
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_is_seen(family: str) -> None:
    vlm = loaded(family)
    samples = [
        Sample.of("how do i find the bread ?", *pictures) for pictures in ((), (tiny.picture(1),), (tiny.picture(2),))
    ]
    states = torch.cat([prompt_states(vlm, [sample], vlm.anatomy.layers[-1:])[0] for sample in samples])
    assert torch.pdist(states).min() > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_has_the_same_tokens_alone_and_beside_others(family: str) -> None:
    vlm = loaded(family)
    alone = [vlm.encode([sample]).rows[0] for sample in tiny.samples()]
    suite.distinct(alone)
    if not vlm.anatomy.crossing:
        assert vlm.encode(tiny.samples()).rows == alone
    assert vlm.encode([s for s in tiny.samples() if not s.images]).rows == [
        row for row, sample in zip(alone, tiny.samples(), strict=True) if not sample.images
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_read_as_one_by_one(family: str) -> None:
    vlm, samples = loaded(family), tiny.samples()
    layers = vlm.anatomy.layers
    together = prompt_states(vlm, samples, layers, batch=len(samples))
    suite.distinct(together[-1].tolist())
    alone = torch.stack([prompt_states(vlm, [sample], layers)[:, 0] for sample in samples], 1)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_vlm_guard_conforms(check: Callable[..., None], family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if loaded(family).anatomy.crossing:  # see VLM.batches
        monkeypatch.setattr(tiny, "samples", lambda: ONE_EACH)
    if family == "glm4v" and check in REPEATING:  # see test_glm4v_mixes_up_the_pictures_of_repeated_rows
        monkeypatch.setattr(tiny, "samples", lambda: AT_MOST_ONE)
    check(partial(loaded, family), maker(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_it_answers_the_same(family: str, tmp_path: Path) -> None:
    vlm = loaded(family)
    unwrap(vlm.model).save_pretrained(tmp_path)
    vlm.processor.save_pretrained(tmp_path)
    again = VLM.load(tmp_path, device="cpu")
    same = VLM(vlm.model, again.processor)  # some tokenizers are read back as another class, and split words otherwise
    before = same.generate(tiny.samples(), max_new_tokens=6)
    suite.distinct([response.text for response in before])
    assert [r.text for r in again.generate(tiny.samples(), max_new_tokens=6)] == [r.text for r in before]
    assert type(again.processor).__name__ == type(vlm.processor).__name__
    assert again.fingerprint.weights_sha256 == vlm.fingerprint.weights_sha256


def test_glm4v_mixes_up_the_pictures_of_repeated_rows() -> None:
    """A fault of transformers 5.23, without any guard: beams over a prompt with two pictures get them in another order.

    When this fails it is mended there, and the exception for glm4v above can go.
    """
    vlm = loaded("glm4v")
    single, repeated = (suite.prefill_states(vlm, None, tiny.samples(), num_beams=beams) for beams in (1, 3))
    assert not torch.allclose(repeated, single.repeat_interleave(3, dim=0), atol=1e-2)
