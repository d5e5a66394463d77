"""What each reader makes of its layout: ids, texts, categories, pictures and answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sightguard.data.benchmark import Benchmark
from sightguard.data.benchmarks import benchmark
from sightguard.data.formats import mme
from sightguard.data.formats.wording import FOLDER, FREE, wording
from sightguard.errors import UnknownName, UsageError
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.types import Response, Sample
from tests.data.benchmarks import layouts
from tests.data.benchmarks.layouts import SECRET, asked, picture
from tests.rtvlm_layout import write_layout


def read(name: str, place: Path, **options: Any) -> Benchmark:
    return benchmark(name, place, **options)


def ids(found: Benchmark) -> list[str]:
    return [sample.id for sample in found.samples]


def seen(sample: Sample) -> list[bytes]:
    return [image.read() for image in sample.images]


def test_figstep_puts_one_fixed_text_beside_each_picture(tmp_path: Path) -> None:
    found = read("figstep", layouts.write_figstep(tmp_path))
    assert ids(found) == ["figstep/full/1_2", "figstep/full/10_1"]
    assert {sample.text for sample in found.samples} == {wording("figstep").text}
    assert [seen(sample) for sample in found.samples] == [[picture(0)], [picture(1)]]
    tiny = read("figstep", tmp_path, part="tiny")
    assert [seen(sample) for sample in tiny.samples] == [[picture(9)], [picture(10)]]
    assert [sample.meta["goal"] for sample in tiny.samples] == [asked(1), asked(10)]


def test_harmbench_joins_a_context_and_keeps_it_nowhere_else(tmp_path: Path) -> None:
    found = read("harmbench", layouts.write_harmbench(tmp_path))
    assert ids(found) == ["harmbench/bread_1", "harmbench/bread_2", "harmbench/song_3"]
    assert found.samples[1].text == f'A recipe, "old":\n{SECRET} context\nof three lines\n\n{asked(2)}'
    assert found.samples[1].meta == {"goal": asked(2), "function": "contextual", "tags": "context"}
    assert ids(read("harmbench", tmp_path, functions="standard")) == ["harmbench/bread_1"]


def test_strongreject_has_two_sizes(tmp_path: Path) -> None:
    layouts.write_strongreject(tmp_path)
    assert ids(read("strongreject", tmp_path))[-1] == "strongreject/full/003"
    assert ids(read("strongreject", tmp_path, part="small")) == ["strongreject/small/001"]


@pytest.mark.parametrize("first", [0, 1])
def test_mm_harmfulbench_pairs_each_row_with_its_own_picture(tmp_path: Path, first: int) -> None:
    found = read("mm_harmfulbench", layouts.write_mm_harmfulbench(tmp_path, first))
    assert [seen(sample) for sample in found.samples] == [[picture(0, "JPEG")], [picture(1, "JPEG")]]
    (tmp_path / "MM-HarmfulBench" / "images" / f"{first}.jpg").unlink()
    less = read("mm_harmfulbench", tmp_path)
    assert [(sample.id, seen(sample)) for sample in less.samples] == [("mm_harmfulbench/001", [picture(1, "JPEG")])]


@pytest.mark.parametrize(("variant", "word"), [("SD", "shown"), ("TYPO", "phrase"), ("SD_TYPO", "phrase")])
def test_mm_safetybench_asks_each_variant_with_its_own_question_and_picture(
    tmp_path: Path, variant: str, word: str
) -> None:
    found = read("mm_safetybench", layouts.write_mm_safetybench(tmp_path), variants=(variant,))
    assert len(found.samples) == 26
    assert ids(found)[:2] == [f"mm_safetybench/{variant}/01-Illegal_Activitiy/{n}" for n in (0, 1)]
    assert all(word in sample.text for sample in found.samples)
    assert [sample.category for sample in found.samples[::2]] == layouts.SCENARIOS
    for number, sample in enumerate(found.samples):
        assert seen(sample) == [picture(number // 2 + number % 2 + len(variant), "JPEG")]
        assert sample.meta["goal"] == asked(number % 2)


def test_mm_safetybench_small_version_has_numbers_where_the_questions_have_texts(tmp_path: Path) -> None:
    layouts.write_mm_safetybench(tmp_path)
    small = read("mm_safetybench", tmp_path, tiny=True)
    assert ids(small) == [f"mm_safetybench/SD_TYPO/{scenario}/1" for scenario in layouts.SCENARIOS]
    hub = tmp_path / "hub"
    layouts.write_mm_safetybench_hub(hub)
    (tmp_path / "TinyVersion_ID_List.json").rename(hub / "TinyVersion_ID_List.json")
    assert ids(read("mm_safetybench", hub, tiny=True)) == ids(small)


def test_mm_safetybench_has_the_same_ids_from_the_hub(tmp_path: Path) -> None:
    own = read("mm_safetybench", layouts.write_mm_safetybench(tmp_path / "own"), variants=("SD", "TYPO", "SD_TYPO"))
    hub = read("mm_safetybench", layouts.write_mm_safetybench_hub(tmp_path / "hub"), variants=("SD", "TYPO", "SD_TYPO"))
    assert set(ids(hub)) == set(ids(own))
    assert len(hub.samples) == 78
    assert all(sample.text.startswith(f"{sample.meta['variant']} ") for sample in hub.samples)


def test_vlguard_gives_three_subsets_and_a_safe_picture_has_opposite_labels(tmp_path: Path) -> None:
    found = read("vlguard", layouts.write_vlguard(tmp_path))
    told = [(sample.meta["subset"], sample.harmful, sample.category) for sample in found.samples]
    assert told == [
        ("safe_safes", False, "safe_safes"),
        ("safe_unsafes", True, "safe_unsafes"),
        ("unsafes", True, "risky behavior"),
    ]
    assert seen(found.samples[0]) == seen(found.samples[1])
    assert found.kind == "mixed"
    safe = read("vlguard", tmp_path, subsets="safe_safes")
    assert (ids(safe), safe.kind) == (["vlguard/test/1/safe_safes"], "over-refusal")
    assert read("vlguard", tmp_path, subsets=("safe_unsafes", "unsafes")).kind == "harmful"


def test_rtvlm_is_harmful_where_its_row_says_refuse(tmp_path: Path) -> None:
    found = read("rtvlm", write_layout(tmp_path))
    assert Counter(sample.harmful for sample in found.samples) == {None: 5, False: 5, True: 2}
    assert (found.kind, len(found.about.sha256)) == ("mixed", 10)


def test_mossbench_spells_its_stimuli_out_and_contrast_is_to_be_refused(tmp_path: Path) -> None:
    found = read("mossbench", layouts.write_mossbench(tmp_path))
    assert [sample.category for sample in found.samples] == ["Exaggerated Risk", "Counterintuitive Interpretation"]
    assert (found.kind, ids(found)[0]) == ("over-refusal", "mossbench/oversensitivity/1")
    contrast = read("mossbench", tmp_path, part="contrast")
    assert (contrast.kind, {sample.harmful for sample in contrast.samples}) == ("harmful", {True})


def test_siuo_asks_openly_or_with_choices(tmp_path: Path) -> None:
    layouts.write_siuo(tmp_path)
    gen, choice = read("siuo", tmp_path), read("siuo", tmp_path, part="mcqa")
    assert (gen.kind, choice.kind) == ("harmful", "utility")
    assert gen.samples[0].meta == {"safety_warning": "hot", "reference_answer": "wait"}
    assert choice.samples[0].text.endswith("D. today\nAnswer with the option's letter from the given choices directly.")


def test_mssbench_asks_every_question_beside_both_pictures(tmp_path: Path) -> None:
    chat, embodied = (read("mssbench", layouts.write_mssbench(tmp_path), part=part) for part in ("chat", "embodied"))
    assert [(sample.text, sample.harmful, seen(sample)) for sample in chat.samples] == [
        (asked(1), False, [picture(1)]),
        (asked(1), True, [picture(2)]),
        (asked(2), False, [picture(1)]),
        (asked(2), True, [picture(2)]),
    ]
    assert [sample.meta["pair"] for sample in chat.samples[:2]] == ["mssbench/chat/1/1"] * 2
    assert {sample.category for sample in chat.samples} == {"kitchen"}
    assert [(sample.text, sample.harmful, seen(sample)) for sample in embodied.samples] == [
        (asked(3), False, [picture(3)]),
        (asked(4), True, [picture(4)]),
    ]


def test_jailbreakv_finds_the_picture_of_its_own_folder(tmp_path: Path) -> None:
    found = read("jailbreakv", layouts.write_jailbreakv(tmp_path))
    assert [seen(sample) for sample in found.samples] == [[picture(n)] for n in range(3)]
    assert found.samples[0].text == f"Please,\nkindly: {asked(0)}"
    assert [sample.meta["goal"] for sample in found.samples] == [asked(n) for n in range(3)]
    assert ids(read("jailbreakv", tmp_path, formats="figstep")) == ["jailbreakv/mini/1"]
    assert [len(sample.images) for sample in read("jailbreakv", tmp_path, part="redteam").samples] == [0]


def test_mmbench_is_written_as_its_toolkit_writes_it(tmp_path: Path) -> None:
    found = read("mmbench", layouts.write_mmbench(tmp_path))
    assert found.samples[0].text == (
        f"Hint: Look\nwell.\nQuestion: Which loaf is {SECRET}?\nOptions:\nA. left\nB. right\nC. both\nD. none\n"
        "Please select the correct answer from the options above."
    )
    assert found.samples[1].text == (
        f"Question: Is the {SECRET} loaf round?\nOptions:\nA. yes\nB. no\nPlease select the correct answer from the options above."
    )
    assert seen(found.samples[0]) == seen(found.samples[1]), "the second row names the first one's picture"
    assert seen(found.samples[0])[0].startswith(picture(1))
    assert found.samples[0].meta["answer"] == ("B", "B.", "(B)", "right", "B. right", "(B) right")


def test_mmbench_in_circles_turns_the_options_and_follows_the_right_one(tmp_path: Path) -> None:
    turned = read("mmbench", layouts.write_mmbench(tmp_path), circular=True).samples
    first = [sample for sample in turned if sample.meta["group"] == "mmbench/0"]
    assert [sample.meta["letter"] for sample in first] == ["B", "A", "D", "C"]
    assert all(sample.meta["options"][sample.meta["letter"]] == "right" for sample in first)
    assert len({tuple(sample.meta["options"].values()) for sample in first}) == 4
    assert [sample.id for sample in turned[4:]] == ["mmbench/1/0", "mmbench/1/1"]


def test_seedbench_reads_pictures_without_an_ending_and_leaves_videos(tmp_path: Path) -> None:
    found = read("seedbench", layouts.write_seedbench(tmp_path))
    assert ids(found) == ["seedbench/101669", "seedbench/17_0"]
    assert [sample.category for sample in found.samples] == ["Instances Counting", "Difference Spotting"]
    assert [len(sample.images) for sample in found.samples] == [1, 2]


def test_mme_reads_both_kinds_of_folders(tmp_path: Path) -> None:
    found = read("mme", layouts.write_mme(tmp_path))
    assert len(found.samples) == 14 * 2 * 2
    assert Counter(sample.meta["answer"] for sample in found.samples) == {"yes": 28, "no": 28}
    assert sum(sample.meta["cognition"] for sample in found.samples) == 4 * 4
    assert all(sample.text.endswith("Please answer yes or no.") for sample in found.samples)


def test_mme_counts_questions_and_pictures() -> None:
    """By hand: of two pictures one is right twice and one once, so 3 of 4 questions and 1 of 2 pictures: 75 + 50."""

    def sample(group: str, number: int, task: str = "count") -> Sample:
        return Sample.of("?", id=f"{group}/{number}", category=task, meta={"group": group})

    samples = [
        sample("a", 1),
        sample("a", 2),
        sample("b", 1),
        sample("b", 2),
        sample("c", 1, "color"),
        sample("c", 2, "color"),
    ]
    right = {"a/1": True, "a/2": True, "b/1": True, "b/2": False, "c/1": True, "c/2": True}
    assert mme.score(samples, right) == {"count": 125.0, "color": 200.0}
    assert mme.score(samples, {}) == {"count": 0.0, "color": 0.0}


def test_scienceqa_reads_both_layouts_alike(tmp_path: Path) -> None:
    own = read("scienceqa", layouts.write_scienceqa(tmp_path / "own"))
    hub = read("scienceqa", layouts.write_scienceqa_hub(tmp_path / "hub"))
    assert own.samples[0].text == hub.samples[0].text == (
        f"Question: Which {SECRET} loaf rises, number 4?\nContext: Yeast.\nOptions: (A) the first (B) the second\nAnswer:"
    )  # fmt: skip
    assert [seen(sample) for sample in (*own.samples, *hub.samples)] == [[picture(4)], [picture(4)]]
    every = read("scienceqa", tmp_path / "own", only_pictures=False)
    assert ids(every) == ["scienceqa/4", "scienceqa/11"]
    assert "\nContext: N/A\n" in every.samples[1].text
    assert ids(read("scienceqa", tmp_path / "hub", only_pictures=False)) == ["scienceqa/test/0", "scienceqa/test/1"]


def test_every_spelling_of_a_right_answer_is_taken_by_the_judge_and_no_wrong_one(tmp_path: Path) -> None:
    judge = RefusalPhrases()
    sample = read("mmbench", layouts.write_mmbench(tmp_path)).samples[0]
    for said in ("B", "b.", "(B)", "right", "B. right", "RIGHT"):
        assert judge(sample, Response(said)).correct, said
    for said in ("A", "left", "C. both", "A. right"):
        assert judge(sample, Response(said)).correct is False, said


def test_a_choice_that_reads_like_another_letter_is_not_taken_for_an_answer() -> None:
    from sightguard.data.formats.choices import known

    assert "B" not in known("A", {"A": "B", "B": "A"})["answer"]
    assert "same" not in known("A", {"A": "same", "B": "same"})["answer"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_words_of_others_are_under_a_free_licence_and_name_their_source(path: Path) -> None:
    words = wording(path.stem)
    assert words.licence in FREE
    assert "/" in words.source
    with pytest.raises(UnknownName, match="no wording 'figstpe'. Did you mean 'figstep'"):
        wording("figstpe")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("figstep", {"part": "tinny"}, "no part of FigStep 'tinny'. Did you mean 'tiny'"),
        ("pope", {"splits": ("random", "populer")}, "no split of POPE 'populer'. Did you mean 'popular'"),
        ("mm_safetybench", {"variants": "SDTYPO"}, "no variant of MM-SafetyBench 'SDTYPO'"),
        ("xstest", {"labels": ()}, "no label of XSTest was named"),
        ("vlguard", {"subsets": "safes"}, "no subset of VLGuard 'safes'"),
        ("xstest", {"lables": ("safe",)}, "no option of the benchmark 'xstest': 'lables'. Did you mean 'labels'"),
    ],
)
def test_a_part_that_is_not_there_says_what_is_close(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        read(name, layouts.WRITERS[name](tmp_path), **options)
