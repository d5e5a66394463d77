"""Judges by name.

    refusal_phrases             how answers begin, in any of our languages
    refusal_phrases:de          in one; or refusal_phrases:mine.yaml
    pocket                      the embedded model's grammar
    head, head:FOLDER           a safety head and phrases
    guard:MODEL                 a Llama Guard that is loaded here
    guard@URL#MODEL             one behind an endpoint
    rubric@URL#MODEL            a score from 0 to 10 by any model
    strongreject@URL#MODEL      StrongREJECT's rubric by any model
    path.py:judge               a judge of yours in a file
    NAME                        a judge of another distribution (entry-point group `sightguard.judges`)

A judge of yours, and what an entry point names, is a function `(sample, response) -> Verdict`, or a class that is made without arguments and is
called so.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightguard import catalog
from sightguard.bench.judges.options import Options
from sightguard.errors import UnknownName, UsageError
from sightguard.evaluate.panel import Panel
from sightguard.types import Judge

_IN_A_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")
_AT = re.compile(r"(?P<name>\w+)@(?P<argument>.*)")


def open_judge(name: str, options: Options | None = None) -> Judge:
    """Make the judge of a name.

    Raises:
        UnknownName: no such judge, language or model.
        UsageError: a name that lacks something, an option that cannot be meant, a guard that looks at pictures alone, or a file that cannot be used.
        MissingExtra: a package that the judge needs is not installed.
        ModelError, ArtifactError: a model that cannot be loaded.

    Example:
        >>> open_judge("refusal_phrases:de").name
        'refusal_phrases:de'
    """
    options = options or Options()
    if found := _IN_A_FILE.fullmatch(name):
        return _judge(getattr(_module(Path(found["path"])), found["name"], None), name)
    check_name(name)
    kind, argument = _parts(name)
    target = catalog.load("judge", kind)
    if kind in catalog.JUDGES:
        made: Judge = target(argument, options)
        return made
    if argument:
        raise UsageError(f"the judge {kind!r} takes no argument; got {argument!r}")
    return _judge(target, name)


def check_name(name: str) -> None:
    """Raise where there is no judge of that name; nothing is loaded, and a file is not looked into.

    Raises:
        UnknownName: no such judge.
    """
    known = catalog.known("judge")
    if not _IN_A_FILE.fullmatch(name) and _parts(name)[0] not in known:
        raise UnknownName(
            "judge", name, [*known, "path.py:NAME"], "Endpoints are written guard@URL#MODEL, loaded models guard:MODEL."
        )


def endpoint_of(name: str) -> tuple[str, str] | None:
    """Return address and model of a judge behind an endpoint, as its name says them; None for any other.

    Raises:
        UsageError: an address without a model.

    Example:
        >>> endpoint_of("rubric@http://localhost:8000/v1#some-model")
        ('http://localhost:8000/v1', 'some-model')
    """
    from sightguard.bench.judges.builders import endpoint

    return None if _IN_A_FILE.fullmatch(name) else endpoint(_parts(name)[1])


def open_judges(names: Sequence[str], options: Options | None = None, *, primary: str | None = None) -> Judge:
    """Make one judge of several names: a panel, in which the first decides, or the one that `primary` names as it is written in `names`.

    Raises:
        UsageError: no name, or two judges that call themselves the same; and as `open_judge`.
    """
    options = options or Options()
    if primary is not None and primary not in names:
        raise UnknownName("judge of the panel", primary, names)
    judges = [open_judge(name, options) for name in names]
    if len(judges) == 1:
        return judges[0]
    panel = Panel(judges)
    return panel if primary is None else Panel(judges, panel.names[list(names).index(primary)])


def _parts(name: str) -> tuple[str, str | None]:
    """Return kind and argument of `kind`, `kind:argument` or `kind@argument`."""
    if found := _AT.fullmatch(name):
        return found["name"], found["argument"]
    kind, _, argument = name.partition(":")
    return kind, argument or None


def _module(path: Path) -> Any:
    """Run a file of the user's own, and return it as a module."""
    if not path.is_file():
        raise UsageError(f"no file {str(path)!r}. Expected a Python file with a judge, as in path.py:NAME.")
    name = f"sightguard_judge_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _judge(found: Any, name: str) -> Judge:
    made = found() if isinstance(found, type) else found
    if not callable(made):
        raise UsageError(
            f"{name!r} names no judge: expected a function (sample, response) -> Verdict, or a class whose instances are called so; "
            f"got {'nothing' if found is None else type(found).__name__}"
        )
    judge: Judge = made
    return judge
