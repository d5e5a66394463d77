"""The benchmarks that can be read, by name; nothing is imported before it is asked for.

    benchmark("figstep", "data/figstep", part="tiny")
    benchmark("xstest")                          # from the folder that SIGHTGUARD_DATA names
    benchmark("my_prompts.csv")                  # a file of one's own
    benchmark("my_set.py:build")                 # a function of one's own that returns a Benchmark

Other distributions add theirs through the entry-point group `sightguard.benchmarks`: `name = "package.module:function"`, where the
function takes a place, or nothing where it needs no files, and returns a Benchmark. It cannot replace one of ours. Code in a file is run
only where its user names that file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from sightguard.data.benchmark import Benchmark
from sightguard.data.facts import Entry, entries
from sightguard.data.formats.own import ENDINGS, read_own
from sightguard.data.pulled import place_of
from sightguard.errors import DataError, UnknownName, UsageError

GROUP = "sightguard.benchmarks"
_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")


def known() -> dict[str, Entry]:
    """Return every benchmark, ours first; a plug-in cannot replace one of ours."""
    plugins = {
        point.name: Entry(
            name=point.name,
            target=point.value,
            kind="mixed",
            summary=f"plug-in from {point.dist.name if point.dist else 'an unknown distribution'}",
        )
        for point in entry_points(group=GROUP)
    }
    own = entries()
    return {**own, **{name: entry for name, entry in sorted(plugins.items()) if name not in own}}


def benchmark(
    name: str, place: Path | str | None = None, *, data: Path | str | None = None, **options: Any
) -> Benchmark:
    """Read a benchmark.

    Args:
        name: of the catalogue; a CSV, JSON or JSONL file of one's own; or "file.py:function", called with the place, if
            one is given, and the options.
        place: its folder, or its file; default: where `place_of` finds it.
        data: the folder that holds folders of benchmarks; default: the one that SIGHTGUARD_DATA names, or `sightguard-data`.
        options: those of the reader, such as `part`, `revision` and `check_pictures`.

    Raises:
        UnknownName: no such benchmark; the message says which is close.
        UsageError: the reader has no such option, or the function is not there.
        DataError: what is asked for is not here, or not whole; the message says how to get it.
    """
    if found := _FUNCTION.fullmatch(name):
        places = (Path(place),) if place is not None else ()
        return _called(_function(Path(found["file"]), found["function"]), name, *places, **options)
    if Path(name).suffix.lower() in ENDINGS:
        return _called(read_own, name, Path(name), **options)
    check_name(name)
    entry = known()[name]
    reader = _reader(entry)
    where = (Path(place),) if place is not None else _places(entry, reader, data)
    return _called(reader, name, *where, **options)


def check_name(name: str) -> None:
    """Raise UnknownName where a name is neither of the catalogue nor of the form of a file of one's own; nothing is read."""
    if _FUNCTION.fullmatch(name) or Path(name).suffix.lower() in ENDINGS or name in (there := known()):
        return
    raise UnknownName(
        "benchmark", name, there, f"A file of your own ends in {', '.join(ENDINGS)}, or is named file.py:function."
    )


def _reader(entry: Entry) -> Callable[..., Benchmark]:
    module, _, attribute = entry.target.partition(":")
    try:
        found: Callable[..., Benchmark] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the benchmark {entry.name!r} should live at {entry.target}, which cannot be imported: {error}. "
            "Install its distribution again, or remove it."
        ) from error
    return found


def _places(entry: Entry, reader: Callable[..., Benchmark], data: Path | str | None) -> tuple[Path, ...]:
    """Return where a benchmark lies; nothing for a plug-in that needs no files."""
    first = next(iter(signature(reader).parameters.values()), None)
    positional = first is not None and first.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if not positional:
        return ()
    try:
        return (place_of(entry, data),)
    except DataError:
        if entry.name in entries() or (first is not None and first.default is Parameter.empty):
            raise
        return ()


def _called(reader: Callable[..., Benchmark], name: str, *places: Path, **options: Any) -> Benchmark:
    takes = list(signature(reader).parameters.values())[len(places) :]
    if not any(one.kind is Parameter.VAR_KEYWORD for one in takes):
        for option in options:
            if option not in (allowed := [one.name for one in takes]):
                raise UnknownName(f"option of the benchmark {name!r}:", option, allowed)
    read = reader(*places, **options)
    if not isinstance(read, Benchmark):
        raise UsageError(f"{name!r} should return a Benchmark (sightguard.data.benchmark); got {type(read).__name__}")
    return read


def _function(file: Path, name: str) -> Callable[..., Benchmark]:
    if not file.is_file():
        raise DataError(f"no file {str(file)!r}: expected Python with a function {name!r} that returns a Benchmark")
    spec = spec_from_file_location(f"_sightguard_own_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while they are made
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise UsageError(f"{str(file)!r} cannot be run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"{str(file)!r} has no function {name!r}")
    function: Callable[..., Benchmark] = found
    return function
