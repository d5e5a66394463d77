"""Every suite that is shipped names what exists."""

from __future__ import annotations

import re
from inspect import signature
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest

from sightguard.attacks.catalog import attack, attacks_of
from sightguard.bench import suite as suites
from sightguard.bench.defenses import known, parts
from sightguard.bench.pixels import OnModel
from sightguard.bench.plan import plan
from sightguard.bench.suite import is_on_model, names, read_suite
from sightguard.data import benchmarks
from sightguard.errors import DataError, UnknownName
from sightguard.pocket.world import SETTINGS
from tests.data.benchmarks.layouts import write_advbench, write_xstest


@pytest.mark.parametrize("name", names())
def test_benchmarks_options_attacks_and_defenses_exist(name: str) -> None:
    suite = read_suite(name)
    known = benchmarks.known()
    for column in suite.settings:
        assert column.own is None or column.own in SETTINGS
        for one in column.attacks:
            assert OnModel.of(one).number if is_on_model(one) else callable(attack(one))
        if column.benchmark is not None:
            reader = benchmarks._reader(known[column.benchmark])
            assert set(column.options) <= set(signature(reader).parameters), column.name
    for defense in suite.defenses:
        assert parts(defense)
    assert suite.cost
    assert suite.about


def test_the_example_of_the_module_can_be_copied(tmp_path: Path) -> None:
    (block,) = re.findall(r"\n\n((?:    .*\n)+)", suites.__doc__ or "")
    (tmp_path / "mine.yaml").write_text(dedent(block))
    write_advbench(tmp_path / "advbench")
    write_xstest(tmp_path / "xstest")
    asked = plan(read_suite(tmp_path / "mine.yaml"), None, data=tmp_path, attack=attacks_of(0)).asked
    assert [len(one.samples) > 0 for one in asked] == [True, True]
    assert {sample.harmful for sample in asked[1].samples} == {False}


PAGES = Path(__file__).parents[2] / "docs" / "suites"


@pytest.mark.parametrize("name", names())
def test_each_suite_has_a_page_whose_command_can_be_meant(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    (block,) = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    *pulls, command = [line.split() for line in block.strip().splitlines()]
    for words in pulls:
        assert words[:2] == ["sightguard", "pull"]
        assert set(words[2:]) <= benchmarks.known().keys()
    told = {one for words in pulls for one in words[2:]}
    assert name == "quick" or told == {one.benchmark for one in read_suite(name).settings if one.benchmark}
    assert command[:2] == ["sightguard", "bench"]
    assert command[command.index("--suite") + 1] == name
    for option, value in pairwise(command):
        assert option != "--defense" or parts(value.replace("-", "_"))
    for view in ("about", "cost", "settings"):
        assert f"suites/{name}.yaml view={view}" in page


@pytest.mark.parametrize("name", names())
def test_published_figures_have_their_source_and_stand_under_a_defense_that_there_is(name: str) -> None:
    for row in read_suite(name).published:
        assert row.keys() <= {"what", "source", "another", *known()}, row["what"]
        assert re.search(r"arXiv \d{4}\.\d{5}", row["source"]), row["what"]
        assert "none" in row
    assert name in ("quick", "pixels") or read_suite(name).published


def test_real_files_feed_the_settings_that_name_them(data: Path, tmp_path: Path) -> None:
    from sightguard.attacks.catalog import attacks_of
    from sightguard.bench.plan import plan

    found = plan(read_suite("full"), None, data=data, attack=attacks_of(0), limit=20, skip_missing=True)
    asked = {one.setting.name: one for one in found.asked}
    for name in ("advbench", "advbench_typo", "jailbreakbench", "jailbreakbench_benign", "xstest_safe"):
        assert len(asked[name].samples) == 20
    assert all(sample.harmful for sample in asked["advbench"].samples)
    assert not any(sample.harmful for sample in asked["xstest_safe"].samples)
    assert all(sample.images for sample in asked["advbench_typo"].samples)
    assert "mmbench" in found.left_out


HEAD = "schema: 1\nname: x\ntitle: t\nabout: a\n"
ONE = "settings: [{name: a, kinds: [harmful], own: b}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 2\n", "schema 1; found 2"),
        ("schema: 1\nname: x\ntitle: t\nabout: a\n", "expected a list of settings"),
        ("schema: 1\nname: x\ntitle: t\nabout: a\nsettings: [{name: a, kinds: [bad], own: b}]\n", "unknown kinds"),
        ("schema: 1\nname: x\ntitle: t\nabout: a\nsettings: [{name: a, kinds: [harmful]}]\n", "expected a benchmark"),
        (
            "schema: 1\nname: x\ntitle: t\nabout: a\nsettings: [{name: a, kinds: [harmful], own: b, colour: 1}]\n",
            "setting 1: unknown entry 'colour'. Known: name, kinds",
        ),
        (
            HEAD + "settings: [{name: a, kinds: harmful, own: b}]\n",
            "'kinds' should be a list of texts.*found 'harmful'",
        ),
        (HEAD + "settings: [{name: 5, kinds: [harmful], own: b}]\n", "setting 1: 'name' should be a text.*found 5"),
        (HEAD + "settings: [{name: ../../a, kinds: [harmful], own: b}]\n", "leads to no other folder; found '../../a'"),
        (HEAD + "settings: [{name: /a, kinds: [harmful], own: b}]\n", "leads to no other folder; found '/a'"),
        (HEAD + "settings: [{kinds: [harmful], own: b}]\n", "setting 1: 'name' is missing"),
        (
            HEAD + "settings: [{name: a, kinds: [harmful], benchmark: c, attacks: blank}]\n",
            "'attacks' should be a list",
        ),
        (HEAD + "settings: [{name: a, kinds: [harmful], own: b, limit: many}]\n", "'limit' should be a whole number"),
        (HEAD + "settings: [{name: a, kinds: [harmful], own: b, limit: -3}]\n", "'limit' should be a whole number"),
        (HEAD + "settings: [{name: a, kinds: [harmful], own: b, options: [c]}]\n", "'options' should be an object"),
        (HEAD + "defences: [none]\n" + ONE, "unknown entry 'defences'. Did you mean 'defenses'?"),
        (HEAD + "defenses: none\n" + ONE, "'defenses' should be a list of texts.*found 'none'"),
        (HEAD + "limit: ten\n" + ONE, "'limit' should be a whole number from 1 on; found 'ten'"),
        (HEAD + "published: {what: x}\n" + ONE, "'published' should be a list of objects"),
        ("schema: 1\nname: x\ntitle: t\n" + ONE, "'about' is missing; expected a text"),
        ("schema: 1\nname: [x\n", "is no YAML"),
        (
            "schema: 1\nname: x\ntitle: t\nabout: a\nsettings: [{name: a, kinds: [harmful], own: b}, {name: a, kinds: [harmful], own: b}]\n",
            "more than once",
        ),
    ],
)
def test_files_that_are_no_suite_say_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_suite(tmp_path / "a.yaml")
    with pytest.raises(UnknownName):
        read_suite("fulll")
