"""The service of a server from names alone, so that one server and each of several replicas are made by the same code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightguard.errors import ArtifactError
from sightguard.serve.keys import Keys
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings

if TYPE_CHECKING:
    from sightguard.serve.log import AuditLog

Show = Callable[[str, int, int], None]
"""Told a stage, what is done of it, and its size."""


@dataclass(frozen=True, kw_only=True)
class Make:
    """Loads a model and its guard, asks the canary, and returns the service. It holds no model, and can be sent to another process.

    Args:
        model, guard, safevlm, policy, name, batch: as for `sightguard.engine.open.open_engine`. Another machine looks for them under the
            same paths: see `absolute`.
        guard_revision: commit of the guard's or SafeVLM's hub repository.
        load: revision, device and dtype, as for `VLM.load`.
        settings: limits of the server.
        keys: who may ask.
        audit: file of the audit log, which several processes of one machine may share.
        content: write texts and answers into it too.
    """

    model: str
    settings: Settings
    guard: str | None = None
    safevlm: str | None = None
    policy: Path | None = None
    name: str | None = None
    batch: int = 16
    guard_revision: str | None = None
    load: Mapping[str, Any] = field(default_factory=dict)
    keys: Keys | None = None
    audit: Path | None = None
    content: bool = False

    def check(self) -> None:
        """Find what is wrong before the model is loaded, which may take minutes.

        Raises:
            UsageError: no guard, a policy for nobody, or a host that cannot be meant.
            ArtifactError: no guard or SafeVLM where one is named.
            DataError: no policy where one is named.
            OutputError: a log that cannot be written.
        """
        from sightguard.data.taxonomy import read_yaml
        from sightguard.engine.open import check_guarded
        from sightguard.hub import fetched
        from sightguard.serve.addresses import AllowList

        check_guarded(self.model, self.guard, self.safevlm, self.policy)
        AllowList.of(self.settings.image_hosts)
        for source, kind, holds in ((self.guard, "guard", "guard.json"), (self.safevlm, "SafeVLM", "safevlm.json")):
            if source is not None:
                place = fetched(source, kind, holds, revision=self.guard_revision)
                if not (place / holds).is_file():
                    raise ArtifactError(f"no {kind} at {str(place)!r}: expected a folder with {holds}. Check the path.")
        if self.policy is not None:
            read_yaml(self.policy)
        if (log := self.log()) is not None:
            log.check()

    def log(self) -> AuditLog | None:
        """Return the audit log, if one is kept."""
        from sightguard.serve.log import AuditLog

        return None if self.audit is None else AuditLog(self.audit, content=self.content)

    def __call__(self, show: Show = lambda stage, done, total: None) -> Service:
        """Return the service.

        Raises:
            CanaryFailed: the guard is not shown to work; the message says what was found.
            SightguardError: a model, guard or policy that cannot be read, or a log that cannot be written.
        """
        from sightguard.engine.canary import canary
        from sightguard.engine.open import open_engine
        from sightguard.engine.probes import probes_for
        from sightguard.models.vlm import VLM

        self.check()
        show("load the model", 0, 1)
        vlm = VLM.load(self.model, **self.load)
        show("load the model", 1, 1)
        engine = open_engine(
            vlm,
            self.model,
            guard=self.guard,
            safevlm=self.safevlm,
            policy=self.policy,
            name=self.name,
            batch=self.batch,
            revision=self.guard_revision,
        )
        show("canary", 0, 1)
        found = canary(engine, probes_for(self.model))
        show("canary", 1, 1)
        return Service(engine, self.settings, self.keys, self.log(), found.as_json())
