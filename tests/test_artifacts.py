from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightguard import artifacts
from sightguard.artifacts import Fingerprint
from sightguard.errors import ArtifactError, OutputError

FINGERPRINT = Fingerprint(
    repo="someone/model",
    revision="abc",
    architecture="LlavaForConditionalGeneration",
    hidden_size=128,
    layers=6,
    dtype="float32",
    chat_template_sha256="11",
    weights_sha256=None,
    image_processor="CLIPImageProcessor (pil)",
)


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"schema": 1, "name": "höhe", "values": [1, 2.5, None]}
    artifacts.write_json(tmp_path / "new" / "a.json", value)
    assert artifacts.read_json(tmp_path / "new" / "a.json", schema=1) == value
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    artifacts.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(path, {"a": float("nan")})
    assert artifacts.read_json(path) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "a"', "is no JSON: .* cut short"),
        ("[1]", "should hold a JSON object, and holds a list"),
        ('{"schema": 2}', "has format number 2; this version of Sightguard reads 1"),
        ("{}", "has format number None"),
    ],
)
def test_broken_json_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=message):
        artifacts.read_json(path, schema=1)


def test_missing_json_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot read .*a\.json: No such file"):
        artifacts.read_json(tmp_path / "a.json")


def test_tensors_come_back_bit_for_bit_even_from_a_view(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32).T
    artifacts.write_tensors(tmp_path / "a.safetensors", {"v": array}, metadata={"made": "here"})
    back = artifacts.read_tensors(tmp_path / "a.safetensors")["v"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, array)


def test_truncated_tensors_are_an_artifact_error(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    artifacts.write_tensors(path, {"v": np.zeros(100, np.float32)})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ArtifactError, match="cannot be read as safetensors"):
        artifacts.read_tensors(path)


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.PKL", "a.npy"])
def test_a_file_that_may_hold_a_pickle_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match="may hold a pickle, which can run code"):
        artifacts.read_tensors(tmp_path / name)


def test_digests_agree(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert artifacts.sha256_file(tmp_path / "a") == artifacts.sha256(b"abc")
    assert artifacts.sha256_json({"a": 1, "b": 2}) == artifacts.sha256_json({"b": 2, "a": 1})


def test_output_folder_is_made(tmp_path: Path) -> None:
    assert artifacts.output_folder(tmp_path / "a" / "b").is_dir()


def test_output_folder_with_a_run_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(OutputError, match=r"already holds a run \(results\.json\).*another folder"):
        artifacts.output_folder(tmp_path)
    assert (tmp_path / "results.json").read_text() == "{}"


def test_output_folder_may_hold_what_can_be_taken_up_again(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    assert artifacts.output_folder(tmp_path, may_hold={"state.json"}) == tmp_path


def test_output_folder_behind_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(OutputError, match="cannot write to .*--out"):
            artifacts.output_folder(path)


def test_output_folder_where_nobody_may_write_is_refused() -> None:
    # no one, root neither, makes a folder there
    with pytest.raises(OutputError, match="cannot write to /proc/sightguard-out.*--out"):
        artifacts.output_folder(Path("/proc/sightguard-out"))


def test_the_folder_one_stands_in_can_be_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "here"
    inside.mkdir()
    monkeypatch.chdir(inside)
    with artifacts.whole_folder(".") as place:
        artifacts.write_json(place / "guard.json", {})
    assert [path.name for path in inside.iterdir()] == ["guard.json"]


def test_of_two_writers_of_one_folder_the_first_to_finish_stays(tmp_path: Path) -> None:
    first, second = artifacts.whole_folder(tmp_path / "guard"), artifacts.whole_folder(tmp_path / "guard")
    for name, writer in (("a", first), ("b", second)):
        (writer.__enter__() / name).write_text("")
    first.__exit__(None, None, None)
    with pytest.raises(OutputError, match="cannot write to"):
        second.__exit__(None, None, None)
    assert [path.name for path in tmp_path.rglob("*")] == ["guard", "a"]


def test_whole_folder_appears_only_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "guard"
    with artifacts.whole_folder(final) as place:
        artifacts.write_json(place / "guard.json", {})
        assert not (final / "guard.json").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["guard", "guard.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_whole_folder_leaves_nothing_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with artifacts.whole_folder(tmp_path / "guard") as place:
            (place / "half").write_text("")
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from sightguard import artifacts
with artifacts.whole_folder(Path(sys.argv[1])) as place:
    artifacts.write_json(place / "guard.json", {})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_write_does_not_look_finished_and_can_be_done_again(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "guard")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "guard" / "guard.json").exists()
    with artifacts.whole_folder(tmp_path / "guard") as place:
        artifacts.write_json(place / "guard.json", {"again": True})
    assert artifacts.read_json(tmp_path / "guard" / "guard.json") == {"again": True}


def test_fingerprint_survives_json() -> None:
    assert Fingerprint.of(json.loads(json.dumps(FINGERPRINT.as_json()))) == FINGERPRINT


def test_fingerprint_names_missing_and_unknown_entries() -> None:
    values = {**FINGERPRINT.as_json(), "colour": "red"}
    del values["layers"]
    with pytest.raises(ArtifactError, match=r"lacks \['layers'\] and has unknown entries \['colour'\]"):
        Fingerprint.of(values)


def test_fingerprint_lists_every_fatal_difference() -> None:
    other = replace(FINGERPRINT, hidden_size=256, revision="def")
    assert FINGERPRINT.differences(FINGERPRINT) == []
    assert FINGERPRINT.differences(other) == ["hidden size: 128 here, 256 there", "revision: abc here, def there"]


def test_precision_alone_is_no_fatal_difference() -> None:
    other = replace(FINGERPRINT, dtype="bfloat16")
    assert FINGERPRINT.differences(other) == []
    assert FINGERPRINT.dtype_difference(other) == "dtype: float32 here, bfloat16 there"


def test_digests_of_weights_decide_where_both_are_known() -> None:
    ours = replace(FINGERPRINT, weights_sha256="aa")
    assert ours.differences(replace(ours, repo="a copy", revision=None)) == []
    assert ours.differences(replace(ours, weights_sha256="bb")) == ["weights: the decoder's values differ"]
