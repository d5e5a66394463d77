from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from sightguard.errors import ModelError, NoVision, UnknownName, UsageError
from sightguard.models.load import _device
from sightguard.models.vlm import VLM
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "checkpoint"
    tiny.llava().save_pretrained(place)
    tiny.processor().save_pretrained(place)
    return place


@pytest.mark.parametrize("as_text", [False, True])
def test_a_folder_is_loaded_and_answers_as_before(folder: Path, as_text: bool) -> None:
    vlm = VLM.load(str(folder) if as_text else folder, device="cpu")
    expected = tiny.vlm().generate(tiny.samples())
    found = vlm.generate(tiny.samples(), max_new_tokens=6)
    assert [response.text for response in found] == [response.text for response in expected]
    assert not vlm.model.training
    assert vlm.fingerprint.repo == "checkpoint"
    assert vlm.fingerprint.differences(tiny.vlm().fingerprint) == []


def test_a_checkpoint_in_half_precision_is_widened_on_a_cpu_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    half = tiny.llava().to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    tiny.processor().save_pretrained(tmp_path)
    wide, narrow = VLM.load(tmp_path, device="cpu"), VLM.load(tmp_path, dtype="bfloat16", device="cpu")
    assert (wide.model.dtype, narrow.model.dtype) == (torch.float32, torch.bfloat16)
    assert wide.fingerprint.differences(narrow.fingerprint) == []
    assert "bfloat16" in str(wide.fingerprint.dtype_difference(narrow.fingerprint))
    assert len(narrow.generate(tiny.samples())) == 8


def test_the_shipped_model_is_loaded_by_name() -> None:
    vlm = VLM.load("pocket", device="cpu")
    assert vlm.fingerprint.repo == "pocket"
    assert vlm.fingerprint.architecture == "LlavaForConditionalGeneration"


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bars as they are by default, whatever the environment says."""
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    before = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    logging.enable_progress_bar()
    yield
    (logging.enable_progress_bar if before[0] else logging.disable_progress_bar)()
    (disable_progress_bars if before[1] else enable_progress_bars)()


@pytest.mark.usefixtures("bars")
@pytest.mark.parametrize("downloads", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_loading_shows_no_bar_and_leaves_the_bars_of_others_as_they_were(
    folder: Path, capsys: pytest.CaptureFixture[str], downloads: bool, whole: bool
) -> None:
    if not downloads:
        disable_progress_bars()
    if not whole:
        without_a_weight(folder)
    with nullcontext() if whole else pytest.raises(ModelError):
        VLM.load(folder, device="cpu")
    assert "Loading weights" not in capsys.readouterr().err
    assert logging.is_progress_bar_enabled()
    assert are_progress_bars_disabled() is not downloads


@pytest.mark.usefixtures("bars")
def test_bars_that_the_environment_asks_for_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    VLM.load(folder, device="cpu")
    assert "Loading weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pocet", "no model 'pocet'. Did you mean 'pocket'.*Or pass a folder .* or a hub id"),
        ("pocket-7", "no model 'pocket-7'. Did you mean 'pocket"),
        ("/nowhere/at/all", "no model '/nowhere/at/all'"),
        ("./nowhere", "no model './nowhere'"),
    ],
)
def test_an_unknown_name_says_what_is_close(source: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        VLM.load(source)


def text_only(folder: Path) -> None:
    config = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    LlamaForCausalLM(config).save_pretrained(folder)


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    # never opened: a pickle that holds None
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02N.")


def without_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors[next(name for name in tensors if "mlp.down_proj" in name)]
    save_file(tensors, path, metadata={"format": "pt"})


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def lose(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lose("config.json"), ModelError, "a folder without config.json; expected a Hugging Face checkpoint"),
        (lambda folder: (folder / "config.json").write_text("{"), ModelError, r"config\.json is not JSON"),
        (
            lambda folder: (folder / "config.json").write_text("[]"),
            ModelError,
            "should hold a JSON object, and holds a list",
        ),
        (text_only, NoVision, r"'checkpoint' has no vision part: its config\.json \(llama\)"),
        (lose("model.safetensors"), ModelError, "could not load .*no file named model.safetensors"),
        (pickle_only, ModelError, "could not load .*no file named model.safetensors"),
        (cut_short, ModelError, "could not load .*invalid header"),
        (without_a_weight, ModelError, "lacks 1 of the model's weights .*mlp.down_proj.* random numbers"),
        (lose("tokenizer.json", "tokenizer_config.json"), ModelError, "could not load"),
        (lose("processor_config.json"), ModelError, "image processor"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_broken_checkpoint_says_what_is_wrong(
    folder: Path, damage: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    damage(folder)
    with pytest.raises(error, match=message):
        VLM.load(folder, device="cpu")


def test_a_hub_id_without_revision_warns_and_without_network_says_so() -> None:
    with (
        pytest.warns(UserWarning, match="nobody/nothing is loaded without a revision.*Pass revision="),
        pytest.raises(ModelError, match="could not load 'nobody/nothing'"),
    ):
        VLM.load("nobody/nothing")


def test_a_hub_id_with_revision_does_not_warn() -> None:
    with pytest.raises(ModelError, match="could not load 'nobody/nothing'"):
        VLM.load("nobody/nothing", revision="0" * 40)


@pytest.mark.parametrize("dtype", ["float23", "int8", "nn"])
def test_an_unknown_dtype_is_refused(folder: Path, dtype: str) -> None:
    with pytest.raises(UnknownName, match=f"no dtype '{dtype}'.*Known: auto, float32, bfloat16, float16"):
        VLM.load(folder, dtype=dtype)


@pytest.mark.parametrize("device", ["cpuu", "cuda:77"])
def test_a_device_that_is_not_there_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{device}'"):
        VLM.load(folder, device=device)


def test_each_process_of_several_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert str(_device(None)) == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(_device(None)) == "cuda:3"
