"""report.html of a bench in Chromium, from a file: sorted and filtered by keyboard, veiled until asked for, no wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sightguard.bench.report import write_report
from tests.bench import made

ROWS = 76
ASR = {  # of what was planted, by defense and setting
    (defense, setting): counts[at] / 120
    for setting, counts in made.ASR.items()
    for at, defense in enumerate(("none (undefended)", *made.DEFENSES[1:]))
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = made.write_run(tmp_path_factory.mktemp("made") / "run", made.planted())
    write_report(folder)
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The page, which at the end must have asked for itself alone and complained of nothing."""
    opened, asked, said = chromium.new_page(viewport={"width": 1200, "height": 900}), list[str](), list[str]()
    opened.set_default_timeout(5000)
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(address)
    yield opened
    assert asked == [address]
    assert said == []
    opened.close()


def rows(page: Page, table: str) -> list[tuple[str, str]]:
    """Defense and setting of each row that is shown, in order."""
    found = page.eval_on_selector_all(
        f"#{table} tbody tr",
        "all => all.filter((r) => r.offsetParent).map((r) => [r.dataset.defense, r.dataset.setting ?? ''])",
    )
    return [(defense, setting) for defense, setting in found]


def sort_by(page: Page, table: str, column: str) -> None:
    """Press Enter on the head of a column."""
    page.locator(f"#{table} .sort", has_text=column).first.focus()
    page.keyboard.press("Enter")


def test_rows_are_sorted_by_keyboard_up_down_and_back(page: Page) -> None:
    given = rows(page, "attacks")
    head = page.locator("#attacks thead th", has_text="Attack success")
    for order, sign in (("ascending", 1), ("descending", -1)):
        sort_by(page, "attacks", "Attack success")
        expect(head).to_have_attribute("aria-sort", order)
        values = [sign * ASR[row] for row in rows(page, "attacks")]
        assert values == sorted(values)
    sort_by(page, "attacks", "Attack success")
    assert head.get_attribute("aria-sort") is None
    assert rows(page, "attacks") == given
    sort_by(page, "attacks", "Difference")
    moved = [
        ASR[row] - ASR["none (undefended)", row[1]] for row in rows(page, "attacks") if row[0] in made.DEFENSES[1:]
    ]
    assert moved == sorted(moved), "by value, not by how it is written"
    sort_by(page, "attacks", "Setting")
    assert [setting for _, setting in rows(page, "attacks")] == sorted(setting for _, setting in given)
    expect(page.locator("#attacks thead th[aria-sort]")).to_have_count(1)
    assert rows(page, "headline")[0] == ("none (undefended)", ""), "other tables stay as they are"


def test_what_has_no_value_stays_last_whichever_way_it_is_sorted(page: Page) -> None:
    for _ in range(2):
        sort_by(page, "headline", "Perplexity")
        assert rows(page, "headline")[-1][0] == "crashing"
    assert [defense for defense, _ in rows(page, "headline")][:3] == ["steered", "prompt_shield", "none (undefended)"]
    sort_by(page, "attacks", "p, Holm")
    assert [defense for defense, _ in rows(page, "attacks")][-3:] == ["none (undefended)"] * 3


def test_filters_work_by_keyboard_and_together(page: Page) -> None:
    expect(page.locator("#count")).to_have_text(f"{ROWS} of {ROWS} rows")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name === 'defense'"):
            break
    page.keyboard.type("steered")
    assert {
        defense for table in ("headline", "attacks", "categories", "harmless") for defense, _ in rows(page, table)
    } == {"steered"}
    assert len(rows(page, "between")) == 3, "the pairs of which it is one or the other"
    page.select_option("[name=benchmark]", "quiz")
    assert rows(page, "attacks") == []
    assert rows(page, "harmless") == [("steered", "quiz")]
    assert rows(page, "headline") == [("steered", "")], "a pooled row is about no one benchmark"
    page.click("[type=reset]")
    page.select_option("[name=setting]", "garden/aimed")
    assert {setting for _, setting in rows(page, "attacks")} == {"garden/aimed"}
    page.click("[type=reset]")
    page.select_option("[name=category]", "snails")
    assert len(rows(page, "categories")) == 12
    assert len(rows(page, "attacks")) == 12, "what has no category stays"
    page.click("[type=reset]")
    expect(page.locator("#count")).to_have_text(f"{ROWS} of {ROWS} rows")


def test_answers_to_harmful_prompts_are_hidden_until_opened(page: Page) -> None:
    words = page.locator("#examples .words:visible")
    veils = page.locator(".veil")
    expect(veils).to_have_count(9)
    expect(words).to_have_count(0)
    assert page.locator("#examples article:not(.veiled) td:first-of-type:visible").count() == 24
    assert "blur" in page.eval_on_selector(".veil span", "one => getComputedStyle(one).filter")
    for key in ("Enter", "Space"):
        veils.nth(1).focus()
        page.keyboard.press(key)
        expect(words).to_have_count(4)
        expect(veils.nth(1)).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Escape")
        expect(words).to_have_count(0)
    veils.nth(0).click()
    veils.nth(2).click()
    expect(words).to_have_count(8)
    page.click("#hide")
    expect(words).to_have_count(0)
    veils.nth(0).click()
    page.select_option("[name=benchmark]", "quiz")
    page.select_option("[name=benchmark]", "*")
    expect(words).to_have_count(0)


def test_without_scripts_nothing_harmful_is_shown(chromium: Browser, address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    expect(opened.locator("#examples .words:visible")).to_have_count(0)
    expect(opened.locator("noscript")).to_be_visible()
    assert opened.locator("#attacks tbody tr:visible").count() == 12
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, address: str, scheme: Any) -> None:
    opened = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    opened.goto(address)
    opened.click("details summary") if opened.locator("details").count() else None
    for veil in opened.locator(".veil").all():
        veil.click()
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    ground, ink = (opened.evaluate(f"getComputedStyle(document.body).{part}") for part in ("backgroundColor", "color"))
    letters = opened.eval_on_selector(".charts text[fill='#1d2733']", "one => getComputedStyle(one).fill")
    dark = [sum(map(int, colour[4:-1].split(", "))) < 384 for colour in (ground, ink, letters)]
    assert dark == ([True, False, False] if scheme == "dark" else [False, True, True])
    opened.close()


def test_a_planted_script_or_style_does_nothing(chromium: Browser, address: str, tmp_path: Path) -> None:
    text = Path(address.removeprefix("file://")).read_text()
    planted = text.replace("</main>", "<script>window.ran = true</script><p id='p' style='margin: 77px'></p></main>")
    (tmp_path / "planted.html").write_text(planted)
    opened = chromium.new_page()
    opened.goto((tmp_path / "planted.html").as_uri())
    assert opened.evaluate("window.ran ?? false") is False
    assert opened.eval_on_selector("#p", "one => getComputedStyle(one).marginTop") != "77px"
    opened.close()
