"""The rows of one batch while transformers writes them: each by its own decoding, each told as it goes, each ended on its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteriaList

from sightguard.engine.sampling import Draw
from sightguard.engine.text import Written
from sightguard.engine.unthought import Unthought
from sightguard.serve.job import Alternative, Done, Failed, Finish, Job, Piece, Proof, TokenLogprob

if TYPE_CHECKING:
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM
    from sightguard.safevlm.model import Looked


class Row:
    """One answer while it is written.

    Args:
        job: what is asked, and who is told.
        vlm: whose tokens these are.
        proof: called once, when the prompt was read and before anything is told.
    """

    def __init__(self, job: Job, vlm: VLM, proof: Callable[[Row], Proof]) -> None:
        self.job, self._vlm, self._proof = job, vlm, proof
        self.told = ""
        """Text that the client has; a second attempt must not contradict it."""
        self._marks_told = 0
        self.over = False
        """Done or failed was told."""
        self.looked: Looked | None = None
        """What the safety head said, where there is one."""
        self._proved = False
        # drawn once, so that a second attempt draws the same
        self._seed = secrets.randbits(63) if job.decoding.seed is None else job.decoding.seed
        self.begin(0, None)

    def begin(self, prompt_tokens: int, room: int | None) -> None:
        """Begin to write, or begin again: `room` is how many tokens the model's context still holds."""
        tokenizer = self._vlm.processor.tokenizer
        self.prompt_tokens = prompt_tokens
        self.limit = min(self.job.decoding.max_tokens, self.job.decoding.max_tokens if room is None else max(room, 1))
        self.draw = Draw(self.job.decoding, self._seed)
        self.tokens: list[int] = []
        self.finish: Finish | None = None
        self.scores: Tensor | None = None
        """Log probabilities of the place that is being written, where they are wanted."""
        self._repeated, self._marks_repeated = 0, 0

        def written() -> Written:
            return Written(lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)), self.job.decoding.stop)

        thoughts = self._vlm.thoughts
        self._written: Written | Unthought = written() if thoughts is None else Unthought(thoughts, written)

    @property
    def at_rest(self) -> bool:
        """Nothing more is written in this row."""
        return self.over or self.finish is not None

    def push(self, token: int) -> None:
        """Take in the token that was just written."""
        self._prove()
        if self.job.gone.is_set():
            self.fail("cancelled", "the client left")
        elif time.monotonic() > self.job.deadline:
            self.fail("deadline", "the answer took longer than this server allows")
        elif token in self._vlm.ends:
            self.finish = "stop"
        else:
            self._write(token)

    def close(self) -> None:
        """Tell what is left, and that the answer is whole."""
        if self.over:
            return
        self._prove()
        self._written.end()
        self._tell(last=True)
        self.over = True
        self.job.tell(Done(self.finish or "length", self.prompt_tokens, len(self.tokens)))

    def fail(self, trouble: Any, message: str) -> None:
        """Tell that there is no answer."""
        if not self.over:
            self.over = True
            self.job.tell(Failed(trouble, message))

    def _prove(self) -> None:
        if not self._proved:
            proof = self._proof(self)
            self._proved = True
            self.job.tell(proof)

    def _write(self, token: int) -> None:
        self.tokens.append(token)
        logprob = self._logprob(token)
        if not (self.job.stream or self.job.decoding.stop):
            self._written.keep(token, logprob)
        else:
            self._written.add(token, logprob)
        if self._written.stopped:
            self.finish = "stop"
        elif len(self.tokens) >= self.limit:
            self.finish = "length"
        if self.job.stream and self.finish is None:
            self._tell()

    def _tell(self, *, last: bool = False) -> None:
        text, logprobs = self._written.take(last=last)
        repeated = min(len(self.told) - self._repeated, len(text))
        if repeated > 0:  # a second attempt says again what the client has
            if text[:repeated] != self.told[self._repeated : self._repeated + repeated]:
                self.fail("out_of_memory", "a second attempt at this answer came out otherwise than the first")
                return
            self._repeated += repeated
            text = text[repeated:]
        known = min(self._marks_told - self._marks_repeated, len(logprobs))
        self._marks_repeated += len(logprobs)
        logprobs = logprobs[known:]
        if text or logprobs:
            self.told += text
            self._repeated += len(text)
            self._marks_told += len(logprobs)
            self.job.tell(Piece(text, logprobs))

    def _logprob(self, token: int) -> TokenLogprob | None:
        if self.scores is None:
            return None
        values, places = self.scores.topk(max(self.job.decoding.top_logprobs, 1))
        top = tuple(self._alternative(i, v) for i, v in zip(places.tolist(), values.tolist(), strict=True))
        chosen = self._alternative(token, float(self.scores[token]))
        return TokenLogprob(chosen, top[: self.job.decoding.top_logprobs])

    def _alternative(self, token: int, value: float) -> Alternative:
        text = str(self._vlm.processor.tokenizer.decode([token]))
        return Alternative(text, tuple(text.encode("utf-8", "replace")), max(value, -9999.0))


@dataclass
class _Choose:
    rows: Sequence[Row]
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        self.plain = all(row.draw.greedy and not row.job.decoding.logprobs for row in self.rows)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.plain:
            return scores
        chosen = scores.clone()
        for place, row in enumerate(self.rows):
            if row.at_rest:
                continue
            if row.job.decoding.logprobs:
                row.scores = torch.log_softmax(scores[place].float(), dim=-1)
            chosen[place] = row.draw(scores[place])
        return chosen


@dataclass
class _End:
    rows: Sequence[Row]

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        for token, row in zip(input_ids[:, -1].tolist(), self.rows, strict=True):
            if not row.at_rest:
                row.push(token)
                if row.finish is not None:
                    row.close()
        return torch.tensor([row.at_rest for row in self.rows], device=input_ids.device)


def options_for(vlm: VLM, batch: Batch, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what transformers' `generate` needs to write these rows, one for each of the batch."""
    lengths = batch.real.sum(1).tolist()
    for row, length in zip(rows, lengths, strict=True):
        row.begin(int(length), None if vlm.context is None else vlm.context - int(length))
    return {
        "max_new_tokens": max(row.limit for row in rows),
        "logits_processor": LogitsProcessorList([_Choose(rows)]),
        "stopping_criteria": StoppingCriteriaList([_End(rows)]),
        "pad_token_id": vlm.pad,
    }
