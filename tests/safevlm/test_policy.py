"""What a policy does about each verdict, and the files that are no policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightguard.data.taxonomy import published, read_yaml
from sightguard.errors import DataError
from sightguard.pocket import risks as pocket
from sightguard.safevlm.policy import DEFAULT, Policy, default_policy, read_policy
from sightguard.types import Image, Message, Risk, Sample

TAXONOMY = published()


def risk(kind: str, level: int, p: float = 0.9) -> Risk:
    """A verdict that is sure of one type, the rest shared out among the others."""
    others = [name for name in TAXONOMY.types if name != kind]
    return Risk(
        kind,
        level,
        p_unsafe=1 - p if kind == "safe" else p,
        p_types={kind: p, **{name: (1 - p) / len(others) for name in others}},
        levels={**dict.fromkeys(TAXONOMY.risks, 1), "safe": 0, kind: level},
    )


def test_every_rule_of_the_default_policy_fires() -> None:
    policy = default_policy(TAXONOMY)
    fired = {policy.decide(risk(kind, level)).name for kind in TAXONOMY.risks for level in (1, 2, 3)}
    assert fired == {rule.name for rule in policy.rules.values()}
    assert len(fired) == 18
    assert policy.decide(risk("safe", 0)).name == "safe:answer"
    assert {policy.decide(risk("illegal", level)).action for level in (1, 2, 3)} == {"caution", "may_refuse", "refuse"}


def test_every_rule_of_the_pocket_policy_fires_and_its_words_are_known() -> None:
    from sightguard.pocket.vocabulary import tokens_of, vocabulary

    policy = read_policy(Path(pocket.__file__).with_name("policy.yaml"), pocket.TAXONOMY)
    assert len({rule.name for rule in policy.rules.values()}) == 18
    words = {token for rule in policy.rules.values() for token in tokens_of(policy.form.format(hint=rule.hint))}
    assert words <= set(vocabulary())


def test_switching_a_type_off_changes_only_items_of_that_type() -> None:
    policy = default_policy(TAXONOMY)
    off = policy.switched_off("privacy")
    verdicts = [risk(kind, level, p) for kind in TAXONOMY.risks for level in (1, 2, 3) for p in (0.4, 0.9)] + [
        risk("safe", 0)
    ]
    changed = [v for v in verdicts if policy.decide(v) != off.decide(v)]
    assert {v.type for v in changed} == {"privacy"}
    assert len(changed) == 6
    assert {off.decide(v).name for v in changed} == {"privacy:off"}
    assert {off.decide(v).hint for v in changed} == {""}


def test_a_threshold_decides_in_place_of_the_likeliest_type() -> None:
    strict = Policy(default_policy(TAXONOMY).rules, thresholds={"privacy": 0.05})
    lax = Policy(default_policy(TAXONOMY).rules, thresholds={"privacy": 0.95})
    unsure = risk("safe", 0, 0.4)  # privacy stands at .1
    assert default_policy(TAXONOMY).decide(unsure).action == "answer"
    assert strict.decide(unsure).name == "privacy/1:caution"
    assert lax.decide(risk("privacy", 3, 0.9)).action == "answer"
    assert lax.decide(risk("privacy", 3, 0.96)).name == "privacy/3:refuse"
    assert lax.decide(risk("illegal", 3, 0.6)).name == "illegal/3:refuse"


def test_a_hint_stands_behind_the_words_of_the_last_turn_and_pictures_stay() -> None:
    policy = default_policy(TAXONOMY)
    rule = policy.decide(risk("illegal", 3))
    picture = Image(data=b"x")
    sample = Sample(
        "s", (Message("user", ("hello", picture)), Message("assistant", ("hi",)), Message("user", (picture, "why ?")))
    )
    hinted = policy.hinted(sample, rule)
    assert hinted.messages[:2] == sample.messages[:2]
    assert hinted.messages[2].parts == (picture, f"why ?\nSafety hint: {rule.hint}")
    assert "illegal content" in rule.hint
    only = policy.hinted(Sample("s", (Message("user", ("look", picture)),)), rule)
    assert only.messages[0].parts == ("look", picture, f"Safety hint: {rule.hint}")
    assert policy.hinted(sample, policy.decide(risk("safe", 0))) is sample


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "should be a policy with `schema: 1`"),
        ({"extra": 1}, r"has unknown entries \['extra'\]"),
        ({"types": {"privcy": {2: "refuse"}}}, "types names 'privcy', which is no risk type"),
        ({"types": {"safe": {0: "refuse"}}}, "types names 'safe', which is no risk type"),
        ({"thresholds": {"x": 0.5}}, "thresholds names 'x', which is no risk type"),
        (
            {"levels": {1: "caution", 2: "may_refuse"}},
            "level 3: expected an action of answer, caution, may_refuse, refuse; got None",
        ),
        ({"levels": {1: "shout", 2: "refuse", 3: "refuse"}}, "level 1: expected an action of .*; got 'shout'"),
        ({"turns": "system"}, "mine.yaml: `turns` says whose turns .*: expected user or all; got 'system'"),
        ({"turns": None}, "expected user or all; got None"),
        ({"hints": {"caution": "x", "may_refuse": "y"}}, "the action 'refuse' needs a hint"),
    ],
)
def test_a_bad_policy_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Policy.of({**read_yaml(DEFAULT), **change}, TAXONOMY, "mine.yaml")


def test_whose_turns_are_read_is_the_users_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    assert default_policy(TAXONOMY).turns == Policy({}).turns == "user"
    (tmp_path / "p.yaml").write_text(DEFAULT.read_text().replace("turns: user", "turns: all"))
    policy = read_policy(tmp_path / "p.yaml", TAXONOMY)
    assert policy.turns == policy.switched_off("privacy").turns == "all"
    with pytest.raises(DataError, match="expected user or all; got 'every'"):
        replace(policy, turns="every")  # type: ignore[arg-type]


def test_off_in_a_file_and_unknown_types_to_switch_off(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(DEFAULT.read_text().replace("types:\n", "types:\n  privacy: off\n"))
    policy = read_policy(tmp_path / "p.yaml", TAXONOMY)
    assert policy.off == {"privacy"}
    with pytest.raises(DataError, match="the policy knows no type 'x' to switch off"):
        policy.switched_off("x")
