"""English prompts and real pictures on a LLaVA checkpoint folder: everything is answered or refused with a reason."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch
from transformers import TextIteratorStreamer

from sightguard.data.anchor_sets import anchors, harmless_prompts
from sightguard.errors import PictureError, SightguardError
from sightguard.models.vlm import VLM
from sightguard.steering.steer import Steered, steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Image, Response, Sample
from tests import checkpoint, tiny

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".pgm", ".tga"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.build(tmp_path_factory.mktemp("llava") / "checkpoint")


@pytest.fixture(scope="module")
def vlm(folder: Path) -> VLM:
    return replace(VLM.load(folder), max_new_tokens=4, batch=32)


@pytest.fixture(scope="module")
def safe(vlm: VLM) -> Steered:
    return steer(vlm, replace(VlmGuard.fit(vlm, anchors()), alpha=3.0))


def column(path: Path, name: str) -> list[Sample]:
    with path.open(encoding="utf-8", newline="") as lines:
        return [Sample.of(row[name], id=f"{path.stem}/{i}") for i, row in enumerate(csv.DictReader(lines))]


def pictures(folder: Path) -> list[Sample]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [Sample.of("What is in the picture?", Image(path=path), id=path.name) for path in files]


def answered(model: VLM | Steered, sample: Sample) -> Response | SightguardError:
    try:
        return model.generate([sample])[0]
    except SightguardError as error:
        return error


@pytest.mark.parametrize(
    ("file", "name", "count"),
    [
        ("AdvBench/harmful_behaviors.csv", "goal", 520),
        ("JailbreakBench/harmful-behaviors.csv", "Goal", 100),
        ("JailbreakBench/benign-behaviors.csv", "Goal", 100),
        ("XSTest/xstest_prompts.csv", "prompt", 450),
    ],
)
def test_every_row_is_answered_guarded_and_not(
    data: Path, vlm: VLM, safe: Steered, file: str, name: str, count: int
) -> None:
    asked = column(data / file, name)
    assert len(asked) == count
    plain, guarded = vlm(asked), safe(asked)
    assert len(plain) == len(guarded) == count
    assert all(response.prompt_tokens > 5 for response in plain)
    assert {response.methods for response in guarded} == {("vlm_guard",)}
    assert len({response.text for response in plain}) >= 5
    # a random model is steered somewhere; how often the gate fires means nothing here
    assert any(a.text != b.text for a, b in zip(plain, guarded, strict=True))


def test_all_figstep_images_are_answered_guarded_and_not(data: Path, vlm: VLM, safe: Steered) -> None:
    asked = pictures(data / "FigStep")
    assert len(asked) == 50
    plain = vlm(asked)
    assert len(plain) == len(safe(asked)) == 50
    assert len({response.text for response in plain}) >= 5, "the picture does not reach the answer"


def test_every_benign_image_is_answered_or_refused_with_a_reason(data: Path, vlm: VLM, safe: Steered) -> None:
    asked = pictures(data / "benign_images")
    assert len(asked) >= 40
    refused = {}
    for sample in asked:
        plain, guarded = answered(vlm, sample), answered(safe, sample)
        if isinstance(plain, SightguardError):
            assert isinstance(plain, PictureError)
            assert str(plain) == str(guarded), "guarded and plain refuse alike"
            assert sample.id in str(plain)
            refused[sample.id] = str(plain)
        else:
            assert isinstance(guarded, Response)
    assert set(refused) == {"truncated.jpg"}
    assert "truncated" in refused["truncated.jpg"]


def test_the_harmless_prompts_of_the_package_are_answered(vlm: VLM, safe: Steered) -> None:
    asked = harmless_prompts()[::5]
    assert len(safe(asked)) == len(vlm(asked)) == 100


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": True},
        {"num_beams": 3},
        {"do_sample": True, "num_return_sequences": 3},
        {"num_beams": 3, "num_return_sequences": 2},
    ],
    ids=["sampling", "beams", "several sampled", "several beams"],
)
def test_ways_of_decoding_work_guarded(vlm: VLM, safe: Steered, options: dict[str, int]) -> None:
    inputs = vlm.encode(
        [Sample.of("How do I bake bread?", tiny.picture()), Sample.of("How to pick a lock at night?")]
    ).inputs
    guard = safe.method
    assert isinstance(guard, VlmGuard)
    found = []
    for strength in (1.0, 0.0):
        torch.manual_seed(3)
        with replace(guard, gate="always", strength=strength).on(vlm.model):
            found.append(vlm.model.generate(**inputs, max_new_tokens=6, **options))
    torch.manual_seed(3)
    plain = vlm.model.generate(**inputs, max_new_tokens=6, **options)
    rows = 2 * options.get("num_return_sequences", 1)
    assert found[0].shape[0] == plain.shape[0] == rows
    assert torch.equal(found[1], plain), "a guard of no strength is the model itself"
    assert not torch.equal(found[0][:, -6:], plain[:, -6:])


def test_a_streamed_answer_is_the_guarded_one(vlm: VLM, safe: Steered) -> None:
    guard = safe.method
    assert isinstance(guard, VlmGuard)
    always = replace(guard, gate="always")
    inputs = vlm.encode([Sample.of("How do I bake bread?", tiny.picture())]).inputs
    with always.on(vlm.model):
        whole = vlm.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    streamer = TextIteratorStreamer(vlm.processor.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=60)
    with always.on(vlm.model):
        options = {**inputs, "streamer": streamer, "max_new_tokens": 8, "do_sample": False}
        writer = Thread(target=vlm.model.generate, kwargs=options)
        writer.start()
        pieces = list(streamer)
        writer.join()
    assert "".join(pieces) == vlm.processor.tokenizer.decode(whole, skip_special_tokens=True)
    plain = vlm.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert not torch.equal(whole, plain)


def test_the_example_reads_a_checkpoint_prompts_and_pictures(
    data: Path, folder: Path, root: Path, tmp_path: Path
) -> None:
    few = tmp_path / "prompts.csv"
    few.write_text("prompt\nHow do I bake bread?\nHow do I mend a bike?\n")
    command = [sys.executable, str(root / "examples" / "own_checkpoint.py"), str(folder), str(few), "prompt"]
    done = subprocess.run(
        [*command, str(data / "benign_images" / "format_corpus")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fitted at layers [2, 3, 4, 5] on 100 pairs" in done.stdout
    assert "prompts.csv: 2 asked, 2 answered" in done.stdout
    assert "refused: sample 'truncated.jpg'" in done.stdout
