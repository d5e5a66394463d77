"""A SafeVLM as a `Generate`: off it is the plain model, on it records why; saved and read it is the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sightguard.data.taxonomy import published
from sightguard.errors import ArtifactError, DataError, FingerprintMismatch, PictureError, UsageError
from sightguard.models.additions import Adapter
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.modules import Shape
from sightguard.safevlm.policy import default_policy
from sightguard.types import Image, Sample
from tests import tiny
from tests.safevlm import made

OPTIONS: list[dict[str, Any]] = [
    {},
    {"do_sample": True, "temperature": 1.5, "seed": 3},
    {"num_beams": 3},
    {"use_cache": False},
    {"repetition_penalty": 1.4},
]


def adapter(safe: SafeVLM, spread: float = 0.3) -> Adapter:
    torch.manual_seed(5)
    hidden = safe.vlm.anatomy.hidden_size
    paths = [f"model.language_model.layers.{i}.self_attn.q_proj" for i in range(4)]
    return Adapter({path: (torch.randn(2, hidden) * spread, torch.randn(hidden, 2) * spread) for path in paths}, 1.0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_with_everything_off_it_answers_exactly_as_the_plain_model(options: dict[str, Any]) -> None:
    safe = made.safe(tokens=False, hints=False)
    plain = safe.vlm.generate(tiny.samples(), **options)
    found = safe.generate(tiny.samples(), **options)
    assert len({answer.text for answer in plain}) >= 5
    assert [answer.text for answer in found] == [answer.text for answer in plain]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batches_order_and_padding_do_not_matter(options: dict[str, Any]) -> None:
    if options.get("do_sample"):
        options = {**options, "top_k": 1}
    safe = made.safe()
    safe = replace(safe, adapter=adapter(safe))
    one = [safe.generate([sample], **options)[0] for sample in tiny.samples()]
    many = safe.generate(tiny.samples()[::-1], batch=8, **options)[::-1]
    assert len({answer.text for answer in one}) >= 5
    assert [answer.text for answer in one] == [answer.text for answer in many]
    assert [answer.rule for answer in one] == [answer.rule for answer in many]


def test_each_part_changes_answers_and_leaves_the_model_as_it_was() -> None:
    safe = made.safe(hints=False, tokens=False)
    weights = {name: tensor.clone() for name, tensor in safe.vlm.model.state_dict().items()}
    plain = [answer.text for answer in safe.vlm(tiny.samples())]
    loud = replace(safe, tokens=True)
    with torch.no_grad():
        loud.modules.prompt_tokens.normal_(std=2)
    for changed in (loud, replace(safe, hints=True), replace(safe, adapter=adapter(safe))):
        assert [answer.text for answer in changed(tiny.samples())] != plain
    assert [answer.text for answer in safe.vlm(tiny.samples())] == plain
    assert all(torch.equal(tensor, weights[name]) for name, tensor in safe.vlm.model.state_dict().items())


def test_the_response_records_verdict_and_rule() -> None:
    safe = made.safe()
    for sample, answer in zip(tiny.samples(), safe(tiny.samples()), strict=True):
        assert answer.methods == ("safevlm",)
        if not sample.images:
            assert (answer.risk, answer.rule, answer.gate) == (None, "no picture", False)
            continue
        assert answer.risk is not None
        assert answer.rule == safe.policy.decide(answer.risk).name
        assert answer.gate is bool(safe.policy.decide(answer.risk).hint)
        assert sum(answer.risk.p_types.values()) == pytest.approx(1)


def test_a_prompt_without_a_picture_holds_no_tokens_and_is_answered_as_by_the_plain_model() -> None:
    safe = made.safe()
    words = [sample for sample in tiny.samples() if not sample.images]
    assert [a.text for a in safe(words)] == [a.text for a in safe.vlm(words)]
    assert safe.speaking.encode(words).rows == safe.vlm.encode(words).rows


def test_the_adapter_leaves_requests_without_a_picture_to_the_plain_model() -> None:
    safe = made.safe(hints=False, tokens=False)
    changed = replace(safe, adapter=adapter(safe))
    plain, found = safe.vlm(tiny.samples()), changed(tiny.samples())
    differing = [a.text != b.text for a, b in zip(plain, found, strict=True)]
    pictured = [bool(sample.images) for sample in tiny.samples()]
    assert any(differing)
    assert not any(d for d, seen in zip(differing, pictured, strict=True) if not seen)


def test_first_is_constant_in_the_text_of_real_requests_and_pooled_is_not() -> None:
    asked = [
        Sample.of(text, tiny.picture(3)) for text in ("how do i find the bread ?", "what ?", "burn the boat now .")
    ]
    same = made.safe(sizes={"query": "first"}).probabilities(asked)
    other = made.safe(sizes={"query": "pooled"}).probabilities(asked)
    torch.testing.assert_close(same[0], same[1])
    torch.testing.assert_close(same[0], same[2])
    assert float((other[0] - other[1]).abs().max()) > 1e-3


def test_the_head_is_trained_on_the_words_of_the_user_and_the_verdict_reads_the_turns_that_it_is_to() -> None:
    user = made.safe()
    safe = replace(user, policy=replace(user.policy, turns="all"))
    (turns,) = [sample for sample in tiny.samples() if sample.id == "turns"]
    first, answer, last = turns.messages
    other_answer = replace(turns, messages=(first, replace(answer, parts=("quite another thing",)), last))
    other_turn = replace(turns, messages=(replace(first, parts=("look .", *first.images)), answer, last))
    types, _ = safe.logits([turns, other_answer, other_turn])
    torch.testing.assert_close(types[0], types[1])
    assert float((types[0] - types[2]).abs().max()) > 1e-4
    spoken = [safe.probabilities([Sample.of(text, *turns.images)])[0] for text in safe.read(other_answer)]
    assert len(spoken) == 4
    seen = safe.probabilities([other_answer])[0]
    assert any(torch.allclose(seen, one, atol=1e-6) for one in spoken)
    assert len(user.read(other_answer)) == 3
    told = user.probabilities([turns, other_answer])
    torch.testing.assert_close(told[0], told[1])


def test_the_probabilities_of_a_batch_are_those_of_one_by_one() -> None:
    safe = made.safe()
    asked = [sample for sample in tiny.samples() if sample.images]
    torch.testing.assert_close(
        safe.probabilities(asked), torch.cat([safe.probabilities([s]) for s in asked]), rtol=1e-4, atol=1e-6
    )


def test_saved_and_read_it_answers_the_same(tmp_path: Path) -> None:
    safe = made.safe(temperatures=(1.5, 0.7))
    safe = replace(safe, adapter=adapter(safe))
    safe.save_pretrained(tmp_path / "s", measured={"accuracy": 0.5}, training={"seed": 0})
    again = SafeVLM.from_pretrained(tmp_path / "s", safe.vlm)
    assert [(a.text, a.risk, a.rule) for a in again(tiny.samples())] == [
        (a.text, a.risk, a.rule) for a in safe(tiny.samples())
    ]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "README.md",
        "adapter",
        "modules.safetensors",
        "safevlm.json",
    ]
    stage1 = SafeVLM.from_pretrained(tmp_path / "s", safe.vlm, adapter=None)
    assert [a.text for a in stage1(tiny.samples())] != [a.text for a in safe(tiny.samples())]


def test_peft_reads_the_adapter(tmp_path: Path) -> None:
    from peft import PeftModel

    safe = made.safe(hints=False)
    safe = replace(safe, adapter=adapter(safe))
    safe.save_pretrained(tmp_path / "s")
    inputs = safe.vlm.encode(tiny.samples()).inputs
    with torch.no_grad(), safe.on():
        ours = safe.vlm.model(**inputs).logits
    other = tiny.llava()
    with pytest.warns(FutureWarning):
        peft = PeftModel.from_pretrained(other, tmp_path / "s" / "adapter")
    with torch.no_grad():
        theirs = peft(**inputs).logits
    torch.testing.assert_close(ours[..., : safe.first_id], theirs[..., : safe.first_id], rtol=1e-4, atol=1e-4)


def test_another_model_another_width_and_another_taxonomy_are_refused(tmp_path: Path) -> None:
    safe = made.safe()
    safe.save_pretrained(tmp_path / "s")
    with pytest.raises(FingerprintMismatch, match="trained on another model: weights: the decoder's values differ"):
        SafeVLM.from_pretrained(tmp_path / "s", tiny.vlm(seed=1))
    with pytest.raises(UsageError, match="for a language model of width 32; this one has 48"):
        replace(safe, vlm=tiny.vlm(hidden=48))
    with pytest.raises(UsageError, match="tells 3 types and 3 levels apart; the taxonomy 'psa-vlm' has 7 and 4"):
        replace(safe, taxonomy=published(), policy=default_policy(published()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "modules.safetensors").unlink(), "no file .*modules.safetensors"),
        (lambda folder: (folder / "modules.safetensors").write_bytes(b"x"), "cannot be read as safetensors"),
        (lambda folder: (folder / "safevlm.json").write_text("{"), "is no JSON"),
        (lambda folder: edit(folder, "schema", 9), "has format number 9"),
        (
            lambda folder: edit(folder, "shape", {"tokens": 4, "hidden": 32, "vision": 16}),
            "is missing, unknown or of another shape",
        ),
        (lambda folder: edit(folder, "shape", {"odd": 4}), "is missing, unknown or of another shape"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    safe = made.safe()
    safe.save_pretrained(tmp_path / "s")
    damage(tmp_path / "s")
    with pytest.raises(ArtifactError, match=message):
        SafeVLM.from_pretrained(tmp_path / "s", safe.vlm)


def edit(folder: Path, key: str, value: object) -> None:
    path = folder / "safevlm.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


def test_nothing_that_was_not_looked_at_is_answered() -> None:
    safe = made.safe()
    with pytest.raises(PictureError, match="sample 'broken': the picture given as bytes"):
        safe([tiny.samples()[0], Sample.of("look", Image(data=b"none"), id="broken")])
    with pytest.raises(DataError, match="which stands for a safety token"):
        safe([Sample.of("<|safety_0|> hello", id="sly")])
    with pytest.raises(DataError, match="sample 'words' holds no picture"):
        safe.logits([Sample.of("hello", id="words")])


def test_sampling_never_writes_a_safety_token() -> None:
    safe = made.safe()
    inputs = safe.speaking.encode(tiny.samples()).inputs
    torch.manual_seed(0)
    with safe.on():
        written = safe.vlm.model.generate(
            **inputs, do_sample=True, temperature=50.0, top_k=0, max_new_tokens=40, num_return_sequences=4
        )
    fresh = written[:, inputs["input_ids"].shape[1] :]
    assert fresh.unique().numel() > 60
    assert not bool(((fresh >= safe.first_id) & (fresh < safe.first_id + 3)).any())


def test_odd_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="projector is 'c_abstractor' or 'mlp'; got 'x'"):
        Shape(projector="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tokens of the safety modules must be at least 1; got 0"):
        Shape(tokens=0)
