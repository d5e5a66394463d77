"""The loop: every condition answers every sample of every setting, the judge looks, a line is written.

    run = evaluate({"none": vlm, "vlm_guard": safe}, {"blank_image": samples}, RefusalPhrases(), out=Path("runs/a"))

A guard that crashes is counted as `guard_error`, never as a refusal, so that a broken guard cannot look safe.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.errors import UsageError
from sightguard.evaluate.folder import RunFolder
from sightguard.evaluate.many import judge_all, name_of
from sightguard.evaluate.rows import Key, Row, digest
from sightguard.guards.each import answers
from sightguard.types import Generate, Judge, Sample

Progress = Callable[[str, int, int], None]
"""Called after each batch that is asked with the condition, the answers done so far and the answers in all; and once before them where a run
before this one has done some, so that what took no time now is not taken for speed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """The rows of a run, and the folder that holds them (None: kept in memory only)."""

    rows: tuple[Row, ...]
    folder: Path | None = None

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a run back from its folder; a torn last line is left out."""
        found = RunFolder(folder)
        _ = found.manifest
        return cls(tuple(found.rows()), folder)


def evaluate(
    conditions: Mapping[str, Generate],
    settings: Mapping[str, Sequence[Sample]],
    judge: Judge,
    *,
    out: Path | None = None,
    batch: int = 32,
    progress: Progress | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    undefined: Collection[tuple[str, str]] = (),
) -> Run:
    """Return every condition's answers to every sample, judged.

    What is done is on disk after each batch; Ctrl-C and SIGKILL lose at most the batch in hand. A resumed run forms the
    same batches again, so that it ends with the same answers as one that was never interrupted.

    Args:
        conditions: who answers, by name. Sample ids must be unique within a setting.
        settings: what is asked, by name.
        judge: looks at one sample and its answer; one that raises has not decided.
        out: the folder of the run; None keeps the rows in memory.
        batch: samples per call.
        progress: told after each batch.
        about: configuration that goes into the manifest (model, revision, seed …); JSON values.
        resume: go on with the run that `out` holds, if it is the same.
        undefined: (condition, setting) pairs that mean nothing and are not asked, such as a model without pictures
            where the question is in the picture; their values are null in the results.

    Raises:
        OutputError: `out` cannot be written, holds a run and `resume` is off, or holds another run.
        UsageError: two samples of a setting share an id, or `batch` is below 1.
    """
    _check(settings, batch)
    folder = None if out is None else _opened(out, conditions, settings, judge, batch, about, resume=resume)
    rows = {row.key: row for row in folder.rows()} if folder else {}
    asked = _asked(conditions, settings, undefined)
    for fresh in _fresh(conditions, asked, judge, batch, rows.keys(), folder, progress):
        rows |= {row.key: row for row in fresh if row.key not in rows}
    order = [
        (name, setting, sample.id)
        for name, part in asked.items()
        for setting, found in part.items()
        for sample in found
    ]
    return Run(tuple(rows[key] for key in order), out)


def evaluate_to(
    out: Path,
    conditions: Mapping[str, Generate],
    settings: Mapping[str, Sequence[Sample]],
    judge: Judge,
    *,
    batch: int = 32,
    progress: Progress | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    undefined: Collection[tuple[str, str]] = (),
    begin: Callable[[RunFolder], object] | None = None,
) -> RunFolder:
    """Do as `evaluate` and keep no answer in memory: for runs that are read from their folder afterwards; arguments and errors are the same.

    `begin` is called with the folder when it is known to hold this run and no other, before anything is asked.
    """
    _check(settings, batch)
    folder = _opened(out, conditions, settings, judge, batch, about, resume=resume)
    if begin:
        begin(folder)
    done = {row.key for row in folder.stream()}
    for _ in _fresh(conditions, _asked(conditions, settings, undefined), judge, batch, done, folder, progress):
        pass
    return folder


def _asked(
    conditions: Mapping[str, Generate], settings: Mapping[str, Sequence[Sample]], undefined: Collection[tuple[str, str]]
) -> dict[str, dict[str, Sequence[Sample]]]:
    """Return what each condition is asked."""
    return {name: {k: v for k, v in settings.items() if (name, k) not in undefined} for name in conditions}


def _fresh(
    conditions: Mapping[str, Generate],
    asked: Mapping[str, Mapping[str, Sequence[Sample]]],
    judge: Judge,
    batch: int,
    done: Collection[Key],
    folder: RunFolder | None,
    progress: Progress | None,
) -> Iterator[list[Row]]:
    """Yield the rows of each batch that is not done; what is new of them is on disk by then."""
    total = sum(len(samples) for part in asked.values() for samples in part.values())
    left = {
        name: [one for one in _chunks(part, batch) if not _is_done(name, *one, done)] for name, part in asked.items()
    }
    count = total - sum(len(chunk) for part in left.values() for _, chunk in part)
    if progress and count:
        progress(next(iter(conditions)), count, total)
    for condition, generate in conditions.items():
        errors: Counter[str] = Counter()
        for setting, chunk in left[condition]:
            rows = _finish(condition, setting, generate, chunk, judge, done, folder)
            errors.update((row.response.error or "").split(":")[0] for row in rows if row.response.error)
            count += len(chunk)
            yield rows
            if progress:
                progress(condition, count, total)
        _report_errors(condition, errors)


def _is_done(condition: str, setting: str, samples: Sequence[Sample], done: Collection[Key]) -> bool:
    return all((condition, setting, sample.id) in done for sample in samples)


def _finish(
    condition: str,
    setting: str,
    generate: Generate,
    samples: Sequence[Sample],
    judge: Judge,
    done: Collection[Key],
    folder: RunFolder | None,
) -> list[Row]:
    """Return the rows of one batch, answered, judged and saved."""
    # the whole batch again, even for one missing row: answers can depend on what they are padded with
    responses = answers(generate, samples)
    verdicts = judge_all(judge, samples, responses)
    rows = [
        Row.of(condition, setting, sample, response, verdict)
        for sample, response, verdict in zip(samples, responses, verdicts, strict=True)
    ]
    if folder:
        folder.append(row for row in rows if row.key not in done)
    return rows


def _chunks(settings: Mapping[str, Sequence[Sample]], batch: int) -> Iterator[tuple[str, Sequence[Sample]]]:
    for setting, samples in settings.items():
        for start in range(0, len(samples), batch):
            yield setting, samples[start : start + batch]


def _check(settings: Mapping[str, Sequence[Sample]], batch: int) -> None:
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1; got {batch}")
    for setting, samples in settings.items():
        twice = [id for id, count in Counter(sample.id for sample in samples).items() if count > 1]
        if twice:
            raise UsageError(
                f"setting {setting!r} has {len(twice)} ids more than once, such as {twice[0]!r}. Give each its own."
            )


def _opened(
    out: Path,
    conditions: Mapping[str, Generate],
    settings: Mapping[str, Sequence[Sample]],
    judge: Judge,
    batch: int,
    about: Mapping[str, Any] | None,
    *,
    resume: bool,
) -> RunFolder:
    manifest = {"judge": name_of(judge), **configuration(list(conditions), settings, batch, about)}
    return RunFolder.open(out, manifest, resume=resume)


def configuration(
    conditions: Sequence[str], settings: Mapping[str, Sequence[Sample]], batch: int, about: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a manifest says of a run without its judge: prompts by their digests."""
    return {
        "batch": batch,
        "conditions": list(conditions),
        "settings": {setting: {"n": len(samples), "prompts": _fold(samples)} for setting, samples in settings.items()},
        "about": dict(about or {}),
    }


def _fold(samples: Sequence[Sample]) -> str:
    told = "".join(f"{sample.id}\t{digest(sample)}\n" for sample in samples)
    # an id of the user's own data may hold half a surrogate pair
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _report_errors(condition: str, kinds: Counter[str]) -> None:
    # the kind of error only: its message may quote the prompt, and harmful texts do not go to logs
    if kinds:
        _log.warning(
            "condition %r: %d answers are guard errors (%s)", condition, kinds.total(), ", ".join(sorted(kinds))
        )
