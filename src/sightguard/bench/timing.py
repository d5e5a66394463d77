"""What each defense takes until its first token and for each further one, against the undefended model in turn with it.

Every answer is cut to one token, and then to N: what the two differ by is N - 1 further tokens. It is the defenses of the run that are timed,
as they stand: one that asks the model several times pays each time, and one that reads a prompt without its picture reads it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sightguard.bench.defenses import Defense
from sightguard.bench.results import BASELINE
from sightguard.guards.each import answers
from sightguard.models.length import exactly
from sightguard.types import Response, Sample

ROUNDS = 3
TOKENS = 17
SILENT = "the model does not speak itself or takes other steps for a long answer"
TOO_FAST = "too fast to be timed"
Places = tuple[int, ...]
"""Of the samples."""


@dataclass(frozen=True)
class Timing:
    """Who is timed, on what, and how.

    Args:
        defenses: the undefended model, "none", among them.
        samples: prompts, asked together.
        tokens: of a long answer; below 2 there are no further tokens to time.
        rounds: in which the defenses take turns, after one that warms up and is not counted.
        clock: tells the time in seconds.
    """

    defenses: Sequence[Defense]
    samples: Sequence[Sample]
    tokens: int = TOKENS
    rounds: int = ROUNDS
    clock: Callable[[], float] = time.perf_counter

    def costs(self, progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, dict[str, Any]]:
        """Return the figures of each defense.

        `prefill_ratio` is the time to the end of a one-token answer, whoever gives it; `decode_ratio` the time of each further token. Both are
        medians over rounds of the ratio to the undefended model in the same round, `*_range` the smallest and the largest. `prefill_seconds`
        is the median for all prompts together, `decode_seconds` that of a further token of all. Decoding is timed on `n_decode` prompts: those
        on which the model itself speaks, and takes the same steps for a short answer as for a long one. Null stands where there is nothing to
        time, and `note` says why.
        """
        seen: dict[str, _Seen] = {}
        for number in range(self.rounds + 1):
            progress(number, self.rounds + 1)
            if number == 0:
                seen = {one.name: self._warm_up(one) for one in self.defenses}
            else:
                self._round(seen)
        progress(self.rounds + 1, self.rounds + 1)
        return {name: self._figures(found, seen[BASELINE]) for name, found in seen.items()}

    def _warm_up(self, one: Defense) -> _Seen:
        short, long = self._asked(one, 1), self._asked(one, self.tokens)
        errors = [(answer.error or "").split(":")[0] for answer in (*short, *long) if answer.error is not None]
        if errors:
            return _Seen(crash=errors[0])
        pairs = enumerate(zip(short, long, strict=True))
        return _Seen(tuple(i for i, (a, b) in pairs if self.tokens > 1 and _same_steps(a, b, self.tokens)))

    def _round(self, seen: dict[str, _Seen]) -> None:
        done: set[tuple[str, Places]] = set()
        plain = next(one for one in self.defenses if one.name == BASELINE)
        for one in self.defenses:
            found = seen[one.name]
            if found.crash is not None:
                continue
            if one.forget is not None:
                one.forget()
            found.first.append(self._seconds(one, 1))
            # the undefended model on the same prompts, in the same round
            for who in (plain, one):
                if found.spoken and (who.name, found.spoken) not in done:
                    done.add((who.name, found.spoken))
                    seconds = self._further(who, found.spoken, seen[who.name].first)
                    seen[who.name].further.setdefault(found.spoken, []).append(seconds)

    def _further(self, one: Defense, places: Places, first: Sequence[float]) -> float:
        """Return the seconds of each further token; what the defense remembers of the prompts is remembered in both timings."""
        same = one.forget is None and len(places) == len(self.samples)
        short = first[-1] if same else self._seconds(one, 1, places)
        return (self._seconds(one, self.tokens, places) - short) / (self.tokens - 1)

    def _seconds(self, one: Defense, tokens: int, places: Places | None = None) -> float:
        began = self.clock()
        self._asked(one, tokens, places)
        return self.clock() - began

    def _asked(self, one: Defense, tokens: int, places: Places | None = None) -> list[Response]:
        asked = self.samples if places is None else [self.samples[i] for i in places]
        with exactly(tokens):
            return answers(one, asked)

    def _figures(self, found: _Seen, plain: _Seen) -> dict[str, Any]:
        first = _ratios(found.first, plain.first)
        further = _ratios(found.further.get(found.spoken, []), plain.further.get(found.spoken, []))
        told: dict[str, Any] = {"n": len(self.samples), "n_decode": len(found.spoken), "note": found.crash}
        for name, seconds, ratios in (
            ("prefill", found.first, first),
            ("decode", found.further.get(found.spoken, []), further),
        ):
            told |= {
                f"{name}_ratio": median(ratios) if ratios else None,
                f"{name}_range": [min(ratios), max(ratios)] if ratios else None,
                f"{name}_seconds": median(seconds) if seconds else None,
            }
        if found.crash is None and not further:
            told["note"] = TOO_FAST if found.spoken else SILENT
        return told


@dataclass(frozen=True)
class _Seen:
    """What was found of one defense: on which prompts the model itself speaks, and seconds by round."""

    spoken: Places = ()
    crash: str | None = None
    """The kind of the error; its message may quote a prompt."""
    first: list[float] = field(default_factory=list)
    further: dict[Places, list[float]] = field(default_factory=dict)


def _same_steps(short: Response, long: Response, tokens: int) -> bool:
    """Return whether the model itself spoke, as often for one answer as for the other: tokens are counted over all that it was asked."""
    spoke = short.refused_by is None and long.refused_by is None
    return spoke and 0 < short.answer_tokens * tokens == long.answer_tokens


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each round; one in which either took no time at all tells nothing."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]
