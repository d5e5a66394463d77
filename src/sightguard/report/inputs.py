"""What a page is made of beside `results.json`: points to draw and conversations to show. Plain values, kept as JSON.

save_inputs(run_folder, figures, examples)                # the demo, when it is done
save_results(run_folder, results)                         # last: a folder with results is a finished one
write_report(*load_inputs(run_folder), out=...)           # any time later: a report reads only the run folder
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sightguard.errors import DataError
from sightguard.evaluate.folder import write_whole

RESULTS = "results.json"
FIGURES = "figures.json"
EXAMPLES = "examples.json"


@dataclass(frozen=True, slots=True)
class Panel:
    """One cloud of last-token states, projected to two dimensions; panels of a figure share their axes."""

    title: str
    points: tuple[tuple[float, float], ...]
    harmful: tuple[bool, ...]
    """One for each point."""

    def __post_init__(self) -> None:
        if len(self.points) != len(self.harmful):
            raise DataError(
                f"panel {self.title!r}: expected one label for each point; got {len(self.points)} points and "
                f"{len(self.harmful)} labels"
            )


@dataclass(frozen=True, slots=True)
class TradeOff:
    """How a gate does at every threshold on validation prompts: harmless prompts caught against harmful ones caught."""

    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]
    chosen: tuple[float, float] | None = None
    """(false positive, true positive) of the threshold in use."""
    title: str = "Gate on validation prompts"
    low: tuple[tuple[float, float], ...] = ()
    """Lower corner of the band: (upper bound of false positive, lower bound of true positive) for each point."""
    high: tuple[tuple[float, float], ...] = ()
    """Upper corner: (lower bound of false positive, upper bound of true positive)."""

    @staticmethod
    def of(curve: Mapping[str, Sequence[float]], threshold: float, title: str) -> TradeOff:
        """Return what a fitted guard keeps as its curve, with the threshold in use."""
        at = max((i for i, cut in enumerate(curve["threshold"]) if cut <= threshold), default=0)
        fp, tp = curve["false_positive"], curve["true_positive"]
        return TradeOff(
            tuple(fp),
            tuple(tp),
            (fp[at], tp[at]),
            title,
            tuple(zip(curve["false_positive_high"], curve["true_positive_low"], strict=True)),
            tuple(zip(curve["false_positive_low"], curve["true_positive_high"], strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """The points behind the figures; what is missing is left out of the page, which then says so."""

    states: tuple[Panel, ...] = ()
    states_layer: int | None = None
    explained: tuple[float, float] | None = None
    """Shares of variance on the two axes."""
    trade_off: TradeOff | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation with each condition's answer."""

    id: str
    setting: str
    prompt: str
    answers: Mapping[str, str]
    outcomes: Mapping[str, str | None] = field(default_factory=dict)
    picture: bytes | None = field(default=None, repr=False)
    """Encoded as PNG, JPEG, GIF or WebP."""
    category: str | None = None
    harmful: bool | None = None


class Inputs(NamedTuple):
    """What `write_report` takes."""

    results: dict[str, Any]
    figures: Figures
    examples: tuple[Example, ...]


def save_inputs(folder: Path, figures: Figures, examples: Sequence[Example]) -> None:
    """Write `figures.json` and `examples.json` into a run folder, each completely or not at all."""
    _save(folder / FIGURES, asdict(figures))
    _save(folder / EXAMPLES, [_example_to_json(example) for example in examples])


def save_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write `results.json` into a run folder, completely or not at all; write it last, since it marks a finished run."""
    _save(folder / RESULTS, dict(results))


def _save(path: Path, value: Any) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def load_inputs(folder: Path) -> Inputs:
    """Read back what `save_inputs` wrote.

    Raises:
        DataError: the folder holds no finished run, or a file of it is damaged.
    """
    try:
        results, figures, examples = (json.loads((folder / n).read_text("utf-8")) for n in (RESULTS, FIGURES, EXAMPLES))
        return Inputs(results, _figures_from_json(figures), tuple(map(_example_from_json, examples)))
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise DataError(f"no finished run in {str(folder)!r}: {missing} is missing. Let the run end first.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the run in {str(folder)!r} cannot be read: {type(error).__name__}: {error}") from error


def _example_to_json(example: Example) -> dict[str, Any]:
    record = asdict(example)
    record["picture"] = None if example.picture is None else base64.b64encode(example.picture).decode("ascii")
    return record


def _example_from_json(record: dict[str, Any]) -> Example:
    picture = record["picture"]
    return Example(**{**record, "picture": None if picture is None else base64.b64decode(picture)})


def _figures_from_json(record: dict[str, Any]) -> Figures:
    panels = tuple(
        Panel(p["title"], tuple((x, y) for x, y in p["points"]), tuple(p["harmful"])) for p in record["states"]
    )
    curve = record["trade_off"]
    return Figures(
        states=panels,
        states_layer=record["states_layer"],
        explained=_pair(record["explained"]),
        trade_off=None
        if curve is None
        else TradeOff(
            tuple(curve["false_positive"]),
            tuple(curve["true_positive"]),
            _pair(curve["chosen"]),
            curve["title"],
            tuple((x, y) for x, y in curve["low"]),
            tuple((x, y) for x, y in curve["high"]),
        ),
    )


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])
