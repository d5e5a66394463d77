"""The conformance suite on VLM-Guard in all its readings, on random LLaVAs of several shapes and on pocket."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from sightguard.models.vlm import VLM
from sightguard.steering.vlm_guard import VlmGuard
from tests import tiny
from tests.conformance import suite

MODELS: dict[str, Callable[[], VLM]] = {name: partial(tiny.vlm, **shape) for name, shape in tiny.SHAPES.items()}
MODELS["pocket"] = partial(VLM.load, "pocket")

READINGS: dict[str, dict[str, Any]] = {
    "as it comes": {"gate": "text"},
    "project": {"kind": "project"},
    "shift": {"kind": "shift", "alpha": 0.5},
    "same input": {"reference": "same_input", "alpha": 2.0, "gate": "image"},
    "caption": {"reference": "caption", "gate": "always"},
    "either gate, one direction": {"gate": "either", "m": 1},
    "while answering": {"phase": "prefill+decode", "alpha": 1.5, "gate": "text"},
    "while answering, gate by image": {"phase": "prefill+decode", "gate": "image"},
    "while answering, same input": {
        "phase": "prefill+decode",
        "reference": "same_input",
        "kind": "shift",
        "alpha": 0.5,
    },
    "all layers, literal threshold": {"layers": "all", "gate": "text", "threshold": "literal", "kind": "shift"},
}
"""Every option of VLM-Guard, and the pairs of options that meet in the code."""

BRIEF = ("as it comes", "while answering", "caption")
EVERY = [("tied embeddings", reading) for reading in READINGS]
EVERY += [(model, reading) for model in MODELS if model != "tied embeddings" for reading in BRIEF]
"""All readings on one model, the main ones on each."""

CHECKS = [
    suite.check_strength_zero_is_the_identity,
    suite.check_shape_dtype_and_device_are_kept,
    suite.check_the_input_is_unchanged,
    suite.check_the_order_in_the_batch_does_not_matter,
    suite.check_left_padding_does_not_matter,
    suite.check_one_prompt_alone_is_answered_as_in_a_batch,
    suite.check_repeated_rows_are_edited_like_single_ones,
    suite.check_beams_and_sampling_are_answered_as_one_by_one,
    suite.check_with_and_without_cache_agree,
    suite.check_the_edit_fires_or_raises,
    suite.check_no_hook_is_left,
    suite.check_another_model_is_refused,
]


@cache
def loaded(model: str) -> VLM:
    return MODELS[model]()


@cache
def guard_of(model: str, reading: str, strength: float) -> VlmGuard:
    options = dict(READINGS[reading])
    if options.get("layers") == "all":
        options["layers"] = range(loaded(model).anatomy.depth)
    return tiny.guard(loaded(model), strength=strength, **options)


def method_maker(model: str, reading: str) -> suite.MakeMethod:
    def make(vlm: VLM, strength: float = 1.0) -> VlmGuard:
        return guard_of(model, reading, strength)

    return make


@pytest.fixture(autouse=True)
def _projection_alone_is_meant() -> None:
    warnings.filterwarnings("ignore", "projection alone")


@pytest.mark.parametrize(("model", "reading"), EVERY)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_vlm_guard_conforms(check: Callable[..., None], model: str, reading: str) -> None:
    check(partial(loaded, model), method_maker(model, reading))


@pytest.mark.parametrize(("model", "reading"), EVERY)
def test_vlm_guard_saved_and_loaded_answers_the_same(model: str, reading: str, tmp_path: Path) -> None:
    suite.check_saved_and_loaded_it_answers_the_same(
        partial(loaded, model), method_maker(model, reading), tmp_path / "guard"
    )
