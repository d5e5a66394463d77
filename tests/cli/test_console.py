from __future__ import annotations

import pytest

from sightguard.cli import console


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


def test_a_table_is_as_wide_as_its_content_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 60
    console.print_table(("a", "b"), [("[bold]kept as it is[/bold]", long)])
    out = capsys.readouterr().out
    assert long.strip() in out
    assert "[bold]kept as it is[/bold]" in out
