"""The table of families comes from the run of their tests, and costs are measured as they are told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from benchmarks import families as benchmark
from scripts import families, family_tables
from scripts.render_docs import render
from sightguard.artifacts import read_json
from tests.conformance.test_methods import CHECKS
from tests.families.catalogue import MAKERS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of processors of transformers

TINY = """
import pytest

@pytest.mark.parametrize("family", ["one", "two"])
def test_that(family):
    assert family == "one"

@pytest.mark.parametrize("family", ["one", "two"])
def test_skipped(family):
    pytest.skip("no")

@pytest.fixture
def spoilt():
    yield
    raise RuntimeError

def test_spoilt_afterwards(spoilt):
    pass
"""


@pytest.fixture
def results() -> dict[str, Any]:
    return read_json(families.OUT, schema=1)


def test_a_case_counts_only_where_it_ran_and_nothing_around_it_failed(tmp_path: Path, root: Path) -> None:
    tests, told = tmp_path / "test_tiny.py", tmp_path / "cases.json"
    tests.write_text(TINY)
    command = [sys.executable, "-m", "pytest", str(tests), "-q", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    subprocess.run([*command, "-p", "scripts.family_counts", "--families-to", str(told)], cwd=root, capture_output=True)
    cases = families.Cases(json.loads(told.read_text()))
    assert cases.of("one", ("test_that", "test_skipped")) == {"passed": 1, "n": 2}
    assert cases.of("two", ("test_that",)) == {"passed": 0, "n": 1}
    assert not cases.holds("test_that")
    assert not cases.holds("test_spoilt_afterwards")
    assert not cases.holds("test_that_does_not_exist")
    assert len(cases.failed()) == 4


def test_a_test_of_every_family_without_a_column_is_noticed() -> None:
    rows = [{"id": f, "family": f, "function": "test_new", "passed": True} for f in MAKERS]
    with pytest.raises(SystemExit, match="no column counts test_new"):
        families.collect(families.Cases(rows))
    with pytest.raises(SystemExit, match="no test ran for .*llava: states"):
        families.collect(families.Cases(rows[:1]))


def test_the_committed_rows_are_the_families_of_the_catalogue_and_their_checks(results: dict[str, Any]) -> None:
    assert list(results["families"]) == list(MAKERS)
    checks = {family: row["checks"]["VLM-Guard"]["n"] for family, row in results["families"].items()}
    assert checks == dict.fromkeys(MAKERS, len(CHECKS))
    assert all(limit["family"] in MAKERS for limit in results["limits"])


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "docs/methods/vlm_guard.md", "docs/methods/safevlm.md"])
def test_a_page_that_counts_the_families_counts_right(page: str, root: Path) -> None:
    counts = re.findall(r"(\d+) families", (root / page).read_text(encoding="utf-8"))
    assert counts
    assert set(counts) == {str(len(MAKERS))}


def test_a_failed_check_is_seen_in_the_table(results: dict[str, Any]) -> None:
    results["families"]["llava"]["checks"]["VLM-Guard"]["passed"] -= 1
    results["failed"] = ["a"]
    results["limits"][0]["shown"] = False
    shown = "\n".join(family_tables.families(results))
    n = len(CHECKS)
    assert f"| **{n - 1} of {n}** |" in shown
    assert "**1 failed**" in shown
    assert "tiny random models of the real architectures, float32, CPU" in shown
    assert "**did not pass**" in family_tables.families_limits(results)[0]


@pytest.mark.parametrize("view", [family_tables.families, family_tables.families_full, family_tables.families_refused])
def test_every_view_is_a_whole_table(view: Callable[[dict[str, Any]], list[str]], results: dict[str, Any]) -> None:
    rows = [line for line in view(results) if line.startswith("|")]
    assert len(rows) >= 4
    assert len({row.count("|") for row in rows}) == 1


def test_every_family_that_has_no_place_here_says_why(results: dict[str, Any]) -> None:
    shown = "\n".join(family_tables.families_refused(results))
    for model in ("lfm2_vl", "llama4", "cohere2_vision", "phi4_multimodal", "florence2"):
        assert f"`{model}`" in shown
    assert "install the torchvision that fits your torch" in shown


@pytest.mark.parametrize("family", ["llava_next", "pixtral", "qwen3_vl_moe", "qwen3_5", "mllama", "gemma3"])
def test_what_a_row_says_of_a_model_is_read_from_it(family: str) -> None:
    expected = {
        "llava_next": ("dense", "tiles"),
        "pixtral": ("dense", "rows and columns"),
        "qwen3_vl_moe": ("mixture of experts", "one grid .* M-RoPE, deepstack"),
        "qwen3_5": ("dense, hybrid state-space", "one grid .* M-RoPE"),
        "mllama": ("dense, cross-attention", "beside the prompt"),
        "gemma3": ("dense", "always 4 tokens, its tokens see each other"),
    }
    decoder, picture = expected[family]
    found = families.facts(family)
    assert found["decoder"] == decoder
    assert re.match(picture, found["picture"])


TOYS: dict[str, benchmark.Shape] = {
    "llava": {
        "kind": "llava", "side": 28, "patch": 14, "dtype": torch.float32,
        "vision": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        "text": {
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
            "vocab_size": 192,
        },
    },
    "qwen2_5_vl": {
        "kind": "qwen2_5_vl", "side": 56, "patch": 14, "dtype": torch.float32,
        "vision": {
            "hidden_size": 16, "intermediate_size": 16, "out_hidden_size": 32, "depth": 2, "num_heads": 2, "window_size": 28,
            "fullatt_block_indexes": [1],
        },
        "text": {
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "vocab_size": 192, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", TOYS)
@pytest.mark.filterwarnings("ignore:projection alone")
def test_the_path_of_real_shapes_runs_at_a_toy_shape(kind: str) -> None:
    found = benchmark.of_real_shape(TOYS[kind], device="cpu", batches=[1, 2], rounds=1, tokens=3)
    assert list(found["batches"]) == ["1", "2"]
    row = found["batches"]["2"]
    assert row["image_tokens"] == 4
    assert {*row["generate"]} == {*row["peak_mib"]} == {*row["tokens_per_second"]} == {"unguarded", "guarded"}
    machine = {"device": "a toy", "threads": 1}
    shown = family_tables.families_gpu({"rounds": 1, "machine": machine, "shapes": {"a toy": found}})
    assert len(shown) == 2 + 2 + 2


def test_real_shapes_are_not_measured_on_anything_but_cuda() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SystemExit, match="torch finds none"):
        benchmark.main(["--gpu"])


@pytest.mark.parametrize("name", benchmark.SHAPES)
def test_a_real_shape_has_the_parameters_of_its_name(name: str) -> None:
    shape = benchmark.SHAPES[name]
    config = benchmark.PARTS[shape["kind"]](shape)[0]
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config)
    published = {"LLaVA-1.5-7B": 7_063_427_072, "Qwen2.5-VL-7B": 8_292_166_656}
    assert sum(p.numel() for p in model.parameters()) == published[name]


def test_a_family_is_measured_in_a_process_of_its_own() -> None:
    found = benchmark.on_cpu(["llava"], rounds=1, busy=True)
    row = found["families"]["llava"]
    assert row["peak_mib"] > row["before_mib"] > 0
    shown = family_tables.families_cost(found)
    assert shown[2].startswith("| `llava` |")
    assert "it was busy with other work" in shown[-1]


def test_a_table_of_what_was_not_measured_says_so() -> None:
    text = "<!-- table:results/no-such.json view=families_gpu -->\n<!-- /table -->"
    assert "Not measured yet" in render(text)
