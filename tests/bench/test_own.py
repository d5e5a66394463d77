"""A benchmark, a judge, an attack and a defense of one's own: from a Python file, and from another distribution, in one bench."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sightguard.cli import app
from tests.endpoint import completion, serve, text_of

MINE = '''
from dataclasses import replace

from sightguard.data.benchmark import About, Benchmark
from sightguard.types import Message, Response, Sample, Verdict


def herbs(place=None, *, n=4):
    """A benchmark: even ones stand for harmful requests."""
    about = About(title="Herbs", paper="none", source="my/herbs", licence="CC0-1.0", metric="answers", get="it is here")
    samples = tuple(Sample.of(f"herb {i}", id=f"h{i}", harmful=i % 2 == 0) for i in range(n))
    return Benchmark(name="herbs", kind="mixed", samples=samples, about=about)


def shout(sample):
    """An attack."""
    return replace(sample, messages=(Message("user", (sample.text.upper(),)),))


def polite(generate):
    """A defense: it refuses whatever is in capitals."""

    def answer(samples):
        return [
            Response("No.", refused_by="polite") if sample.text.isupper() else response
            for sample, response in zip(samples, generate(samples), strict=True)
        ]

    return answer


def strict(sample, response):
    """A judge that knows nothing but its own word."""
    return Verdict("strict", "refused" if response.text == "No." else "complied")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with mine.py, which is also what an installed distribution calls by its entry points."""
    (tmp_path / "mine.py").write_text(MINE)
    info = tmp_path / "my_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.0\n")
    groups = {"benchmarks": "herbs", "attacks": "shout", "defenses": "polite", "judges": "strict"}
    (info / "entry_points.txt").write_text(
        "".join(f"[sightguard.{group}]\n{name} = mine:{name}\n" for group, name in groups.items())
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


@pytest.mark.parametrize("prefix", ["mine.py:", ""], ids=["a file", "another distribution"])
def test_all_four_of_ones_own_meet_in_one_bench(folder: Path, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    columns = [
        {"name": "herbs", "kinds": ["harmful"], "benchmark": f"{prefix}herbs"},
        {"name": "herbs/shout", "kinds": ["harmful"], "benchmark": f"{prefix}herbs", "attacks": [f"{prefix}shout"]},
        {"name": "harmless", "kinds": ["over-refusal"], "benchmark": f"{prefix}herbs", "options": {"n": 6}},
    ]
    suite = {"schema": 1, "name": "mine", "title": "t", "about": "a", "settings": columns}
    (folder / "mine.yaml").write_text(json.dumps(suite))
    names = ["--suite", "mine.yaml", "--defense", f"{prefix}polite", "--judge", f"{prefix}strict"]
    with serve(lambda request, number: completion(f"about {text_of(request)}")) as endpoint:
        status = app.run(["bench", "m", "--remote", endpoint.url, *names, "--out", "out", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 0, told
    assert told["judges"] == ["strict"]

    def rate(setting: str, defense: str, part: str, metric: str) -> tuple[int, int]:
        found: dict[str, Any] = told["settings"][setting]["defenses"][defense][part][metric]
        return found["count"], found["n"]

    mine = f"{prefix}polite"
    assert [rate("herbs", name, "attacked", "asr") for name in ("none", mine)] == [(2, 2), (2, 2)]
    assert [rate("herbs/shout", name, "attacked", "asr") for name in ("none", mine)] == [(2, 2), (0, 2)]
    assert [rate("harmless", name, "benign", "over_refusal") for name in ("none", mine)] == [(0, 3), (0, 3)]
    assert {"HERB 0", "HERB 2"} <= {text_of(one) for one in endpoint.asked}
    about = told["manifest"]["about"]["settings"]["herbs"]
    assert about["licence"] == "CC0-1.0"
    assert "my/herbs" in about["source"]
