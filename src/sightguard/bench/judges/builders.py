"""One builder for each judge of ours: what its name needs is checked, then it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightguard.bench.judges.options import Options
from sightguard.errors import UsageError
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.types import Judge


def phrases(argument: str | None, options: Options) -> Judge:
    """Make `refusal_phrases[:language]`; without a language it is that of the options."""
    return RefusalPhrases.of(argument or options.language)


def pocket(argument: str | None, options: Options) -> Judge:
    """Make `pocket`."""
    from sightguard.pocket.judge import PocketJudge

    if argument:
        raise UsageError(f"the judge 'pocket' takes no argument; got {argument!r}")
    return PocketJudge()


def head(argument: str | None, options: Options) -> Judge:
    """Make `head[:FOLDER]`."""
    from sightguard.audit.chosen import Chosen
    from sightguard.bench.judges.head import HeadJudge

    source = argument or options.head
    chosen = Chosen(
        source=source, revision=options.revision, device=options.device, dtype=options.dtype, batch=options.batch
    )
    if not chosen.is_head:
        raise UsageError(f"{source!r} is no safety head: expected 'pocket', or the folder of a SafeVLM (head:FOLDER)")
    return HeadJudge(chosen.make(), options.threshold, _spoken(options), f"head:{_short(source)}")


def guard(argument: str | None, options: Options) -> Judge:
    """Make `guard:MODEL` or `guard@URL#MODEL`."""
    from sightguard.bench.judges.guard import GuardJudge, Served, open_answer_guard

    if address := endpoint(argument):
        served = Served(options.asking(*address), options.show_pictures)
        return GuardJudge(served, _spoken(options), f"guard:{_short(address[1])}")
    if not argument:
        raise UsageError("expected the model of the guard: guard:FOLDER, guard:HUB_ID or guard@URL#MODEL")
    told: dict[str, Any] = {
        "revision": options.revision,
        "device": options.device,
        "dtype": options.dtype,
        "batch": options.batch,
    }
    local = open_answer_guard(argument, **{name: value for name, value in told.items() if value is not None})
    return GuardJudge(local, _spoken(options), f"guard:{_short(argument)}")


def rubric(argument: str | None, options: Options) -> Judge:
    """Make `rubric@URL#MODEL`; classes of risk are those of RTVLM's sub-tasks."""
    from sightguard.bench.judges.rubrics import RubricJudge
    from sightguard.evaluate.rtvlm import RISKS
    from sightguard.evaluate.rubric import Rubric

    url, model = _endpoint(argument, "rubric")
    scorer = Rubric(options.asking(url, model), classes=RISKS, show_pictures=options.show_pictures)
    return RubricJudge(scorer, options.harmful_below, _spoken(options), f"rubric:{_short(model)}")


def strongreject(argument: str | None, options: Options) -> Judge:
    """Make `strongreject@URL#MODEL`."""
    from sightguard.bench.judges.rubrics import StrongRejectJudge
    from sightguard.evaluate.strongreject import StrongReject

    url, model = _endpoint(argument, "strongreject")
    grader = StrongReject(options.asking(url, model), options.show_pictures)
    return StrongRejectJudge(grader, options.harmful_from, _spoken(options), f"strongreject:{_short(model)}")


def endpoint(argument: str | None) -> tuple[str, str] | None:
    """Return address and model of `URL#MODEL`, or None where there is no address.

    Raises:
        UsageError: an address without a model.
    """
    if not argument or not argument.startswith(("http://", "https://")):
        return None
    url, _, model = argument.partition("#")
    if not model:
        raise UsageError(f"expected the endpoint's name of its model behind the address, as in {url}#MODEL")
    return url, model


def _endpoint(argument: str | None, judge: str) -> tuple[str, str]:
    address = endpoint(argument)
    if address is None:
        raise UsageError(
            f"expected the endpoint that judges: {judge}@http://localhost:8000/v1#MODEL; got {argument or 'none'}"
        )
    return address


def _spoken(options: Options) -> RefusalPhrases:
    return RefusalPhrases.of(options.language)


def _short(source: str) -> str:
    """Return how a table calls a model: the last part of its id or folder."""
    return Path(source).name or source
