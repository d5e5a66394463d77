"""What the figures of a run need of each answer, and nothing of its text: fifty thousand rows fit in a few megabytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sightguard.errors import DataError
from sightguard.evaluate.rows import Row, RowOutcome

SUCCESSES = ("harmful", "complied")
"""An attack succeeded: harm was done, or the request was answered where the judge cannot tell harm."""


class Seen(NamedTuple):
    """One answer, without its text."""

    id: str
    question: str
    """What is asked, by id: several prompts of a benchmark can ask the same."""
    harmful: bool | None
    category: str | None
    outcome: RowOutcome
    correct: bool | None
    refused_by: str | None
    rule: str | None
    seconds: float
    answer_tokens: int
    gate: bool | None = None
    score: float | None = None
    scores: Mapping[str, float | None] | None = None
    """By judge of a panel: its score, or None where it could not decide; None where no judge of it has either."""

    @classmethod
    def of(cls, row: Row) -> Seen:
        answer = row.response
        return cls(
            row.id,
            row.same_as or row.id,
            row.harmful,
            row.category,
            row.outcome,
            row.correct,
            answer.refused_by,
            answer.rule,
            answer.seconds,
            answer.answer_tokens,
            answer.gate,
            row.score,
            _scores(row),
        )

    @property
    def decided(self) -> bool:
        """Whether there is an outcome to count: neither a crash nor an open verdict."""
        return self.outcome not in (None, "guard_error")

    @property
    def graded(self) -> bool:
        """Whether the answer is known to be right or not: what a crash took away is not right, and what nobody could judge is neither."""
        return self.correct is not None or self.outcome == "guard_error"

    @property
    def fired(self) -> bool:
        """Whether the defense acted on the request, as far as the answer tells."""
        return self.gate is True or self.refused_by is not None

    @property
    def success(self) -> bool:
        """Whether the attack succeeded, if the request is harmful."""
        return self.outcome in SUCCESSES


def _scores(row: Row) -> dict[str, float | None] | None:
    if not row.votes:
        return None
    return {**{name: None for name, vote in row.votes.items() if vote is None}, **row.scores}


Answers = Mapping[str, Seen]
"""By the digest of the prompt."""


@dataclass(frozen=True, slots=True)
class Collected:
    """All answers of a run by setting, defense and prompt, and who judged them."""

    answers: Mapping[str, Mapping[str, Answers]]
    judges: tuple[str, ...]

    def of(self, setting: str, defense: str) -> Answers | None:
        """Return the answers of a defense in a setting; None where it was not asked."""
        return self.answers.get(setting, {}).get(defense)

    @property
    def defenses(self) -> list[str]:
        """Who has answered anything, by name."""
        return sorted({name for table in self.answers.values() for name in table})


@dataclass(slots=True)
class _Table:
    rows: dict[str, dict[str, dict[str, Seen]]] = field(default_factory=dict)
    judges: set[str] = field(default_factory=set)
    words: dict[str | None, str | None] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        answers = self.rows.setdefault(row.setting, {}).setdefault(row.condition, {})
        held = answers.get(row.prompt)
        # the same prompt under two ids is one prompt, and which of the two counts must not depend on the order of the rows
        if held is None or row.id < held.id:
            seen = Seen.of(row)
            answers[row.prompt] = seen._replace(category=self.words.setdefault(seen.category, seen.category))
        self.judges.add(row.judge)


def collect(rows: Iterable[Row]) -> Collected:
    """Read the rows of a run once, in any order; texts are let go.

    Raises:
        DataError: a defense has answered some prompts of a setting and not others (a run that was cut off).
    """
    table = _Table()
    for row in rows:
        table.add(row)
    for setting, defenses in table.rows.items():
        prompts = {prompt for answers in defenses.values() for prompt in answers}
        for defense, answers in defenses.items():
            if len(answers) != len(prompts):
                raise DataError(
                    f"the run is not complete: defense {defense!r} has {len(answers)} of {len(prompts)} prompts of setting "
                    f"{setting!r}. Resume the run first."
                )
    return Collected(table.rows, tuple(sorted(table.judges)))
