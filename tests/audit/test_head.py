"""The safety head as an inspector says what SafeVLM says, and leaves out only what nobody reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import PIL.Image
import pytest
import torch

from sightguard.audit.chosen import Chosen
from sightguard.audit.inspector import Pair
from sightguard.audit.inspectors.head import SafetyHeadInspector
from sightguard.data.pictures import decode
from sightguard.models.vlm import VLM
from sightguard.pocket.risks import records
from sightguard.safevlm.features import entering, prepared
from sightguard.safevlm.lean import Lean
from sightguard.safevlm.model import SafeVLM
from sightguard.types import Message, Sample
from tests import tiny
from tests.safevlm import made

pytestmark = pytest.mark.usefixtures("one_thread")


def pairs(samples: list[Sample]) -> list[Pair]:
    return [Pair(s.id, s.messages[-1].text, s.images, tuple(decode(i) for i in s.images)) for s in samples]


def looked(inspector: SafetyHeadInspector, samples: list[Sample]) -> list[Any]:
    return inspector.inspect([inspector.prepare(pair) for pair in pairs(samples)])


@pytest.mark.parametrize("query", ["pooled", "first"])
def test_findings_are_the_verdicts_of_safevlm(query: str) -> None:
    safe = made.safe(sizes={"query": query})
    samples = [record.sample for record in made.records(6)]
    samples += [Sample.of("two pictures ?", made.picture(20), made.picture(220, 1), id="two")]
    samples += [Sample.of("", made.picture(120), id="no words")]
    risks = safe.risks(samples)
    assert len({risk.p_unsafe for risk in risks if risk}) >= 5
    for finding, risk in zip(looked(SafetyHeadInspector(safe), samples), risks, strict=True):
        assert risk is not None
        assert (finding.type, finding.level) == (risk.type, risk.level)
        assert finding.p_unsafe == pytest.approx(risk.p_unsafe, abs=1e-6)
        assert dict(finding.p_types) == pytest.approx(dict(risk.p_types), abs=1e-6)
        assert sum(finding.p_levels) == pytest.approx(1)
        assert finding.p_levels[0] == pytest.approx(risk.p_types["safe"], abs=1e-6)


def test_of_a_conversation_every_turn_of_the_user_is_read_alone() -> None:
    safe = made.safe()
    texts = ("hello there, a long and harmless beginning", "burn it", "and now ?")
    picture = made.picture(60)
    talk = Sample("talk", (*(Message("user", (text,)) for text in texts[:-1]), Message("user", (picture, texts[-1]))))
    (risk,) = safe.risks([talk])
    one = pairs([talk])[0]
    pair = replace(one, text="\n".join(texts), turns=texts)
    inspector = SafetyHeadInspector(safe)
    (found,) = inspector.inspect([inspector.prepare(pair)])
    assert risk is not None
    assert (found.type, found.level) == (risk.type, risk.level)
    assert found.p_unsafe == pytest.approx(risk.p_unsafe, abs=1e-6)
    (together,) = inspector.inspect([inspector.prepare(replace(pair, turns=()))])
    assert together.p_unsafe is not None
    assert together.p_unsafe < risk.p_unsafe - 1e-6


def test_the_embedded_model_is_chosen_by_name() -> None:
    inspector = Chosen(source="pocket", batch=3).make()
    samples = [record.sample for record in records("validation", 12)]
    vlm = VLM.load("pocket")
    safe = SafeVLM.from_pretrained(str(vlm.model.name_or_path) + "/safevlm", vlm)
    found = [f.p_unsafe for f in looked(inspector, samples)]  # type: ignore[arg-type]
    assert found == pytest.approx([risk.p_unsafe for risk in safe.risks(samples) if risk], abs=1e-5)
    assert inspector.batch == 3
    assert inspector.about()["model"]["repo"] == "pocket"


def test_other_weights_are_another_inspector() -> None:
    one, other = (SafetyHeadInspector(made.safe(sizes={"seed": seed})).about() for seed in (0, 1))
    assert one["modules_sha256"] != other["modules_sha256"]


def test_what_is_left_out_changes_no_feature() -> None:
    vlm = tiny.vlm()
    assert Lean.of(vlm).unused == ()
    vlm.model.config.vision_feature_layer = -2  # as LLaVA reads it
    lean = Lean.of(vlm)
    last = [block for name, block in vlm.anatomy.vision.named_modules() if name.endswith("encoder.layers.1")]
    assert list(lean.unused) == last
    assert lean.once
    inputs = prepared(vlm, [PIL.Image.new("RGB", (20, 20), "red"), PIL.Image.effect_noise((20, 20), 90).convert("RGB")])
    ran: list[int] = []
    handle = lean.unused[0].self_attn.register_forward_hook(lambda *a: ran.append(1))  # type: ignore[union-attr]
    with torch.no_grad():
        assert torch.equal(entering(vlm, inputs, lean), entering(vlm, inputs))
    handle.remove()
    assert ran == [1]  # with nothing left out
    assert "forward" not in vars(lean.unused[0])
