"""A server as a process: killed, told to end, and started where it must not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import faults


def test_after_a_kill_no_line_of_the_log_is_torn_and_a_new_start_answers(tmp_path: Path) -> None:
    (found,) = faults.killed(tmp_path)
    assert found["held"], found


def test_a_port_that_is_taken_and_a_missing_guard_are_found_out_before_a_model_is_loaded() -> None:
    for found in faults.starts():
        assert found["held"], found


def test_a_guard_that_does_nothing_is_not_served(tmp_path: Path) -> None:
    found = next(faults.canaries(tmp_path))
    assert found["held"], found


@pytest.mark.slow
def test_every_other_fault_of_a_process(tmp_path: Path) -> None:
    for found in (*faults.ended(tmp_path), *faults.canaries(tmp_path)):
        assert found["held"], found
