"""What a run would ask and take, before anything is asked or loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sightguard.attacks.catalog import attacks_of
from sightguard.bench import estimate
from sightguard.bench.gradients import gradient_passes
from sightguard.bench.names import check_names
from sightguard.bench.noise import noises
from sightguard.bench.options import MAX_NEW_TOKENS, Options, defenses_of
from sightguard.bench.own import own_data
from sightguard.bench.plan import plan
from sightguard.bench.questions import questions
from sightguard.bench.speed import Speed, earlier, like, shipped, stated
from sightguard.bench.suite import Suite
from sightguard.errors import UsageError
from sightguard.evaluate.asking.purse import Prices
from sightguard.pocket.locate import NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a run before it: money and time have no other source.

    Args:
        remote: address of the endpoint that answers; None: the model runs here.
        prices: what that endpoint charges.
        seconds: of one answer of the model.
        like: folder of a run that timed its answers.
        out: folder of the run itself, which may have begun.
    """

    remote: str | None = None
    prices: Prices | None = None
    seconds: float | None = None
    like: Path | None = None
    out: Path | None = None


def dry_run(model: str, suite: Suite, options: Options, known: Known | None = None) -> dict[str, Any]:
    """Return prompts, calls, tokens, gradients, money and time of a run; names are checked, and no model is loaded.

    Raises:
        DataError: benchmarks that are not there, or no run where one is named.
        UnknownName: no such defense, judge or attack.
        UsageError: a price without an endpoint, or a run of another model.
    """
    given = known or Known()
    if given.prices is not None and given.remote is None:
        raise UsageError("a price (--price) is an endpoint's (--remote URL): a model that runs here charges nothing")
    own = own_data(model) if given.remote is None else None
    names = defenses_of(suite, options)
    check_names(suite, names)
    asked = plan(
        suite,
        own,
        data=options.data,
        attack=attacks_of(options.seed),
        limit=options.limit,
        seed=options.seed,
        skip_missing=options.skip_missing,
    )
    judging = options.judging
    samples = [sample for one in asked.asked for sample in one.samples]
    longest = options.max_new_tokens or (own.max_new_tokens if own else MAX_NEW_TOKENS)
    noise = noises(asked, names)
    written, beside = (estimate.answers(one, names, longest, noise) for one in (asked, replace(asked, asked=())))
    judged = questions(options.judges, judging, samples, len(names), longest)
    for one in noise:
        judged += questions(options.judges, judging, one.samples, len(one.defenses), longest)
    count = judged.judges * (len(samples) * len(names) + sum(len(one.samples) * len(one.defenses) for one in noise))
    passes, speed = gradient_passes(asked, names), _speed(model, given)
    return {
        "model": model,
        "suite": suite.name,
        "settings": {one.setting.name: len(one.samples) for one in asked.asked},
        "samples": len(samples),
        "defenses": list(names),
        "calls": {"at_least": written.low, "at_most": written.high},
        "noise_calls": {"at_least": beside.low, "at_most": beside.high},
        "tokens_read": written.read,
        "tokens_written_at_most": written.written,
        "gradient_passes": {name: {"at_least": low, "at_most": high} for name, (low, high) in passes.items()},
        "seconds": {**estimate.time(asked, names, speed, noise), "gradients": estimate.gradients(passes, speed)},
        "money": estimate.money(written.read, written.written, given.prices) if given.remote else 0.0,
        "judges": {
            "calls": count,
            "tokens_read": judged.read,
            "tokens_written_at_most": judged.written_at_most,
            "money": estimate.judges_money(judged, judging.prices, judging.max_spend) if count else 0.0,
            "max_spend": judging.max_spend,
            "seconds_at_least": 60 * count / judging.requests_per_minute if judging.requests_per_minute else None,
        },
        "sources": {one.setting.name: one.source for one in asked.asked},
        "left_out": dict(asked.left_out),
    }


def _speed(model: str, known: Known) -> Speed | None:
    """Return the best that is known: what the user says, then what was measured, on this model before what is shipped."""
    if known.seconds is not None and known.like is not None:
        raise UsageError(
            "seconds of an answer come from you (--seconds-per-answer) or from a run (--like), not from both"
        )
    if known.seconds is not None:
        return stated(known.seconds)
    name = model if known.remote is None else f"{model} at {known.remote}"
    if known.like is not None:
        return like(known.like, name)
    return earlier(known.out, name) or (shipped() if name in NAMES else None)
