"""The engine of a server: a guarded model in this process. One bad request never takes its batch along."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from sightguard.engine.guarded import Guarded, parts_of
from sightguard.engine.rows import Row, options_for
from sightguard.engine.signs import Signs
from sightguard.engine.watched import Notes
from sightguard.errors import DataError, PromptTooLong
from sightguard.models.hooks import alone
from sightguard.serve.job import GuardId, Inspection, Job, LayerGate, Proof, Trouble

if TYPE_CHECKING:
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM
    from sightguard.types import Sample

log = logging.getLogger(__name__)


@dataclass
class LocalEngine:
    """A guarded model that answers batches of jobs; see `sightguard.serve.job.Engine`.

    Args:
        guarded: the model with its guard.
        name: as clients call it.
        guard: what stands between the client and the model.
        batch: jobs at once, at most.
    """

    guarded: Guarded
    name: str
    guard: GuardId
    batch: int = 16
    signs: Signs = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.signs = Signs(self.guarded.speaker)

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules by which the SafeVLM's policy decides."""
        safe = self.guarded.safe
        return () if safe is None else tuple(sorted({rule.name for rule in safe.policy.rules.values()}))

    def check(self, sample: Sample) -> None:
        """Raise DataError where a text would inject a picture, a turn or a token into the prompt."""
        self.signs.check(sample)

    def answer(self, jobs: Sequence[Job]) -> None:
        """Answer all; every job is told `Done` or `Failed` before this returns."""
        notes = Notes()
        rows = {job.id: Row(job, self._speaker(job), lambda row: self._proof(row, notes)) for job in jobs}
        for plain in (False, True):
            group = [rows[job.id] for job in jobs if job.plain is plain]
            self._attempt(group, notes, retries=1)
        for row in rows.values():
            row.fail("guard_error", "the model ended without an answer")  # tells nothing where something was told

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Look, and answer nothing: the head at pictures, the guard's gate at everything.

        Raises:
            DataError: a sample that cannot be read.
        """
        looked = self.guarded.look(samples)
        gates = self._gates(samples)
        return [
            Inspection(self._inspected(sample, one.risk is not None), one.risk, gate)
            for sample, one, gate in zip(samples, looked, gates, strict=True)
        ]

    def _speaker(self, job: Job) -> VLM:
        return self.guarded.vlm if job.plain else self.guarded.speaker

    def _attempt(self, rows: Sequence[Row], notes: Notes, *, retries: int) -> None:
        """Write rows together; if that fails, without the row that the error names, or by halves until what fails stands alone."""
        rows = [row for row in rows if not self._given_up(row)]
        if not rows:
            return
        try:
            self._write(rows, notes)
            return
        except Exception as error:
            trouble, message = trouble_of(error), message_of(error)
            meant = error.sample if isinstance(error, DataError) else None
            if len(rows) == 1 and trouble == "guard_error":
                log.exception("the guarded model failed on one request")
        # the error is gone here, and with it the memory of the pass that it ended
        left = [row for row in rows if not row.over]
        if trouble == "out_of_memory":
            self._out_of_memory(left, notes, retries)
        elif named := [row for row in left if len(rows) == 1 or row.job.id == meant]:
            for row in named:
                row.fail(trouble, message)
            self._attempt([row for row in left if row not in named], notes, retries=retries)
        else:
            for part in halves(left):
                self._attempt(part, notes, retries=retries)

    def _out_of_memory(self, rows: Sequence[Row], notes: Notes, retries: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if retries == 0:
            for row in rows:
                row.fail(
                    "out_of_memory", "the server has no memory left for this request; send it again later, or smaller"
                )
            return
        for part in halves(rows):
            self._attempt(part, notes, retries=retries - 1)

    def _write(self, rows: Sequence[Row], notes: Notes) -> None:
        by_id = {row.job.id: row for row in rows}
        samples = [replace(row.job.sample, id=row.job.id) for row in rows]
        if rows[0].job.plain:

            def per_batch(batch: Batch) -> dict[str, object]:
                return options_for(self.guarded.vlm, batch, [by_id[sample.id] for sample in batch.samples])

            self.guarded.vlm.generate(samples, batch=len(samples), per_batch=per_batch)
        else:
            self.guarded.write(samples, by_id.__getitem__, notes)
        for row in rows:
            row.close()

    def _given_up(self, row: Row) -> bool:
        if row.job.gone.is_set():
            row.fail("cancelled", "the client left")
        elif time.monotonic() > row.job.deadline:
            row.fail("deadline", "no answer was begun within the time that this server allows")
        return row.over

    def _proof(self, row: Row, notes: Notes) -> Proof:
        return Proof({"text": 0, "image": 0}) if row.job.plain else self.guarded.proof(row, notes)

    def _inspected(self, sample: Sample, by_head: bool) -> dict[str, int]:
        if self.guarded.method is not None:
            return parts_of(sample)
        return self.guarded.by_head(sample) if by_head else {"text": 0, "image": 0}

    @torch.no_grad()
    def _gates(self, samples: Sequence[Sample]) -> list[tuple[LayerGate, ...]]:
        vlm, method = self.guarded.vlm, self.guarded.method
        if method is None:
            return [()] * len(samples)
        notes = Notes()
        for places in vlm.batches(samples, self.batch):
            batch = vlm.encode([samples[i] for i in places])
            with alone(vlm.anatomy), self.guarded.around(vlm, notes)(batch):
                vlm.anatomy.base(**batch.inputs, use_cache=False)
        found = [notes.of(sample.id, method).gate for sample in samples]
        return [tuple(gate[layer] for layer in sorted(gate)) for gate in found]


def halves(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the first half and the rest."""
    half = (len(rows) + 1) // 2
    return rows[:half], rows[half:]


def trouble_of(error: Exception) -> Trouble:
    """Return what kind of trouble an error is; what is nobody's fault is the guard's, which refuses."""
    if isinstance(error, PromptTooLong):
        return "context_length"
    if isinstance(error, DataError):
        return "bad_request"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return "out_of_memory"
    return "guard_error"


def message_of(error: Exception) -> str:
    """Return what a client may read of an error: of its own mistakes all, of ours nothing."""
    if isinstance(error, DataError):
        return str(error)
    return "the guard of this server could not look at the request"
