"""diagnose.html: self-contained, every figure drawn, the numbers those of diagnose.json."""

from __future__ import annotations

from typing import Any, get_args

from sightguard.diagnose.recommend import Advice
from sightguard.report.diagnose_page import ADVICE, render_diagnosis
from sightguard.report.inputs import Panel
from sightguard.report.page import TEST_BENCH
from tests.report.test_page import Page

PANELS = tuple(
    Panel(title, ((0.0, 1.0), (1.0, 0.0), (2.0, 2.0)), (True, False, False))
    for title in ("Text only", "With the image")
)


def results(repo: str = "pocket", **changes: Any) -> dict[str, Any]:
    layer = {
        "auc_text": 0.9875, "auc_image": 0.6125, "probe_auc_text": 0.99, "probe_auc_image": 0.95, "cosine_text_image": 0.7,
        "shift_norm": 12.5, "shift_share_in_safety_subspace": 0.25, "cosine_text_halves": 0.95, "balanced_accuracy_text": 0.95,
        "balanced_accuracy_image": 0.7, "silhouette_text": 0.3, "silhouette_image": 0.2, "shift_cosine": -0.5, "harmful_moved": -0.4,
    }  # fmt: skip
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40, "broken": 3, "undecided": 0}
    none = {"value": None, "low": None, "high": None, "n": 0, "broken": 0, "undecided": 40}
    return {
        "schema": 1,
        "n_pairs": 40,
        "layers": [{"layer": i, **layer} for i in range(4)],
        "refusal": {
            "judge": "made",
            "measured": True,
            "harmful": {"text": rate, "image": {**rate, "value": 0.1234, "low": 0.05}, "difference": 0.3, "mcnemar_p": 1e-9},
            "harmless": {"text": none, "image": none, "difference": None, "mcnemar_p": None},
        },
        "recommendation": {"layers": [2, 3], "method": "vlm_guard", "transfers": True, "reason": "made <b>up</b>"},
        "provenance": {"model": "pocket", "image": "blank", "seed": 0, "fingerprint": {"repo": repo}},
        **changes,
    }  # fmt: skip


def page(known: dict[str, Any]) -> str:
    return render_diagnosis(known, PANELS, layer=3, explained=(0.4, 0.2))


def test_the_page_loads_nothing_and_draws_four_figures_with_ids_of_their_own() -> None:
    text = page(results())
    seen = Page(text)
    assert [load for load in seen.loads if not load.startswith(("#", "data:image/"))] == []
    assert not {"script", "link", "iframe", "img"} & set(seen.tags)
    assert "default-src 'none'" in text
    assert seen.tags.count("svg") == 4
    assert len(seen.ids) == len(set(seen.ids))


def test_the_page_says_what_to_do_and_shows_the_numbers() -> None:
    text = " ".join(Page(page(results())).text.split())
    for words in (
        ADVICE["vlm_guard"], "layers 2, 3", "made <b>up</b>", "transfers to this picture", "12.3", "5.0–60.0", "3 broken", "< 0.001",
        "0.988", "0.613", "12.500", "judge: made", "40 undecided", TEST_BENCH, "Linear probe", "safety subspace",
    ):  # fmt: skip
        assert words in text, words
    assert TEST_BENCH not in page(results(repo="someone/else"))


def test_every_recommendation_has_its_words() -> None:
    assert set(ADVICE) == set(get_args(Advice))
    advice = {"layers": [], "method": "safevlm", "transfers": False, "reason": "made up"}
    text = " ".join(page(results(recommendation=advice)).split())
    assert ADVICE["safevlm"] in text
    assert "does not transfer to this picture" in text


def test_refusals_that_were_not_counted_are_said_not_to_be() -> None:
    text = page(results(refusal={"judge": None, "measured": False, "reason": "the model cannot write answers"}))
    assert "Refusals were not counted: the model cannot write answers." in text
    assert Page(text).tags.count("svg") == 3
