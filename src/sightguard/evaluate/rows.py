"""One line of `samples.jsonl`: which condition answered which sample, what came back, and what the judge said."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sightguard.artifacts import json_text
from sightguard.types import SAME_AS, Outcome, Response, Risk, Sample, Verdict

RowOutcome = Outcome | Literal["guard_error"] | None
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One answer in a run. `outcome` is the judge's (None: undecided), or `guard_error`, which no judge overrules."""

    condition: str
    setting: str
    id: str
    prompt: str
    """A digest of the conversation and its pictures: the same prompt under two ids is one prompt."""
    harmful: bool | None
    category: str | None
    outcome: RowOutcome
    correct: bool | None
    judge: str
    reason: str
    response: Response
    votes: Mapping[str, Outcome | None] = field(default_factory=dict)
    """What each judge of a panel saw; empty for a single judge."""
    same_as: str | None = None
    """The question that this prompt asks in other words or beside another picture, by the id of its benchmark; None: it is its own."""
    score: float | None = None
    """The number that the judge gave, on its own scale; None where it gives none. Rows that were written before there were scores have none."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What each judge of a panel gave that gives numbers; empty for a single judge."""

    @classmethod
    def of(cls, condition: str, setting: str, sample: Sample, response: Response, verdict: Verdict) -> Row:
        """Build the row of one answer and its verdict."""
        return cls(
            condition=condition,
            setting=setting,
            id=sample.id,
            prompt=digest(sample),
            harmful=sample.harmful,
            category=sample.category,
            outcome="guard_error" if response.error is not None else verdict.outcome,
            correct=None if response.error is not None else verdict.correct,
            judge=verdict.judge,
            reason=verdict.reason,
            response=response,
            votes={} if response.error is not None else {name: vote.outcome for name, vote in verdict.votes.items()},
            same_as=None if (same := sample.meta.get(SAME_AS)) is None else str(same),
            score=None if response.error is not None else number(verdict.score),
            scores={} if response.error is not None else scores_of(verdict),
        )

    @property
    def key(self) -> Key:
        """What a row is found again by."""
        return self.condition, self.setting, self.id

    def to_line(self) -> str:
        """Return the row as one line of JSON, with its line end."""
        return json_text(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Row:
        """Read one line back.

        Raises:
            ValueError: not JSON, or not a row.
        """
        record: Any = json.loads(line)
        try:
            response = record.pop("response")
            risk = response.get("risk")
            told = {"methods": tuple(response["methods"]), "risk": None if risk is None else Risk(**risk)}
            return cls(**record, response=Response(**{**response, **told}))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a row of a run: {error}") from None


def scores_of(verdict: Verdict) -> dict[str, float]:
    """Return the numbers that the judges of a panel gave."""
    given = {name: number(vote.score) for name, vote in verdict.votes.items()}
    return {name: score for name, score in given.items() if score is not None}


def number(score: object) -> float | None:
    """Return a score as a row keeps it: what a judge of the user's own gave may be any kind of number, or none."""
    try:
        value = float(score)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def digest(sample: Sample) -> str:
    """Return a short digest of what is asked: roles, texts and pictures in order; not the id."""
    asked = [
        [message.role, *(part if isinstance(part, str) else {"sha256": part.sha256} for part in message.parts)]
        for message in sample.messages
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
