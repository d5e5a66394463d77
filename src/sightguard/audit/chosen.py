"""Which inspector an audit uses, as plain data that another process can make it from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightguard.audit.inspector import Inspector
from sightguard.errors import UnknownName, UsageError
from sightguard.pocket.locate import NAMES

HEAD_FILE = "safety_head.json"
"""What marks a merged checkpoint with its safety head (`sightguard export`)."""
ENDPOINTS = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An inspector by its name and options.

    Args:
        source: "pocket", the folder of a SafeVLM, a guard model (folder or hub id), or the address of an endpoint.
        model: the model that a SafeVLM was trained on, or the endpoint's name of its model; None: what the SafeVLM's folder says.
        revision: commit of the guard model, or of the model below a SafeVLM.
        kind: of guard model, where its configuration does not tell.
        policy: text file with the policy prompt of a LlavaGuard.
        taxonomy: YAML file of the types and levels that an endpoint is asked for; None: the published ones.
        device, dtype: where and in which precision it runs.
        batch: pairs a pass; None: the inspector's own.
    """

    source: str
    model: str | None = None
    revision: str | None = None
    kind: str | None = None
    policy: str | None = None
    taxonomy: str | None = None
    device: str | None = None
    dtype: str | None = None
    batch: int | None = None

    @property
    def is_endpoint(self) -> bool:
        return self.source.startswith(ENDPOINTS)

    @property
    def is_head(self) -> bool:
        folder = Path(self.source)
        return self.source in NAMES or any((folder / name).is_file() for name in ("safevlm.json", HEAD_FILE))

    def make(self) -> Inspector:
        """Load it.

        Raises:
            UsageError: an option that it has no use for.
        """
        self._check()
        if self.is_endpoint:
            return self._endpoint()
        return self._head() if self.is_head else self._guard_model()

    def _check(self) -> None:
        """Refuse options of another kind of inspector."""
        guards, endpoints = ("kind", "policy"), ("taxonomy",)
        unused = {"endpoint": guards, "safety head": (*guards, *endpoints), "guard model": (*endpoints, "model")}
        what = "endpoint" if self.is_endpoint else "safety head" if self.is_head else "guard model"
        given = [name for name in unused[what] if getattr(self, name) is not None]
        if given:
            raise UsageError(
                f"{self.source!r} is taken for {'an' if what[0] == 'e' else 'a'} {what}, which has no use for {', '.join(given)}"
            )

    def _endpoint(self) -> Inspector:
        from sightguard.audit.inspectors.endpoint import Endpoint
        from sightguard.data.taxonomy import published, read_taxonomy
        from sightguard.models.remote import Remote

        if self.model is None:
            raise UsageError(f"expected the name of the model at {self.source} (--model NAME)")
        options: dict[str, Any] = {} if self.batch is None else {"concurrency": self.batch}
        taxonomy = published() if self.taxonomy is None else read_taxonomy(self.taxonomy)
        return Endpoint(Remote(self.source, self.model, **options), taxonomy)

    def _guard_model(self) -> Inspector:
        from sightguard.audit.inspectors.guard_model import KINDS, open_guard

        if self.kind is not None and self.kind not in KINDS:
            raise UnknownName("kind of guard", self.kind, KINDS)
        kind: Any = self.kind
        return open_guard(
            self.source, kind=kind, policy=self.policy, revision=self.revision, **self._placed(), **self._batched()
        )

    def _head(self) -> Inspector:
        from sightguard.audit.inspectors.head import SafetyHeadInspector
        from sightguard.models.vlm import VLM
        from sightguard.safevlm.head_files import load_head
        from sightguard.safevlm.model import SafeVLM

        place, base = self._modules()
        vlm = VLM.load(self.model or base, revision=self.revision, **self._placed())
        merged = (place / HEAD_FILE).is_file()
        safe = load_head(place, vlm) if merged else SafeVLM.from_pretrained(place, vlm)
        if self.dtype is not None:
            safe.modules.to(vlm.model.dtype)
        return SafetyHeadInspector(safe, **self._batched())

    def _modules(self) -> tuple[Path, str]:
        """Return the folder of the safety modules, and the model that they are for."""
        from sightguard.artifacts import read_json
        from sightguard.pocket.locate import folder

        if self.source in NAMES:
            return folder(self.source) / "safevlm", self.source
        place = Path(self.source)
        if (place / HEAD_FILE).is_file():  # a merged checkpoint, which its head lies beside
            return place, self.source
        return place, str(read_json(place / "safevlm.json")["fingerprint"]["repo"])

    def _placed(self) -> dict[str, Any]:
        return {name: value for name, value in (("device", self.device), ("dtype", self.dtype)) if value is not None}

    def _batched(self) -> dict[str, Any]:
        return {} if self.batch is None else {"batch": self.batch}
