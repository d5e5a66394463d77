"""What noise is asked, of whom, and that it is noise that they see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sightguard.attacks.pgd import Pgd
from sightguard.bench.defenses import Defense
from sightguard.bench.noise import Noise, noises
from sightguard.bench.plan import Plan, Planned
from sightguard.bench.suite import Column, Suite
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.testing import FakeGenerate
from sightguard.types import Sample
from tests import tiny

SAMPLES = tuple(
    Sample.of("what is this ?", tiny.picture(i, (20 + i, 24)), id=f"p{i}", harmful=i != 3) for i in range(4)
)
HARMFUL = SAMPLES[:3]


def plan(**attacks: str) -> Plan:
    asked = tuple(
        Planned(
            setting=Column(name=name, kinds=("harmful",), own="x", attacks=(attack,) if attack else ()),
            samples=SAMPLES,
            plain=SAMPLES,
            source="made",
            about={},
        )
        for name, attack in attacks.items()
    )
    return Plan(suite=Suite(name="s", title="t", about="a", settings=()), asked=asked, left_out={})


def test_noise_is_shared_by_attacks_of_its_size_and_asked_of_whom_they_were_made_for() -> None:
    asked = noises(
        plan(static="pgd:8", aimed="pgd_adaptive:8", large="pgd:16", early="icet:0", plain=""), ("none", "d")
    )
    assert [(one.name, one.size, one.defenses, one.adaptive) for one in asked] == [
        ("static", 8, ("none", "d"), {"aimed"}),
        ("large", 16, ("none",), frozenset()),
    ]
    assert dict(asked[0].against) == {"static": ("none",), "aimed": ("none", "d")}
    assert all(one.samples == HARMFUL for one in asked), "there is no success of an attack on a harmless prompt"


def test_noise_of_other_prompts_is_other_noise() -> None:
    two = plan(static="pgd:8", aimed="pgd_adaptive:8")
    fewer = replace(two, asked=(two.asked[0], replace(two.asked[1], samples=SAMPLES[:2])))
    assert [(one.name, one.defenses) for one in noises(fewer, ("none", "d"))] == [
        ("static", ("none",)),
        ("aimed", ("none", "d")),
    ]
    harmless = replace(two, asked=(replace(two.asked[0], samples=SAMPLES[3:]),))
    assert noises(harmless, ("none",)) == []


def test_every_defense_sees_noise_and_the_run_goes_on(tmp_path: Path) -> None:
    vlm = tiny.vlm()
    fakes = {name: FakeGenerate(lambda sample: "an answer") for name in ("none", "d")}
    made = [Defense(name, (name,), fake) for name, fake in fakes.items()]
    for _ in range(2):
        noise = Noise.of(plan(aimed="pgd_adaptive:8"), vlm, made, seed=3, batch=2)
        noise.ask(tmp_path, RefusalPhrases(), batch=2, order=list, progress=lambda *_: None)
    expected = Pgd(eps=8 / 255, seed=3).noise(vlm, HARMFUL)
    for fake in fakes.values():
        assert [sample.id for sample in fake.samples] == ["p0", "p1", "p2"], "once, the second call finds them answered"
        assert [sample.images for sample in fake.samples] == [sample.images for sample in expected]
    assert all(a.images != b.images for a, b in zip(expected, HARMFUL, strict=True))


def test_without_an_attack_on_pixels_nothing_is_written(tmp_path: Path) -> None:
    noise = Noise.of(plan(early="icet:0"), tiny.vlm(), [], seed=0, batch=2)
    noise.ask(tmp_path, RefusalPhrases(), batch=2, order=list, progress=lambda *_: None)
    assert list(tmp_path.iterdir()) == []
