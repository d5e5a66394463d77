"""The reports of a bench: every figure in them is one of the results, in the page, in Markdown and in the terminal alike."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sightguard.bench.examples import examples
from sightguard.bench.report import write_report
from sightguard.bench.results import results
from sightguard.bench.setting import Setting
from sightguard.errors import DataError
from sightguard.report.bench_charts import Point, front, pareto_chart, trade
from sightguard.report.bench_markdown import bench_markdown
from sightguard.report.bench_page import render_bench
from sightguard.report.bench_tables import headline, listings, unsettled
from sightguard.report.bench_terminal import bench_table, rich_table
from tests.bench import made

SECRET = "veiled words of an answer"


class Page(HTMLParser):
    """What a browser is given: the rows of each listing as texts, what is loaded, the words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._table = ""
        self._cell: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in told.items()]
        if tag == "table" and told.get("class") == "listing":
            self._table = told["id"]
        if self._table and tag == "tr":
            self.rows.setdefault(self._table, []).append([])
        if self._table and tag in ("th", "td"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self._cell is not None:
            self.rows[self._table][-1].append("|".join(self._cell))
            self._cell = None
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None and data.strip():
            self._cell.append(data.strip())


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    manifest = {"judge": "made", "about": {"model": "tiny", "revision": "abc123"}}
    return results(made.planted(), made.SETTINGS, made.DEFENSES, model="tiny", manifest=manifest, **made.MEASURED)


@pytest.fixture(scope="module")
def page(told: dict[str, Any]) -> Page:
    return Page(render_bench(told, examples(made.planted, made.SETTINGS, made.DEFENSES)))


def percent(rate: dict[str, float] | None, *notes: str) -> str:
    if rate is None:
        return "–"
    value, low, high = (f"{100 * rate[name]:.1f}" for name in ("value", "low", "high"))
    return "|".join((value, f"{low}–{high}", *notes))


def test_every_figure_of_the_attacks_is_that_of_the_results(told: dict[str, Any], page: Page) -> None:
    rows = page.rows["attacks"][1:]
    assert len(rows) == 12
    tested = {(row["defense"], row["setting"]): row for row in told["tests"]["asr"]["rows"]}
    for row in rows:
        defense, setting = row[0].replace(" (undefended)", "").split("|")
        part = told["settings"][setting]["defenses"][defense]["attacked"]
        assert row[1] == str(part["n"])
        assert row[2] == percent(part["asr"])
        assert row[6] == percent(part["strict"])
        assert row[7:] == [str(count) for count in part["outcomes"].values()]
        test = tested.get((defense, setting))
        assert (row[3] == "–") == (test is None) == (defense == "none")
        if test:
            shown = float(row[3].split("|")[0].replace("−", "-"))
            assert shown == pytest.approx(100 * test["difference"]["value"], abs=0.051)
            assert row[5] == ("< 0.0001" if test["p_holm"] < 1e-4 else row[5])
            assert row[5].startswith("<") or float(row[5]) == pytest.approx(test["p_holm"], abs=5.1e-4)


def test_every_figure_of_the_harmless_requests_is_that_of_the_results(told: dict[str, Any], page: Page) -> None:
    rows = page.rows["harmless"][1:]
    assert len(rows) == 8
    calls = {(row["defense"], row["setting"]): row["call"] for row in told["non_inferiority"]}
    for row in rows:
        defense, setting = row[0].replace(" (undefended)", "").split("|")
        part = told["settings"][setting]["defenses"][defense]
        assert row[2] == percent(part["benign"]["over_refusal"])
        assert row[5] == percent(part["utility"] and part["utility"]["correct"])
        assert row[8] == calls.get((defense, setting), "–")
        assert row[9:] == [str(count) for count in part["benign"]["outcomes"].values()]


def test_the_headline_sets_attack_success_beside_over_refusal_utility_and_cost(
    told: dict[str, Any], page: Page
) -> None:
    rows = page.rows["headline"]
    assert rows[1][0] == "none (undefended)"
    assert [row[0] for row in rows[2:]] == list(made.DEFENSES[1:])
    for row, defense in zip(rows[1:], made.DEFENSES, strict=True):
        pooled, cost = told["overall"][defense], told["cost"][defense]
        assert row[1] == percent(pooled["asr"]["rate"], "n = 120", "360 answers")
        crashed = ["10 crashed"] if defense == "crashing" else []
        assert row[2] == percent(pooled["over_refusal"]["rate"], "n = 80")
        assert row[3] == percent(pooled["utility"]["rate"], "n = 200", *crashed)
        names = ("prefill_ratio", "decode_ratio", "seconds_ratio", "seconds_per_token_ratio")
        assert row[4:8] == [f"{cost[name]:.2f}" for name in names]
    assert [row[9] for row in rows[1:]] == ["4.25", "4.50", "5.12", "–"]


def test_categories_adaptive_attacks_and_gates_are_those_of_the_results(told: dict[str, Any], page: Page) -> None:
    rows = page.rows["categories"][1:]
    assert len(rows) == 36
    for row in rows:
        defense, setting, category = row[0].replace(" (undefended)", "").split("|")
        part = told["settings"][setting]["by_category"][category]
        assert row[1:3] == [str(part["n"]), percent(part["defenses"][defense]["attacked"]["asr"])]
    for row, test in zip(page.rows["adaptive"][1:], told["adaptive"], strict=True):
        assert row[1:4] == [test["static"], percent(test["static_asr"]), percent(test["adaptive_asr"])]
        assert row[8:] == [percent(test["static_gate"]), percent(test["adaptive_gate"]), "not failed", "–"]
    gate = told["gate"]["prompt_shield"]
    first, *rest = page.rows["gates"][1:]
    acted = [percent(gate["fired"][side]) for side in ("harmful", "benign")]
    place = [percent(gate[side]) for side in ("harmful", "benign")]
    assert first == ["prompt_shield|all settings", *acted, *place, "the shield: 254"]
    sides = [(name, [percent(part[side]) for side in ("harmful", "benign")]) for name, part in gate["settings"].items()]
    assert rest == [[f"prompt_shield|{name}", *shares, "–", "–", "–"] for name, shares in sides]


def test_markdown_holds_the_same_rows_as_the_page(told: dict[str, Any], page: Page) -> None:
    tables = re.split(r"\n\n", bench_markdown(told))
    found = [
        [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in part.splitlines()]
        for part in tables
        if part.startswith("| ")
    ]
    assert len(found) == len(page.rows) == 7
    for table, rows in zip(found, page.rows.values(), strict=True):
        columns = len(rows[1]) - 1
        assert len(table) == len(rows) + 1
        for line, row in zip(table[2:], rows[1:], strict=True):
            cells = [re.sub(r"\)$", "", cell.replace(" (", "|").replace(", ", "|")) for cell in line[-columns:]]
            assert [cell.replace("&lt;", "<") for cell in cells] == row[-columns:]
            assert line[: len(line) - columns] == row[0].split("|")
    text = bench_markdown(told)
    for words in ("- exact: 0", "- near: 2", "made and phrases: kappa: 0.8123", "revision: abc123"):
        assert words in text, words


def test_the_terminal_holds_the_same_figures_as_the_page(told: dict[str, Any], page: Page) -> None:
    def printed(table: Any) -> str:
        console = Console(width=400, force_terminal=False)
        with console.capture() as shown:
            console.print(table)
        return shown.get()

    for source in listings(told):
        text = printed(rich_table(source))
        for row in page.rows[source.id][1:]:
            for cell in row:
                assert all(part in text for part in cell.split("|")), cell
    assert "judged by made" in printed(bench_table(told))


def test_what_a_reader_must_know_first_comes_first(told: dict[str, Any], page: Page) -> None:
    words = page.text
    order = ("Overlap.", "exact: 0; near: 2", "Headline", "Attacks", "How far the judges agree", "Provenance")
    assert [words.index(one) for one in order] == sorted(words.index(one) for one in order)
    for one in ("judged by made", "0.8123", "abc123", "95%", "−3 points, the stated margin", "family of 9 tests"):
        assert one in words, one
    bare = results(made.planted(), made.SETTINGS, made.DEFENSES, model="tiny")
    for text in (Page(render_bench(bare)).text, bench_markdown(bare)):
        assert "Not checked: whether the prompts were seen in fitting is not known." in text
        assert "Not measured in this run." in text


def test_what_is_inconclusive_says_so_wherever_it_stands() -> None:
    rows = [made.row("none", "s", i, "harmful", harmful=True) for i in range(20)]
    rows += [made.row("d", "s", i, None if i < 3 else "refused", harmful=True) for i in range(20)]
    found = results(rows, [Setting(name="s", kind="harmful")], ("none", "d"), model="tiny")
    assert len(unsettled(found)) == 2, "the setting and the pooled rate"
    page, text = Page(render_bench(found)), bench_markdown(found)
    for table in ("headline", "attacks"):
        marked = [row[0].split("|")[0] for row in page.rows[table][1:] if any("inconclusive" in cell for cell in row)]
        assert marked == ["d"]
    for words in (page.text, text):
        assert "inconclusive: 3 of 20 prompts have no outcome (3 undecided, 0 guard errors), more than 5%" in words


def test_nothing_is_loaded_and_no_style_stands_outside_the_sealed_one(page: Page) -> None:
    loading = {"src", "href", "xlink:href", "action", "data", "poster", "srcset", "background"}
    assert [value for _, name, value in page.attributes if name in loading and not value.startswith("#")] == []
    assert not {"link", "iframe", "object", "embed", "base", "img"} & set(page.tags)
    assert (page.tags.count("style"), page.tags.count("script"), page.tags.count("svg")) == (1, 1, 2)
    assert [one for one in page.attributes if one[1] == "style" or one[1].startswith("on")] == []
    policies = [value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src")]
    assert len(policies) == 1
    assert "unsafe" not in policies[0]
    assert policies[0].count("sha256-") == 2


def test_names_and_answers_cannot_write_into_the_page_or_the_tables() -> None:
    attack = "</td><script>alert(1)</script><img src=x> | \n[red]x[/red]"
    name = f"s{attack}"
    rows = [
        made.row(defense, name, i, "harmful", harmful=i > 0, text=attack, judge=attack)
        for defense in ("none", attack)
        for i in range(2)
    ]
    settings = [Setting(name=name)]
    found = results(rows, settings, ("none", attack), model=attack, agreement={attack: attack}, overlap={attack: 1})
    text = render_bench(found, examples(lambda: rows, settings, ("none", attack)))
    seen = Page(text)
    assert (seen.tags.count("script"), seen.tags.count("img")) == (1, 0)
    assert attack in seen.text
    markdown = bench_markdown(found)
    assert "<script>" not in markdown
    counts = {line.count("|") - line.count("\\|") for line in markdown.splitlines() if line.startswith("| ")}
    assert counts == {len(table.columns) + len(table.about) + 1 for table in listings(found)}
    console = Console(width=400)
    with console.capture() as shown:
        console.print(bench_table(found))
    assert "[red]x[/red]" in shown.get()


def test_examples_are_chosen_by_difference_bounded_and_veiled_unless_harmless(told: dict[str, Any]) -> None:
    rows = [
        made.row(
            one.condition,
            one.setting,
            int(one.id.split("-")[1]),
            one.outcome,
            harmful=one.harmful,
            text=f"{SECRET} {i}",
        )
        for i, one in enumerate(made.planted())
    ]
    for seed in (0, 1):
        mixed = made.shuffled(rows, seed)
        chosen = examples(mixed.copy, made.SETTINGS, made.DEFENSES, per_setting=2)
        assert chosen == examples(lambda: rows, made.SETTINGS, made.DEFENSES, per_setting=2)
    assert [one.setting for one in chosen] == [one.name for one in made.SETTINGS for _ in range(2)]
    assert [one.harmless for one in chosen] == [False] * 6 + [True] * 4
    for one in chosen:
        assert len({answer.outcome for answer in one.answers}) > 1
    text = render_bench(told, chosen)
    veiled = text[text.index('<section id="examples">') : text.index(">kitchen <")]
    assert veiled.count(SECRET) == 24 == veiled.count(f'<div class="words" hidden>{SECRET}')
    assert examples(lambda: rows, made.SETTINGS, made.DEFENSES, per_setting=0) == []
    assert SECRET not in bench_markdown(told)


def test_long_answers_are_cut(told: dict[str, Any]) -> None:
    rows = [made.row("none", "kitchen", 0, "safe", harmful=False, text="z" * 5000)]
    text = render_bench(told, examples(lambda: rows, made.SETTINGS, made.DEFENSES))
    assert "z" * 600 + "…" in text
    assert "z" * 601 not in text


rates = st.integers(0, 10).map(lambda k: {"value": k / 10, "low": k / 20, "high": min(1.0, k / 10 + 0.1)})


@given(places=st.lists(st.tuples(rates, rates), min_size=1, max_size=12), more=st.booleans())
def test_the_front_is_what_nothing_else_beats(places: list[Any], more: bool) -> None:
    points = [Point(str(i), x, y, False) for i, (x, y) in enumerate(places)]
    edge = front(points, more_is_better=more)
    assert edge, "something is always best"

    def beats(a: Point, b: Point) -> bool:
        x = (a.x["value"] - b.x["value"]) * (1 if more else -1)
        y = b.y["value"] - a.y["value"]
        return x >= 0 and y >= 0 and x + y > 0

    for point in points:
        assert (point in edge) == (not any(beats(other, point) for other in points))


def test_the_figures_draw_each_defense_where_its_rates_are(told: dict[str, Any]) -> None:
    for name in ("over_refusal", "utility"):
        points = trade(told, name)
        assert [point.y for point in points] == [told["overall"][d]["asr"]["rate"] for d in made.DEFENSES]
        assert [point.x for point in points] == [told["overall"][d][name]["rate"] for d in made.DEFENSES]
        svg = pareto_chart(told, name) or ""
        assert all(defense in svg for defense in ("none (undefended)", *made.DEFENSES[1:]))
        assert "style" not in svg
    lone = copy.deepcopy(told)
    for defense in made.DEFENSES[1:]:
        lone["overall"][defense]["utility"] = None
    assert pareto_chart(lone, "utility") is None
    assert "Not drawn on both, for want of a rate: prompt_shield, steered, crashing" in Page(render_bench(lone)).text


def test_many_defenses_are_told_apart() -> None:
    names = ["none", *(f"defense {i}" for i in range(20))]
    rows = [made.row(name, "s", i, "refused", harmful=i % 2 == 0) for name in names for i in range(4)]
    found = results(rows, [Setting(name="s")], names, model="tiny")
    svg = pareto_chart(found, "over_refusal") or ""
    assert all(name in svg for name in names)


def test_a_report_is_written_from_the_run_folder_alone_and_again_the_same(tmp_path: Path) -> None:
    folder = made.write_run(tmp_path / "run", made.planted())
    write_report(folder)
    first = {name: (folder / name).read_bytes() for name in ("results.json", "report.html", "report.md")}
    (tmp_path / "run").rename(tmp_path / "moved")
    write_report(tmp_path / "moved")
    assert {name: (tmp_path / "moved" / name).read_bytes() for name in first} == first
    assert str(tmp_path).encode() not in b"".join(first.values())
    write_report(tmp_path / "moved", per_setting=0)
    assert b"an answer about the garden" not in (tmp_path / "moved" / "report.html").read_bytes()


def test_results_of_another_shape_are_refused(told: dict[str, Any]) -> None:
    broken = {name: value for name, value in told.items() if name != "overlap"}
    for make in (render_bench, bench_markdown):
        with pytest.raises(DataError, match="results.overlap: missing"):
            make(broken)


def test_the_headline_of_a_defense_with_fewer_settings_says_so(told: dict[str, Any]) -> None:
    rows = [row for row in made.planted() if (row.condition, row.setting) != ("steered", "garden/aimed")]
    found = results(rows, made.SETTINGS, made.DEFENSES, model="tiny")
    cells = {line.about["defense"]: line.cells for line in headline(found).lines}
    assert "2 of 3 settings" in cells["steered"][0].note
    assert "settings" not in cells["crashing"][0].note
