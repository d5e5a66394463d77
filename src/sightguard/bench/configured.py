"""The configuration of a run on disk: compared with the run that is there, or written, before anything is loaded, fitted or attacked.

What is not known before (the model's fingerprint, what the defenses are made of) is compared as soon as it is, and added. A command that is
refused has changed nothing, and nobody has waited for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.artifacts import sha256_file, sha256_json
from sightguard.bench.plan import Plan
from sightguard.bench.suite import static_of
from sightguard.evaluate.folder import MANIFEST, RunFolder
from sightguard.evaluate.many import name_of
from sightguard.evaluate.run import configuration
from sightguard.types import Judge, Sample

LATER = ("judge", "about.fingerprint", "about.defenses", "about.guards", "about.attacks")
"""Known only after the beginning; and, in runs of earlier versions, what is a result and is not compared, or was not yet told."""
WORK = ("guards", "attacks", "samples.jsonl", "measured.json")
"""Where any of these is there, something has been done."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A run whose configuration is known as far as it can be before anything is loaded."""

    run: RunFolder
    known: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, asked: Plan, defenses: Sequence[str], batch: int, about: Mapping[str, Any]) -> Configured:
        """Compare with the run that is there, if there is one; nothing is written.

        Args:
            folder: of the run.
            asked: the plan.
            defenses: who answers.
            batch: prompts a pass.
            about: what else is known.

        Raises:
            OutputError: the folder holds another run; the message says what differs.
        """
        known = configuration(defenses, in_order(asked), batch, {**about, **_told(asked)})
        run = RunFolder(folder)
        run.check(known, LATER)
        return cls(run, known)

    @contextmanager
    def begun(self, judge: Judge) -> Iterator[Configured]:
        """Write what is known, and take it away again where the block fails before any work is done.

        Raises:
            OutputError: as for `of`.
        """
        fresh = not self.run.holds_run()
        self.run.complete({**self.known, "judge": name_of(judge)}, LATER)
        try:
            yield self
        except BaseException:
            if fresh and not any((self.run.path / name).exists() for name in WORK):
                (self.run.path / MANIFEST).unlink(missing_ok=True)
            raise

    def add(self, **about: Any) -> None:
        """Compare or write something that is known by now.

        Raises:
            OutputError: as for `of`.
        """
        self.run.complete({**self.known, "about": {**self.known["about"], **about}}, LATER)

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says by now."""
        return dict(self.run.manifest["about"])


def in_order(asked: Plan) -> dict[str, list[Sample]]:
    """Return the samples of each setting as they are asked."""
    return {name: by_length(samples) for name, samples in asked.settings().items()}


def by_length(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples so that neighbours are of like length: batches are padded less."""
    return sorted(samples, key=lambda sample: (len(sample.images), len(sample.text)))


def digests(folders: Mapping[str, Path | str]) -> dict[str, str]:
    """Return a digest of what lies in the folder of each guard; of one on the hub, its name."""
    return {name: _digest(Path(folder)) if Path(folder).is_dir() else str(folder) for name, folder in folders.items()}


def _digest(folder: Path) -> str:
    """Of weights and settings, which lie in the folder and one below it: what was written beside them says nothing of how a guard answers."""
    files = (
        path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix in (".json", ".safetensors")
    )
    return sha256_json({path.relative_to(folder).as_posix(): sha256_file(path) for path in files})


def _told(asked: Plan) -> dict[str, Any]:
    """Return what the manifest says of the plan."""
    columns = [one.setting for one in asked.asked]
    return {
        "suite": asked.suite.as_json(),
        "settings": {
            one.setting.name: {
                "kind": one.setting.kinds[0],
                "kinds": list(one.setting.kinds),
                "static": static_of(one.setting, columns),
                "source": one.source,
                **one.about,
            }
            for one in asked.asked
        },
        "left_out": dict(asked.left_out),
    }
