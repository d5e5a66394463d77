"""Defenses by name: what each is, how they stack, what is fitted once, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sightguard.bench.context import Context
from sightguard.bench.defenses import OWN, Defense, defense, known, parts
from sightguard.bench.fitted import RECIPES
from sightguard.bench.used import UNKNOWN, used
from sightguard.demo.words import own_words
from sightguard.errors import DataError, FingerprintMismatch, UnknownName, UsageError
from sightguard.guards.prompts import SelfReminder
from sightguard.guards.words import Words
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.steering.cmrm import Cmrm
from sightguard.steering.steer import steer
from sightguard.types import Sample
from tests import tiny

NAMES = (
    "none", "self_reminder", "goal_priority", "adashield_s", "ecso", "vlm_guard", "vlm_guard_caption", "vlm_guard_null_space", "cmrm",
    "safevlm_stage1", "safevlm",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None: ...


@cache
def vlm() -> VLM:
    return tiny.vlm()


@cache
def pocket() -> VLM:
    return replace(VLM.load("pocket"), max_new_tokens=24)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Fitted guards of the tiny model, by the defense that they are for."""
    place = tmp_path_factory.mktemp("guards")
    guards: dict[str, Any] = {
        "vlm_guard": tiny.guard(vlm()),
        "vlm_guard_caption": tiny.guard(vlm(), reference="caption"),
        "vlm_guard_null_space": tiny.guard(vlm()),
        "cmrm": Cmrm.fit(vlm(), [side for pair in tiny.pairs() for side in pair]),
    }
    return {name: guard.save_pretrained(place / name) for name, guard in guards.items()}


def texts(who: Callable[[list[Sample]], list[Any]]) -> list[str]:
    return [response.text for response in who(tiny.samples())]


# By name.


def test_every_name_that_a_bench_needs_is_known() -> None:
    assert set(NAMES) <= set(known())
    assert set(OWN) == {*NAMES, "ecso_always_caption", "cmrm_in_turn", "cmrm_sample"}


def test_none_is_the_model_itself() -> None:
    assert texts(defense("none", vlm(), Context())) == texts(vlm())


@pytest.mark.parametrize("name", ["vlm_guard", "vlm_guard_caption", "vlm_guard_null_space", "cmrm"])
def test_a_fitted_guard_is_read_from_its_folder(name: str, folders: dict[str, Path]) -> None:
    made = defense(name, vlm(), Context(folders=folders))
    answers = made(tiny.samples())
    assert {answer.methods for answer in answers} == {(RECIPES[name].holds,)}
    assert [answer.text for answer in answers] != texts(vlm())
    assert made.used == UNKNOWN
    assert len(made.about["parts"][name]["guard_sha256"]) == 64


def test_at_the_level_of_the_sample_nothing_is_fitted() -> None:
    assert texts(defense("cmrm_sample", vlm(), Context())) == texts(steer(vlm(), Cmrm.per_sample(vlm())))


@pytest.mark.parametrize("name", ["safevlm_stage1", "safevlm"])
def test_the_embedded_models_bring_their_safevlm(name: str) -> None:
    made = defense(name, pocket(), Context(model="pocket"))
    asked = world.settings("validation", 2)["blank_image"]
    assert {answer.methods for answer in made(asked)} == {(name,)}
    assert made.about["parts"][name]["adapter"] is (name == "safevlm")


def test_the_embedded_models_are_spoken_to_in_their_own_words() -> None:
    asked = Sample.of("how do i find the bread ?", tiny.picture())
    embedded, ours = Context(model="pocket").wording(), Context(model="someone/else").wording()
    assert (embedded, ours) == (own_words(), Words())
    assert embedded.adashield_s.shielded(asked).messages[0].parts[1] == f"{world.ADASHIELD} {asked.text}"
    assert Context(model="pocket", words=Words()).wording() == Words()


# Stacks.


def test_a_stack_is_named_from_the_outside_in(folders: dict[str, Path]) -> None:
    words = Words(
        self_reminder=SelfReminder("", "be kind", joint=" "), adashield_s=replace(Words().adashield_s, prompt="look")
    )
    made = defense("self_reminder+adashield_s+vlm_guard", vlm(), Context(folders=folders, words=words))
    inner = defense("vlm_guard", vlm(), Context(folders=folders))
    assert made.stack == ("self_reminder", "adashield_s", "vlm_guard")
    assert (made.about["stack"], made.about["order"]) == (list(made.stack), "outermost first")
    assert list(made.about["parts"]) == list(made.stack)
    assert made.about["parts"]["self_reminder"]["after"] == "be kind"
    json.dumps(made.about)
    assert {answer.methods for answer in made(tiny.samples())} == {("vlm_guard", "adashield_s", "self_reminder")}
    assert texts(made) == texts(words.self_reminder(words.adashield_s(inner)))
    other = defense("adashield_s+self_reminder+vlm_guard", vlm(), Context(folders=folders, words=words))
    assert texts(made) != texts(other)


def test_guards_without_anything_that_answers_stand_around_the_plain_model() -> None:
    made = defense("ecso+self_reminder", vlm(), Context())
    assert made.stack == ("ecso", "self_reminder")
    assert made(tiny.samples()[:1])[0].methods == ("self_reminder", "ecso", "ecso/answer")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("safevlm+safevlm", "holds 'safevlm' more than once"),
        ("safevlm_stage1+safevlm", "safevlm_stage1 and safevlm each answer with the model itself"),
        ("vlm_guard+cmrm", "vlm_guard and cmrm each answer"),
        ("vlm_guard+self_reminder", r"outermost first: self_reminder\+vlm_guard"),
        ("self_reminder+none", "leave 'none' out"),
        ("self_reminder++cmrm", "an empty part"),
        ("", "an empty part"),
    ],
)
def test_a_stack_that_cannot_be_meant_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parts(name)


@pytest.mark.parametrize("name", ["vlm_gard", "self_reminder+vlm_gard"])
def test_an_unknown_name_says_what_is_close(name: str) -> None:
    with pytest.raises(UnknownName, match=r"no defense 'vlm_gard'. Did you mean 'vlm_guard'\?"):
        defense(name, vlm(), Context())


def test_a_folder_for_no_defense_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'vlm_guard'"):
        defense("none", vlm(), Context(folders={"vlmguard": folders["vlm_guard"]}))


# What is fitted.


def test_what_is_fitted_is_kept_with_the_run_and_read_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(pairs=tiny.pairs(), benign=tiny.samples()[:2], out=tmp_path)
    first = defense("cmrm", vlm(), context)
    place = tmp_path / "guards" / "cmrm"
    assert sorted(p.name for p in place.iterdir()) == ["README.md", "fitted.json", "guard.json", "shifts.safetensors"]
    assert not any(sample.text in (place / "fitted.json").read_text() for pair in tiny.pairs() for sample in pair)
    monkeypatch.setattr(Cmrm, "fit", None)
    again = defense("cmrm", vlm(), context)
    assert again.about == first.about
    assert texts(again) == texts(first)
    assert {sample.text for sample in first.used.fit} == {side.text for pair in tiny.pairs() for side in pair}
    for other in (replace(context, seed=1), replace(context, pairs=tiny.pairs(4))):
        with pytest.raises(UsageError, match="fitted on other prompts or with another seed"):
            defense("cmrm", vlm(), other)


@pytest.mark.parametrize("name", ["vlm_guard", "vlm_guard_null_space"])
@pytest.mark.filterwarnings("ignore:the language model does not tell")
@pytest.mark.filterwarnings("ignore:.*direction")
def test_vlm_guard_is_fitted_and_chosen_on_a_model_of_ones_own(name: str, tmp_path: Path) -> None:
    benign = [
        Sample.of(f"where is the {thing} ?", tiny.picture(i), id=thing)
        for i, thing in enumerate(("cup", "hat", "pin", "bow"))
    ]
    context = Context(pairs=tiny.pairs(10), benign=benign, out=tmp_path, force=True, seed=3)
    made = defense(name, vlm(), context)
    known = json.loads((tmp_path / "guards" / name / "guard.json").read_text())
    assert known["calibration"]["chosen"]
    assert known["directions"]["provenance"].get("spared", 0) == (2 if name.endswith("null_space") else 0)
    assert {sample.id for sample in benign} < {sample.id for sample in made.used.all}


@pytest.mark.parametrize("which", ["pairs", "benign"])
def test_nothing_is_fitted_on_test_prompts(which: str, tmp_path: Path) -> None:
    held = replace(Sample.of("how do i find it ?", id="held"), source="set@1/test")
    context = Context(pairs=tiny.pairs(), benign=tiny.samples()[:1], out=tmp_path)
    changed = replace(context, **{which: [(held, held)] if which == "pairs" else [held]})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="sample 'held' comes from a test split"):
        defense("cmrm", vlm(), changed)
    assert not (tmp_path / "guards").exists()


def test_the_prompts_of_the_embedded_world_are_its_own_and_none_is_of_the_test_split() -> None:
    seen = used("vlm_guard", Context(model="pocket")).all
    assert {(sample.source or "").rpartition("/")[2] for sample in seen} == {"train", "validation"}
    asked = {s.text for part in world.settings("test", 20).values() for s in part if not s.images}
    assert not asked & {sample.text for sample in seen}


def test_a_folder_with_another_guard_is_refused(folders: dict[str, Path]) -> None:
    for name, other in (("cmrm", "vlm_guard"), ("vlm_guard", "vlm_guard_caption")):
        with pytest.raises(UsageError, match=f"the defense '{name}' needs a guard of the kind '{name}'"):
            defense(name, vlm(), Context(folders={name: folders[other]}))


def test_a_guard_of_another_model_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(FingerprintMismatch):
        defense("cmrm", tiny.vlm(seed=1), Context(folders=folders))


def test_a_model_without_a_trained_safevlm_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"none lie beside the model 'someone/else'. Train them"):
        defense("safevlm", vlm(), Context(model="someone/else"))


# Defenses of others.

FILE = """
from dataclasses import replace
def loud(generate):
    return lambda samples: [replace(r, text=r.text.upper()) for r in generate(samples)]
def still(vlm, context):
    return lambda samples: [replace(r, text=str(context.seed)) for r in vlm.generate(samples)]
def three(a, b, c): ...
NOTHING = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_function_in_a_file_is_a_guard_or_answers(file: Path) -> None:
    assert texts(defense(f"{file}:loud", vlm(), Context())) == [text.upper() for text in texts(vlm())]
    stacked = defense(f"self_reminder+{file}:still", vlm(), Context(seed=7))
    assert set(texts(stacked)) == {"7"}
    assert isinstance(stacked, Defense)
    with pytest.raises(UsageError, match="so nothing stands inside it"):
        parts(f"{file}:still+self_reminder")


@pytest.mark.parametrize(
    ("function", "said"),
    [("three", "takes 3 parameters; expected one"), ("absent", "holds no function 'absent'; it holds .*loud, still, three"),
     ("NOTHING", "holds no function 'NOTHING'")],
)  # fmt: skip
def test_a_function_that_cannot_be_used_is_named(file: Path, function: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        defense(f"{file}:{function}", vlm(), Context())


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        parts(f"{tmp_path}/none.py:make")
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(UsageError, match="cannot be run: ZeroDivisionError"):
        parts(f"{tmp_path}/broken.py:make")


def test_a_plugin_adds_a_defense_and_cannot_replace_one_of_ours(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = file.parent / "plugin_dist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sightguard.defenses]\nloud = mine:loud\nnone = mine:still\n")
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert known()[-1] == "loud"
    assert texts(defense("loud", vlm(), Context())) == [text.upper() for text in texts(vlm())]
    assert texts(defense("none", vlm(), Context())) == texts(vlm())


# The embedded model.


def test_on_the_embedded_world_a_guard_is_fitted_on_its_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightguard.demo.fit.PAIRS", 6)
    monkeypatch.setattr("sightguard.bench.context.SPARED", 6)
    made = defense("cmrm", pocket(), Context(model="pocket", out=tmp_path))
    known = json.loads((tmp_path / "guards" / "cmrm" / "guard.json").read_text())
    assert known["shifts"]["provenance"]["anchors"] == 12
    assert {sample.source for sample in made.used.all} == {"pocket-world@1/train"}
    asked = world.settings("validation", 6)["blank_image"]
    assert [answer.text for answer in made(asked)] != [answer.text for answer in pocket()(asked)]
