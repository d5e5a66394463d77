"""Make the RTVLM table of a model: ten sub-tasks, scored from 0 to 10 by a judge behind any OpenAI-compatible endpoint.

python examples/rtvlm.py --model llava-hf/llava-1.5-7b-hf --data DIR --judge-url URL --judge-model NAME --out OUT

DIR is the data set as its user downloaded it (hf download --repo-type dataset MMInstruction/RedTeamingVLM --local-dir DIR; check its
licence first). The key of the endpoint is read from OPENAI_API_KEY. OUT is a new folder: scores.jsonl has one line per sample, with the
answer, its score and what the judge wrote; table.json has the table. Answers are not printed, since what was asked may be harmful.
Answers and pictures are sent to the judge.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import rich
import rich.table
from rich.console import Console

from sightguard import VLM
from sightguard.artifacts import output_folder, write_json
from sightguard.data.formats.rtvlm import SUBTASKS, Reading, read_rtvlm
from sightguard.errors import SightguardError
from sightguard.evaluate.rtvlm import RISKS, Table, table
from sightguard.evaluate.rubric import Grade, Rubric
from sightguard.models.remote import Remote
from sightguard.types import Response, Sample


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name, folder or hub id of the model to score")
    parser.add_argument("--revision", help="commit of the model")
    parser.add_argument("--data", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--data-revision", help="commit of the data set, for the record")
    parser.add_argument("--judge-url", required=True, help="address of the endpoint, up to and with /v1")
    parser.add_argument("--judge-model", required=True, help="name of the judge there")
    parser.add_argument("--judge-without-pictures", action="store_true", help="for a judge that reads text only")
    parser.add_argument("--out", required=True, type=Path, help="new folder for the scores and the table")
    parser.add_argument("--per-subtask", type=int, help="draw this many samples of each sub-task; default: all")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer in tokens (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the intervals (default: 0)")
    return parser.parse_args()


def chosen(samples: list[Sample], count: int | None, seed: int) -> list[Sample]:
    """Draw `count` samples of each sub-task, or keep all."""
    drawn = []
    for name in SUBTASKS:
        part = [sample for sample in samples if sample.category == name]
        drawn += part if count is None or count >= len(part) else random.Random(seed).sample(part, count)
    return drawn


def answers(vlm: VLM, samples: list[Sample], longest: int) -> Iterator[Response]:
    """Answer batch by batch; in a batch that fails each sample is asked alone, so that one cannot take the others along."""
    for start in range(0, len(samples), vlm.batch):
        chunk = samples[start : start + vlm.batch]
        try:
            yield from vlm.generate(chunk, max_new_tokens=longest)
        except SightguardError:
            for sample in chunk:
                try:
                    yield from vlm.generate([sample], max_new_tokens=longest)
                except SightguardError as error:
                    yield Response("", error=f"{type(error).__name__}: {error}")


def save(
    out: Path, given: argparse.Namespace, reading: Reading, rows: list[tuple[Sample, Response, Grade]], made: Table
) -> None:
    """Write every score, and the table."""
    with (out / "scores.jsonl").open("w", encoding="utf-8") as file:
        for sample, response, grade in rows:
            told = {"id": sample.id, "subtask": sample.category, "source": sample.source, **sample.meta}
            said = {"answer": response.text, "error": response.error, "score": grade.score, "reason": grade.reason}
            file.write(json.dumps({**told, **said, "reply": grade.reply}, ensure_ascii=False) + "\n")
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()}
    missing = [asdict(item) for item in reading.missing]
    write_json(out / "table.json", {"settings": settings, "table": asdict(made), "missing": missing})


def show(made: Table, given: argparse.Namespace) -> rich.table.Table:
    """Return the table for the terminal."""
    shown = rich.table.Table(
        title=f"RTVLM: {given.model}", caption=f"0 to 10, higher is safer; 95% bootstrap; judge: {given.judge_model}"
    )
    for column in ("sub-task", "n", "undecided", "score", "interval"):
        shown.add_column(column, justify="left" if column == "sub-task" else "right")
    for row in made.subtasks:
        shown.add_row(row.subtask, str(row.n), str(row.undecided), *cells(row.mean, row.low, row.high))
    shown.add_section()
    shown.add_row("average", "", "", *cells(made.average, made.low, made.high))
    return shown


def cells(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """Return a score and its interval as text."""
    return ("–", "") if value is None else (f"{value:.2f}", f"{low:.2f} to {high:.2f}")


def main() -> None:
    """Read, ask, judge, write, print."""
    given = arguments()
    out = output_folder(given.out)
    judge = Remote(given.judge_url, given.judge_model)
    rubric = Rubric(judge, classes=RISKS, show_pictures=not given.judge_without_pictures)
    reading = read_rtvlm(given.data, revision=given.data_revision)
    samples = chosen(reading.samples, given.per_subtask, given.seed)
    console = Console()
    console.print(
        f"{len(samples)} samples to ask; {len(reading.missing)} requests could not be read (table.json says why)"
    )
    vlm = VLM.load(given.model, revision=given.revision)
    responses = list(answers(vlm, samples, given.max_new_tokens))
    grades = rubric.grade(samples, responses)
    scores = {name: [g.score for s, g in zip(samples, grades, strict=True) if s.category == name] for name in SUBTASKS}
    made = table(scores, seed=given.seed)
    save(out, given, reading, list(zip(samples, responses, grades, strict=True)), made)
    console.print(show(made, given))
    if made.reason:
        console.print(made.reason)
    console.print(
        "The published table is of another judge's wording and of rows that nobody has listed: not to be compared."
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(print(__doc__))
    try:
        main()
    except SightguardError as error:
        sys.exit(f"error: {error}")
