from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich.progress

from sightguard.cli import console
from sightguard.evaluate.run import _fresh
from sightguard.types import Response, Sample, Verdict


def test_progress_without_a_terminal_prints_the_start_and_the_end_of_each_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.progress() as report:
        for done in range(1, 101):
            report("text", done, 100, 0.5)
        report("vision", 1, 1)
    assert capsys.readouterr().err.splitlines() == [
        "text  1/100  0 s  loss 0.500",
        "text  100/100  0 s  loss 0.500",
        "vision  1/1  0 s",
    ]


def test_lines_in_between_say_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 20.0, 60.0, 80.0])
    monkeypatch.setattr("sightguard.cli.console.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.progress() as report:
        for done in (500, 600, 800, 900):  # 500 were done by a run before
            report("look", done, 900)
    assert capsys.readouterr().err.splitlines() == [
        "look  500/900  0 s",
        "look  600/900  20 s  about 60 s left",
        "look  800/900  60 s  about 20 s left",
        "look  900/900  80 s",
    ]


def _resumed(show: console.Progress, clock: list[float]) -> None:
    """6,400 answers in batches of 32 that take 30 seconds each; a run before has done 5,760 of them."""

    def answer(samples: Sequence[Sample]) -> list[Response]:
        clock[0] += 30
        if clock[0] > 90:
            raise KeyboardInterrupt
        return [Response("sure") for _ in samples]

    samples = [Sample.of(str(i), id=str(i)) for i in range(6400)]
    done = {("none", "s", sample.id) for sample in samples[:5760]}
    told = lambda name, count, total: show("answer", count, total)  # noqa: E731
    with suppress(KeyboardInterrupt):
        for _ in _fresh(
            {"none": answer}, {"none": {"s": samples}}, lambda *_: Verdict("j", "complied"), 32, done, None, told
        ):
            pass


def test_what_a_run_before_has_done_is_no_speed_of_this_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("sightguard.cli.console.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with console.progress() as show:
        _resumed(show, clock)
    assert capsys.readouterr().err.splitlines() == [
        "answer  5760/6400  0 s",
        "answer  5792/6400  30 s  about 570 s left",
        "answer  5824/6400  60 s  about 540 s left",
        "answer  5856/6400  90 s  about 510 s left",
    ]


def test_nor_is_it_on_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, bars = [0.0], list[rich.progress.Progress]()

    class Timed(rich.progress.Progress):
        def __init__(self, *columns: rich.progress.ProgressColumn, **options: Any) -> None:
            super().__init__(*columns, **options, get_time=lambda: clock[0], disable=True)
            bars.append(self)

    monkeypatch.setattr(rich.progress, "Progress", Timed)
    told: list[tuple[float, float | None]] = []
    with console._bars() as show:

        def seen(stage: str, done: int, total: int, loss: float | None = None) -> None:
            show(stage, done, total, loss)
            (task,) = bars[0].tasks
            told.append((task.completed, task.time_remaining))

        _resumed(seen, clock)
    assert told == [(5760, None), (5792, None), (5824, 540), (5856, 510)]


def test_a_table_is_as_wide_as_its_content_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 60
    console.print_table(("a", "b"), [("[bold]kept as it is[/bold]", long)])
    out = capsys.readouterr().out
    assert long.strip() in out
    assert "[bold]kept as it is[/bold]" in out


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_new_folders_are_taken_away_where_the_work_fails(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "there" / "new" / "newer"
    (tmp_path / "there").mkdir()

    def fails() -> None:
        with console.new_folder(out):
            out.mkdir(parents=True)
            raise error

    with pytest.raises(error):
        fails()
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize("left", ["out", "out/state.json"])
def test_a_folder_that_was_there_or_holds_something_stays(tmp_path: Path, left: str) -> None:
    out = tmp_path / "out"
    if left == "out":
        out.mkdir()

    def fails() -> None:
        with console.new_folder(out):
            out.mkdir(exist_ok=True)
            if left != "out":
                (tmp_path / left).write_text("")
            raise OSError

    with pytest.raises(OSError):
        fails()
    assert (tmp_path / left).exists()
