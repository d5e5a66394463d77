"""A request that cannot be answered costs its neighbours no company: it is told at the door, or dropped, or found by halves."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest

from sightguard.data.pictures import decode, upright_size
from sightguard.engine.guarded import Guarded
from sightguard.engine.lengths import Lengths
from sightguard.engine.local import LocalEngine
from sightguard.errors import DataError, PictureError, PromptTooLong
from sightguard.models.vlm import VLM
from sightguard.serve.job import Done, Failed, GuardId
from sightguard.types import Image, Message, Sample
from tests import tiny
from tests.engine.asked import Asked, all_of
from tests.families.catalogue import MAKERS

ID = GuardId("test", "0" * 64)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return replace(tiny.vlm(), max_new_tokens=12)


@pytest.fixture(scope="module")
def engine(vlm: VLM) -> LocalEngine:
    return LocalEngine(Guarded(vlm, tiny.guard(vlm)), "tiny", ID)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each attempt had."""
    found: list[int] = []
    write = LocalEngine._write

    def counted(self: LocalEngine, rows: Sequence[Any], notes: Any) -> None:
        found.append(len(rows))
        write(self, rows, notes)

    monkeypatch.setattr(LocalEngine, "_write", counted)
    return found


BAD: dict[str, Callable[[], Sample]] = {
    "too long": lambda: Sample.of("x" * 2000, id="bad"),
    "no picture": lambda: Sample.of("what ?", Image(data=b"no picture"), id="bad"),
    "a sign": lambda: Sample.of("what <image> ?", id="bad"),
    "a turn too many": lambda: Sample("bad", (Message("user", ("a",)), Message("assistant", ("b",)))),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_an_error_that_names_a_row_costs_the_others_one_attempt(
    engine: LocalEngine, sizes: list[int], bad: Callable[[], Sample]
) -> None:
    good = all_of(tiny.samples())
    one = Asked.of(bad())
    engine.answer([one.job, *(other.job for other in good)])
    assert isinstance(one.last, Failed)
    assert one.last.trouble in {"context_length", "bad_request"}
    assert all(isinstance(other.last, Done) for other in good)
    assert sizes == [len(good) + 1, len(good)]


def test_an_error_that_names_nobody_is_found_by_halves(
    engine: LocalEngine, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Guarded.write

    def fails(self: Guarded, samples: Any, row_of: Any, notes: Any) -> None:
        if any(sample.id == "harm" for sample in samples):
            raise RuntimeError("of nobody")
        write(self, samples, row_of, notes)

    monkeypatch.setattr(Guarded, "write", fails)
    asked = all_of(tiny.samples())
    engine.answer([one.job for one in asked])
    assert [one.job.id for one in asked if isinstance(one.last, Failed)] == ["harm"]
    assert len(sizes) == 1 + 2 * math.log2(len(asked))
    assert sizes[:2] == [8, 4]


def test_a_prompt_of_more_tokens_than_the_model_reads_is_told_at_the_door(engine: LocalEngine, vlm: VLM) -> None:
    assert vlm.context is not None
    for pictures in ((), (tiny.picture(1),), (tiny.picture(1), tiny.picture(2, (40, 90)))):
        about = vlm.encode([Sample.of("", *pictures)]).length
        engine.check(Sample.of("x" * (vlm.context - about), *pictures))  # as long as it may be
        with pytest.raises(PromptTooLong, match="has 513 tokens; this model takes at most 512"):
            engine.check(Sample.of("x" * (vlm.context - about + 1), *pictures))


def turned(size: tuple[int, int], orientation: int) -> Image:
    data, exif = io.BytesIO(), PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.new("RGB", size).save(data, "JPEG", exif=exif)
    return Image(data=data.getvalue())


def test_pictures_that_a_processor_does_not_take_are_told_at_the_door() -> None:
    lengths = Lengths(VLM(*MAKERS["qwen2_vl"]()).processor)
    with pytest.raises(DataError, match="does not take pictures of 300 x 1"):
        lengths.of(Sample.of("how ?", tiny.picture(1, (1, 300))))


@pytest.mark.parametrize("size", [(40, 30), (30, 40)])
@pytest.mark.parametrize("orientation", range(9))
def test_the_size_of_a_picture_is_known_from_its_head(size: tuple[int, int], orientation: int) -> None:
    image = turned(size, orientation)
    assert upright_size(image) == decode(image).size


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of processors of transformers
@pytest.mark.parametrize("family", MAKERS)
def test_the_door_counts_as_the_processor_does(family: str) -> None:
    vlm = VLM(*MAKERS[family]())
    lengths = Lengths(vlm.processor)
    small, wide, tall = tiny.picture(1), tiny.picture(2, (40, 90)), turned((96, 40), 6)
    for parts in (("how ?",), (small, "how ?"), ("how ?", wide), (tall, "how ?"), (wide, "how ?", small)):
        sample = Sample("x", (Message("user", parts),))
        expected = vlm.encode([sample]).length
        assert lengths.of(sample) == expected
        assert lengths.of(replace(sample, messages=(Message("user", (*parts, "more")),))) == expected + 5


def test_what_is_no_picture_is_told_at_the_door(vlm: VLM) -> None:
    engine = LocalEngine(Guarded(vlm, tiny.guard(vlm)), "tiny", ID)
    with pytest.raises(PictureError):
        engine.check(Sample.of("what ?", Image(data=b"no picture")))
