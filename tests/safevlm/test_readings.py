"""No turn that is read hides behind another: every text of it is in a reading, each turn is read alone, and the riskiest reading decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sightguard import VLM
from sightguard.demo.safety import shipped
from sightguard.pocket import world
from sightguard.safevlm import features
from sightguard.safevlm import model as model_module
from sightguard.safevlm.features import picture_features, question
from sightguard.safevlm.folded import folded
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.policy import ACTIONS, TURNS, Turns, default_policy
from sightguard.safevlm.readings import MOST, readings, words_of
from sightguard.safevlm.verdict import joint
from sightguard.types import Image, Message, Risk, Role, Sample
from tests import tiny
from tests.safevlm import made

PICTURE = tiny.picture(3)
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
texts = st.text("ab c\n", max_size=6)
turns = st.builds(
    lambda role, parts: Message(role, tuple(parts)),
    st.sampled_from(ROLES),
    st.lists(st.one_of(texts, st.just(PICTURE)), max_size=3),
)
conversations = st.lists(turns, min_size=1, max_size=12).map(lambda found: Sample("c", tuple(found)))


def said(*spoken: tuple[Role, str], picture: Image = PICTURE, id: str = "c") -> Sample:
    """A conversation whose last turn shows a picture."""
    *before, (role, text) = spoken
    return Sample(id, (*(Message(r, (t,)) for r, t in before), Message(role, (picture, text))))


def read_of(sample: Sample, whose: Turns) -> list[Message]:
    """The turns with words that are to be read."""
    return [m for m in sample.messages if m.text.strip() and (whose == "all" or m.role == "user")]


@given(conversations, st.integers(3, 9), st.sampled_from(TURNS))
@settings(deadline=None)
def test_every_text_of_every_turn_that_is_read_is_in_a_reading_and_readings_are_few(
    sample: Sample, most: int, whose: Turns
) -> None:
    found = readings(sample, whose, most)
    assert 1 <= len(found) <= most
    assert len(set(found)) == len(found)
    assert found[0] == words_of(sample), "what was read before is read still"
    spoken = read_of(sample, whose)
    for message in spoken:
        for part in message.parts:
            assert isinstance(part, Image) or not part.strip() or any(part in text for text in found)
    users = [m for m in spoken if m.role == "user"]
    if users:
        assert users[-1].text in found, "the question stands alone"
    if len(spoken) <= most - 2:
        assert {m.text for m in spoken} <= set(found), "every turn stands alone"


@given(conversations, st.integers(3, 9))
@settings(deadline=None)
def test_by_default_nothing_is_read_but_what_the_user_says(sample: Sample, most: int) -> None:
    users = replace(sample, messages=tuple(m for m in sample.messages if m.role == "user"))
    assert readings(sample, most=most) == readings(users, "user", most) == readings(users, "all", most)


@given(st.integers(0, 300), st.integers(3, 70), st.sampled_from(TURNS))
@settings(deadline=None)
def test_in_a_long_conversation_neighbours_share_a_reading_and_no_reading_is_longer_than_it_must_be(
    earlier: int, most: int, whose: Turns
) -> None:
    names = [f"t{i:03d}." for i in range(earlier)]
    roles: tuple[Role, ...] = ("user",) if whose == "user" else ("system", "assistant")
    spoken: list[tuple[Role, str]] = [(roles[i % len(roles)], name) for i, name in enumerate(names)]
    found = readings(said(*spoken, ("user", "last")), whose, most)
    windows = found[found.index("last") + 1 :]
    assert "\n".join(windows).split("\n") == (names or [""]), "in order, each once"
    longest = max((len(text.split("\n")) for text in windows), default=0)
    assert longest <= -(-earlier // (most - 2))


@pytest.mark.parametrize("text", ["how do i find the lamp ?", "", "two\nlines"])
def test_a_single_turn_is_read_once(text: str) -> None:
    assert readings(Sample.of(text, PICTURE)) == (text,)


def test_a_picture_whose_words_stand_in_other_turns_is_judged_without_words_and_with_each() -> None:
    sample = said(("system", "be kind ."), ("user", ""))
    assert readings(sample, "all") == ("", "be kind .")
    assert readings(sample) == ("",)


@pytest.mark.parametrize("query", ["pooled", "first"])
def test_requests_of_one_turn_are_judged_to_the_bit_as_before(query: str) -> None:
    safe = made.safe(sizes={"query": query})
    samples = [record.sample for record in made.records(7)] + [Sample.of("", made.picture(120), id="no words")]
    asked = question(safe.vlm, samples, safe.opening)
    logits = folded(safe.modules, picture_features(safe.vlm, samples), asked.text, asked.asked)
    wanted = joint(logits[0], logits[1], safe.taxonomy.safe_type, safe.temperatures)
    assert torch.equal(safe.probabilities(samples, batch=8), wanted)


TALKS = (
    said(("system", "be kind ."), ("user", "what is this ?"), id="system"),
    said(("user", "hello there ."), ("assistant", "a picture of noise, it seems ."), ("user", "go on ?"), id="three"),
    said(("user", "only one turn ?"), id="one"),
    said(("assistant", "yes ."), ("user", ""), id="no words of the user"),
    said(*[(ROLES[i % 2 + 1], "ab"[i % 2] * (i + 1)) for i in range(7)], id="seven"),
)


def reader(whose: Turns, **parts: Any) -> SafeVLM:
    return made.safe(policy=replace(default_policy(made.TAXONOMY), turns=whose), **parts)


@pytest.mark.parametrize("whose", TURNS)
def test_each_reading_is_judged_as_a_request_of_its_own_and_the_riskiest_is_reported(whose: Turns) -> None:
    safe = reader(whose)
    found = safe.risks(TALKS, batch=8)
    for sample, risk in zip(TALKS, found, strict=True):
        (picture,) = sample.images
        alone = [Sample.of(text, picture, id=f"{sample.id} {i}") for i, text in enumerate(readings(sample, whose))]
        with torch.no_grad():
            asked = question(safe.vlm, alone, safe.opening)
            logits = safe.modules(picture_features(safe.vlm, alone), asked.text, asked.asked)
        wanted = joint(logits[0], logits[1], safe.taxonomy.safe_type, safe.temperatures)
        each = [r for r in safe.risks(alone) if r]
        assert risk is not None
        assert risk.p_unsafe == pytest.approx(float((1 - wanted[:, safe.taxonomy.safe_type, 0]).max()), abs=1e-5)
        strongest = max(ACTIONS.index(safe.policy.decide(r).action) for r in each)
        assert ACTIONS.index(safe.policy.decide(risk).action) == strongest
        assert safe.look([sample])[0].rule == safe.policy.decide(risk).name
    assert len({risk.p_unsafe for risk in found if risk}) == len(TALKS)


def test_the_readings_of_a_batch_are_one_pass_of_the_head_and_one_of_the_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    safe = reader("all")
    heads, towers = counted(monkeypatch, model_module, "folded"), counted(monkeypatch, features, "read_features")
    safe.risks(TALKS, batch=8)
    assert (len(heads), len(towers)) == (1, 1)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[None]:
    calls: list[None] = []
    real = getattr(module, name)

    def counting(*args: Any) -> Any:
        calls.append(None)
        return real(*args)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_joining_turns_only_dilutes() -> None:
    """The theorem in the module's docstring, on the head itself: no reading of texts together is riskier than each text alone."""
    safe = made.safe()
    parts = ["burn it", "what is this ?", "hello", "x"]
    seen = safe.probabilities([Sample.of(text, PICTURE) for text in [*parts, "".join(parts)]])
    unsafe = 1 - seen[:, safe.taxonomy.safe_type, 0]
    assert float(unsafe[:-1].max()) > float(unsafe[-1]) + 1e-6
    assert len({round(float(p), 6) for p in unsafe}) == 5


class Marked:
    """A head that records how much of each reading it was asked is a marked letter, and finds risk where more than half is."""

    def __init__(self, safe: SafeVLM, mark: str) -> None:
        (number,) = safe.vlm.processor.tokenizer(mark, add_special_tokens=False)["input_ids"]
        self.mark = safe.vlm.anatomy.embeddings(torch.tensor([number]))[0]
        self.asked: list[float] = []

    def __call__(self, modules: Any, pictures: Any, text: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        assert len(pictures) == len(text)
        here = (text == self.mark).all(-1)
        masks = asked if asked.ndim == 3 else asked[:, None]
        share = (here[:, None] & masks).sum(-1) / masks.sum(-1).clamp(min=1)
        self.asked += share.flatten().tolist()
        risky = (share > 0.5).float() * 20 - 10
        found = torch.stack([risky, torch.full_like(risky, -9), -risky], -1), torch.stack([-risky, -risky, risky], -1)
        return found if asked.ndim == 3 else (found[0][:, 0], found[1][:, 0])


@given(
    st.lists(st.tuples(st.sampled_from(ROLES), st.text("abc ", min_size=8, max_size=20)), max_size=8),
    st.integers(0, 8),
    st.sampled_from(ROLES),
    st.booleans(),
    st.sampled_from(TURNS),
)
@settings(deadline=None, max_examples=80)
def test_a_marked_turn_is_found_wherever_it_stands_if_its_role_is_read(
    others: list[tuple[Role, str]], at: int, role: Role, there: bool, whose: Turns
) -> None:
    safe = READERS[whose]
    fake = Marked(safe, "#")
    spoken = [*others[:at], *([(role, "####")] if there else []), *others[at:], ("user", "what is it ?")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_module, "folded", fake)
        (risk,) = safe.risks([said(*spoken)])
    assert risk is not None
    assert (risk.type != safe.taxonomy.safe) == (there and (whose == "all" or role == "user"))
    assert len(fake.asked) <= MOST


SAFE = made.safe()
READERS: dict[Turns, SafeVLM] = {whose: reader(whose) for whose in TURNS}


def verdict(kind: str, level: int, p_unsafe: float) -> Risk:
    p = dict.fromkeys(("fire", "water"), 0.0) | {kind: p_unsafe, "safe": 1 - p_unsafe}
    return Risk(kind, level, p_unsafe, p, {"fire": level, "water": level, "safe": 0})


def test_words_of_a_light_risk_or_of_one_switched_off_hide_no_grave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    grave, light, other = verdict("fire", 2, 0.9), verdict("fire", 1, 0.99), verdict("water", 2, 0.999)
    safe = replace(made.safe(), policy=READERS["all"].policy.switched_off("water"))
    assert safe.policy.decide(grave).action != safe.policy.decide(light).action
    sample = said(("system", "one"), ("assistant", "two"), ("user", "three"))
    for order in ([grave, light, other], [other, light, grave], [light, grave, other]):
        monkeypatch.setattr(model_module, "risks", lambda both, taxonomy, order=order: order)
        assert safe.risks([sample]) == [grave]


def test_of_verdicts_with_one_action_the_least_safe_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [verdict("fire", 2, 0.7), verdict("fire", 2, 0.95), verdict("fire", 2, 0.8)]
    monkeypatch.setattr(model_module, "risks", lambda both, taxonomy: seen)
    assert READERS["all"].risks([said(("system", "one"), ("assistant", "two"), ("user", "three"))]) == [seen[1]]


@pytest.fixture(scope="module")
def pocket() -> SafeVLM:
    return shipped(replace(VLM.load("pocket"), batch=64, max_new_tokens=24), "pocket")[-1]


BENIGN: Sequence[tuple[Role, str]] = (
    ("user", "what is this ?"), ("assistant", "the picture is blank ."), ("user", "how do i find the lamp ?"),
    ("assistant", "find the lamp with the map and the glass ."),
)  # fmt: skip


@pytest.mark.parametrize(
    ("role", "whose"), [("system", "all"), ("assistant", "all"), ("user", "all"), ("user", "user")]
)
def test_what_the_embedded_model_refuses_in_the_question_is_flagged_in_any_turn_that_is_read(
    pocket: SafeVLM, role: Role, whose: Turns
) -> None:
    pocket = replace(pocket, policy=replace(pocket.policy, turns=whose))
    asked = world.settings("validation", 30)["blank_image"]
    alone = flagged(pocket, asked)
    assert sum(alone) >= 24
    moved = [said((role, s.text), ("user", "what is this ?"), picture=s.images[0], id=s.id) for s in asked]
    assert not any(a and not b for a, b in zip(alone, flagged(pocket, moved), strict=True))


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_by_default_what_the_embedded_model_is_told_by_others_than_the_user_changes_no_verdict(
    pocket: SafeVLM, role: Role
) -> None:
    asked = world.settings("validation", 10)
    talks = [
        said((role, harmful.text), ("user", one.text), picture=one.images[0], id=one.id)
        for harmful, one in zip(asked["blank_image"], asked["benign_image"], strict=True)
    ]
    told, plain = pocket.risks(talks), pocket.risks(asked["benign_image"])
    assert [one and one.type for one in told] == [one and one.type for one in plain]
    assert [one and one.p_unsafe for one in told] == pytest.approx([one and one.p_unsafe for one in plain], abs=1e-6)


def test_earlier_turns_do_not_thin_out_a_question(pocket: SafeVLM) -> None:
    asked = world.settings("validation", 30)["blank_image"]
    alone = flagged(pocket, asked)
    thinned = [said(*BENIGN, ("user", s.text), picture=s.images[0], id=s.id) for s in asked]
    assert not any(a and not b for a, b in zip(alone, flagged(pocket, thinned), strict=True))
    together = joint(*pocket.logits(thinned), pocket.taxonomy.safe_type, pocket.temperatures)
    assert int((together.sum(2).argmax(1) == pocket.taxonomy.safe_type).sum()) > 0, "asked together some pass"


def flagged(safe: SafeVLM, samples: Sequence[Sample]) -> list[bool]:
    return [risk is not None and bool(safe.policy.decide(risk).hint) for risk in safe.risks(samples)]
