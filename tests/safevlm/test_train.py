"""Two-stage training: what may change and what may not, resuming, and when it stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from filelock import FileLock
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from sightguard.artifacts import LOCK
from sightguard.data.records import Record
from sightguard.errors import DataError, OutputError, TrainingStopped, UsageError
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.models.vlm import VLM
from sightguard.safevlm.config import Config, Stage, read_config
from sightguard.safevlm.learner import IGNORED, Learner, lesson
from sightguard.safevlm.metrics import classification
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.policy import default_policy
from sightguard.safevlm.run import Data, _accelerator, split, train
from sightguard.safevlm.sharding import check_sharding
from sightguard.safevlm.train import steps_of
from sightguard.safevlm.zero import Driven
from sightguard.types import Response, Sample, Verdict
from tests import tiny
from tests.safevlm import made

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
"""peft asks transformers in an old way."""


def data(train_on: list[Record] | None = None, looked_at: list[Record] | None = None) -> Data:
    return Data(
        train_on or made.records(32),
        looked_at or made.records(8, first=100),
        made.TAXONOMY,
        default_policy(made.TAXONOMY),
    )


def trained(out: Path, *, config: Config = made.CONFIG, vlm: VLM | None = None, **options: Any) -> dict[str, Any]:
    given = options.pop("data", data())
    return train(vlm or tiny.vlm(), given, out, config, options.pop("judge", RefusalPhrases()), **options)


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VLM, dict[str, torch.Tensor], dict[str, Any]]:
    out, vlm = tmp_path_factory.mktemp("run") / "out", tiny.vlm()
    before = {name: tensor.clone() for name, tensor in vlm.model.state_dict().items()}
    with pytest.warns(FutureWarning):
        figures = trained(out, vlm=vlm)
    return out, vlm, before, figures


def test_no_weight_of_the_model_changes_bit_by_bit(run: tuple[Path, VLM, dict[str, torch.Tensor], Any]) -> None:
    _, vlm, before, _ = run
    after = vlm.model.state_dict()
    assert list(after) == list(before), "the adapter is taken out again"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(parameter.requires_grad for parameter in vlm.model.parameters())


def test_stage_1_trains_every_safety_module_and_stage_2_none(run: tuple[Path, VLM, Any, Any]) -> None:
    out, vlm, _, _ = run
    first, second = (SafeVLM.from_pretrained(out / stage, vlm) for stage in ("stage1", "stage2"))
    fresh = made.modules(vlm, seed=made.CONFIG.seed)
    for name, tensor in first.modules.state_dict().items():
        # a bias added to every key alike changes no attention
        if name != "head.attention.in_proj_bias":
            assert not torch.equal(tensor, fresh.state_dict()[name]), name
        assert torch.equal(tensor, second.modules.state_dict()[name]), name
    assert first.adapter is None
    assert second.adapter is not None
    assert len(second.adapter.layers) == 4 * 7, "every linear layer of every block, and nothing else"
    assert all(path.startswith("model.language_model.layers.") for path in second.adapter.layers)
    assert all(float(b.abs().max()) > 0 for _, b in second.adapter.layers.values())
    assert second.temperatures == first.temperatures


def test_the_loss_falls_and_the_head_learns(run: tuple[Path, Any, Any, dict[str, Any]]) -> None:
    out, _, _, figures = run
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    first = [entry for entry in steps if entry["stage"] == "stage1" and "loss" in entry]
    assert len(first) == steps_of(made.CONFIG.stage1, 32)
    for entry in first:
        assert entry["loss"] == pytest.approx(entry["lm"] + 10 * (entry["type"] + entry["level"]), rel=1e-4)
    assert first[-1]["loss"] < first[0]["loss"] / 1.2
    assert figures["stages"]["stage1"]["type"]["n"] == 8
    assert set(figures["stages"]) == {"stage1", "stage2"}
    assert figures == json.loads((out / "metrics.json").read_text())


@pytest.mark.parametrize(("stage", "step"), [("stage1", 1), ("stage1", 3), ("stage1", 8), ("stage2", 3)])
def test_a_run_that_was_killed_and_run_again_gives_the_weights_of_one_that_was_not(
    tmp_path: Path, run: tuple[Path, Any, Any, Any], stage: str, step: int
) -> None:
    command = [sys.executable, "-m", "tests.safevlm.killed", str(tmp_path / "out")]
    killed = subprocess.run([*command, stage, str(step)], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "out" / "metrics.json").exists() or stage == "stage2"
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert weights(tmp_path / "out") == weights(run[0])
    log = (tmp_path / "out" / "log.jsonl").read_text()
    assert [json.loads(line).get("loss") for line in log.splitlines()] == [
        json.loads(line).get("loss") for line in (run[0] / "log.jsonl").read_text().splitlines()
    ]


def test_the_prompt_is_no_label_and_the_answer_is_no_question() -> None:
    safe = made.safe()
    records = made.records(4)
    given = lesson(safe, records)
    tokenizer = safe.speaking.processor.tokenizer
    for i, record in enumerate(records):
        labels = given.labels[i][given.labels[i] != IGNORED].tolist()
        assert tokenizer.decode(labels[:-1]).strip() == record.answer
        assert labels[-1] == 2, "the answer ends"
    longer = [replace(record, answer="a very different and longer answer") for record in records]
    other = lesson(safe, longer)
    assert torch.equal(other.text, given.text)
    assert torch.equal(other.asked, given.asked)


def test_the_language_loss_is_what_transformers_computes_on_a_resized_model() -> None:
    import copy

    safe = made.safe(sizes={"tokens": 10})
    given = lesson(safe, made.records(4))
    with torch.no_grad():
        found = Learner(safe, classifies=True, weight=10.0)(given)
    resized = copy.deepcopy(safe.vlm.model)
    resized.resize_token_embeddings(safe.first_id + 10, mean_resizing=False)
    with torch.no_grad():
        resized.get_input_embeddings().weight[safe.first_id :] = safe.modules.prompt_tokens
        resized.get_output_embeddings().weight[safe.first_id :] = 0
        logits = resized(**given.inputs).logits
        logits[..., safe.first_id : safe.first_id + 10] = torch.finfo(logits.dtype).min
        expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), given.labels[:, 1:].flatten())
    assert float(found["lm"]) == pytest.approx(float(expected), rel=1e-4)
    types, levels = safe.logits([record.sample for record in made.records(4)])
    assert float(found["type"]) == pytest.approx(float(torch.nn.functional.cross_entropy(types, given.types)), rel=1e-4)
    assert float(found["level"]) == pytest.approx(
        float(torch.nn.functional.cross_entropy(levels, given.levels)), rel=1e-4
    )


class Refuses:
    """A judge for which "no!" is a refusal."""

    name = "no"

    def __call__(self, sample: Sample, response: Response) -> Verdict:
        return Verdict(self.name, "refused" if response.text.startswith("no") else "complied")


def test_data_that_teach_to_refuse_what_is_benign_stop_the_training(tmp_path: Path) -> None:
    lively = replace(made.CONFIG.stage2, epochs=20, learning_rate=2e-2)
    config = replace(made.CONFIG, stage2=lively, max_over_refusal=0.2, evaluate_every=5)
    bad = data(made.records(32, refuses_benign=True))
    with (
        pytest.warns(FutureWarning),
        pytest.raises(TrainingStopped, match=r"stopped at step \d+: .*held-out benign requests") as told,
    ):
        trained(tmp_path / "bad", config=config, data=bad, judge=Refuses())
    assert "by the plain model 0.0%" in str(told.value)
    assert not (tmp_path / "bad" / "stage2").exists()
    looks = [
        json.loads(line) for line in (tmp_path / "bad" / "log.jsonl").read_text().splitlines() if "held_out" in line
    ]
    assert looks[-1]["held_out"]["over_refusal"]["value"] > 0.2
    with pytest.warns(FutureWarning):
        trained(tmp_path / "good", config=replace(config, stage2=replace(lively, epochs=5)), judge=Refuses())


def test_stages_can_be_run_one_by_one(tmp_path: Path, run: tuple[Path, Any, Any, Any]) -> None:
    with pytest.raises(UsageError, match="stage 2 goes on from stage 1, and .* holds none"):
        trained(tmp_path / "out", stage="2")
    assert list(trained(tmp_path / "out", stage="1")["stages"]) == ["stage1"]
    with pytest.warns(FutureWarning):
        assert list(trained(tmp_path / "out", stage="2")["stages"]) == ["stage1", "stage2"]
    assert weights(tmp_path / "out") == weights(run[0])
    with pytest.raises(UsageError, match="stage is one of 1, 2, both; got '3'"):
        trained(tmp_path / "out", stage="3")


def test_another_configuration_data_or_model_is_refused(run: tuple[Path, Any, Any, Any]) -> None:
    with pytest.raises(OutputError, match="holds a training with another configuration"):
        trained(run[0], config=replace(made.CONFIG, seed=1))
    with pytest.raises(OutputError, match="holds a training with another data"):
        trained(run[0], data=data(made.records(36)))
    with pytest.raises(OutputError, match="holds a training with another model"):
        trained(run[0], vlm=tiny.vlm(seed=1))


def test_two_trainings_do_not_write_to_one_folder(tmp_path: Path, run: tuple[Path, Any, Any, Any]) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK), pytest.raises(OutputError, match="another training is writing"):
        trained(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name != LOCK] == []
    with pytest.warns(FutureWarning):
        trained(tmp_path / "out")
    assert weights(tmp_path / "out") == weights(run[0])


def test_one_sided_data_and_missing_classes(tmp_path: Path) -> None:
    safe = [record for record in made.records(32) if record.type == 2]
    with pytest.raises(DataError, match="training data: all 16 records are safe"):
        trained(tmp_path / "a", data=data(safe))
    with pytest.raises(DataError, match="the held-out data hold no benign record"):
        trained(tmp_path / "a", data=data(None, [record for record in made.records(32) if record.type != 2]))
    said: list[str] = []
    dry = [record for record in made.records(32) if record.type != 1]
    looked = [record for record in made.records(8, first=100) if record.type != 1]
    figures = trained(tmp_path / "b", data=data(dry, looked), stage="1", warn=said.append)
    assert said == [
        "no training example of: type water, level 1 (careful). The head cannot learn these, and they get no F1."
    ]
    assert figures["stages"]["stage1"]["type"]["f1"]["water"] is None
    assert figures["stages"]["stage1"]["type"]["without_example"] == ["water"]


def test_a_full_disk_leaves_no_finished_stage_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: tuple[Path, Any, Any, Any]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device"):
            trained(tmp_path / "out", stage="1")
    assert not (tmp_path / "out" / "stage1").exists()
    with pytest.warns(FutureWarning):
        trained(tmp_path / "out")
    assert weights(tmp_path / "out") == weights(run[0])


def test_ctrl_c_leaves_no_finished_stage_and_a_model_as_it_was(tmp_path: Path) -> None:
    vlm = tiny.vlm()
    vlm(tiny.samples())
    hooks, before = tiny.hooks(vlm.model), [parameter.requires_grad for parameter in vlm.model.parameters()]

    def stop(name: str, done: int, total: int, loss: float) -> None:
        if name == "stage2":
            raise KeyboardInterrupt

    with pytest.warns(FutureWarning), pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "out", vlm=vlm, progress=stop)
    assert not (tmp_path / "out" / "stage2").exists()
    assert tiny.hooks(vlm.model) == hooks
    assert [parameter.requires_grad for parameter in vlm.model.parameters()] == before
    assert not any("lora" in name for name, _ in vlm.model.named_modules())


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    wild = replace(made.CONFIG, stage1=replace(made.CONFIG.stage1, learning_rate=1e30))
    with pytest.raises(TrainingStopped, match="the loss is not finite at step"):
        trained(tmp_path / "out", config=wild, stage="1")


def test_figures_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, said = (torch.randint(0, 4, (60,), generator=generator).tolist() for _ in range(2))
    found = classification(truth, said, ["a", "b", "c", "d"])
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["confusion"] == confusion_matrix(truth, said).tolist()
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]


def test_the_default_is_the_published_recipe() -> None:
    config = Config()
    assert (config.stage1.epochs, config.stage1.batch, config.stage1.accumulate, config.stage1.warmup) == (3, 2, 16, 20)
    assert (config.stage2.epochs, config.stage2.batch, config.stage2.accumulate, config.stage2.warmup) == (3, 2, 8, 300)
    assert config.stage1.learning_rate == config.stage2.learning_rate == 1e-5
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (256, 16, 0.05)
    assert (config.weight, config.seed, config.modules.tokens, config.modules.side) == (10.0, 256, 64, 24)
    assert steps_of(config.stage1, 14_000, processes=4) == 329


def test_a_configuration_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("weight: 2\nstage1: {epochs: 1}\nmodules: {query: first}\n")
    config = read_config(path)
    assert config == replace(
        Config(), weight=2, stage1=Stage(epochs=1), modules=replace(Config().modules, query="first")
    )
    for text, message in (
        ("wieght: 2", "unknown entry 'wieght'. Known: modules, stage1"),
        ("stage1: {epoch: 1}", "c.yaml, stage1: unknown entry 'epoch'"),
        ("stage1: 3", "'stage1' should hold entries of its own; found 3"),
        ("[1]", "should hold the entries of a training configuration"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_config(path)


def test_the_split_is_the_same_in_any_order() -> None:
    records = made.records(200)
    learnt, looked = split(records)
    assert {r.sample.id for r in split(records[::-1])[1]} == {r.sample.id for r in looked}
    assert 5 < len(looked) < 40
    assert len(learnt) + len(looked) == 200


@pytest.mark.parametrize(
    ("kind", "second", "stage", "message"),
    [
        ("MEGATRON_LM", False, "1", "set up for MEGATRON_LM, which this training cannot work with; use FSDP 2"),
        ("FSDP", False, "1", "cannot answer while it is trained; set fsdp_version: 2"),
        ("FSDP", True, "both", "run with --stage 1, then with --stage 2"),
    ],
)
def test_a_way_of_sharding_that_cannot_work_is_refused(kind: str, second: bool, stage: str, message: str) -> None:
    from accelerate.utils import DistributedType

    with pytest.raises(UsageError, match=message):
        check_sharding(SimpleNamespace(distributed_type=DistributedType[kind], is_fsdp2=second), stage, Config())
    check_sharding(SimpleNamespace(distributed_type=DistributedType.FSDP, is_fsdp2=True), "1", Config())
    check_sharding(SimpleNamespace(distributed_type=DistributedType.MULTI_GPU, is_fsdp2=False), "both", Config())


ZERO = {"zero_optimization": {"stage": 2}}


def with_deepspeed(given: dict[str, Any], stage: str = "both", config: Config = made.CONFIG) -> None:
    from accelerate.utils import DistributedType

    plugin = SimpleNamespace(deepspeed_config=given)
    kind = DistributedType.DEEPSPEED
    check_sharding(SimpleNamespace(distributed_type=kind, deepspeed_plugin=plugin, num_processes=2), stage, config)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"zero_optimization": {"stage": 3}}, "ZeRO 3 shares out weights, .* use FSDP 2, which shards weights"),
        ({"zero_optimization": {"stage": 0}}, "stage of 1 or 2; found 0"),
        ({}, "stage of 1 or 2; found None"),
        ({**ZERO, "train_micro_batch_size_per_gpu": 8}, "says train_micro_batch_size_per_gpu: 8, the training's 4"),
        ({**ZERO, "gradient_accumulation_steps": 4}, "says gradient_accumulation_steps: 4, the training's 2"),
        ({**ZERO, "train_batch_size": 8}, "says train_batch_size: 8, the training's 16"),
        ({**ZERO, "gradient_clipping": 0.5}, "says gradient_clipping: 0.5, the training's 1.0"),
        ({**ZERO, "bf16": {"enabled": True}}, "enables bf16, .* set `precision` in the configuration of the training"),
        ({**ZERO, "torch_autocast": {"enabled": True}}, "enables torch_autocast"),
        ({**ZERO, "optimizer": {"type": "Adam"}}, "holds 'optimizer', which the training brings itself"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            "sets offload_optimizer to 'cpu'",
        ),
    ],
)
def test_a_configuration_of_deepspeed_that_contradicts_the_training_is_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        with_deepspeed(given)


def test_a_configuration_of_deepspeed_that_agrees_is_taken() -> None:
    with_deepspeed({**ZERO, "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"})
    with_deepspeed(
        {**ZERO, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2, "bf16": {"enabled": False}}
    )
    with_deepspeed(
        {"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "none"}}, "gradient_clipping": 1.0}
    )
    other = replace(made.CONFIG, stage2=replace(made.CONFIG.stage2, accumulate=4))
    with_deepspeed({**ZERO, "gradient_accumulation_steps": 2}, "1", other)
    with pytest.raises(UsageError, match="says gradient_accumulation_steps: 2, the training's 4"):
        with_deepspeed({**ZERO, "gradient_accumulation_steps": 2}, "both", other)
    with pytest.raises(UsageError, match="under DeepSpeed precision is 'bf16' or 'no'"):
        with_deepspeed(ZERO, config=replace(made.CONFIG, precision="fp16"))


def test_accelerate_does_not_turn_the_models_weights_under_deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate

    asked: list[str] = []
    monkeypatch.setattr(accelerate, "Accelerator", lambda *, mixed_precision, cpu: asked.append(mixed_precision))
    there: Any = SimpleNamespace(device=torch.device("cuda"))
    _accelerator(Config(), there)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    _accelerator(Config(), there)
    _accelerator(Config(), tiny.vlm())  # where accelerate leaves DeepSpeed out
    assert asked == ["bf16", "no", "bf16"]


def test_a_gradient_that_is_no_number_stops_the_training_under_deepspeed() -> None:
    engine = SimpleNamespace(step=lambda: None, was_step_applied=lambda: False)
    with pytest.raises(TrainingStopped, match="a gradient is not finite"):
        Driven(None, engine, torch.optim.AdamW([torch.zeros(1)])).step()


def test_trainings_of_one_process_may_differ_in_precision() -> None:
    vlm = tiny.vlm()
    found = [_accelerator(replace(made.CONFIG, precision=precision), vlm) for precision in ("no", "bf16", "no")]
    assert [accelerator.mixed_precision for accelerator in found[-1:]] == ["no"]
