"""What a run will take before it is started: prompts, calls, tokens, gradients, and money and time where something is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightguard.bench.calls import calls
from sightguard.bench.noise import Noisy
from sightguard.bench.plan import Plan
from sightguard.bench.questions import Questions
from sightguard.bench.size import tokens
from sightguard.bench.speed import Speed
from sightguard.evaluate.asking.purse import Prices


@dataclass(frozen=True, slots=True)
class Written:
    """Answers of the model and their tokens, at least and at most; the tokens are guessed from letters."""

    low: int
    high: int
    read: int
    written: int


def answers(plan: Plan, defenses: Sequence[str], longest: int, noise: Sequence[Noisy] = ()) -> Written:
    """Return what the model is asked, with every answer at its longest.

    Args:
        plan: what is asked.
        defenses: who answers.
        longest: tokens of an answer at most.
        noise: what is asked beside it.
    """
    low = high = read = 0
    for samples, names in [
        *((one.samples, defenses) for one in plan.asked),
        *((one.samples, one.defenses) for one in noise),
    ]:
        for sample in samples:
            size = tokens(sample)
            for name in names:
                least, most = calls(name, pictured=bool(sample.images))
                low, high, read = low + least, high + most, read + most * size
    return Written(low, high, read, high * longest)


def money(read: int, written: int, prices: Prices | None) -> float | None:
    """Return what so many tokens cost, or None where no price was told."""
    return None if prices is None else round(prices.of(read, written), 4)


def judges_money(asked: Questions, prices: Prices | None, most: float | None) -> float | None:
    """Return what judging costs where every reply is as long as it may be, and no more than may be spent."""
    cost = money(asked.read, asked.written_at_most, prices)
    return cost if cost is None or most is None else min(cost, most)


def time(plan: Plan, defenses: Sequence[str], speed: Speed | None, noise: Sequence[Noisy] = ()) -> dict[str, Any]:
    """Return the seconds of all answers, at least and at most, where they are from, and whose are not known.

    Args:
        plan: what is asked.
        defenses: who answers.
        speed: None: nothing is known.
        noise: what is asked beside it.
    """
    if speed is None:
        return {"at_least": None, "at_most": None, "source": None, "unknown": list(defenses)}
    beside = {name: [one.planned for one in noise if name in one.defenses] for name in defenses}
    found = {name: _sum([speed.of(name, one) for one in [*plan.asked, *beside[name]]]) for name in defenses}
    known = [seconds for seconds in found.values() if seconds is not None]
    low, high = (round(sum(seconds[i] for seconds in known), 1) if known else None for i in (0, 1))
    unknown = [name for name, seconds in found.items() if seconds is None]
    return {"at_least": low, "at_most": high, "source": speed.source, "unknown": unknown}


def gradients(passes: Mapping[str, tuple[int, int]], speed: Speed | None) -> dict[str, float | None] | None:
    """Return the seconds of the attacks' gradients, at least and at most; None in them: not known. None for no such attack.

    Args:
        passes: by setting, at least and at most (`sightguard.bench.gradients.gradient_passes`).
        speed: None: nothing is known.
    """
    if not passes:
        return None
    each = None if speed is None else speed.gradient
    low, high = (None if each is None else round(each * sum(one[i] for one in passes.values()), 1) for i in (0, 1))
    return {"at_least": low, "at_most": high}


def _sum(parts: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [part for part in parts if part is not None]
    return (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(parts) else None
