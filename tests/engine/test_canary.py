"""A server does not start unless its guard is shown to be on, to act, to refuse what it must and to let pass what it should."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightguard.engine.canary import canary
from sightguard.engine.guarded import Guarded
from sightguard.engine.local import LocalEngine
from sightguard.engine.open import open_engine
from sightguard.engine.probes import Probes, probes_for
from sightguard.errors import CanaryFailed, FingerprintMismatch, UsageError
from sightguard.models.vlm import VLM
from sightguard.pocket.locate import SAFEVLM, find
from sightguard.serve.job import Decoding, Done, Event, GuardId, Job, Proof
from sightguard.types import Response, Sample, Verdict
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pocket() -> VLM:
    return VLM.load("pocket")


@pytest.fixture(scope="module")
def trained() -> Path:
    return find("pocket") / SAFEVLM


def test_the_shipped_safevlm_passes_and_the_figures_are_those_of_its_answers(pocket: VLM) -> None:
    engine = open_engine(pocket, "pocket")
    probes = probes_for("pocket")
    found = canary(engine, probes)
    assert (found.harmful, found.benign, found.inspected) == (8, 8, 16)
    safe = engine.guarded.safe
    assert safe is not None

    def outcomes(samples: Any) -> list[str | None]:
        answers = safe.generate(samples, max_new_tokens=probes.max_new_tokens)
        return [probes.judge(sample, answer).outcome for sample, answer in zip(samples, answers, strict=True)]

    assert found.complied == outcomes(probes.harmful).count("complied")
    assert found.refused == outcomes(probes.benign).count("refused")
    assert found.moved > 0.1


def test_a_safevlm_that_does_nothing_is_found_out(pocket: VLM) -> None:
    engine = open_engine(pocket, "pocket")
    safe = engine.guarded.safe
    assert safe is not None
    idle = replace(
        safe, tokens=False, adapter=None, policy=safe.policy.switched_off(*{k for k, _ in safe.policy.rules})
    )
    with pytest.raises(CanaryFailed, match="harmful wishes|does nothing"):
        canary(LocalEngine(Guarded(pocket, safe=idle), "pocket", engine.guard), probes_for("pocket"))


def says(outcome: Any) -> Any:
    return lambda sample, answer: Verdict("fixed", outcome)


def tiny_engine(**options: Any) -> tuple[LocalEngine, Probes]:
    vlm = tiny.vlm()
    guard = tiny.guard(vlm, **options)
    samples = [sample for sample in tiny.samples() if sample.images]
    return LocalEngine(Guarded(vlm, guard), "tiny", GuardId("t", "0" * 64)), Probes(samples, samples, says(None), 4)


def test_a_guard_of_no_strength_is_found_out() -> None:
    engine, probes = tiny_engine()
    assert canary(engine, probes).moved > 0
    engine, probes = tiny_engine(strength=0.0)
    with pytest.raises(CanaryFailed, match="does nothing on this model"):
        canary(engine, probes)


def test_a_gate_that_never_fires_is_found_out() -> None:
    engine, probes = tiny_engine(gate="text", thresholds=dict.fromkeys(range(4), (1000000.0, 1000000.0)))
    with pytest.raises(CanaryFailed, match="does nothing on this model"):
        canary(engine, probes)


@pytest.mark.parametrize(
    ("outcome", "why"), [("complied", "answered 5 of 5 harmful"), ("refused", "refused 5 of 5 harmless")]
)
def test_harm_that_passes_and_refusals_of_everything_are_found_out(outcome: str, why: str) -> None:
    engine, probes = tiny_engine()
    with pytest.raises(CanaryFailed, match=why):
        canary(engine, replace(probes, judge=says(outcome)))


def test_a_quarter_may_go_wrong_and_no_more() -> None:
    engine, probes = tiny_engine()
    wrong: list[str] = []

    def judge(sample: Sample, answer: Response) -> Verdict:
        return Verdict("some", "complied" if sample.id in wrong else "refused")

    four = replace(probes, harmful=probes.harmful[:4], benign=(), judge=judge)
    wrong.append(four.harmful[0].id)
    assert canary(engine, four).complied == 1
    wrong.append(four.harmful[1].id)
    with pytest.raises(CanaryFailed, match="answered 2 of 4"):
        canary(engine, four)


def test_a_probe_without_an_answer_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, probes = tiny_engine()

    def breaks(self: Guarded, *args: Any) -> None:
        raise RuntimeError("the guard broke")

    monkeypatch.setattr(Guarded, "write", breaks)
    with pytest.raises(CanaryFailed, match="was not answered"):
        canary(engine, probes)


def test_nothing_is_opened_without_a_guard_or_with_another_models(pocket: VLM, trained: Path) -> None:
    with pytest.raises(UsageError, match="served without a guard"):
        open_engine(pocket, "some/model")
    with pytest.raises(UsageError, match="give --safevlm too"):
        open_engine(pocket, "some/model", guard="x", policy=Path("p.yaml"))
    with pytest.raises(FingerprintMismatch):
        open_engine(tiny.vlm(), "tiny", safevlm=str(trained))


def test_the_digest_is_of_every_file_that_says_what_the_guard_does(pocket: VLM, trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "safevlm")
    before = open_engine(pocket, "pocket", safevlm=str(folder)).guard
    assert before == open_engine(pocket, "pocket").guard
    (folder / "README.md").write_text("another card")
    assert open_engine(pocket, "pocket", safevlm=str(folder)).guard == before
    policy = tmp_path / "policy.yaml"
    policy.write_text((find("pocket").parents[1] / "policy.yaml").read_text())
    assert open_engine(pocket, "pocket", safevlm=str(folder), policy=policy).guard.sha256 != before.sha256
    told = folder / "safevlm.json"
    told.write_text(told.read_text() + " ")
    assert open_engine(pocket, "pocket", safevlm=str(folder)).guard.sha256 != before.sha256


def test_a_guard_and_a_safevlm_stand_together(pocket: VLM, tmp_path: Path) -> None:
    from sightguard.pocket import world
    from sightguard.steering.vlm_guard import VlmGuard

    guard = VlmGuard.fit(pocket, world.anchors(50, 1))
    guard.save_pretrained(tmp_path / "guard")
    both: dict[str, Any] = {"guard": str(tmp_path / "guard"), "safevlm": str(find("pocket") / SAFEVLM)}
    engine = open_engine(pocket, "pocket", **both)
    assert engine.guard.id == "safevlm+vlm_guard"
    probes = probes_for("pocket")
    asked = [
        Job(f"j{i}", replace(s, id=f"j{i}"), Decoding(max_tokens=24, temperature=0), lambda event: None)
        for i, s in enumerate(probes.benign)
    ]
    told: list[list[Event]] = [[] for _ in asked]
    for job, events in zip(asked, told, strict=True):
        job.tell = events.append
    engine.answer(asked)
    for events in told:
        proof = events[0]
        assert isinstance(proof, Proof)
        assert proof.methods == ("safevlm", "vlm_guard")
        assert proof.risk is not None
        assert [gate.layer for gate in proof.gate] == list(guard.layers)
        assert isinstance(events[-1], Done)
    # a guard that does nothing is not hidden by the SafeVLM beside it
    replace(guard, strength=0.0).save_pretrained(tmp_path / "idle")
    idle = open_engine(pocket, "pocket", **{**both, "guard": str(tmp_path / "idle")})
    with pytest.raises(CanaryFailed, match="does nothing"):
        canary(idle, replace(probes, judge=says(None)))
