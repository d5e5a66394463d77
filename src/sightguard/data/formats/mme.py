"""MME ("MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models", arXiv 2306.13394), from its release's folder.

`MME_Benchmark_release_version/` holds a folder for each of 14 tasks; in it lies for each picture a text file of its name, with a line
`question<tab>Yes` and one with No. Some tasks keep both beside each other, others in `images/` and `questions_answers_YN/`. The questions
end in "Please answer yes or no." and are put as they stand. `score` counts as the authors do: accuracy by question plus accuracy by picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from sightguard.data.benchmark import Benchmark
from sightguard.data.facts import facts
from sightguard.data.formats.archive import SUFFIXES
from sightguard.data.formats.places import advice
from sightguard.data.formats.reading import Missing
from sightguard.data.formats.requests import Found, Request, gather
from sightguard.data.formats.tables import read_lines
from sightguard.errors import DataError, PictureError
from sightguard.types import Image, Sample

ROOTS = ("MME_Benchmark_release_version/MME_Benchmark", "MME_Benchmark_release_version", "MME_Benchmark", "")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
TASKS = (*PERCEPTION, *COGNITION)
QUESTIONS = 2
"""Of each picture."""


def read_mme(place: Path | str, *, revision: str | None = None, check_pictures: bool = False) -> Benchmark:
    """Return two questions for each picture; the category is the task, `meta["group"]` the picture.

    Args:
        place: the release's folder, or one that holds it.
        revision: of the data, for the record.
        check_pictures: decode each picture once.

    Raises:
        DataError: no folder of a task, or a line without its answer.
    """
    entry, folder = facts("mme"), Path(place)
    root = next((folder / name for name in ROOTS if any((folder / name / task).is_dir() for task in TASKS)), None)
    if root is None:
        raise DataError(
            f"no tasks of {entry.title}: looked in {str(folder)!r} for the folders {', '.join(TASKS)}. {advice(entry, folder)}"
        )
    files = [path for task in TASKS for path in _texts(root / task)]
    requests = [request for path in files for request in _requests(path, root, advice(entry, folder))]
    absent = tuple(
        Missing(f"mme/{task}", task, str(root / task), "no text file of this task is there")
        for task in TASKS
        if not _texts(root / task)
    )
    return gather(entry, requests, Found(folder, tuple(files), revision, absent, check_pictures))


def score(samples: Iterable[Sample], right: Mapping[str, bool]) -> dict[str, float]:
    """Return each task's score, 0 to 200: the share of questions that are right, plus that of pictures with both right, in per cent.

    Args:
        samples: those of `read_mme`.
        right: by the id of a sample, whether its answer was right; one that is not there counts as wrong.
    """
    groups: dict[str, dict[str, list[bool]]] = {}
    for sample in samples:
        pictures = groups.setdefault(sample.category or "", {})
        pictures.setdefault(sample.meta["group"], []).append(right.get(sample.id, False))
    return task_scores(groups)


def task_scores(groups: Mapping[str, Mapping[str, Sequence[bool]]]) -> dict[str, float]:
    """Return each task's score, 0 to 200, from which answers were right, by task and picture."""
    return {
        task: 100 * (_share(_flat(pictures)) + _share(map(all, pictures.values()))) for task, pictures in groups.items()
    }


def _flat(pictures: Mapping[str, Sequence[bool]]) -> Iterator[bool]:
    return (one for both in pictures.values() for one in both)


def _share(values: Iterable[bool]) -> float:
    told = list(values)
    return sum(told) / len(told)


def _texts(task: Path) -> list[Path]:
    """Return the text files of a task, in whichever of its two layouts."""
    home = task / "questions_answers_YN" if (task / "questions_answers_YN").is_dir() else task
    return sorted(home.glob("*.txt"))


def _requests(path: Path, root: Path, told: str) -> Iterator[Request]:
    task = path.relative_to(root).parts[0]
    home = root / task / "images" if path.parent.name == "questions_answers_YN" else path.parent
    group = f"mme/{task}/{path.stem}"
    for number, (where, line) in enumerate(read_lines(path, told), 1):
        question, tab, answer = line.rpartition("\t")
        if not tab or answer.strip().lower() not in ("yes", "no"):
            raise DataError(f"{where}: expected a question, a tab, and Yes or No. {told}")
        yield Request(
            id=f"{group}/{number}",
            where=where,
            text=question,
            harmful=False,
            category=task,
            pictures=(partial(_picture, home, path.stem),),
            meta={"answer": answer.strip().lower(), "group": group, "cognition": task in COGNITION},
        )


def _picture(home: Path, stem: str) -> Image:
    endings = (*SUFFIXES, *(ending.upper() for ending in SUFFIXES))
    path = next((home / f"{stem}{ending}" for ending in endings if (home / f"{stem}{ending}").is_file()), None)
    if path is None:
        raise PictureError(f"no picture is called {stem!r}, with any ending")
    return Image(path=path)
