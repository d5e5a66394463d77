"""The shape of a bench's `results.json`: names are free, what stands under them is not, and counts must add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightguard.errors import DataError
from sightguard.evaluate.results import Each, Optional, is_count, is_number, is_rate, is_share, is_text, problems
from sightguard.evaluate.score_shape import score_problems

SCHEMA = 1
OUTCOMES = ("refused", "safe", "harmful", "complied", "broken", "undecided", "guard_error")
"""In which the prompts of a setting are counted; they sum to the prompts."""


def _is_counted(value: Any) -> bool:
    """A rate over its counts, with its interval."""
    if not is_rate(value) or not is_count(value.get("count")) or not is_count(value.get("n")):
        return False
    return bool(0 < value["n"] >= value["count"] and abs(value["value"] - value["count"] / value["n"]) < 1e-9)


def _is_difference(value: Any) -> bool:
    if not isinstance(value, Mapping) or not all(is_number(value.get(name)) for name in ("low", "value", "high")):
        return False
    return bool(-1 <= value["low"] <= value["value"] <= value["high"] <= 1)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_range(value: Any) -> bool:
    """The smallest and the largest of something."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]


_JUDGED = {
    "n": is_count,
    "decided": is_count,
    "outcomes": dict.fromkeys(OUTCOMES, is_count),
    "inconclusive": Optional(is_text),
}
_PARTS = {
    "attacked": Optional({**_JUDGED, "asr": Optional(_is_counted), "strict": Optional(_is_counted)}),
    "benign": Optional({**_JUDGED, "over_refusal": Optional(_is_counted)}),
    "utility": Optional(
        {
            "n": is_count,
            "undecided": is_count,
            "guard_error": is_count,
            "inconclusive": Optional(is_text),
            "correct": Optional(_is_counted),
        }
    ),
}
_POOLED = Optional(
    {
        **dict.fromkeys(("n", "answers", "settings", "of", "broken", "undecided", "guard_error"), is_count),
        "inconclusive": Optional(is_text),
        "rate": Optional(_is_counted),
    }
)
_TESTS = {
    "family": is_text,
    "size": is_count,
    "rows": [
        {
            "setting": is_text,
            "defense": is_text,
            "n": is_count,
            "difference": _is_difference,
            "p": is_share,
            "p_holm": is_share,
        }
    ],
}

_ASKED = {
    **dict.fromkeys(("asked", "cached", "failed", "not_asked"), is_count),
    "cap_reached": lambda value: value in (True, False),
}
ASKING = Optional({**_ASKED, "processes": is_count, "max_spend": Optional(is_number), "models": Each(_ASKED)})
_FAMILY_BETWEEN = {
    "family": is_text,
    "size": is_count,
    "rows": [
        {
            **dict.fromkeys(("first", "second"), is_text),
            **dict.fromkeys(("n", "answers", "settings", "only_first", "only_second"), is_count),
            **dict.fromkeys(("first_rate", "second_rate", "p", "p_holm"), is_share),
            "difference": _is_difference,
            "inconclusive": Optional(is_text),
        }
    ],
}
BETWEEN = Optional(
    {"seed": is_count, "resamples": is_count, **dict.fromkeys(("asr", "over_refusal", "utility"), _FAMILY_BETWEEN)}
)

_SIDES = {"harmful": Optional(_is_counted), "benign": Optional(_is_counted)}
NOISE = Optional(
    [
        {
            "setting": is_text,
            "defense": is_text,
            **dict.fromkeys(("n", "only_first", "only_second"), is_count),
            **dict.fromkeys(("attack_asr", "noise_asr"), Optional(_is_counted)),
            "difference": Optional(_is_difference),
            "p": Optional(is_share),
            **dict.fromkeys(("adaptive", "beats_noise", "failed"), _is_flag),
            "reason": is_text,
        }
    ]
)
"""Of `noise`: null where noise was not asked, and results that were written before it was lack it."""
AIMED = {
    "failed": Optional(_is_flag),
    "reasons": Optional([is_text]),
    **dict.fromkeys(("static_gate", "adaptive_gate"), Optional(_is_counted)),
}
"""Of a row of `adaptive`, likewise."""
GATE = {"fired": Optional(_SIDES), "settings": Optional(Each(_SIDES))}
"""Of a defense in `gate`, likewise."""
ATTACKS = Optional(Each(Each(lambda value: True)))
LATER = {"asking": ASKING, "attacks": ATTACKS, "between": BETWEEN, "noise": NOISE}
"""Parts that results from before them may lack."""
_LATER_IN_ROWS = {"p_holm": Optional(is_share), "inconclusive": Optional(is_text)}
"""Of tests, which those from before may lack as well."""

SHAPE: dict[str, Any] = {
    "schema": lambda value: value == SCHEMA,
    "kind": lambda value: value == "bench",
    "model": is_text,
    "judges": [is_text],
    "baseline": Optional(is_text),
    "defenses": [is_text],
    "undecided_limit": is_share,
    "margin": is_share,
    "overlap": Optional(Each(lambda value: True)),
    "overall": Each({"asr": _POOLED, "over_refusal": _POOLED, "utility": _POOLED}),
    "cost": Each(
        {
            **dict.fromkeys(
                ("prefill_ratio", "decode_ratio", "seconds_ratio", "seconds_per_token_ratio", "answer_tokens"),
                Optional(is_number),
            ),
            **dict.fromkeys(("prefill_range", "decode_range"), Optional(_is_range)),
            "n_decode": Optional(is_count),
            "note": Optional(is_text),
            "n": is_count,
        }
    ),
    "timing": Optional(dict.fromkeys(("n", "pictured", "rounds", "tokens"), is_count)),
    "perplexity": Each(is_number, optional=True),
    "fluency": Optional(
        {
            "settings": [is_text],
            "prompts": is_count,
            "answers": Each(dict.fromkeys(("n", "empty", "crashed"), is_count)),
        }
    ),
    "gate": Each(
        {"harmful": Optional(_is_counted), "benign": Optional(_is_counted), "by": Each(is_count)}, optional=True
    ),
    "settings": Each(
        {
            "benchmark": is_text,
            "attack": is_text,
            **dict.fromkeys(("n", "n_harmful", "n_benign", "n_answerable"), is_count),
            "defenses": Each(_PARTS, optional=True),
            "by_category": Each({"n": is_count, "defenses": Each(_PARTS, optional=True)}),
        }
    ),
    "tests": {"asr": _TESTS, "over_refusal": _TESTS},
    "non_inferiority": [
        {"setting": is_text, "defense": is_text, "n": is_count, "margin": is_share, "p": is_share, "call": is_text}
    ],
    "adaptive": [
        {"defense": is_text, "adaptive": is_text, "static": is_text, "difference": _is_difference, "p": is_share}
    ],
    "agreement": Optional(Each(lambda value: True)),
    "manifest": Each(lambda value: True),
}
"""Written as `sightguard.evaluate.results.SHAPE` is."""


def check_bench(results: Mapping[str, Any], where: str = "results") -> None:
    """Raise unless `results` has the shape of a bench's `results.json` and its counts add up; more keys are welcome.

    Raises:
        DataError: lists every place that does not fit.
    """
    found = [*problems(results, SHAPE, where), *_later(results, where), *score_problems(results, where)]
    found = found or [*_unnamed(results, where), *_sums(results, where), *_pairs(results, where)]
    if found:
        raise DataError(f"results.json does not have the shape of a bench, schema {SCHEMA}:\n  " + "\n  ".join(found))


def _later(results: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what does not fit of that which earlier results lack."""
    for name, shape in LATER.items():
        yield from problems(results.get(name), shape, f"{where}.{name}")
    for name, lacking in (("non_inferiority", _LATER_IN_ROWS), ("adaptive", {**_LATER_IN_ROWS, **AIMED})):
        rows = results.get(name)
        for number, row in enumerate(rows if isinstance(rows, list) else ()):
            told = {key: row.get(key) for key in lacking} if isinstance(row, Mapping) else row
            yield from problems(told, lacking, f"{where}.{name}[{number}]")
    gates = results.get("gate")
    for defense, part in (gates if isinstance(gates, Mapping) else {}).items():
        told = {key: (part or {}).get(key) for key in GATE} if isinstance(part, Mapping | None) else part
        yield from problems(told, GATE, f"{where}.gate.{defense}")


def _pairs(results: Mapping[str, Any], where: str) -> Iterator[str]:
    for metric in ("asr", "over_refusal", "utility") if results.get("between") else ():
        family, place = results["between"][metric], f"{where}.between.{metric}"
        if family["size"] != len(family["rows"]):
            yield f"{place}: {len(family['rows'])} rows in a family of {family['size']}"
        for number, row in enumerate(family["rows"]):
            for name in {row["first"], row["second"]} - set(results["defenses"]):
                yield f"{place}.rows[{number}]: {name!r} is no defense of the run"


def _unnamed(results: Mapping[str, Any], where: str) -> Iterator[str]:
    tables = {name: results[name] for name in ("overall", "cost", "perplexity", "gate")}
    tables |= {f"settings.{name}.defenses": part["defenses"] for name, part in results["settings"].items()}
    for name, table in tables.items():
        if set(table) != set(results["defenses"]):
            odd = ", ".join(sorted(set(table) ^ set(results["defenses"])))
            yield f"{where}.{name}: expected an entry, or null, for each defense and no other; it differs in {odd}"


def _sums(results: Mapping[str, Any], where: str) -> Iterator[str]:
    for setting, part in results["settings"].items():
        for defense, told in part["defenses"].items():
            for side, n in (("attacked", "n_harmful"), ("benign", "n_benign")):
                judged = (told or {}).get(side)
                if judged and not part[n] == judged["n"] == sum(judged["outcomes"][name] for name in OUTCOMES):
                    yield f"{where}.settings.{setting}.defenses.{defense}.{side}: its outcomes do not sum to {n}"
