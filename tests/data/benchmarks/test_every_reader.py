"""What holds for every benchmark: nothing lost, nothing dropped in silence, nothing guessed, nothing shown."""

from __future__ import annotations

import logging
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightguard.data.benchmark import Benchmark
from sightguard.data.benchmarks import benchmark
from sightguard.data.facts import entries
from sightguard.errors import SightguardError
from tests.data.benchmarks.layouts import ROWS, SECRET, WRITERS
from tests.data.formats.layouts import POINTER

PICTURED = [
    "figstep", "pope", "mm_harmfulbench", "mm_safetybench", "vlguard", "mossbench", "siuo", "mssbench", "jailbreakv", "seedbench", "mme",
    "scienceqa",
]  # fmt: skip
"""Those whose fixtures keep their pictures as files."""


def read(name: str, place: Path, **options: Any) -> Benchmark:
    return benchmark(name, place, **options)


def lost(read: Benchmark) -> list[str]:
    """What is missing, apart from what is said of the number of rows, which a fixture never has."""
    return [one.id for one in read.missing if not one.id.endswith("/rows")]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a reader asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_every_benchmark_has_a_layout_here() -> None:
    assert entries().keys() == WRITERS.keys() == ROWS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_folder_is_read_whole(name: str, tmp_path: Path) -> None:
    place = WRITERS[name](tmp_path)
    found = read(name, place, revision="abc", check_pictures=True)
    entry = entries()[name]
    assert lost(found) == []
    assert len({sample.id for sample in found.samples}) == len(found.samples) > 0
    assert all(sample.id.startswith(f"{name}/") and sample.text.strip() for sample in found.samples)
    assert {sample.source for sample in found.samples} == {f"{entry.source.removeprefix('hf:')}@abc"}
    assert (found.name, found.about.revision, found.about.licence) == (name, "abc", entry.licence)
    assert found.about.sha256
    assert all(len(digest) == 64 and (place / path).is_file() for path, digest in found.about.sha256.items())
    assert found == read(name, place, revision="abc")


@pytest.mark.parametrize("name", WRITERS)
def test_a_benchmark_of_utility_has_answers_and_no_harm(name: str, tmp_path: Path) -> None:
    found = read(name, WRITERS[name](tmp_path))
    assert found.kind == entries()[name].kind
    if found.kind == "utility":
        assert all(sample.meta["answer"] and sample.harmful is False for sample in found.samples)
    if found.kind == "harmful":
        assert all(sample.harmful is True for sample in found.samples)


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_folder_says_how_to_get_the_data_under_which_licence_and_where_was_looked(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(SightguardError) as caught:
        read(name, tmp_path)
    said = str(caught.value)
    assert str(tmp_path) in said
    assert "icence" in said
    fetch = entries()[name].fetch
    assert (fetch.hub or fetch.git or fetch.page[:30]) in said


@pytest.mark.parametrize("name", WRITERS)
def test_a_pointer_in_place_of_the_rows_says_that_the_data_were_not_downloaded(name: str, tmp_path: Path) -> None:
    place = WRITERS[name](tmp_path)
    (place / ROWS[name]).write_bytes(POINTER)
    with pytest.raises(SightguardError, match="is a git-LFS pointer, not data"):
        read(name, place)


@pytest.mark.parametrize("name", PICTURED)
@pytest.mark.parametrize(("data", "reason"), [(None, "no picture is "), (POINTER, "git-LFS pointer"), (b"", "empty")])
def test_a_picture_that_is_none_is_listed_and_the_others_are_read(
    name: str, data: bytes | None, reason: str, tmp_path: Path
) -> None:
    place = WRITERS[name](tmp_path)
    whole = read(name, place).samples
    path = next(image.path for sample in whole for image in sample.images if image.path is not None)
    told = {sample.id for sample in whole if path in [image.path for image in sample.images]}
    path.unlink() if data is None else path.write_bytes(data)
    if not any(path.parent.iterdir()) or len(told) == len(whole):
        (path.parent / "another.png").write_bytes(b"so that there is a folder of pictures")
    found = read(name, place, check_pictures=True)
    assert told == set(lost(found))
    assert all(reason in one.reason for one in found.missing if one.id in told)
    assert {sample.id for sample in found.samples} == {sample.id for sample in whole} - told


@pytest.mark.parametrize("name", [name for name in PICTURED if name != "mme"])
def test_rows_without_any_pictures_are_an_error_or_all_missing(name: str, tmp_path: Path) -> None:
    place = WRITERS[name](tmp_path)
    for path in [*place.rglob("*")]:
        if path.is_dir() and path.name in (
            "images",
            "chat",
            "imgs",
            "val2014",
            "test",
            "SEED-Bench-image",
            "figstep",
            "query_related",
            "llm_transfer_attack",
        ):
            shutil.rmtree(path, ignore_errors=True)
    with pytest.raises(SightguardError, match=r"no pictures of .*looked|no pictures of .*expected"):
        read(name, place)


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_short_is_told(name: str, tmp_path: Path) -> None:
    """By an error, or, where the cut is between rows or in a plain text, by the number of rows."""
    place = WRITERS[name](tmp_path)
    half(place / ROWS[name])
    try:
        found = read(name, place)
    except SightguardError:
        return
    assert any("cut short" in one.reason for one in found.missing) or name == "mmbench"


@pytest.mark.parametrize("name", WRITERS)
def test_an_unfinished_download_is_named(name: str, tmp_path: Path) -> None:
    place = WRITERS[name](tmp_path)
    (place / ROWS[name]).unlink()
    left = tmp_path / ".cache" / "huggingface" / "download" / "rows.abc.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    if name == "mme":  # a file for each picture: only the absence of all is an error
        shutil.rmtree(tmp_path / "MME_Benchmark_release_version")
    with pytest.raises(SightguardError, match=r"unfinished downloads \(1, such as 'rows\.abc\.incomplete'\)"):
        read(name, place)


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "no header": lambda data: data.split(b"\n", 1)[-1],
    "cut": lambda data: data[: len(data) * 2 // 3],
    "not UTF-8": lambda data: data + b"\xff\xfe",
    "an open quote": lambda data: data + b'\n"open',
    "no JSON": lambda data: data.replace(b":", b";"),
    "other columns": lambda data: data.replace(b"question", b"quest").replace(b"prompt", b"p").replace(b"goal", b"g"),
    "other labels": lambda data: re.sub(rb"unsafe(?!_)", SECRET.encode(), data.replace(b'"yes"', b'"' + SECRET.encode() + b'"')),
    "no text": lambda data: data.replace(b'"text"', b'"t"').replace(b"instruction", b"i"),
    "twice": lambda data: data + data.split(b"\n", 1)[-1],
    "columns that swapped": lambda data: data.replace(b'"image"', b'"\x01"').replace(b'"question"', b'"image"').replace(b'"\x01"', b'"question"'),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_row_says_reaches_no_message_no_log_and_no_repr(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    place = WRITERS[name](tmp_path)
    caplog.set_level(logging.DEBUG)
    path = place / ROWS[name]
    good = path.read_bytes()
    shown = [repr(read(name, place)), *map(repr, read(name, place).samples)]
    for fault in FAULTS.values():
        path.write_bytes(fault(good))
        try:
            found = read(name, place, check_pictures=True)
            shown += [repr(found), *(one.reason for one in found.missing)]
        except SightguardError as error:
            shown += [str(error), repr(error)]
    out, err = capsys.readouterr()
    assert [text for text in (*shown, caplog.text, out, err) if SECRET in text.lower()] == []


def test_the_check_above_sees_a_row_that_is_shown(tmp_path: Path) -> None:
    found = read("advbench", WRITERS["advbench"](tmp_path))
    assert SECRET in found.samples[0].text
    assert SECRET in repr(found.samples[0].messages)
