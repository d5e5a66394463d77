"""Run the tests of the families and keep what passed, with what the models say of themselves, in results/families.json.

    python -m scripts.families

What the tests leave out, or do otherwise, for a family stands in `LIMITS`, each with the test that holds it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import is_torchvision_available

from scripts.provenance import ROOT, provenance
from sightguard.artifacts import write_json
from sightguard.models.encode import Batch
from sightguard.models.processors import VIDEO
from sightguard.models.vlm import VLM
from sightguard.types import Sample
from tests import tiny
from tests.families.catalogue import MAKERS

OUT = ROOT / "results" / "families.json"
TESTS = "tests/families"

GROUPS = {
    "states": ("test_states_are_those_of_transformers",),
    "text alone": ("test_the_decoder_alone_reads_text_as_the_whole_model_does",),
    "picture seen": ("test_the_picture_is_seen",),
    "batch": ("test_a_prompt_has_the_same_tokens_alone_and_beside_others", "test_a_batch_is_read_as_one_by_one"),
    "VLM-Guard": ("test_vlm_guard_conforms",),
    "SafeVLM": (
        "test_features_are_of_their_picture_alone",
        "test_answers_verdicts_and_tokens_are_the_same_alone_and_in_a_batch",
        "test_the_loss_of_a_batch_is_that_of_its_records",
        "test_an_adapter_taken_out_does_what_peft_does",
    ),
    "saved and loaded": ("test_saved_and_loaded_it_answers_the_same",),
}
"""Which tests, run on every family, make up a column of the table."""

LIMITS = (
    {
        "family": "glm4v",
        "what": "transformers mixes up the pictures of repeated rows (beams, several sequences) where a prompt has two pictures, with no guard on; "
        "the checks of repeated rows are run with at most one picture a prompt",
        "test": "test_glm4v_mixes_up_the_pictures_of_repeated_rows",
    },
    {
        "family": "mllama",
        "what": "prompts with different numbers of pictures are never put into one batch: the cross-attention blocks are skipped on text alone but "
        "run on every row of a batch that holds a picture, so a text prompt would be answered otherwise beside one; "
        "checks are run with one picture each",
        "test": "test_prompts_with_other_numbers_of_pictures_share_no_batch_in_a_cross_attention_model",
    },
    {
        "family": "mllama",
        "what": "its cross-attention blocks have no text-only state, so they are no layers to steer",
        "test": "test_a_cross_attention_block_is_no_layer_to_steer",
    },
)
"""What holds for one family only, and the test that shows it."""

REASONS = {
    "torchvision": (
        "transformers has a picture processor for torchvision alone: install the torchvision that fits your torch; not tested here",
        "test_a_folder_that_cannot_be_guarded_says_why",
    ),
    "encoder-decoder": (
        "an encoder reads the prompt and the decoder never does, so there is no text-only state of it to steer by: no way around it; so with "
        "BLIP-2 and InstructBLIP where their language model is T5",
        "test_an_encoder_decoder_is_refused",
    ),
}
"""Why a model is refused, and the test of that."""

ALSO = ("phi4_multimodal",)
"""Models that read pictures and stand in no list of transformers that says so."""


@dataclass(frozen=True)
class Cases:
    """What scripts.family_counts wrote down of a run of the tests."""

    rows: list[dict[str, Any]]

    def of(self, family: str, functions: tuple[str, ...]) -> dict[str, int]:
        """Return how many cases of some test functions a family has, and how many passed."""
        found = [row["passed"] for row in self.rows if row["family"] == family and row["function"] in functions]
        return {"passed": sum(found), "n": len(found)}

    def holds(self, function: str) -> bool:
        """True where every case of a test function passed, and there was one."""
        found = [row["passed"] for row in self.rows if row["function"] == function]
        return bool(found) and all(found)

    def failed(self) -> list[str]:
        return sorted(row["id"] for row in self.rows if not row["passed"])

    def without_a_column(self) -> set[str]:
        """Return the tests run on every family that no column counts: a new one must not go missing from the table."""
        families = defaultdict(set)
        for row in self.rows:
            families[row["function"]].add(row["family"])
        counted = {function for functions in GROUPS.values() for function in functions}
        return {function for function, seen in families.items() if seen >= set(MAKERS)} - counted


def facts(family: str) -> dict[str, Any]:
    """Return what a family's model and processor say of themselves."""
    model, processor = MAKERS[family]()
    vlm = VLM(model, processor)
    return {
        "class": type(model).__name__,
        "decoder": decoder(vlm),
        "picture": picture(vlm),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(vlm.device),
        "without_video": VIDEO in full_attributes(processor),
    }


def decoder(vlm: VLM) -> str:
    """Return what kind of decoder it is, read from its modules and its configuration."""
    text = vlm.model.config.get_text_config()
    experts = any(name.endswith(".experts") for name, _ in vlm.anatomy.decoder.named_modules())
    state = "linear_attention" in (getattr(text, "layer_types", None) or ())
    kinds = [
        "mixture of experts" if experts else "dense",
        *(["hybrid state-space"] if state else []),
        *(["cross-attention"] if vlm.anatomy.crossing else []),
    ]
    return ", ".join(kinds)


SIDES = ((16, 16), (16, 64), (20, 52), (64, 64))
"""Height and width of the pictures by which a layout is told."""


def picture(vlm: VLM) -> str:
    """Return how a picture is laid out: how many tokens pictures of several sizes take, and what the model does with their places."""
    encoded = [vlm.encode([Sample.of("what ?", tiny.picture(1, side))]) for side in SIDES]
    tokens = [int((batch.inputs["input_ids"] == vlm.anatomy.image_token_id).sum()) for batch in encoded]
    if vlm.anatomy.crossing:
        how = "beside the prompt, in tiles"
    elif len(set(tokens)) == 1:
        how = f"always {tokens[0]} tokens"
    elif any("grid" in name and name.endswith("thw") for name in encoded[0].inputs):
        how = f"one grid as large as the picture ({counts(tokens)})"
    elif len({views(batch) for batch in encoded}) > 1:
        how = f"tiles ({counts(tokens)})"
    else:
        how = f"rows and columns of the picture's proportion ({counts(tokens)})"
    return ", ".join([how, *marks(vlm)])


def counts(tokens: list[int]) -> str:
    return "/".join(map(str, tokens)) + " tokens"


def views(batch: Batch) -> int:
    """Return how many views the processor cut a picture into; views packed into one row are counted by the sizes beside them."""
    inputs = batch.inputs
    if "target_sizes" in inputs:
        return int(inputs["target_sizes"].shape[0])
    pixels = inputs["pixel_values"]
    return math.prod(pixels.shape[:-3]) if pixels.ndim > 3 else 1


def marks(vlm: VLM) -> list[str]:
    """Return what is peculiar in how a picture is read, where the configuration tells."""
    config = vlm.model.config
    text, vision = config.get_text_config(), config.vision_config
    found = {
        "resampled": hasattr(config, "perceiver_config"),
        "M-RoPE": "mrope_section" in (getattr(text, "rope_parameters", None) or {}),
        "windows": bool(getattr(vision, "window_size", None)),
        "deepstack": bool(getattr(vision, "deepstack_visual_indexes", None)),
        "its tokens see each other": vlm.anatomy.token_types,
    }
    return [name for name, there in found.items() if there]


def full_attributes(processor: Any) -> set[str]:
    """Return what the processor's class would load if nothing were left out."""
    kinds = [kind for kind in type(processor).__mro__ if hasattr(kind, "get_attributes")]
    return {name for kind in kinds for name in kind.get_attributes()}


def refused() -> dict[str, list[str]]:
    """Return the models of this transformers that cannot be guarded here, by reason."""
    known = {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, *ALSO}
    pictures = {kind: names for kind, names in IMAGE_PROCESSOR_MAPPING_NAMES.items() if isinstance(names, dict)}
    return {
        "torchvision": sorted(kind for kind in known & set(pictures) if "pil" not in pictures[kind]),
        "encoder-decoder": sorted(kind for kind in known if is_encoder_decoder(kind)),
    }


def is_encoder_decoder(kind: str) -> bool:
    """True where a model's default configuration says so of itself or of its text part."""
    try:
        config = CONFIG_MAPPING[kind]()
        return bool(config.is_encoder_decoder or getattr(config.get_text_config(), "is_encoder_decoder", False))
    except Exception:  # some have no default, and some refuse theirs; what they say of themselves is then unknown
        return False


def collect(cases: Cases) -> dict[str, Any]:
    """Return what results/families.json holds.

    Raises:
        SystemExit: a test runs on every family and stands in no column, or a column has no test.
    """
    if left := cases.without_a_column():
        raise SystemExit(f"no column counts {', '.join(sorted(left))}: add it to GROUPS in scripts/families.py")
    checks = {family: {name: cases.of(family, tests) for name, tests in GROUPS.items()} for family in MAKERS}
    if empty := [
        f"{family}: {name}" for family, row in checks.items() for name, found in row.items() if not found["n"]
    ]:
        raise SystemExit(f"no test ran for {', '.join(empty)}")
    return {
        "schema": 1,
        "weights": "tiny random",
        "torchvision": is_torchvision_available(),
        "cases": len(cases.rows),
        "failed": cases.failed(),
        "families": {family: {**facts(family), "checks": row} for family, row in checks.items()},
        "limits": [{**limit, "shown": cases.holds(limit["test"])} for limit in LIMITS],
        "refused": {
            reason: {
                "models": models,
                "why": REASONS[reason][0],
                "test": REASONS[reason][1],
                "shown": cases.holds(REASONS[reason][1]),
            }
            for reason, models in refused().items()
        },
    }


def run(tests: str = TESTS) -> Cases:
    """Run the tests in a process of their own and return what came of each."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "cases.json"
        options = ["-q", "-p", "scripts.family_counts", "--families-to", str(told)]
        subprocess.run([sys.executable, "-m", "pytest", tests, *options], cwd=ROOT, check=False)
        if not told.is_file():
            raise SystemExit(f"the tests in {tests} did not run to their end: see above")
        return Cases(json.loads(told.read_text(encoding="utf-8")))


def main() -> int:
    cases = run()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = collect(cases)
    write_json(OUT, {**results, "provenance": provenance()})
    print(f"{results['cases'] - len(results['failed'])} of {results['cases']} tests passed: {OUT.relative_to(ROOT)}")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
