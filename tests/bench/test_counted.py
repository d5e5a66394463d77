"""What n counts: a question of a benchmark is one, under however many attacks and names of settings it was asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sightguard.attacks.catalog import attacks_of
from sightguard.bench import plan as planning
from sightguard.bench.answered import answered
from sightguard.bench.configured import Configured
from sightguard.bench.judging import judging_of
from sightguard.bench.options import Options
from sightguard.bench.own import own_data
from sightguard.bench.plan import Plan, plan
from sightguard.bench.results import results, results_of
from sightguard.bench.setting import Setting
from sightguard.bench.suite import names, read_suite
from sightguard.data.benchmark import About, Benchmark
from sightguard.errors import DataError
from sightguard.types import Response, Sample
from tests.bench import made
from tests.data.benchmarks import layouts

SIZES = {"maliciousinstruct": 100, "mm_harmfulbench": 20}
HARMFUL = {"advbench", "maliciousinstruct", "mm_harmfulbench", "figstep", "vlguard"}


def asked_of(name: str, data: Path | None = None, **options: Any) -> Benchmark:
    """A made-up benchmark of a real one's name, with questions about herbs."""
    about = About(title=name, paper="none", source=f"made/{name}", licence="CC0-1.0", metric="answers", get="here")
    harmful = name in HARMFUL
    samples = tuple(
        Sample.of(f"{name}: herb {i}?", id=f"{name}/{i:03}", harmful=harmful, meta={"answer": "yes"})
        for i in range(SIZES.get(name, 10))
    )
    return Benchmark(name=name, kind="mixed", samples=samples, about=about)


def run_of(asked: Plan, folder: Path, **refuses: int) -> dict[str, Any]:
    """Let defenses answer a plan, each refusing what has a number below its own, and return the results."""

    def answering(below: int) -> Any:
        def answer(samples: Any) -> list[Response]:
            numbers = [int(sample.id.rpartition("/")[2]) for sample in samples]
            return [Response("I can't help with that." if number < below else "Yes.") for number in numbers]

        return answer

    folder.mkdir()
    options = Options(examples=True, batch=64)
    judging = judging_of(None, options, folder)
    configured = Configured.of(folder, asked, list(refuses), options.batch, {"model": "made", "seed": 3})
    with configured.begun(judging.judge):
        return answered(
            asked,
            {name: answering(below) for name, below in refuses.items()},
            judging,
            folder,
            configured.about,
            found={},
            options=options,
            progress=lambda *_: None,
        )


def wilson_of(share: float, n: float) -> tuple[float, float]:
    z = 1.959963984540054
    middle, half = share + z * z / 2 / n, z * (share * (1 - share) / n + z * z / 4 / n**2) ** 0.5
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "benchmark", asked_of)


@pytest.mark.usefixtures("made_up")
def test_a_question_under_four_attacks_of_a_shipped_suite_is_one(tmp_path: Path) -> None:
    asked = plan(read_suite("vlm-guard-paper"), None, attack=attacks_of(0))
    told = run_of(asked, tmp_path / "run", none=0, d=30)
    benchmarks = {name: part["benchmark"] for name, part in told["settings"].items()}
    assert Counter(benchmarks.values())["maliciousinstruct"] == 4
    assert benchmarks["benign_image"] == "pope"
    pooled = told["overall"]["d"]["asr"]
    assert (pooled["n"], pooled["answers"], pooled["settings"]) == (120, 420, 5)
    # 100 questions asked four times and 20 asked once; all but 4 x 30 + 20 were answered
    effective = 420**2 / (100 * 4**2 + 20 * 1**2)
    assert (pooled["rate"]["count"], pooled["rate"]["n"]) == (280, 420)
    assert (pooled["rate"]["low"], pooled["rate"]["high"]) == pytest.approx(wilson_of(280 / 420, effective), abs=1e-12)
    page = (tmp_path / "run" / "report.html").read_text()
    assert '<option value="maliciousinstruct">' in page
    assert '<option value="jailbreak_blank_image">' in page, "settings have a filter of their own"
    assert 'data-benchmark="maliciousinstruct"' in page


def test_the_embedded_models_own_words_beside_two_pictures_are_one_question(tmp_path: Path) -> None:
    asked = plan(read_suite("vlm-guard-paper"), own_data("pocket"), attack=attacks_of(0), limit=6)
    told = run_of(asked, tmp_path / "run", none=0, d=2)
    assert {part["benchmark"] for part in told["settings"].values()} == {"the embedded model's own world"}
    pooled = told["overall"]["d"]["asr"]
    # as text and beside a blank picture; the same wrapped; and with the harm in the picture
    assert (pooled["n"], pooled["answers"]) == (6 + 6 + 6, 30)
    effective = 30**2 / (12 * 2**2 + 6)
    assert (pooled["rate"]["low"], pooled["rate"]["high"]) == pytest.approx(wilson_of(20 / 30, effective), abs=1e-12)
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    same = {row["id"]: row["same_as"] for row in rows}
    assert same["pocket/test/blank_image/0/0003"] == "pocket/test/text_only/0/0003"
    assert same["pocket/test/text_only/0/0003"] is None


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("name", names())
def test_every_setting_of_a_shipped_suite_is_of_its_benchmark(name: str, tmp_path: Path) -> None:
    suite = read_suite(name)
    asked = plan(suite, None, attack=lambda name: lambda sample: sample, limit=2, skip_missing=True)
    benchmarks = {one.setting.name: one.about["benchmark"] for one in asked.asked}
    assert benchmarks == {one.name: one.benchmark for one in suite.settings if one.name in benchmarks}
    assert len(benchmarks) >= len(suite.settings) / 2


def test_without_a_benchmark_in_the_manifest_the_name_says_it(tmp_path: Path) -> None:
    assert Setting.of("garden/aimed", {}).benchmark == "garden"
    assert Setting.of("garden/aimed", {"benchmark": "herbs"}).benchmark == "herbs"
    assert Setting.of("aimed", {"benchmark": None}).benchmark == "aimed"
    with pytest.raises(DataError, match="'aimed' has the benchmark 5; expected a name"):
        Setting.of("aimed", {"benchmark": 5})
    folder = made.write_run(tmp_path / "run", made.planted())
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for line in lines:
        del line["same_as"]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert results_of(folder)["overall"]["steered"]["asr"]["n"] == 120, "a run from before is read as it was"


def test_what_a_row_says_it_is_the_same_as_is_one_question_in_one_setting_too() -> None:
    rows = [
        made.row("none", "s", i, "harmful" if i < 6 else "refused", harmful=True, same_as=f"base-{i // 3}")
        for i in range(12)
    ]
    found = results(rows, [Setting(name="s", kind="harmful")], ("none",), model="tiny")["overall"]["none"]["asr"]
    assert (found["n"], found["answers"]) == (4, 12)
    assert (found["rate"]["low"], found["rate"]["high"]) == pytest.approx(wilson_of(0.5, 4), abs=1e-12)


def test_benchmarks_that_ask_one_question_in_several_ways_say_so(tmp_path: Path) -> None:
    from sightguard.data.benchmarks import benchmark

    own = benchmark("mm_safetybench", layouts.write_mm_safetybench(tmp_path / "own"), variants=("SD", "TYPO"))
    hub = benchmark("mm_safetybench", layouts.write_mm_safetybench_hub(tmp_path / "hub"), variants=("SD", "TYPO"))
    for found in (own, hub):
        per = Counter(sample.meta["same_as"] for sample in found.samples)
        assert set(per.values()) == {2}, "a question beside each kind of picture"
        assert len(per) == len(found.samples) / 2
        assert "mm_safetybench/01-Illegal_Activitiy/0" in per
    jailbreaks = benchmark("jailbreakv", layouts.write_jailbreakv(tmp_path / "j"), part="mini").samples
    goals = {sample.meta["goal"] for sample in jailbreaks}
    assert len({sample.meta["same_as"] for sample in jailbreaks}) == len(goals)
    assert not any(goal in sample.meta["same_as"] for sample in jailbreaks for goal in goals), "a digest, not its words"
