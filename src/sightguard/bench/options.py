"""How a suite is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sightguard.bench.judges.options import Options as JudgeOptions
from sightguard.bench.suite import Suite

MAX_NEW_TOKENS = 256
"""Of an answer, where neither the run nor the model's own data say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a suite is run.

    Args:
        defenses: who answers; empty: what the suite names. The undefended model is always among them.
        judges: by the names of `sightguard.bench.judges.catalog`; the first decides. Empty: the model's own judge, or refusal phrases.
        judging: what they are made with; without a file of replies, the run's own is taken.
        data: folder of benchmarks.
        guards: folders of fitted guards, by defense.
        limit: prompts of each setting at most.
        seed: of everything that is drawn.
        batch: prompts a pass.
        max_new_tokens: longest answer; None: the model's own data say, or 256.
        skip_missing: leave out what is not there, and say so.
        revision, device, dtype: of the model.
        examples: show answers in the report.
        judge_again: judge once more, from the answers that are there, what the judges of a run could not decide.
        measure: take the time of each defense, and the perplexity of its answers, when all is answered; never of an endpoint.
    """

    defenses: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    judging: JudgeOptions = field(default_factory=JudgeOptions)
    data: Path | None = None
    guards: Mapping[str, Path] | None = None
    limit: int | None = None
    seed: int = 0
    batch: int = 32
    max_new_tokens: int | None = None
    skip_missing: bool = False
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    judge_again: bool = False
    examples: bool = True
    measure: bool = True


def defenses_of(suite: Suite, options: Options) -> tuple[str, ...]:
    """Return who answers, the undefended model first: no figure stands without it."""
    named = [_spelt(name) for name in options.defenses or suite.defenses]
    return tuple(dict.fromkeys(("none", *named)))


def _spelt(name: str) -> str:
    """Return a name as the catalogue spells it; a file's name stays as it is."""
    return name if ".py:" in name else name.replace("-", "_")
