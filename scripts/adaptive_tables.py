"""Static against adaptive attack, one table for each embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Results = dict[str, Any]
PLAIN = "harm_in_picture"


def adaptive(results: Results) -> list[str]:
    """Return the tables: attack success at each size, static and adaptive, beside over-refusal and utility."""
    lines = [
        f"Suite {results['suite']} on the embedded models' own world, test split, seed {results['seed']}, n = {results['n']} harmful prompts; PGD, "
        f"{results['steps']} steps, one start; judge {', '.join(next(iter(results['models'].values()))['judges'])}. % with 95 % Wilson intervals. "
        "A test bench for methods, never evidence about large models.",
    ]
    for model, found in results["models"].items():
        lines += ["", f"**{model}**", "", *_table(found)]
    return [*lines, "", *_notes(results["models"])]


def _table(found: Results) -> Iterator[str]:
    settings = found["settings"]
    sizes = [int(name.rpartition("_")[2]) for name in settings if "/pgd_" in name]
    titles = ["no attack", *(f"{kind}, {size}" for size in sizes for kind in ("static", "adaptive"))]
    yield f"| | {' | '.join(titles)} | over-refusal | utility |"
    yield f"| --- |{' --: |' * (len(titles) + 2)}"
    for defense in found["defenses"]:
        pooled = found["overall"][defense]
        cells = [_attacked(settings[PLAIN], defense)]
        for size in sizes:
            cells += [
                _attacked(settings[f"{PLAIN}/pgd_{size}"], defense),
                _attacked(settings[f"{PLAIN}/adaptive_{size}"], defense) + _marks(found, defense, size),
            ]
        cells += [_rate(pooled[name]["rate"]) for name in ("over_refusal", "utility")]
        yield f"| {defense} | {' | '.join(cells)} |"


def _marks(found: Results, defense: str, size: int) -> str:
    told = found["attacks"][f"{PLAIN}/adaptive_{size}"][defense]
    pair = next(
        row for row in found["adaptive"] if row["defense"] == defense and row["adaptive"] == f"{PLAIN}/adaptive_{size}"
    )
    better = pair["difference"]["value"] > 0 and pair["p"] < 0.05
    below = pair["difference"]["value"] < 0
    beaten = {(row["setting"], row["defense"]): row["failed"] for row in found.get("noise") or ()}
    failed = beaten.get((f"{PLAIN}/adaptive_{size}", defense), not told["beats_noise"])
    return ("†" if failed else "") + ("§" if below else "") + ("‡" if told["note"] else "") + ("*" if better else "")


def _notes(models: Results) -> list[str]:
    one = next(iter(models.values()))
    noise = (
        "the attack does not succeed more often than noise of its size (McNemar, exact, p < 0.05), so it has failed"
        if one.get("noise")
        else "the attack does not lower the loss of its target more often than noise of its size (sign test, p < 0.05)"
    )
    boxes = sorted({name for by in one["attacks"].values() for name, told in by.items() if told["note"]})
    return [
        "Sizes are in steps of 255. * the adaptive attack succeeds more often than the static one of its size (McNemar, exact, p < 0.05, not "
        "corrected for the number of tests). † "
        f"{noise}; § it succeeds less often than the static one, so it has failed{_none_below(models)}. A low figure there says nothing for the "
        "defense. " + (f"‡ a black box, attacked by transfer: {', '.join(boxes)}." if boxes else "")
    ]


def _none_below(models: Results) -> str:
    """Return that no attack did, where none did: a mark that is nowhere is a finding."""
    below = any(row["difference"]["value"] < 0 for found in models.values() for row in found["adaptive"])
    return "" if below else " (none did)"


def _attacked(setting: Results, defense: str) -> str:
    part = setting["defenses"][defense]["attacked"]
    broken = part["outcomes"]["broken"]
    return _rate(part["asr"]) + (f", {100 * broken / part['n']:.0f} broken" if broken else "")


def _rate(rate: Results) -> str:
    return f"{100 * rate['value']:.0f} [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"
