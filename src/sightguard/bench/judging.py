"""Who judges a run, with what it was made with and what asking came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sightguard.bench.bill import Bill
from sightguard.bench.judges.catalog import check_name, endpoint_of, open_judge, open_judges
from sightguard.bench.judges.options import Options as JudgeOptions
from sightguard.bench.options import Options
from sightguard.bench.own import Own
from sightguard.bench.results import RESULTS
from sightguard.errors import ModelError, UsageError
from sightguard.evaluate.folder import MANIFEST
from sightguard.types import Judge

DECIDES = (
    "language",
    "head",
    "revision",
    "dtype",
    "threshold",
    "harmful_below",
    "harmful_from",
    "show_pictures",
    "max_new_tokens",
    "temperature",
    "decoding",
)
"""Options on which a verdict can hang: a run that is taken up again has to have the same."""


class Judging(NamedTuple):
    """The judges of a run as one, and what asking them came to."""

    judge: Judge
    bill: Bill


def judging_of(own: Own | None, options: Options, folder: Path) -> Judging:
    """Return the judges that were named; or the model's own, or else refusal phrases.

    Raises:
        UsageError: options for judges that take none.
        ModelError: an endpoint of a judge cannot be reached, refuses the key or knows no such model; told before anything is loaded or asked.
        UnknownName, MissingExtra, ModelError, ArtifactError: as `sightguard.bench.judges.catalog.open_judge`.
    """
    given, bill = options.judging, Bill.read(folder)
    if options.judge_again and not (folder / MANIFEST).exists():
        raise UsageError(
            f"{str(folder)!r} holds no run whose answers could be judged again (--judge-again). Name the folder of one, or leave the option out."
        )
    if own is not None and not options.judges:
        if given != JudgeOptions():
            raise UsageError(
                "the model brings its own judge, which takes no options: name a judge (--judge), or leave the options of judges out"
            )
        return Judging(own.judge, bill)
    asking = replace(given, cache=given.cache or folder / "judge-cache" / "replies.jsonl", spent=bill.spent)
    bill.report = asking.report
    if options.judge_again or not (folder / RESULTS).exists():
        _check_reached(options.judges, asking)
    judge = open_judges(options.judges, asking) if options.judges else open_judge("refusal_phrases", asking)
    _check_asked(asking)
    return Judging(judge, bill)


def told(options: Options) -> dict[str, Any]:
    """Return what the manifest says of the judges' options; nothing where they are as nobody set them."""
    if not options.judges and options.judging == JudgeOptions():
        return {}
    values = {name: getattr(options.judging, name) for name in DECIDES}
    return {"judging": {**values, "decoding": dict(options.judging.decoding)}}


def _check_reached(names: Sequence[str], asking: JudgeOptions) -> None:
    """Ask each judge behind an endpoint one word: of one that is not there, every row of the run would be undecided."""
    for name in names:
        check_name(name)
    for address in filter(None, map(endpoint_of, names)):
        asking.asking(*address)
    for judge, asked in asking.asked.items():
        reply = asked.probe()
        error = None if reply is None else reply.error
        if error is not None and not error.startswith(("EmptyChoice", "ContentFilter")):
            raise ModelError(
                f"the judge {judge} gives no answer ({error}). Start it, or check its address, its name and the options of judges; nothing was "
                "asked of the model."
            )


def _check_asked(asking: JudgeOptions) -> None:
    """Refuse a price or a limit where no endpoint is asked: whoever sets one means to hold something back."""
    names = ("prices", "max_spend", "requests_per_minute", "tokens_per_minute")
    idle = [name for name in names if getattr(asking, name) is not None]
    if idle and not asking.asked:
        raise UsageError(
            f"{', '.join(idle)} {'is' if len(idle) == 1 else 'are'} for judges behind an endpoint, such as rubric@URL#MODEL, and no judge of "
            "this run is one"
        )
