"""The catalogue of benchmarks, and benchmarks of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightguard.data.benchmark import Benchmark
from sightguard.data.benchmarks import benchmark, known
from sightguard.data.facts import entries
from sightguard.data.formats.own import read_own
from sightguard.errors import DataError, UnknownName, UsageError
from tests.data.benchmarks import layouts
from tests.data.benchmarks.layouts import SECRET, asked, picture, put, put_csv, put_lines

KINDS = {"harmful", "over-refusal", "utility", "mixed"}


@pytest.mark.parametrize("name", entries())
def test_every_entry_says_what_it_is_and_where_it_is_from(name: str) -> None:
    entry = entries()[name]
    assert entry.kind in KINDS
    assert entry.summary.endswith(".")
    assert all((entry.title, entry.paper, entry.source, entry.licence, entry.metric))
    assert sum(map(bool, (entry.fetch.hub, entry.fetch.git, entry.fetch.page))) == 1
    assert bool(entry.fetch.patterns) == bool(entry.fetch.hub)
    assert bool(entry.fetch.paths) == bool(entry.fetch.git)
    assert entry.run.startswith(("real", "fixtures"))


def test_the_catalogue_imports_no_reader_and_nothing_heavy() -> None:
    look = (
        "import sys; from sightguard.data.benchmarks import known; known(); "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'PIL', 'pyarrow') or m.endswith('formats.pope')])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_there_says_what_is_close(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no benchmark 'figsteps'. Did you mean 'figstep'"):
        benchmark("figsteps", tmp_path)


def test_what_is_not_here_says_where_was_looked_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        DataError, match=r"xstest is not here: looked in .*for pulled.json .*Licence: CC-BY-4.0.*git clone .*d7bb5bd7"
    ):
        benchmark("xstest", data=tmp_path)
    monkeypatch.setenv("SIGHTGUARD_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"elsewhere.*sightguard pull scienceqa --to .*elsewhere"):
        benchmark("scienceqa")
    layouts.write_xstest(tmp_path / "elsewhere" / "XSTest")
    assert len(benchmark("xstest").samples) == 3


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that adds a benchmark, tries to replace one of ours, and has two that are broken."""
    names = (
        "theirs = plugin_sets:read",
        "xstest = plugin_sets:read",
        "broken = plugin_sets:absent",
        "none = plugin_sets:nothing",
        "made = plugin_sets:made",
    )
    info = tmp_path / "plugin_sets-1.0.dist-info"
    put(info / "METADATA", "Metadata-Version: 2.1\nName: plugin-sets\nVersion: 1.0\n")
    put(info / "entry_points.txt", "[sightguard.benchmarks]\n" + "\n".join(names) + "\n")
    code = (
        "from sightguard.data.formats.own import read_own\n"
        "def read(place, *, revision=None, check_pictures=False):\n    return read_own(place, revision=revision)\n"
        "def nothing(place):\n    return 3\n"
        "def made(place=None):\n    return read_own(place or __file__.replace('plugin_sets.py', 'mine.csv'))\n"
    )
    put(tmp_path / "plugin_sets.py", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plugin_sets", raising=False)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_adds_a_benchmark_and_replaces_none(tmp_path: Path) -> None:
    path = put_csv(tmp_path / "mine.csv", [{"prompt": asked(1)}])
    assert known()["theirs"].summary == "plug-in from plugin-sets"
    assert known()["xstest"] == entries()["xstest"]
    assert [sample.id for sample in benchmark("theirs", path).samples] == ["mine/1"]
    with pytest.raises(UsageError, match="'broken' should live at plugin_sets:absent, which cannot be imported"):
        benchmark("broken", path)
    with pytest.raises(UsageError, match="'none' should return a Benchmark .*; got int"):
        benchmark("none", path)
    with pytest.raises(DataError, match="theirs is not here: .* It is a plug-in from plugin-sets, whose pages say"):
        benchmark("theirs", data=tmp_path / "data")
    assert [sample.id for sample in benchmark("made", data=tmp_path / "data").samples] == ["mine/1"]


ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "prompt": asked(1),
        "image": "a.png",
        "harmful": "true",
        "category": "bread",
        "answer": "",
        "note": "x",
    },
    {
        "id": "",
        "prompt": asked(2),
        "image": "a.png; b.png",
        "harmful": "No",
        "category": "",
        "answer": "rye",
        "note": "",
    },
    {"id": "c", "prompt": asked(3), "image": "", "harmful": "", "category": "bread", "answer": "", "note": ""},
]


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        put(tmp_path / name, picture(number))
    found = benchmark(str(put_csv(tmp_path / "mine.csv", ROWS)), check_pictures=True)
    assert (found.name, found.kind, found.missing) == ("mine", "mixed", ())
    told = [(s.id, s.harmful, s.category, len(s.images), dict(s.meta)) for s in found.samples]
    assert told == [
        ("mine/a", True, "bread", 1, {"note": "x"}),
        ("mine/2", False, None, 2, {"note": "", "answer": "rye"}),
        ("mine/c", None, "bread", 0, {"note": ""}),
    ]
    assert found.samples[1].images[1].read() == picture(1)
    assert list(found.about.sha256) == ["mine.csv"]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([{"text": asked(1), "harmful": True}], "harmful"),
        ([{"question": asked(1), "harmful": 0}], "over-refusal"),
        ([{"prompt": asked(1), "harmful": False, "answer": ["rye", "Rye bread"]}], "utility"),
        ([{"prompt": asked(1), "answer": "rye"}], "utility"),
        ([{"prompt": asked(1), "harmful": True}, {"prompt": asked(2), "harmful": False}], "mixed"),
    ],
)
def test_the_kind_follows_from_the_rows(tmp_path: Path, rows: list[dict[str, Any]], kind: str) -> None:
    found = read_own(put_lines(tmp_path / "mine.jsonl", rows))
    assert found.kind == kind
    assert found.samples[0].meta.get("answer") in (None, "rye", ("rye", "Rye bread"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": asked(1), "harmful": asked(2)},
            r"row 2: expected one of true, 1, .*in 'harmful', and it is none of them",
        ),
        ({"prompt": 5}, r"row 2: expected a text in one of prompt, text, question; columns there: prompt"),
        ({"goal": asked(1)}, r"row 2: expected a text in one of prompt"),
        (
            {"prompt": asked(1), "answer": {"a": asked(1)}},
            r"row 2: expected a text, or a list of texts, in 'answer'; got dict",
        ),
        ({"prompt": asked(1), "images": [5]}, r"row 2: expected a path, or several, in 'image' or 'images'; got list"),
        ({"prompt": asked(1), "id": "first"}, r"row 2 has the same id as .*row 1"),
    ],
)
def test_a_row_of_ones_own_that_is_wrong_is_told_and_not_shown(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    path = put(tmp_path / "mine.json", json.dumps([{"prompt": asked(0), "id": "first"}, row]))
    with pytest.raises(DataError, match=message) as caught:
        read_own(path)
    assert SECRET not in str(caught.value)


def test_a_picture_of_ones_own_that_is_not_there_is_listed_without_being_named(tmp_path: Path) -> None:
    rows = [{"prompt": "How?", "image": asked(1)}, {"prompt": asked(2), "image": "../x.png"}]
    found = read_own(put_lines(tmp_path / "mine.jsonl", rows))
    assert [one.reason for one in found.missing] == [
        "the picture that the row names is not there",
        "the path '../x.png' leads out of its folder",
    ]


def test_files_of_ones_own_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*none\.csv'"):
        benchmark(str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match=r"ends in '\.txt'; expected one of \.csv"):
        read_own(put(tmp_path / "a.txt", "x"))
    with pytest.raises(DataError, match="no rows of empty"):
        read_own(put(tmp_path / "empty.csv", "prompt\n"))


CODE = """
from dataclasses import dataclass
from sightguard.data.formats.own import read_own

@dataclass
class Settings:
    rows: int = 1

def build(*, rows: int = 1):
    return read_own(__file__.replace("mine.py", "mine.csv"), name=f"built{Settings(rows).rows}")

def wrong():
    return [1]

number = 5
"""


def test_a_function_of_ones_own_is_called_only_when_it_is_named(tmp_path: Path) -> None:
    put_csv(tmp_path / "mine.csv", ROWS[2:])
    path = put(tmp_path / "mine.py", CODE)
    found = benchmark(f"{path}:build", rows=7)
    assert isinstance(found, Benchmark)
    assert found.samples[0].id == "built7/c"
    with pytest.raises(UnknownName, match=r"no option of the benchmark '.*mine\.py:build': 'row'. Did you mean 'rows'"):
        benchmark(f"{path}:build", row=7)
    with pytest.raises(UsageError, match="should return a Benchmark .*; got list"):
        benchmark(f"{path}:wrong")
    with pytest.raises(UsageError, match=r"mine\.py' has no function 'number'"):
        benchmark(f"{path}:number")
    put(tmp_path / "bad.py", "1 / 0\n")
    with pytest.raises(UsageError, match=r"bad\.py' cannot be run: ZeroDivisionError"):
        benchmark(f"{tmp_path / 'bad.py'}:build")
    with pytest.raises(DataError, match=r"no file '.*none\.py': expected Python with a function 'build'"):
        benchmark(f"{tmp_path / 'none.py'}:build")
