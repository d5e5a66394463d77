"""A bench of a model behind an OpenAI-compatible endpoint: the same settings, judges and report; no torch is loaded.

Only defenses that work by words can stand before it: the states of a remote model are out of reach.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightguard import __version__
from sightguard.artifacts import alone_in, output_folder
from sightguard.attacks.catalog import attacks_of
from sightguard.bench.answered import MAY_HOLD, Progress, answered
from sightguard.bench.configured import Configured
from sightguard.bench.context import Context
from sightguard.bench.defenses import ours, parts
from sightguard.bench.judging import judging_of, told
from sightguard.bench.names import check_names
from sightguard.bench.options import MAX_NEW_TOKENS, Options, defenses_of
from sightguard.bench.overlapping import check_overlap
from sightguard.bench.plan import plan
from sightguard.bench.results import RESULTS
from sightguard.bench.suite import Suite, is_on_model
from sightguard.bench.used import Used
from sightguard.errors import ModelError, UsageError
from sightguard.models.remote import Remote
from sightguard.types import Generate, Sample


def bench_remote(
    url: str, model: str, suite: Suite, out: Path | str, options: Options, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Ask a suite of an endpoint; arguments, files and errors as for `sightguard.bench.run.bench`.

    Args:
        url: the endpoint, up to and with /v1.
        model: the name that it knows the model by.
        suite: what is asked.
        out: folder of the run.
        options: how.
        progress: called with (stage, done, of so many).

    Raises:
        ModelError: the endpoint cannot be reached, refuses the key or knows no such model; told before anything is asked.
        UsageError: a defense or an attack that needs the model itself.
    """
    show, names = progress or (lambda stage, done, total: None), defenses_of(suite, options)
    check_names(suite, names)
    _check_attacks(suite)
    asked = plan(
        suite,
        None,
        data=options.data,
        attack=attacks_of(options.seed),
        limit=options.limit,
        seed=options.seed,
        skip_missing=options.skip_missing,
    )
    endpoint = Remote(
        url, model, max_new_tokens=options.max_new_tokens or MAX_NEW_TOKENS, concurrency=min(options.batch, 8)
    )
    context = Context(seed=options.seed)
    defenses = {name: _guarded(name, endpoint, context) for name in names}
    with alone_in(output_folder(out, may_hold=MAY_HOLD), "bench") as folder:
        about = {
            "model": f"{model} at {url}",
            "seed": options.seed,
            "version": __version__,
            "decoding": endpoint.decoding,
            "concurrency": endpoint.concurrency,
            **told(options),
        }
        configured = Configured.of(folder, asked, names, options.batch, about)
        judging = judging_of(None, options, folder)
        with configured.begun(judging.judge):
            if not (folder / RESULTS).exists():
                _check_reached(url, model)
            twins = check_overlap(asked, {name: Used(known=ours(parts(name))) for name in names})
            return answered(
                asked,
                defenses,
                judging,
                folder,
                configured.about,
                found={"overlap": twins},
                options=options,
                progress=show,
            )


def _check_attacks(suite: Suite) -> None:
    named = {name: one.name for one in suite.settings for name in one.attacks if is_on_model(name)}
    for name, setting in named.items():
        raise UsageError(
            f"the attack {name!r} of the setting {setting!r} needs the model's own weights, which an endpoint does not give. Take the setting "
            "out of the suite."
        )


def _check_reached(url: str, model: str) -> None:
    """Ask one word: an endpoint that is not there would otherwise fill a run with errors, which are not asked again."""
    (answer,) = Remote(url, model, max_new_tokens=1, retries=1, timeout=60)([Sample.of("Hello", id="hello")])
    if answer.error is not None and not answer.error.startswith(("EmptyChoice", "ContentFilter")):
        raise ModelError(
            f"{url} gives {model!r} no answer ({answer.error}). Start it, or check the address; nothing was asked."
        )


def _guarded(name: str, generate: Generate, context: Context) -> Generate:
    for part in reversed(parts(name)):
        if part.name == "none":
            continue
        if part.guard is None:
            raise UsageError(
                f"the defense {name!r} needs the model's own states, which an endpoint does not give. Defenses that work by words can be named."
            )
        generate = part.guard(context)(generate)
    return generate
