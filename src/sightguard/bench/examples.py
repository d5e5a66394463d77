"""A few prompts of each setting to show: those on which the defenses differ most, found without holding the texts of the others."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from sightguard.bench.figures import is_benign
from sightguard.bench.seen import Seen
from sightguard.bench.setting import Setting
from sightguard.evaluate.rows import Row
from sightguard.report.bench_page import BenchAnswer, BenchExample

PER_SETTING = 3
Asked = tuple[str, str]
"""A setting and the id of a prompt in it."""


def examples(
    rows: Callable[[], Iterable[Row]],
    settings: Sequence[Setting],
    defenses: Sequence[str],
    *,
    per_setting: int = PER_SETTING,
) -> list[BenchExample]:
    """Return at most `per_setting` prompts of each setting with every defense's answer; none for 0.

    Of prompts on which as many outcomes differ, a fixed draw decides: neither the order of the rows nor that of the ids.

    Args:
        rows: of the run; called twice, once to choose and once to read the texts of what was chosen.
        settings: in the order of the page.
        defenses: in the order of the page.
        per_setting: 0 leaves examples out.
    """
    if per_setting < 1:
        return []
    chosen = _chosen(rows(), per_setting)
    found: dict[Asked, dict[str, Row]] = defaultdict(dict)
    for row in rows():
        if (row.setting, row.id) in chosen:
            found[row.setting, row.id][row.condition] = row
    return [
        _example(setting, found[setting.name, id], defenses)
        for setting in settings
        for name, id in sorted(chosen, key=_draw)
        if name == setting.name
    ]


def _chosen(rows: Iterable[Row], per_setting: int) -> set[Asked]:
    outcomes: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        outcomes[row.setting][row.id].add(row.outcome or "undecided")
    chosen = set()
    for setting, ids in outcomes.items():
        order = sorted(ids, key=lambda id: (-len(ids[id]), _draw((setting, id))))
        chosen |= {(setting, id) for id in order[:per_setting]}
    return chosen


def _draw(asked: Asked) -> str:
    return hashlib.sha256("\t".join(asked).encode("utf-8", "surrogatepass")).hexdigest()


def _example(setting: Setting, rows: dict[str, Row], defenses: Sequence[str]) -> BenchExample:
    any_row = next(iter(rows.values()))
    answers = [
        BenchAnswer(name, rows[name].outcome or "undecided", rows[name].response.text)
        for name in defenses
        if name in rows
    ]
    return BenchExample(
        setting=setting.name,
        benchmark=setting.benchmark,
        id=any_row.id,
        category=any_row.category,
        harmless=is_benign(Seen.of(any_row), setting),
        answers=tuple(answers),
    )
