"""The review sample and the gallery: what they promise of every draw, and that memory does not grow with the data set."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightguard.audit.gallery import gallery
from sightguard.audit.rule import Rule
from sightguard.audit.sample import EDGES, Stratum, allocate, draw
from sightguard.audit.verdicts import Verdict, read_audit, verdicts
from sightguard.errors import ArtifactError, DataError, MissingExtra, UsageError
from tests.audit.folders import RUN, TAXONOMY, TYPES, row, write_audit
from tests.traced import traced


def verdict(
    item: str, p: float | None, type: str | None = None, level: int | None = None, **more: str | None
) -> Verdict:
    known = {"status": "ok", "duplicate_of": None, **more}
    return Verdict(
        id=item, type=type, level=level, p_unsafe=p, status=str(known["status"]), duplicate_of=known["duplicate_of"]
    )


def many(n: int, seed: int = 0) -> list[Verdict]:
    """Mostly harmless: p_unsafe is a sixth power of a uniform number."""
    chance = random.Random(seed)
    return [verdict(f"item-{i}", chance.random() ** 6) for i in range(n)]


def test_weights_sum_to_the_size_of_every_stratum() -> None:
    rows = many(5000)
    drawn = draw(rows, 120, seed=1)
    assert len(drawn) == len({one.id for one in drawn}) == 120
    p = {one.id: one.p_unsafe or 0.0 for one in rows}
    of_band = Counter((value >= 0.5, sum(value >= edge for edge in EDGES)) for value in p.values())
    sums = Counter[str]()
    for one in drawn:
        sums[one.stratum] += one.weight  # type: ignore[assignment]
        band = (p[one.id] >= 0.5, sum(p[one.id] >= edge for edge in EDGES))
        assert one.stratum == Stratum(*band).name
    assert len(sums) == len(of_band) == 7
    assert {Stratum(*band).name: float(size) for band, size in of_band.items()} == pytest.approx(dict(sums))
    assert sum(one.stratum.startswith("flagged") for one in drawn) == 60


def test_a_threshold_inside_a_band_parts_it() -> None:
    rows = [verdict(str(i), 0.2 + i / 1000) for i in range(300)]
    names = {one.stratum for one in draw(rows, 50, seed=0, threshold=0.3)}
    assert names == {"flagged, p_unsafe 0.2 to 0.5", "not flagged, p_unsafe 0.2 to 0.5"}


def test_items_below_the_least_level_are_not_flagged_and_unknown_levels_are_not_spared() -> None:
    rule = Rule(0.5, min_level=2)
    told = {(p, level): rule.flags(p, level) for p in (None, 0.4, 0.5) for level in (None, 1, 2)}
    assert [key for key, flagged in told.items() if flagged] == [(0.5, None), (0.5, 2)]
    rows = [verdict(f"{i}", 0.9, level=i % 3) for i in range(30)]
    sizes = Counter(one.stratum for one in draw(rows, 30, seed=0, min_level=2))
    assert sizes == {"flagged, p_unsafe 0.8 to 0.95": 10, "not flagged, p_unsafe 0.8 to 0.95": 20}


def test_the_draw_depends_on_ids_and_seed_alone() -> None:
    rows = many(800)
    mixed = random.Random(5).sample(rows, len(rows))
    assert draw(rows, 60, seed=1) == draw(mixed, 60, seed=1)
    assert draw(rows, 60, seed=1) != draw(rows, 60, seed=2)


def test_every_item_of_a_stratum_is_as_likely_as_another() -> None:
    rows = [verdict(f"i{i}", 0.001) for i in range(20)]
    drawn = Counter(one.id for seed in range(2000) for one in draw(rows, 5, seed))
    # 500 each on average, standard deviation 19.4
    assert len(drawn) == 20
    assert max(abs(count - 500) for count in drawn.values()) < 5 * 19.4


def test_the_order_tells_nothing_of_the_strata() -> None:
    drawn = draw(many(5000), 200, seed=0)
    first = sum(one.stratum.startswith("flagged") for one in drawn[:100])
    assert 30 < first < 70


def test_only_items_with_a_verdict_are_drawn() -> None:
    rows = [*many(20), verdict("broken", 0.9, status="unreadable"), verdict("lost", None, status="undecided")]
    assert {one.id for one in draw(rows, 99, seed=0)} == {f"item-{i}" for i in range(20)}
    assert {one.weight for one in draw(rows, 99, seed=0)} == {1.0}
    with pytest.raises(DataError, match="no item of this audit has status"):
        draw(rows[20:], 5, seed=0)


def test_items_without_a_probability_have_a_stratum_of_their_own() -> None:
    drawn = draw([verdict("told", 0.7), verdict("not told", None)], 2, seed=0)
    assert {one.id: one.stratum for one in drawn} == {
        "told": "flagged, p_unsafe 0.5 to 0.8",
        "not told": "not flagged, no p_unsafe",
    }


def test_a_probability_of_one_is_in_the_last_band() -> None:
    assert {one.stratum for one in draw([verdict("a", 1.0), verdict("b", 0.95)], 2, seed=0)} == {
        "flagged, p_unsafe 0.95 to 1"
    }


@pytest.mark.parametrize("n", [0, -3, 6])
def test_a_draw_that_would_leave_a_stratum_out_is_refused(n: int) -> None:
    rows = many(5000)
    with pytest.raises(UsageError, match=r"at least one item|at least 7 items to draw"):
        draw(rows, n, seed=0)
    assert len({one.stratum for one in draw(rows, 7, seed=0)}) == 7


def test_allocation_gives_each_its_least_then_by_square_root_up_to_its_size() -> None:
    a, b, c, d = Stratum(True, 5), Stratum(True, 6), Stratum(False, 0), Stratum(False, 1)
    assert allocate({a: 100, b: 100, c: 10_000, d: 10_000}, 40) == {a: 10, b: 10, c: 10, d: 10}
    assert allocate({a: 100, b: 100, c: 90_000, d: 10_000}, 40) == {a: 10, b: 10, c: 15, d: 5}
    assert allocate({a: 3, b: 1, c: 10_000, d: 1}, 40) == {a: 3, b: 1, c: 35, d: 1}
    assert allocate({a: 1_000_000, b: 5, c: 5, d: 5}, 8) == {a: 2, b: 2, c: 2, d: 2}
    assert sum(allocate({a: 10, b: 10, c: 10, d: 10}, 99).values()) == 40


def test_verdicts_come_from_every_file_in_order(tmp_path: Path) -> None:
    out = write_audit(
        tmp_path / "out",
        [row(f"item-{i}", i / 2500, duplicate_of="item-0" if i == 7 else None) for i in range(2500)],
        files=3,
    )
    read = list(verdicts(out))
    assert [one.id for one in read] == [f"item-{i}" for i in range(2500)]
    assert read[7].duplicate_of == "item-0"
    assert read[2000].p_unsafe == pytest.approx(0.8, abs=1e-7)
    assert (read[2000].type, read[2000].level, read[0].type) == ("privacy", 2, "safe")


def stream(n: int) -> Iterator[Verdict]:
    chance = random.Random(0)
    return (verdict(f"item-{i}", chance.random()) for i in range(n))


def read_through(n: int) -> None:
    draw(stream(n), 50, seed=0)
    gallery(stream(n), 50)


def test_memory_does_not_grow_with_the_data_set() -> None:
    (_, many), (_, few) = traced(read_through, 20_000), traced(read_through, 2_000)
    assert many < 1.2 * few + 20_000
    assert many < 20_000 * sys.getsizeof("item-12345")


def test_an_audit_s_configuration_and_rule_are_read(tmp_path: Path) -> None:
    known = read_audit(write_audit(tmp_path / "a", [row("x", 0.1)], min_level=2, threshold=0.25))
    assert known.rule == Rule(0.25, 2)
    assert known.taxonomy.types == TYPES
    assert known.run == RUN


def test_folders_that_are_no_audit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read"):
        read_audit(tmp_path)
    with pytest.raises(DataError, match=r"expected files items/\*\.parquet"):
        next(verdicts(tmp_path))
    (tmp_path / "manifest.json").write_text('{"schema": 1}')
    with pytest.raises(ArtifactError, match="summary.json"):
        read_audit(tmp_path)
    out = write_audit(tmp_path / "out", [row("x", 0.1)], files=1)
    file = out / "items" / "00000.parquet"
    whole = file.read_bytes()
    for damaged in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="00000.parquet is no file of an audit, or is damaged"):
            list(verdicts(out))


def test_a_parquet_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "items").mkdir()
    pq.write_table(pa.table({"id": ["x"], "other": [1]}), tmp_path / "items" / "00000.parquet")
    with pytest.raises(DataError, match="is no file of an audit"):
        list(verdicts(tmp_path))


def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"sightguard\[data\]"):
        next(verdicts(tmp_path))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        draw(many(10), 5, 0, threshold)


def of_types() -> list[Verdict]:
    """Type k has 100 items; the first type's are all riskier than the second's, and so on."""
    return [verdict(f"{kind}-{i}", 1 - (k * 100 + i) / 1000, kind) for k, kind in enumerate(TYPES) for i in range(100)]


def test_the_gallery_shows_every_type_the_riskiest_and_the_nearest_to_the_threshold() -> None:
    rows = of_types()
    p = {one.id: one.p_unsafe or 0.0 for one in rows}
    shown = gallery(rows, 40)
    assert len(shown) == len(set(shown)) == 40
    assert {item.split("-")[0] for item in shown} == set(TYPES)
    assert shown == sorted(shown, key=lambda item: -p[item])
    assert set(sorted(p, key=lambda item: -p[item])[:16]) <= set(shown)
    assert set(sorted(p, key=lambda item: abs(p[item] - 0.5))[:7]) <= set(shown)
    assert {f"{kind}-0" for kind in TYPES} <= set(shown)


def test_the_gallery_is_the_same_in_any_order_of_rows() -> None:
    rows = [one._replace(p_unsafe=round(one.p_unsafe or 0, 1)) for one in of_types()]
    mixed = random.Random(3).sample(rows, len(rows))
    assert gallery(rows, 30) == gallery(mixed, 30)
    assert gallery([verdict(item, 0.7) for item in "dbca"], 2) == ["a", "b"]


@pytest.mark.parametrize(("n", "shown"), [(0, 0), (3, 3), (7, 7), (700, 700), (9999, 700)])
def test_the_gallery_is_as_large_as_asked_or_as_there_are_items(n: int, shown: int) -> None:
    found = gallery(of_types(), n)
    assert len(found) == shown
    assert len({item.split("-")[0] for item in found}) == min(n, 7)


def test_the_gallery_leaves_out_copies_and_what_has_no_verdict() -> None:
    rows = [
        verdict("first", 0.9),
        verdict("copy", 0.9, duplicate_of="first"),
        verdict("broken", None, status="unreadable"),
        verdict("bare", None),
    ]
    assert gallery(rows, 10) == ["first", "bare"]
    with pytest.raises(UsageError, match="n=-1"):
        gallery(rows, -1)


def test_the_made_taxonomy_is_the_published_one() -> None:
    from sightguard.data.taxonomy import published

    assert published().as_json() == TAXONOMY
