"""The trained modules that ship with the embedded model: a policy change changes only what it speaks of."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sightguard import VLM
from sightguard.demo.safety import shipped
from sightguard.errors import DataError
from sightguard.pocket import risks
from sightguard.safevlm.model import SafeVLM


@pytest.fixture(scope="module")
def safe() -> SafeVLM:
    return shipped(replace(VLM.load("pocket"), batch=64, max_new_tokens=24), "pocket")[-1]


def test_switching_a_type_off_changes_only_items_of_that_type(safe: SafeVLM) -> None:
    asked = [record.sample for record in risks.records("validation", 240)]
    before = safe(asked)
    kinds = Counter(answer.risk.type for answer in before if answer.risk)
    assert len(kinds) == 7, "every type is found among them"
    off = replace(safe, policy=safe.policy.switched_off("toxic"))
    after = off(asked)
    assert off.modules is safe.modules, "nothing is loaded again"
    for old, new in zip(before, after, strict=True):
        assert old.risk is not None
        assert new.risk is not None
        assert new.risk.type == old.risk.type
        if old.risk.type == "toxic":
            assert new.rule == "toxic:off"
        else:
            assert (new.text, new.rule) == (old.text, old.rule)
    changed = sum(old.text != new.text for old, new in zip(before, after, strict=True))
    assert changed > 0, "without its hint the model answers some of them otherwise"


def test_whose_turns_are_read_is_kept_in_the_folder_and_older_folders_read_the_users(
    safe: SafeVLM, tmp_path: Path
) -> None:
    assert safe.policy.turns == "user", "it was written before there was a choice"
    everyone = replace(safe, policy=replace(safe.policy, turns="all"))
    folder = everyone.save_pretrained(tmp_path / "all")
    assert SafeVLM.from_pretrained(folder, safe.vlm).policy.turns == "all"
    about = json.loads((folder / "safevlm.json").read_text())
    (folder / "safevlm.json").write_text(json.dumps({**about, "turns": "every"}))
    with pytest.raises(DataError, match=r"safevlm.json: `turns` says .*: expected user or all; got 'every'"):
        SafeVLM.from_pretrained(folder, safe.vlm)


def test_each_verdict_is_recorded_with_its_rule(safe: SafeVLM) -> None:
    for answer in safe([record.sample for record in risks.records("validation", 40)]):
        assert answer.risk is not None
        assert answer.rule == (
            f"{safe.taxonomy.safe}:answer" if answer.risk.type == "safe" else safe.policy.decide(answer.risk).name
        )
