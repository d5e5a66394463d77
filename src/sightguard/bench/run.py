"""A bench from beginning to end: plan, defenses, overlap, attacks, answers, judges, measures, results, report.

    bench("pocket", read_suite("quick"), Path("out"), Options(defenses=("none", "vlm_guard")))

An interrupted run goes on where it stopped: answers that are there are not asked again, and the batches are formed again as they were, so that it
ends with the figures of a run that was never interrupted.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightguard import __version__
from sightguard.artifacts import alone_in, output_folder
from sightguard.attacks.catalog import attacks_of
from sightguard.bench.answered import MAY_HOLD, Progress, answered
from sightguard.bench.configured import Configured, digests
from sightguard.bench.context import Context
from sightguard.bench.defenses import defense
from sightguard.bench.judging import judging_of, told
from sightguard.bench.measure import measures
from sightguard.bench.names import check_names
from sightguard.bench.noise import Noise
from sightguard.bench.options import MAX_NEW_TOKENS, Options, defenses_of
from sightguard.bench.overlapping import check_overlap
from sightguard.bench.own import Own, own_data
from sightguard.bench.pixels import attacked
from sightguard.bench.plan import plan
from sightguard.bench.suite import Suite

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM


def bench(
    model: str, suite: Suite, out: Path | str, options: Options | None = None, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Ask a suite of a model under several defenses; write the run to `out` and return `results.json`.

    Args:
        model: name, folder or hub id.
        suite: what is asked.
        out: a new folder, or that of a run to go on with.
        options: how.
        progress: called with (stage, done, of so many).

    Raises:
        DataError: benchmarks that are not there.
        OutputError: `out` cannot be written, or holds another run; the message says what differs.
        UnknownName: no such defense, judge or attack.
    """
    given, show = options or Options(), progress or (lambda stage, done, total: None)
    own, names = own_data(model), defenses_of(suite, given)
    check_names(suite, names)
    asked = plan(
        suite,
        own,
        data=given.data,
        attack=attacks_of(given.seed),
        limit=given.limit,
        seed=given.seed,
        skip_missing=given.skip_missing,
    )
    with alone_in(output_folder(out, may_hold=MAY_HOLD), "bench") as folder:
        configured = Configured.of(folder, asked, names, given.batch, _known(model, own, given))
        judging = judging_of(own, given, folder)
        with configured.begun(judging.judge):
            show("load the model", 0, 1)
            vlm = _loaded(model, own, given)
            show("load the model", 1, 1)
            configured.add(fingerprint=asdict(vlm.fingerprint))
            context = Context(
                model=model,
                judge=own.judge if own else judging.judge,
                folders=dict(given.guards or {}),
                out=folder,
                seed=given.seed,
                progress=progress,
            )
            made = [defense(name, vlm, context) for name in names]
            configured.add(defenses={one.name: dict(one.about) for one in made})
            show("check overlap", 0, 1)
            twins = check_overlap(asked, {one.name: one.used for one in made})
            show("check overlap", 1, 1)
            asked, answers, attacks = attacked(asked, vlm, made, context, folder, batch=given.batch, progress=show)
            return answered(
                asked,
                answers,
                judging,
                folder,
                configured.about,
                found={"overlap": twins} | ({"attacks": attacks} if attacks else {}),
                options=given,
                progress=show,
                measures=measures(vlm, made, seed=given.seed, progress=show) if given.measure else None,
                noise=Noise.of(asked, vlm, made, seed=given.seed, batch=given.batch),
            )


def _known(model: str, own: Own | None, options: Options) -> dict[str, Any]:
    """Return what is known of a run before anything is loaded."""
    return {
        "model": model,
        "seed": options.seed,
        "version": __version__,
        "max_new_tokens": _longest(own, options),
        "guards": digests(options.guards or {}),
        **told(options),
    }


def _longest(own: Own | None, options: Options) -> int:
    return options.max_new_tokens or (own.max_new_tokens if own else MAX_NEW_TOKENS)


def _loaded(model: str, own: Own | None, options: Options) -> VLM:
    from sightguard.models.vlm import VLM

    where: dict[str, Any] = {
        name: value for name, value in (("device", options.device), ("dtype", options.dtype)) if value is not None
    }
    loaded = VLM.load(model, revision=options.revision, **where)
    return replace(loaded, batch=options.batch, max_new_tokens=_longest(own, options))
