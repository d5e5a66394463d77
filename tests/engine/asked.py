"""Jobs for an engine, and what they were told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sightguard.serve.job import Decoding, Done, Event, Failed, Job, Piece, Proof, TokenLogprob
from sightguard.types import Sample

GREEDY = Decoding(max_tokens=12, temperature=0)


@dataclass
class Asked:
    """One job, and its events in their order."""

    job: Job
    events: list[Event] = field(default_factory=list)

    @classmethod
    def of(cls, sample: Sample, decoding: Decoding = GREEDY, *, id: str | None = None, **options: Any) -> Asked:
        name = id or sample.id
        events: list[Event] = []
        return cls(Job(name, replace(sample, id=name), decoding, events.append, **options), events)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Piece))

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [one for event in self.events if isinstance(event, Piece) for one in event.logprobs]

    @property
    def proof(self) -> Proof:
        (found,) = (event for event in self.events if isinstance(event, Proof))
        return found

    @property
    def last(self) -> Done | Failed:
        assert isinstance(self.events[-1], Done | Failed)
        assert sum(isinstance(event, Done | Failed) for event in self.events) == 1
        return self.events[-1]


def all_of(samples: Sequence[Sample], decoding: Decoding = GREEDY, **options: Any) -> list[Asked]:
    return [Asked.of(sample, decoding, **options) for sample in samples]
