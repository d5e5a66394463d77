"""Guards of the bench that must be fitted: read where they are there already, fitted and kept where they are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightguard.artifacts import read_json, sha256_file
from sightguard.bench.context import Context
from sightguard.bench.used import RECORD
from sightguard.errors import UsageError
from sightguard.types import Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.steering.guard_folder import FittedGuard
    from sightguard.steering.vlm_guard import VlmGuard

KEPT = "guards"


@dataclass(frozen=True)
class Recipe:
    """How a guard is fitted, and what its folder must hold."""

    fit: Callable[[VLM, Context], FittedGuard]
    holds: str
    """The name that such a guard gives itself."""


def fitted(name: str, vlm: VLM, context: Context) -> tuple[FittedGuard, dict[str, Any]]:
    """Return the guard of a defense, and what the manifest of the run says of it.

    It comes from the folder that the context names; or from the run's own folder, if it was fitted with the same prompts and seed;
    or it is fitted now, and kept in the run's own folder.

    Raises:
        UsageError: the folder holds another guard than the defense needs, or one that was fitted on other prompts.
        DataError: a prompt of a test split would be fitted on.
    """
    # what is fitted needs torch; naming it does not
    from sightguard.steering.guard_folder import read
    from sightguard.steering.splits import refuse_test

    recipe = RECIPES[name]
    if name in context.folders:
        return _checked(read(context.folders[name]), name, str(context.folders[name])), _told(context.folders[name])
    refuse_test((sample for pair in context.anchors() for sample in pair), "fitting")
    refuse_test(context.clean(), "fitting")
    if context.out is None:
        return recipe.fit(vlm, context), {"fitted": context.about()}
    place = context.out / KEPT / name
    if not (place / "guard.json").is_file():
        record = json.dumps({"defense": name, **context.about()}, indent=2) + "\n"
        place.parent.mkdir(parents=True, exist_ok=True)
        recipe.fit(vlm, context).save_pretrained(place, beside={RECORD: record})
    elif read_json(place / RECORD) != {"defense": name, **context.about()}:
        raise UsageError(
            f"{place} holds a guard that was fitted on other prompts or with another seed than this run asks for. "
            "Name another folder for the run, or pass that guard by its folder."
        )
    return _checked(read(place), name, str(place)), {"fitted": context.about(), **_told(place)}


def _checked(guard: FittedGuard, name: str, where: str) -> FittedGuard:
    if guard.name != RECIPES[name].holds:
        raise UsageError(
            f"the defense {name!r} needs a guard of the kind {RECIPES[name].holds!r}; the folder {where!r} holds {guard.name!r}"
        )
    return guard


def _told(folder: str | Path) -> dict[str, Any]:
    """Return what is said of a guard that lies in a folder; of one on the hub, its name."""
    path = Path(folder) / "guard.json"
    return {"guard_sha256": sha256_file(path)} if path.is_file() else {"guard": str(folder)}


def _vlm_guard(**options: Any) -> Callable[[VLM, Context], FittedGuard]:
    def fit(vlm: VLM, context: Context) -> FittedGuard:
        return _chosen(vlm, context, options, context.clean())

    return fit


def _null_space(vlm: VLM, context: Context) -> FittedGuard:
    """Spare one half of the benign prompts, and choose on the other."""
    from sightguard.data.blank import beside_a_picture

    clean = beside_a_picture(context.clean())
    return _chosen(vlm, context, {"reference": "text", "spare": clean[::2]}, clean[1::2])


def _chosen(vlm: VLM, context: Context, options: Mapping[str, Any], benign: list[Sample]) -> VlmGuard:
    if context.own_world:
        from sightguard.demo.fit import choose_on_world

        return choose_on_world(vlm, seed=context.seed, options=options, progress=context.progress).guard
    from sightguard.steering.recipe import fit_and_choose

    return fit_and_choose(
        vlm, context.anchors(), context.judge, benign=benign, seed=context.seed, options=options, force=context.force,
        progress=context.progress,
    ).guard  # fmt: skip


def _cmrm(**options: Any) -> Callable[[VLM, Context], FittedGuard]:
    def fit(vlm: VLM, context: Context) -> FittedGuard:
        from sightguard.steering.cmrm import Cmrm

        return Cmrm.fit(vlm, [sample for pair in context.anchors() for sample in pair], **options)

    return fit


RECIPES: Mapping[str, Recipe] = {
    "vlm_guard": Recipe(_vlm_guard(reference="text"), "vlm_guard"),
    "vlm_guard_caption": Recipe(_vlm_guard(reference="caption"), "vlm_guard_caption"),
    "vlm_guard_null_space": Recipe(_null_space, "vlm_guard"),
    "cmrm": Recipe(_cmrm(), "cmrm"),
    "cmrm_in_turn": Recipe(_cmrm(in_turn=True, phase="prefill"), "cmrm"),
}
