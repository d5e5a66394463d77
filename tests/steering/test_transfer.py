"""`fit` says where its text direction does not stand for harm beside a picture, and nothing where it does."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from sightguard.cli.app import run
from sightguard.data.blank import blank
from sightguard.errors import DataError
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.pocket.judge import PocketJudge
from sightguard.steering.card import card
from sightguard.steering.recipe import fit_and_choose
from sightguard.steering.transfer import FEWEST, HANDFUL, check
from sightguard.steering.vlm_guard import VlmGuard
from tests.diagnose.planted import turned

PAIRS = world.anchors(60)


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return replace(VLM.load("pocket"), batch=64, max_new_tokens=24)


@pytest.fixture(scope="module")
def guard(vlm: VLM) -> VlmGuard:
    return VlmGuard.fit(vlm, PAIRS[:30], layers=(3, 4))


def test_a_direction_that_transfers_is_not_warned_of(vlm: VLM, guard: VlmGuard) -> None:
    found = check(vlm, guard, PAIRS[30:], blank())
    assert (found["pairs"], found["transfers"], found["warning"]) == (30, True, None)
    assert [row["layer"] for row in found["layers"]] == [3, 4]
    assert min(row["auc_image"] for row in found["layers"]) > 0.9
    assert min(row["cosine_text_image"] for row in found["layers"]) > 0.8


def test_a_direction_that_does_not_transfer_is_warned_of_with_what_to_try(vlm: VLM, guard: VlmGuard) -> None:
    with turned(vlm):
        found = check(vlm, guard, PAIRS[30:], blank())
    assert found["transfers"] is False
    for words in ("does not transfer", "layer 3: area under the ROC curve", "layer 4:", "`sightguard diagnose`", "`sightguard train`"):  # fmt: skip
        assert words in found["warning"]
    warned = card(replace(guard, calibration={"transfer": found}))
    assert f"**Warning**: {found['warning']}." in warned
    assert "not checked" in card(guard)


def test_too_few_pairs_are_no_evidence_either_way(vlm: VLM, guard: VlmGuard) -> None:
    found = check(vlm, guard, PAIRS[: FEWEST - 1], blank())
    assert (found["transfers"], found["layers"]) == (None, [])
    assert "was not checked" in found["warning"]
    assert "needs 8 pairs that nothing was fitted on; there are 7" in found["warning"]


def test_test_prompts_are_refused(vlm: VLM, guard: VlmGuard) -> None:
    bad, good = PAIRS[0]
    with pytest.raises(DataError, match="cannot be used for checking a guard"):
        check(vlm, guard, [(replace(bad, source="bench@1/test"), good)] * FEWEST, blank())


def test_the_recipe_checks_on_pairs_that_it_did_not_fit_on(vlm: VLM) -> None:
    choice = fit_and_choose(vlm, PAIRS, PocketJudge(), finalists=1)
    found = choice.guard.calibration["transfer"]
    assert found["pairs"] == min(HANDFUL, len(PAIRS) // 2)
    assert found["transfers"] is True
    assert [row["layer"] for row in found["layers"]] == list(choice.guard.layers)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("fault", [True, False])
def test_the_command_warns_in_the_terminal_the_card_and_the_page_only_where_there_is_a_fault(
    vlm: VLM, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: bool
) -> None:
    texts = {(bad.text, good.text) for bad, good in PAIRS[:32]}
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"harmful": bad, "harmless": good}) + "\n" for bad, good in sorted(texts)))
    benign = tmp_path / "benign.jsonl"
    spared = {sample.text for sample in world.calibration(60) if not sample.images}
    benign.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in sorted(spared)[:10]))
    monkeypatch.setattr(VLM, "load", staticmethod(lambda *_, **__: vlm))
    out = tmp_path / "guard"
    command = ["fit", "pocket", "--pairs", str(pairs), "--benign", str(benign), "--no-certify", "--out", str(out)]
    with turned(vlm) if fault else nullcontext():
        assert run(command) == 0
    said = "does not transfer to prompts with a picture"
    assert (f"warning: the direction that was fitted on text {said}" in capsys.readouterr().err) == fault
    assert (said in (out / "README.md").read_text()) == fault
    assert (said in (out / "fit.html").read_text()) == fault
    assert json.loads((out / "guard.json").read_text())["calibration"]["transfer"]["transfers"] == (not fault)
