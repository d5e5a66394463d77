"""What becomes of one request, gathered on its way: at the end it is a line of the audit log and some counts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sightguard.serve.entry import Ending, Entry
from sightguard.serve.inspected import as_one
from sightguard.serve.job import GuardId, Inspection, Piece, Proof
from sightguard.serve.metrics import Metrics
from sightguard.types import Sample


@dataclass
class Record:
    """One request so far."""

    id: str
    route: str
    guard: GuardId
    outcome: Ending = "failed"
    status: int = 500
    model: str | None = None
    key: int | None = None
    sample: Sample | None = field(default=None, repr=False)
    received: Mapping[str, int] = field(default_factory=dict)
    proof: Proof | None = None
    inputs: Sequence[Inspection] = ()
    finish: str | None = None
    trouble: str | None = None
    refused_by: str | None = None
    plain: bool = False
    first_token: float | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    texts: list[str] = field(default_factory=list, repr=False)
    began: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))
    """When it came, in seconds since 1970."""

    def wrote(self, piece: Piece) -> None:
        """Note some more text."""
        if self.first_token is None:
            self.first_token = time.monotonic() - self.began
        self.texts.append(piece.text)

    def looked(self, found: Sequence[Inspection]) -> None:
        """Note what the inspectors say of each input of a moderation."""
        self.inputs, self.proof = tuple(found), as_one(found)

    def ended(self, outcome: Ending, status: int, *, trouble: str | None = None) -> None:
        """Note how it ended."""
        self.outcome, self.status, self.trouble = outcome, status, trouble or self.trouble

    def refused(self, rule: str) -> None:
        """Note that the guard answered in the model's place."""
        self.outcome, self.status, self.finish, self.refused_by = "refused", 200, "content_filter", rule

    def entry(self) -> Entry:
        """Return the line of the audit log."""
        return Entry(
            id=self.id,
            route=self.route,
            outcome=self.outcome,
            status=self.status,
            guard=self.guard,
            model=self.model,
            key=self.key,
            sample=self.sample,
            received=self.received,
            proof=self.proof,
            inputs=self.inputs,
            finish=self.finish,
            trouble=self.trouble or self.refused_by,
            plain=self.plain,
            seconds=time.monotonic() - self.began,
            first_token=self.first_token,
            prompt_tokens=self.prompt_tokens,
            answer_tokens=self.answer_tokens,
            answer="".join(self.texts),
        )

    def count(self, metrics: Metrics) -> None:
        """Count it."""
        metrics.answered(self.route, self.status, time.monotonic() - self.began)
        if self.first_token is not None:
            metrics.first_token(self.first_token)
        metrics.tokens(self.prompt_tokens or 0, self.answer_tokens or 0)
        if self.proof is not None:
            metrics.seen(self.proof)
        rule = self.refused_by or (self.proof.rule if self.proof is not None else None)
        if self.refused_by or (rule or "").endswith(":refuse"):
            metrics.refused(rule)
        if self.trouble is not None:
            metrics.error(self.trouble)
        # text that was written counts, also where the client left before its end; what was turned away at the door does not
        if self.plain and (self.outcome == "answered" or self.first_token is not None):
            metrics.bypassed()
