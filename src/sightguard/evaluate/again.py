"""Judges once more what was not decided, from the answers that are on disk: no model is asked for an answer again.

A judge that was down, or a sum of money that was used up, leaves rows undecided, and a run that is taken up again judges as little
twice as it asks. This is the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from sightguard.artifacts import whole_file
from sightguard.errors import UsageError
from sightguard.evaluate.folder import SAMPLES, RunFolder
from sightguard.evaluate.many import judge_all
from sightguard.evaluate.rows import Row, number, scores_of
from sightguard.types import Judge, Sample, Verdict

HELD = 1024
"""Rows in memory at a time."""

Samples = Mapping[tuple[str, str], Sample]
"""By setting and id."""


def judge_again(
    folder: RunFolder,
    settings: Mapping[str, Sequence[Sample]],
    judge: Judge,
    *,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Judge the undecided rows of a run once more, and return how many there were.

    Of a panel these are the rows on which any of its judges could not decide; what was decided stays as it is. A crash of a guard stays one.
    `samples.jsonl` is written anew, whole or not at all: a process that is stopped leaves it as it was, and what judges replied until then is in
    their file of replies.

    Args:
        folder: of the run, with the same judge.
        settings: what was asked, by name.
        judge: the run's.
        batch: answers a call.
        progress: told after each batch how many were judged, of how many.

    Raises:
        OutputError: the file cannot be written.
        DataError: a line of the run is damaged.
        UsageError: a batch below 1.
    """
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1; got {batch}")
    total, done = sum(map(is_open, folder.stream())), 0
    if not total:
        return 0
    samples = {(name, sample.id): sample for name, part in settings.items() for sample in part}
    with whole_file(folder.path / SAMPLES) as file:
        for rows in _chunks(folder.stream(), HELD):
            found = dict(enumerate(rows))
            places = [place for place, row in found.items() if is_open(row)]
            for some in (places[start : start + batch] for start in range(0, len(places), batch)):
                found |= zip(some, _judged([found[place] for place in some], samples, judge), strict=True)
                done += len(some)
                if progress:
                    progress(done, total)
            file.write("".join(row.to_line() for row in found.values()).encode())
    return total


def is_open(row: Row) -> bool:
    """Return whether a judge was to decide on an answer and did not."""
    return row.outcome is None or None in row.votes.values()


def _judged(rows: Sequence[Row], samples: Samples, judge: Judge) -> list[Row]:
    asked = [samples[row.setting, row.id] for row in rows]
    verdicts = judge_all(judge, asked, [row.response for row in rows])
    return [_with(row, verdict) for row, verdict in zip(rows, verdicts, strict=True)]


def _with(row: Row, verdict: Verdict) -> Row:
    """Return the row with what was open in it from a verdict."""
    cast = {name: vote for name, vote in row.votes.items() if vote is not None}
    scores = {name: score for name, score in scores_of(verdict).items() if name not in cast}
    votes = {**{name: vote.outcome for name, vote in verdict.votes.items()}, **cast}
    row = replace(row, votes=votes, scores={**row.scores, **scores})
    if row.outcome is not None:
        return row
    return replace(
        row,
        outcome=verdict.outcome,
        correct=verdict.correct,
        judge=verdict.judge,
        reason=verdict.reason,
        score=number(verdict.score),
    )


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    stream = iter(rows)
    while found := list(islice(stream, size)):
        yield found
