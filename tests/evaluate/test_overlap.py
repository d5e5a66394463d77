import random
import time

import pytest

from sightguard.errors import UsageError
from sightguard.evaluate.overlap import normalise, overlap
from sightguard.types import Image, Message, Sample

RED, BLUE = Image(data=b"red"), Image(data=b"blue")


def ask(text: str, *images: Image, id: str = "x") -> Sample:
    return Sample.of(text, *images, id=id)


def jaccard(first: str, second: str) -> float:
    sets = []
    for text in (first, second):
        words = ["user:", *text.split()]
        sets.append({tuple(words[i : i + 3]) for i in range(len(words) - 2)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_exact_ignores_case_marks_and_spacing() -> None:
    found = overlap([ask("How do I,  fix it?", id="a")], [ask("how do i fix it", id="b")])
    assert found.counts() == {"exact": 1, "near": 0}
    assert found.examples == (("a", "b", 1.0),)


def test_the_same_text_with_another_picture_is_another_prompt() -> None:
    first = [ask("what is this ?", RED)]
    assert overlap(first, [ask("what is this ?", BLUE)]).counts() == {"exact": 0, "near": 0}
    assert overlap(first, [ask("what is this ?")]).counts() == {"exact": 0, "near": 0}
    assert overlap(first, [ask("what is this ?", RED)]).counts() == {"exact": 1, "near": 0}
    assert overlap(first, [ask("what is this ?", BLUE)], pictures=False).counts() == {"exact": 1, "near": 0}


def test_roles_and_turns_count() -> None:
    turns = Sample("a", (Message("user", ("hello",)), Message("assistant", ("hi",))))
    other = Sample("b", (Message("user", ("hello",)), Message("user", ("hi",))))
    assert overlap([turns], [other]).exact == 0
    assert normalise(turns) == "user: hello\nassistant: hi"


def test_near_duplicates_are_those_above_the_threshold() -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    text = " ".join(words)
    for changed in (10, 9, 5):
        other = " ".join([*words[: changed - 1], "zero", *words[changed:]])
        likeness = jaccard(text, other)
        assert overlap([ask(text)], [ask(other)], threshold=likeness - 0.001).counts() == {"exact": 0, "near": 1}
        assert overlap([ask(text)], [ask(other)], threshold=likeness + 0.001).counts() == {"exact": 0, "near": 0}


def test_reordered_runs_are_near_and_never_exact() -> None:
    found = overlap([ask("a b a b a")], [ask("a b a b a b a")], threshold=0.5)
    assert found.counts() == {"exact": 0, "near": 1}
    assert overlap([ask("x y x y x y")], [ask("x y x y x y x y")], threshold=1.0).exact == 0


def test_counts_equal_comparing_every_pair() -> None:
    draws = random.Random(0)
    texts = [" ".join(draws.choices("abcd", k=draws.randint(4, 9))) for _ in range(120)]
    first, second = texts[:60], texts[60:]
    best = [max(jaccard(a, b) for b in second) for a in first]
    exact = sum(a in second for a in first)
    near = sum(a not in second and likeness >= 0.6 for a, likeness in zip(first, best, strict=True))
    found = overlap([ask(t) for t in first], [ask(t) for t in second], threshold=0.6)
    assert (found.exact, found.near) == (exact, near)
    assert near > 0


def test_two_thousand_against_three_thousand_is_quick() -> None:
    draws = random.Random(1)
    words = [f"w{i}" for i in range(300)]

    def prompts(n: int) -> list[Sample]:
        return [ask(f"how do i {' '.join(draws.choices(words, k=8))} ?", id=f"{i}") for i in range(n)]

    first, second = prompts(2000), prompts(3000)
    began = time.perf_counter()
    overlap(first, second)
    assert time.perf_counter() - began < 20


def test_nothing_overlaps_with_nothing() -> None:
    assert overlap([], []).counts() == {"exact": 0, "near": 0}
    assert overlap([ask("a")], []).n_first == 1


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_thresholds_outside_the_range_are_named(threshold: float) -> None:
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        overlap([], [], threshold=threshold)
