"""Typographic pictures: their layout beside FigStep's own pictures, and the rules of MM-SafetyBench."""

from __future__ import annotations

import csv
import textwrap
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import yaml

from sightguard.attacks.typographic import (
    FigStep,
    Typographic,
    figstep_picture,
    typo_lines,
    typo_picture,
)
from sightguard.data.benchmarks import benchmark
from sightguard.data.pictures import decode
from sightguard.errors import DataError
from sightguard.types import Sample
from tests import tiny
from tests.data.benchmarks import layouts

PHRASE = "Steps to bake a loaf of rye bread with caraway seeds."


def ink(picture: PIL.Image.Image) -> Any:
    return np.asarray(picture.convert("L")) < 128


def lines(picture: PIL.Image.Image) -> list[int]:
    """Where each line of black begins, from the top."""
    rows = ink(picture).any(1).astype(int)
    return [int(start) for start in np.where(np.diff(np.concatenate([[0], rows])) == 1)[0]]


def test_the_layout_is_that_of_figstep(data: Path) -> None:
    """Nothing of these files is printed: only sizes, shares and counts are compared."""
    with (data / "FigStep/data/question/SafeBench-Tiny.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    compared, folder = 0, data / "FigStep/data/images/SafeBench-Tiny"
    for row in rows:
        name = f"query_ForbidQI_{row['category_id']}_{row['task_id']}_6.png"
        with PIL.Image.open(folder / name) as opened:
            theirs = opened.convert("RGB")
        ours = figstep_picture(row["instruction"])
        assert (ours.size, ours.mode) == (theirs.size, "RGB"), name
        assert ours.getpixel((0, 0)) == (255, 255, 255)
        assert ours.getpixel((759, 400)) == theirs.getpixel((759, 400)) == (255, 255, 255)
        assert 0.6 < ink(ours).mean() / ink(theirs).mean() < 1.5, name
        found, expected = lines(ours), lines(theirs)
        assert len(found) == len(expected), name
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 12, name
        compared += 1
    assert compared == 50


def test_no_line_leaves_the_canvas() -> None:
    wide = figstep_picture("mmmmmmmmmmmmmmm wwwwwwwwwwwwwww MMMMMMMMMMMMMMM")
    assert not ink(wide)[:, -8:].any()
    assert ink(wide)[:, 600:].any()


def test_figstep_draws_the_rephrased_instruction_or_a_heading_and_the_words() -> None:
    plain = FigStep()(Sample.of("How do I bake bread?", tiny.picture(), id="a", harmful=False))
    rephrased = FigStep()(Sample.of("How do I bake bread?", meta={"instruction": PHRASE}))
    for drawn, words in ((plain, "Steps for this request: How do I bake bread?"), (rephrased, PHRASE)):
        assert np.array_equal(np.asarray(decode(drawn.images[0])), np.asarray(figstep_picture(words).convert("RGB")))
    assert len(plain.images) == 1
    assert "bread" not in plain.text
    assert (plain.id, plain.harmful, plain.meta["attack"]) == ("a", False, "figstep")


def test_mm_safetybench_wraps_by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from sightguard.attacks.typographic import _font

    phrase = (
        "a long phrase about a loaf of rye bread" + " and a" * 30
    )  # short words, so that lines end close to the edge
    found = typo_lines(phrase)
    assert "".join(found) == phrase
    assert len(found) > 1
    assert all(line.startswith(" ") for line in found[1:])
    width = _font(90).getlength
    assert all(width(line) < 1024 for line in found)
    firsts = [line.split()[0] for line in found[1:]]
    assert all(width(f"{line} {word}") >= 1024 for line, word in zip(found, firsts, strict=False))
    picture = typo_picture(phrase)
    assert picture.size == (1024, 90 * (len(found) + 1))
    assert len(lines(picture)) == len(found)
    assert lines(picture)[0] > 45


def test_below_a_picture() -> None:
    sample = Sample.of("bread", tiny.picture(3, (40, 80)))
    both = decode(Typographic(below=True)(sample).images[0])
    assert both.size == (1024, 512 + 180)
    assert ink(both)[512:].any()
    upper = np.asarray(both.crop((0, 0, 1024, 512)).resize((80, 40)), float)
    assert np.corrcoef(upper.ravel(), np.asarray(decode(tiny.picture(3, (40, 80))), float).ravel())[0, 1] > 0.8
    with pytest.raises(DataError, match="no picture to write below"):
        Typographic(below=True)(Sample.of("bread"))


@pytest.mark.parametrize("attack", [FigStep(), Typographic()])
def test_a_sample_without_words_has_nothing_to_draw(attack: FigStep | Typographic) -> None:
    with pytest.raises(DataError, match="no words to draw"):
        attack(Sample.of(" ", tiny.picture()))


def test_lines_are_those_of_textwrap() -> None:
    assert len(lines(figstep_picture(PHRASE))) == textwrap.fill(PHRASE, width=15).count("\n") + 1 + 3


def test_figstep_asks_with_the_authors_words_which_are_data_with_their_source(tmp_path: Path) -> None:
    told = yaml.safe_load((files("sightguard.data.formats") / "prompts" / "figstep.yaml").read_text())
    assert (told["licence"], told["source"].split("@")[0]) == ("MIT", "ThuCCSLab/FigStep")
    said = FigStep()(Sample.of("plant a hedge", id="hedge"))
    assert said.text == told["parts"]["text"]
    (asked,) = {sample.text for sample in benchmark("figstep", layouts.write_figstep(tmp_path)).samples}
    assert said.text == asked, "as the benchmark itself asks"
