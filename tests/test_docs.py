from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scripts import (
    ablations,
    benchmark_tables,
    certificates,
    family_tables,
    fault_tables,
    provenance,
    render_docs,
    turn_tables,
)
from sightguard.artifacts import read_json, write_json
from sightguard.data.facts import entries
from sightguard.data.formats.catalog import READERS, STREAMS
from sightguard.demo.run import UNFINISHED
from sightguard.evaluate.folder import MANIFEST, SAMPLES
from sightguard.evaluate.rows import Row
from sightguard.steering.artefact import PARAMETERS

READINGS = [
    f"{setting}/{what}"
    for setting in (*ablations.HARMFUL, *ablations.BENIGN)
    for what in ("complied", "refused", "right")
]

VARIANTS = [f"{setting}/{what}" for setting in certificates.SETTINGS for what in ("complied", "refused", "right")]
PROMISE = {"fired": 0, "n": 1200, "upper_bound": 0.0025, "certified": True, "fresh_rate": 0.001, "fresh_acts": 3,
           "fresh_n": 3000, "fresh_new_refusals": 0}  # fmt: skip
WAY = {f"{what}_{part}": 1.0 for what in ("prefill", "decode") for part in ("ratio", "low", "high", "seconds")}
SHAPE = {
    "parameters": 2_000_000,
    "dtype": "float32",
    "memory_mib": {"1": {"unguarded": 1.0, "guarded": 2.0}},
    "batches": {"1": {"unguarded": WAY, "prefill": WAY, "prefill+decode": WAY}},
    "fit": {"ratio": 1.0, "low": 1.0, "high": 1.0, "seconds": 1.0},
}


SHARE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
TYPES = {
    "n": 10,
    "accuracy": SHARE,
    "macro_f1": 0.5,
    "f1": {"fire": 0.5, "safe": None},
    "support": {"fire": 10, "safe": 0},
}
HEAD = {"type": TYPES, "level": TYPES, "risky_flagged": SHARE, "safe_flagged": SHARE}
DIFFERENCE = {"value": -0.01, "low": -0.02, "high": 0.0, "n": 10, "within_margin": True}
TRAINING = {"stage1": {"seconds": 1.0, "peak_mib": 2.0, "loaded_mib": 1.0, "batch": 2}}
NONE = {"value": None, "low": None, "high": None, "n": 0}
TURNS = {
    "readings": {"together": 1, "user": 3, "all": 5},
    **{
        way: dict.fromkeys(("flagged", "refused", "complied"), SHARE)
        for way in ("undefended", "together", "user", "all")
    },
}
OTHERS: dict[str, dict[str, Any]] = {
    "heads": {"schema": 1, "n": 10, "train": 20, "models": {"pocket": {"pooled": {**HEAD, "parameters": 5}}}},
    "audit_corpus": {
        "schema": 1, "ray": {"rows_equal": 9}, "killed": {"early": {"rows_equal": 9}},
        "planted": {
            "pairs": 9, "faults": {"planted": 1, "unjudged": 1}, "licences": {"planted": 9, "kept": 9},
            "exact": {"planted": 1, "found": 1}, "near": {"planted": 1, "found": 1},
        },
    },
    "audit_score": {
        "schema": 1,
        "score": {
            "flagged": {"precision": {**SHARE, "n": 5}, "recall": {**SHARE, "n": 5}},
            "by_type": {"privacy": {"precision": NONE, "recall": NONE}},
        },
    },
    "audit_speed": {
        "schema": 1, "machine": {"device": "x", "threads": 1}, "rounds": 3, "memory_mib": {"1000": 5.0},
        "shapes": {
            "pocket": {
                "tower_images_per_second": 2.0, "audit_images_per_second": 1.0, "ratio": 0.5, "low": 0.4, "high": 0.6, "times_generation": 3.0,
                "generation": {"language": "pocket", "tokens": 8, "images_per_second": 0.3},
            }
        },
    },
    "suite": {
        "schema": 1, "model": "pocket", "suite": "s", "seed": 1, "judges": ["j"], "defenses": ["none"],
        "overall": {"none": {"over_refusal": {"rate": SHARE}, "utility": {"rate": SHARE}}},
        "cost": {"none": {"seconds_per_token_ratio": 1.0}},
        "settings": {"a": {"n": 5, "defenses": {"none": {"attacked": {"n": 5, "asr": SHARE, "outcomes": {"broken": 1}}}}}},
    },
    "serve_speed": {
        "schema": 1, "machine": {"device": "x", "cores": 2, "threads": 1}, "batch": 4,
        "shapes": {"pocket": {
            "requests": 5, "tokens": 2, "rounds": 3, "lost": 0, "offline_tokens_per_second": 9.0,
            "servers": {"guarded/1": {"tokens_per_second": 8.0, "mean_batch": 1.0, "p50": 0.1, "p95": 0.2, "p99": 0.3}},
            "ratios": {f"guarded/1 against {other}": {"ratio": 0.9, "low": 0.8, "high": 1.0} for other in ("plain/1", "offline")},
        }},
        "start": {"seconds": 5.0, "low": 4.0, "high": 6.0}, "memory": {"requests": 20, "mib": [1.0, 2.0]},
    },
    "adaptive": {
        "schema": 1, "suite": "s", "seed": 1, "n": 2, "steps": 3,
        "models": {"pocket": {
            "judges": ["j"], "defenses": ["none"],
            "overall": {"none": {name: {"rate": SHARE} for name in ("over_refusal", "utility")}},
            "settings": {
                name: {"defenses": {"none": {"attacked": {"asr": SHARE, "n": 2, "outcomes": {"broken": 1}}}}}
                for name in ("harm_in_picture", "harm_in_picture/pgd_4", "harm_in_picture/adaptive_4")
            },
            "attacks": {"harm_in_picture/adaptive_4": {"none": {"beats_noise": False, "p": 1.0, "note": "black box"}}},
            "adaptive": [{"defense": "none", "adaptive": "harm_in_picture/adaptive_4", "difference": {"value": 0.5}, "p": 0.01}],
        }},
    },
    "runner": {
        "schema": 1, "machine": {"device": "x", "threads": 1}, "samples": 5, "rounds": 2, "runner_samples_per_second": 1.0,
        "bare_samples_per_second": 1.0, "ratio": 1.0, "low": 1.0, "high": 1.0, "resume_share": 0.1,
        "memory_mib": {"1000": {"asking": 4.0, "peak": 5.0, "prompts": 1.0}}, "gradient_seconds": 0.01,
    },
    "sizing": {
        "schema": 1, "models": {"x": {"parameters": 7, "cache_per_token": 8}}, "provenance": {"versions": {"transformers": "5"}},
    },
    "rtvlm": {
        "schema": 1, "subtasks": ["a", "b"],
        "rows": [{"model": "x", "scores": [1.0, None], "average": 1.0}, {"model": "y", "scores": None, "average": 2.0}],
    },
    "safevlm_cost": {
        "schema": 1, "machine": {"device": "x", "threads": 1},
        "shapes": {
            "pocket": {
                "parameters": 1, "safety_parameters": 1, "training": TRAINING,
                "batches": {"1": {"plain": WAY, "tokens": WAY, "tokens and head": WAY}},
            }
        },
    },
    "turns": {"schema": 1, "split": "test", "n": 100, "seed": 1, "models": {"pocket": {"harmful last": TURNS}}},
    "turns_validation": {
        "schema": 1, "n": 100, "seed": 1, "validation": {"pocket": {"a": dict.fromkeys(("together", "user", "all"), SHARE)}}
    },
}  # fmt: skip
"""Results of another kind than a demo's, by the view that shows them."""


def results() -> dict[str, object]:
    rate = {
        "none": {"value": 0.5, "low": 0.4, "high": 0.61},
        "vlm_guard": {"value": 0.0, "low": 0.0, "high": 0.013},
        "of_someone_else": None,
    }
    broken = {"none": 0, "vlm_guard": 30, "of_someone_else": None}
    kinds = {"verb": {"n": 100, "asr": rate}}
    part = {"n": 300, "asr": rate, "strict_asr": rate, "broken": broken, "by_kind": kinds}
    settings = dict.fromkeys(render_docs.SETTINGS, part)
    refusals = {name: {"n": 300, "rate": rate} for name in render_docs.REFUSALS}
    layer = {
        "layer": 3,
        "auc_text": 1.0,
        "auc_blank": 0.5,
        "balanced_accuracy_text": 1.0,
        "balanced_accuracy_blank": None,
    }
    return {
        "schema": 1,
        "model": "pocket",
        "seed": 1,
        "judge": "refusal sentences",
        "settings": settings,
        "over_refusal": refusals,
        "utility": {"benign_image": {"n": 300, "accuracy": rate}},
        "perplexity": {"none": 1.5, "vlm_guard": 1.25},
        "cost": {"none": {"prefill_ratio": 1.0, "decode_ratio": 1.0}, "of_someone_else": None},
        "separability": [layer],
        "n": 100,
        "readings": {"no guard": dict.fromkeys(READINGS, rate["none"])},
        "tolerance": 0.2,
        "models": {"pocket": {"promise": PROMISE, "variants": {"no guard": dict.fromkeys(VARIANTS, rate["none"])}}},
        "start": {"python": 0.01},
        "machine": {"device": "x", "threads": 1},
        "shapes": {"pocket": SHAPE},
        "head": {"query": "pooled", "splits": {"test": {"what": "held-out combinations", "pixels": SHARE, **HEAD}}},
        "impact": {"margin": 0.02, "conditions": {"vlm_guard": {"utility/benign_image": DIFFERENCE}}},
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(render_docs, "ROOT", tmp_path)
    return tmp_path


def page(view: str, body: str = "") -> str:
    return f"before\n<!-- table:results/a.json{view} -->\n{body}<!-- /table -->\nafter\n"


def test_a_table_is_made_from_its_results_and_stays_as_it_is(folder: Path) -> None:
    write_json(folder / "results" / "a.json", results())
    once = render_docs.render(page("", "old\n"))
    assert "| no guard | 50.0 [40.0, 61.0] | 50.0 [40.0, 61.0] |" in once
    assert "| **VLM-Guard** | 0.0 [0.0, 1.3], 10.0 broken |" in once
    assert "| of_someone_else | – |" in once
    assert "never evidence about large models" in once
    assert "old" not in once
    assert render_docs.render(once) == once
    assert once.startswith("before\n")
    assert once.endswith("after\n")


@pytest.mark.parametrize(
    "view", [view for view in render_docs.VIEWS if view not in (family_tables.VIEWS | fault_tables.VIEWS)]
)
def test_every_view_is_a_whole_table(folder: Path, view: str) -> None:
    write_json(folder / "results" / "a.json", OTHERS.get(view) or results())
    rows = [line for line in render_docs.render(page(f" view={view}")).splitlines() if line.startswith("|")]
    assert len(rows) >= 3
    assert len({row.count("|") for row in rows}) == 1


def test_tables_of_data_sets_are_made_from_their_maps_of_labels() -> None:
    page = "<!-- table:src/sightguard/data/formats/maps/vlguard.yaml view={} -->\nold\n<!-- /table -->\n"
    once = render_docs.render(page.format("labels"))
    assert "| unsafes / * / personal data | privacy | 2 (answer or refuse) |  |" in once
    assert "old" not in once
    assert render_docs.render(once) == once
    assert "hf download --repo-type dataset ys-zong/VLGuard" in render_docs.render(page.format("facts"))
    with pytest.raises(SystemExit, match="no view 'short'"):
        render_docs.render(page.format("short"))


def test_every_data_set_that_can_be_read_is_on_its_page() -> None:
    text = (provenance.ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for name, target in (*READERS.items(), *STREAMS.items()):
        assert f"| `{name}` | " in text
        assert f"`{target.removeprefix('sightguard.data.').replace(':', '.')}`" in text
        assert f"maps/{name}.yaml view=facts" in text
        assert (f"maps/{name}.yaml view=labels" in text) == (name in READERS)


@pytest.mark.parametrize("view", benchmark_tables.VIEWS)
def test_every_benchmark_is_in_every_table_of_its_page(view: str) -> None:
    page = f"<!-- table:src/sightguard/data/benchmarks.yaml view={view} -->\nold\n<!-- /table -->\n"
    once = render_docs.render(page)
    rows = [line for line in once.splitlines() if line.startswith("|")]
    assert [row.split("`")[1] for row in rows[2:]] == list(entries())
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert render_docs.render(once) == once
    assert f"benchmarks.yaml view={view}" in (provenance.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="no view 'short'"):
        render_docs.render(page.replace(f" view={view}", ""))


@pytest.mark.usefixtures("folder")
def test_missing_results_are_said_to_be_missing() -> None:
    assert "Not measured yet: `results/a.json` does not exist." in render_docs.render(page(""))


def test_the_hash_of_the_source_moves_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = provenance.source_sha256(tmp_path)
    (tmp_path / "a.txt").write_text("no source")
    assert provenance.source_sha256(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    assert provenance.source_sha256(tmp_path) != before


def test_the_page_on_files_names_all_that_a_demo_writes() -> None:
    root = Path(__file__).resolve().parent.parent
    text = (root / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    found = read_json(root / "results" / "demo-pocket.json")
    parts = [
        found["settings"]["blank_image"],
        found["over_refusal"]["benign_text"],
        found["utility"]["benign_image"],
        found["cost"]["vlm_guard"],
        found["separability"][0],
        found["fit"],
        found["choice"]["vlm_guard"],
        found["overlap"],
    ]
    files = {*UNFINISHED, "results.json", f"run/{MANIFEST}", f"run/{SAMPLES}"} - {"run"}
    entries = {*found, *Row.__slots__, *PARAMETERS, *(name for part in parts for name in part)}
    assert [name for name in sorted({*files, *entries}) if not re.search(rf"[`.]{re.escape(name)}[`./]", text)] == []


def test_each_row_of_the_validation_split_holds_its_own_figures() -> None:
    def of(value: float) -> dict[str, Any]:
        return {way: {**SHARE, "value": value} for way in ("together", "user", "all")}

    lines = turn_tables.validation(
        {**OTHERS["turns_validation"], "validation": {"pocket": {"a": of(0.1), "b": of(0.9)}}}
    )
    shown = {line.split(" | ")[0]: line.split(" | ")[1].split()[0] for line in lines[-2:]}
    assert shown == {"| a": "10", "| b": "90"}
