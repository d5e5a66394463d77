"""A suite: which settings a bench asks, as data.

    schema: 1
    name: mine
    title: What it measures, in a line
    about: a paragraph
    settings:
      - {name: blank_image, kinds: [harmful], benchmark: advbench, attacks: [blank], own: blank_image}
      - {name: xstest_safe, kinds: [over-refusal], benchmark: xstest, options: {labels: safe}}

A setting is a benchmark behind attacks, applied in their order. A model that brings data of its own, as the embedded one does, is asked its
own prompts of the name `own` instead, and the table says so; a setting without `own` is then left out, and the table says that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sightguard.bench.fields import SETTING, SUITE, check_fields
from sightguard.data.taxonomy import read_yaml
from sightguard.errors import DataError, UnknownName

SCHEMA = 1
FOLDER = Path(__file__).with_name("suites")
Kind = Literal["harmful", "over-refusal", "utility"]
KINDS: tuple[str, ...] = get_args(Kind)
ON_MODEL = ("pgd", "pgd_adaptive", "icet")
"""Attacks that need the model (`sightguard.bench.pixels`); the others need the sample alone (`sightguard.attacks.catalog`)."""


def is_on_model(attack: str) -> bool:
    """Return whether an attack needs the model."""
    return attack.partition(":")[0] in ON_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table: what is asked, and what an answer to it counts as."""

    name: str
    kinds: tuple[str, ...]
    """"harmful": an answer is a success of the attack. "over-refusal": a refusal is a mistake. "utility": the right answer is known."""
    benchmark: str | None = None
    """A name of `sightguard.data.benchmarks`; None: only models with data of their own are asked."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the benchmark's reader."""
    attacks: tuple[str, ...] = ()
    """Applied in this order."""
    own: str | None = None
    """What takes its place for a model that brings its own data."""
    limit: int | None = None
    """Prompts at most; None: those that the run allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Settings with a name."""

    name: str
    title: str
    about: str
    settings: tuple[Column, ...]
    defenses: tuple[str, ...] = ()
    """Which are compared where none are named."""
    limit: int | None = None
    """Prompts of each setting at most, unless the run says otherwise."""
    published: tuple[Mapping[str, Any], ...] = ()
    """Published figures with their source, for orientation only."""
    cost: str = ""
    """What a run costs on a 7B model, in words."""

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def names() -> list[str]:
    """Return the suites that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_suite(source: str | Path) -> Suite:
    """Read a suite by its name or from a file.

    Raises:
        UnknownName: neither a name nor a file.
        DataError: no suite; the message says what is wrong with it.
    """
    path = Path(source)
    if str(source) in names():
        path = FOLDER / f"{source}.yaml"
    elif not path.is_file():
        raise UnknownName("suite", source, names(), "Or pass a YAML file: docs/bench.md shows its form.")
    return _suite(read_yaml(path), str(path))


def _suite(values: Any, where: str) -> Suite:
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        found = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise DataError(f"{where} should be a suite of schema {SCHEMA}; found {found!r}")
    values = {name: value for name, value in values.items() if name != "schema"}
    settings = values.pop("settings", None)
    if not isinstance(settings, list) or not settings:
        raise DataError(f"{where}: expected a list of settings; found {settings!r:.80}")
    check_fields(values, SUITE, where)
    made = tuple(_setting(one, f"{where}, setting {i}") for i, one in enumerate(settings, 1))
    twice = {one.name for one in made if [other.name for other in made].count(one.name) > 1}
    if twice:
        raise DataError(
            f"{where}: the settings {', '.join(sorted(twice))} occur more than once; names must be distinct"
        )
    tuples: dict[str, Any] = {name: tuple(values.pop(name)) for name in ("defenses", "published") if name in values}
    return Suite(settings=made, **tuples, **values)


def _setting(values: Any, where: str) -> Column:
    if not isinstance(values, dict):
        raise DataError(f"{where} should be an object with name and kinds; found {values!r:.80}")
    check_fields(values, SETTING, where)
    made = Column(**{**values, "kinds": tuple(values["kinds"]), "attacks": tuple(values.get("attacks", ()))})
    odd = sorted(set(made.kinds) - set(KINDS))
    if odd or not made.kinds:
        raise DataError(f"{where}: unknown kinds {odd}; known: {', '.join(KINDS)}")
    if made.benchmark is None and made.own is None:
        raise DataError(f"{where}: expected a benchmark, or the name of a model's own data")
    return made


def static_of(column: Column, columns: Sequence[Column]) -> str | None:
    """Return the setting that asks the same under the attack of the same size that does not know the defense."""
    plain = tuple(name.replace("pgd_adaptive:", "pgd:") for name in column.attacks)
    if plain == column.attacks:
        return None
    twins = (
        one for one in columns if one.attacks == plain and (one.benchmark, one.own) == (column.benchmark, column.own)
    )
    return next((one.name for one in twins), None)
