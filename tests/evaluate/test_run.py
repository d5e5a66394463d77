import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sightguard.artifacts import output_folder
from sightguard.errors import DataError, OutputError, UsageError
from sightguard.evaluate.folder import MANIFEST, SAMPLES, RunFolder, write_whole
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.rows import Row
from sightguard.evaluate.run import Run, evaluate
from sightguard.testing import FakeGenerate
from sightguard.types import Response, Sample, Verdict
from tests.evaluate import killed_run

SORRY = "I'm sorry, but I can't help with that."


def asks(*ids: str) -> list[Sample]:
    return [Sample.of(f"question {id}", id=id) for id in ids]


def says(text: str) -> FakeGenerate:
    return FakeGenerate(lambda _: text)


def test_every_condition_answers_every_sample_of_every_setting() -> None:
    progress: list[tuple[str, int, int]] = []
    run = evaluate(
        {"none": says("sure"), "guard": says(SORRY)},
        {"a": asks("1", "2", "3"), "b": asks("1")},
        RefusalPhrases(),
        batch=2,
        progress=lambda *told: progress.append(told),
    )
    assert [row.key for row in run.rows] == [
        (condition, setting, id) for condition in ("none", "guard") for setting, id in ("a1", "a2", "a3", "b1")
    ]
    assert {row.condition: row.outcome for row in run.rows} == {"none": "complied", "guard": "refused"}
    assert progress == [(name, n + extra, 8) for name, extra in (("none", 0), ("guard", 4)) for n in (2, 3, 4)]


def test_undefined_pairs_are_not_asked() -> None:
    model = says("sure")
    run = evaluate({"m": model}, {"a": asks("1"), "b": asks("1")}, RefusalPhrases(), undefined={("m", "b")})
    assert [row.setting for row in run.rows] == ["a"]
    assert len(model.samples) == 1


def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    sample = Sample.of("¿qué?\u2028", id="ä", harmful=True, category="verb")
    response = Response("no\nno", "length", 3, 4, 0.5, None, ("vlm_guard",))
    run = evaluate({"g": lambda _: [response]}, {"s": [sample]}, RefusalPhrases(), out=tmp_path, about={"seed": 1})
    assert Run.load(tmp_path) == run
    assert run.rows[0].response == response
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["conditions"] == ["g"]
    assert manifest["about"] == {"seed": 1}
    assert manifest["judge"] == "refusal_phrases"
    assert "numpy" in manifest["environment"]


@pytest.mark.parametrize("call", [1, 2, 4, 7, 12])
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path, call: int) -> None:
    whole, calls = killed_run.run(tmp_path / "whole")
    assert calls == 12
    command = [sys.executable, killed_run.__file__, str(tmp_path / "killed"), str(call)]
    ended = subprocess.run(command, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    resumed, again = killed_run.run(tmp_path / "killed", resume=True)
    assert again == calls - (call - 1)
    assert resumed.rows == whole.rows
    assert (tmp_path / "killed" / SAMPLES).read_bytes() == (tmp_path / "whole" / SAMPLES).read_bytes()


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    whole, _ = killed_run.run(tmp_path)
    path = tmp_path / SAMPLES
    full = path.read_bytes()
    end = full[: full.rfind(b"\n", 0, len(full) - 1) + 1]
    for keep in (0, 1, len(end) // 2, len(end), len(end) + 1, len(full) - 2, len(full) - 1):
        os.truncate(path, keep)
        assert len(Run.load(tmp_path).rows) == full[:keep].count(b"\n")
        resumed, _ = killed_run.run(tmp_path, resume=True)
        assert resumed.rows == whole.rows
        assert path.read_bytes() == full


def test_ctrl_c_passes_through_and_keeps_what_is_done(tmp_path: Path) -> None:
    def interrupted(samples: Sequence[Sample]) -> list[Response]:
        if samples[0].id == "3":
            raise KeyboardInterrupt
        return [Response("sure") for _ in samples]

    with pytest.raises(KeyboardInterrupt):
        evaluate({"m": interrupted}, {"s": asks("1", "2", "3")}, RefusalPhrases(), out=tmp_path, batch=2)
    assert [row.id for row in Run.load(tmp_path).rows] == ["1", "2"]


def test_a_guard_that_raises_is_a_guard_error_and_never_a_refusal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(samples: Sequence[Sample]) -> list[Response]:
        raise RuntimeError(f"cannot digest {samples[0].text}")

    with caplog.at_level(logging.DEBUG):
        run = evaluate({"g": broken}, {"s": asks("1", "2")}, lambda *_: Verdict("j", "refused"), out=tmp_path)
    assert [row.outcome for row in run.rows] == ["guard_error", "guard_error"]
    assert run.rows[1].response.error == "RuntimeError: cannot digest question 2"
    assert "RuntimeError" in caplog.text
    assert "question" not in caplog.text


def test_one_bad_sample_does_not_take_its_batch_along() -> None:
    def picky(samples: Sequence[Sample]) -> list[Response]:
        if any(sample.id == "2" for sample in samples):
            raise ValueError("no")
        return [Response("sure") for _ in samples]

    run = evaluate({"g": picky}, {"s": asks("1", "2", "3")}, RefusalPhrases())
    assert [row.outcome for row in run.rows] == ["complied", "guard_error", "complied"]


def test_a_guard_that_loses_answers_is_a_guard_error() -> None:
    run = evaluate({"g": lambda _: []}, {"s": asks("1", "2")}, RefusalPhrases())
    assert [row.outcome for row in run.rows] == ["guard_error", "guard_error"]
    assert "got 0" in (run.rows[0].response.error or "")


def test_an_error_that_a_guard_reports_itself_is_one_too() -> None:
    response = Response(SORRY, error="it broke", refused_by="shield")
    run = evaluate({"g": lambda _: [response]}, {"s": asks("1")}, lambda *_: Verdict("j", "refused", correct=True))
    assert (run.rows[0].outcome, run.rows[0].correct) == ("guard_error", None)


def test_a_judge_that_raises_has_not_decided() -> None:
    def judge(sample: Sample, response: Response) -> Verdict:
        raise LookupError("lost")

    run = evaluate({"m": says("sure")}, {"s": asks("1")}, judge)
    assert (run.rows[0].outcome, run.rows[0].judge) == (None, "judge")
    assert "LookupError" in run.rows[0].reason


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    killed_run.run(tmp_path)
    with pytest.raises(OutputError, match="already holds a run"):
        killed_run.run(tmp_path)


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    killed_run.run(tmp_path)
    differs = (
        r"holds another run, which differs in about\.seed \(0 there, nothing here\), batch \(3 there, 32 here\), "
        r"conditions \(\['none', 'vlm_guard'\] there, \['m'\] here\), settings\.benign_text, settings\.blank_image, settings\.s\. "
    )
    with pytest.raises(OutputError, match=differs):
        evaluate({"m": says("")}, {"s": asks("1")}, RefusalPhrases(), out=tmp_path, resume=True)


def test_other_prompts_under_the_same_ids_are_another_run(tmp_path: Path) -> None:
    evaluate({"m": says("")}, {"s": [Sample.of("one", id="1")]}, RefusalPhrases(), out=tmp_path)
    with pytest.raises(OutputError, match=r"differs in settings\.s\.prompts\. "):
        evaluate({"m": says("")}, {"s": [Sample.of("two", id="1")]}, RefusalPhrases(), out=tmp_path, resume=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the run to"):
        evaluate({"m": says("")}, {"s": asks("1")}, RefusalPhrases(), out=tmp_path / "file" / "run")


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    killed_run.run(tmp_path)
    lines = (tmp_path / SAMPLES).read_bytes().split(b"\n")
    for damage in (b'{"half":', b"[]", b'{"condition": "none"}'):
        (tmp_path / SAMPLES).write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
        with pytest.raises(DataError, match="line 2 is damaged"):
            Run.load(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in"):
        Run.load(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        _ = RunFolder(tmp_path).manifest
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(DataError, match="should hold an object; found list"):
        _ = RunFolder(tmp_path).manifest
    with pytest.raises(DataError, match="expected a folder with manifest.json"):
        Run.load(tmp_path / MANIFEST)


def test_ids_must_be_unique_and_batches_positive() -> None:
    with pytest.raises(UsageError, match="setting 's' has 1 ids more than once, such as '1'"):
        evaluate({"m": says("")}, {"s": asks("1", "1")}, RefusalPhrases())
    with pytest.raises(UsageError, match="at least 1; got 0"):
        evaluate({"m": says("")}, {"s": asks("1")}, RefusalPhrases(), batch=0)


def test_a_row_survives_its_line() -> None:
    row = Row.of("c", "s", asks("1")[0], Response("a", methods=("x", "y")), Verdict("j", None, reason="why"))
    assert Row.from_line(row.to_line()) == row
    assert row.to_line().count("\n") == 1


KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
from sightguard.evaluate.folder import write_whole
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]) / "results.json", "{}")
"""


def test_a_killed_write_leaves_nothing_that_looks_like_a_run(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITE, str(tmp_path)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "results.json").exists()
    assert output_folder(tmp_path) == tmp_path


def test_a_write_that_fails_leaves_the_file_as_it_was_and_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "page", "first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "page", "second")
    with pytest.raises(NotADirectoryError, match="no folder"):
        write_whole(tmp_path / "gone" / "page", "second")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", "third")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "page"]
    assert (tmp_path / "page").read_text() == "first"
