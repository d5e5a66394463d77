"""The layouts of public benchmarks in small, with harmless rows of our own: files, columns and folders as published, and nothing of the data.

Each `write_<name>` writes into a folder and returns it. Nothing here comes from the readers.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import PIL.Image

from tests.rtvlm_layout import write_layout

Rows = Sequence[Mapping[str, Any]]
SECRET = "zzquetzal"
"""A word that stands in every row's text, so that a test can look for it where no row may be shown."""


def asked(number: int) -> str:
    return f"How do I bake bread number {number} with {SECRET} flour, and for how long?"


def picture(seed: int, format: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (9, 7), (seed * 53 % 256, seed * 17 % 256, 40)).convert(mode).save(file, format)
    return file.getvalue()


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def put_json(path: Path, value: object) -> Path:
    return put(path, json.dumps(value, ensure_ascii=False, indent=1))


def put_lines(path: Path, rows: Rows) -> Path:
    return put(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def put_csv(path: Path, rows: Rows, header: Sequence[str] | None = None, delimiter: str = ",") -> Path:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL)
    writer.writerow(header or list(rows[0]))
    writer.writerows(list(row.values()) for row in rows)
    return put(path, file.getvalue())


def put_parquet(path: Path, columns: Mapping[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    pq.write_table(pa.table(dict(columns)), path)
    return path


def write_advbench(folder: Path, rows: int = 3) -> Path:
    put_csv(folder / "harmful_behaviors.csv", [{"goal": asked(n), "target": f"Sure, bread {n}"} for n in range(rows)])
    return folder


def write_jailbreakbench(folder: Path, header: Sequence[str] | None = None) -> Path:
    for part in ("harmful", "benign"):
        rows = [
            {"Index": n, "Goal": f"{part}: {asked(n)}", "Target": "Sure", "Behavior": f"bread {n}", "Category": "Baking", "Source": "Original"}
            for n in range(2)
        ]  # fmt: skip
        put_csv(folder / f"{part}-behaviors.csv", rows, header)
    return folder


def write_xstest(folder: Path) -> Path:
    rows = [
        {"id": f"v2-{n}", "prompt": asked(n), "type": kind, "label": label, "focus": "bread", "note": ""}
        for n, (kind, label) in enumerate(
            [("homonyms", "safe"), ("contrast_homonyms", "unsafe"), ("real_group", "safe")]
        )
    ]
    put_csv(folder / "xstest_prompts.csv", rows)
    return folder


def write_figstep(folder: Path) -> Path:
    rows = [
        {"dataset": "ForbidQI", "category_id": c, "task_id": t, "category_name": f"Bread {c}", "question": asked(c), "instruction": "Steps to bake."}
        for c, t in ((1, 2), (10, 1))
    ]  # fmt: skip
    for part in ("safebench", "SafeBench-Tiny"):
        put_csv(folder / "data" / "question" / f"{part}.csv", rows)
    for home, seed in (("SafeBench", 0), ("SafeBench-Tiny", 9)):
        for n, name in enumerate(("query_ForbidQI_1_2_6.png", "query_ForbidQI_10_1_6.png")):
            put(folder / "data" / "images" / home / name, picture(seed + n))
    return folder


def write_pope(folder: Path) -> Path:
    for split in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": n, "image": "COCO_val2014_000000000009.jpg", "text": f"Is there a {SECRET} loaf in the image?", "label": label}
            for n, label in enumerate(("yes", "no"), 1)
        ]  # fmt: skip
        put_lines(folder / "output" / "coco" / f"coco_pope_{split}.json", rows)
    put(folder / "val2014" / "COCO_val2014_000000000009.jpg", picture(1, "JPEG"))
    return folder


def write_maliciousinstruct(folder: Path) -> Path:
    put(folder / "data" / "MaliciousInstruct.txt", f"{asked(1)}\n\n{asked(2)}\n")
    return folder


HARMBENCH = ["Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID"]


def write_harmbench(folder: Path) -> Path:
    rows = [
        [asked(1), "standard", "baking", "", "", "bread_1"],
        [asked(2), "contextual", "baking", "context", f'A recipe, "old":\n{SECRET} context\nof three lines', "bread_2"],
        [f"Sing\nthe {SECRET} song, twice", "copyright", "copyright", "lyrics, hash_check", "", "song_3"],
    ]
    for part in ("all", "val", "test"):
        told = [dict(zip(HARMBENCH, row, strict=True)) for row in rows]
        put_csv(folder / "data" / "behavior_datasets" / f"harmbench_behaviors_text_{part}.csv", told)
    return folder


def write_strongreject(folder: Path) -> Path:
    rows = [{"category": "Bread", "source": "own", "forbidden_prompt": asked(n)} for n in range(3)]
    put_csv(folder / "strongreject_dataset" / "strongreject_dataset.csv", rows)
    put_csv(folder / "strongreject_dataset" / "strongreject_small_dataset.csv", rows[:1])
    return folder


def write_mm_harmfulbench(folder: Path, first: int = 0) -> Path:
    home = folder / "MM-HarmfulBench"
    rows = [{"image_url": f"https://nowhere.invalid/{n}.jpg", "question": asked(n)} for n in range(2)]
    put_lines(home / "questions.jsonl", rows)
    for n in range(2):
        put(home / "images" / f"{n + first}.jpg", picture(n, "JPEG"))
    return folder


def safety_row(number: int) -> dict[str, str]:
    return {
        "Question": asked(number),
        "GPT-Pred": "",
        "Changed Question": asked(number),
        "Key Phrase": "bread",
        "Phrase Type": "thing",
        "Rephrased Question": f"How is the phrase of {SECRET} baked, number {number}?",
        "Rephrased Question(SD)": f"How is the {SECRET} shown baked, number {number}?",
    }


SCENARIOS = [
    "01-Illegal_Activitiy", "02-HateSpeech", "03-Malware_Generation", "04-Physical_Harm", "05-EconomicHarm", "06-Fraud", "07-Sex",
    "08-Political_Lobbying", "09-Privacy_Violence", "10-Legal_Opinion", "11-Financial_Advice", "12-Health_Consultation", "13-Gov_Decision",
]  # fmt: skip


def write_mm_safetybench(folder: Path) -> Path:
    for seed, scenario in enumerate(SCENARIOS):
        put_json(
            folder / "data" / "processed_questions" / f"{scenario}.json", {str(n): safety_row(n) for n in range(2)}
        )
        for variant in ("SD", "TYPO", "SD_TYPO"):
            for n in range(2):
                put(
                    folder / "data" / "imgs" / scenario / variant / f"{n}.jpg", picture(seed + n + len(variant), "JPEG")
                )
    put_json(folder / "TinyVersion_ID_List.json", [{"Scenario": s, "Sampled_ID_List": [1]} for s in SCENARIOS])
    return folder


def write_mm_safetybench_hub(folder: Path) -> Path:
    for scenario in SCENARIOS:
        for variant in ("SD", "TYPO", "SD_TYPO"):
            columns: dict[str, list[Any]] = {
                "id": ["0", "1"],
                "question": [f"{variant} {asked(n)}" for n in range(2)],
                "image": [{"bytes": picture(n, "JPEG"), "path": None} for n in range(2)],
            }
            put_parquet(folder / "data" / scenario[3:] / f"{variant}-00000-of-00001.parquet", columns)
    return folder


def write_vlguard(folder: Path) -> Path:
    rows = [
        {"id": "a", "image": "bad_ads/lamp.png", "safe": True, "instr-resp": [
            {"safe_instruction": asked(1), "response": "So."}, {"unsafe_instruction": asked(2), "response": "No."}]},
        {"id": "b", "image": "HOD/lamp.png", "safe": False, "harmful_category": "risky behavior", "harmful_subcategory": "violence",
         "instr-resp": [{"instruction": asked(3), "response": "No."}]},
    ]  # fmt: skip
    for split in ("train", "test"):
        put_json(folder / f"{split}.json", rows)
        for seed, name in enumerate(("bad_ads/lamp.png", "HOD/lamp.png")):
            put(folder / split / name, picture(seed))
    return folder


def write_mossbench(folder: Path) -> Path:
    for home, overs in (("data", ("type 1", "type 3")), ("data_contrast", ("type 2", "type 2"))):
        rows = {
            str(n): {
                "image": f"images/{n}.png", "short description": "a loaf", "question": asked(n), "pid": str(n), "description": "bread",
                "metadata": {"over": over, "human": 0, "child": 0, "syn": 0, "ocr": 0, "harm": [1]},
            }
            for n, over in enumerate(overs, 1)
        }  # fmt: skip
        put_json(folder / home / "images_information" / "information.json", rows)
        put(folder / home / "images" / "1.png", picture(1, "WEBP"))
        put(folder / home / "images" / "2.png", picture(2, "PNG", "L"))
    return folder


def write_siuo(folder: Path) -> Path:
    row = {"question_id": 1, "image": "S-01.png", "question": asked(1), "category": "baking"}
    gen = [{**row, "safety_warning": "hot", "reference_answer": "wait"}]
    options = {"A": "at once", "B": f"after the {SECRET} hour", "C": "never", "D": "today"}
    choice = [{**row, "options": options, "correct_option": "B"}]
    put_json(folder / "data" / "siuo_gen.json", gen)
    put_json(folder / "data" / "siuo_mcqa.json", choice)
    put(folder / "data" / "images" / "S-01.png", picture(1))
    return folder


def write_mssbench(folder: Path) -> Path:
    chat = {"intent": "bake", "unsafe_image": "a hot oven", "Type": "kitchen", "queries": [asked(1), asked(2)]}
    task = {"task": "bake", "category": "oven", "safe_instructions": [asked(3)], "unsafe_instructions": [asked(4)]}
    put_json(
        folder / "combine.json",
        {
            "chat": [{**chat, "safe_image_path": "1.jpg", "unsafe_image_path": "2.jpg"}],
            "embodied": [{**task, "safe": "s/3.png", "unsafe": "u/4.png"}],
        },
    )
    for number, name in enumerate(("chat/1.jpg", "chat/2.jpg", "embodied/s/3.png", "embodied/u/4.png"), 1):
        put(folder / name, picture(number))
    return folder


def write_jailbreakv(folder: Path) -> Path:
    home = folder / "JailBreakV_28K"
    names = ("llm_transfer_attack/same.png", "figstep/same.png", "query_related/SD/same.png")
    rows = [
        {"id": n, "jailbreak_query": f"Please,\nkindly: {asked(n)}", "redteam_query": asked(n), "format": kind, "policy": "Baking",
         "image_path": name, "from": "own", "selected_mini": "TRUE", "transfer_from_llm": str(n == 0)}
        for n, (kind, name) in enumerate(zip(("Template", "figstep", "SD"), names, strict=True))
    ]  # fmt: skip
    for part in ("", "mini_"):
        put_csv(home / f"{part}JailBreakV_28K.csv", rows)
    put_csv(home / "RedTeam_2K.csv", [{"id": 1, "question": asked(1), "policy": "Baking", "from": "own"}])
    for seed, name in enumerate(names):
        put(home / name, picture(seed))
    return folder


def write_mmbench(folder: Path) -> Path:
    encoded = base64.b64encode(picture(1) + b"\0" * 200_000).decode()  # larger than csv reads unless told to
    head = [
        "index",
        "question",
        "hint",
        "A",
        "B",
        "C",
        "D",
        "answer",
        "category",
        "image",
        "source",
        "l2-category",
        "comment",
        "split",
    ]
    told = [
        [0, f"Which loaf is {SECRET}?", "Look\nwell.", "left", "right", "both", "none", "B", "baking", encoded, "own", "bread", "", "dev"],
        [1, f"Is the {SECRET} loaf round?", "nan", "yes", "no", "", "nan", "A", "baking", "0", "own", "bread", "", "dev"],
    ]  # fmt: skip
    rows = [dict(zip(head, row, strict=True)) for row in told]
    put_csv(folder / "mmbench_dev_20230712.tsv", rows, delimiter="\t")
    return folder


def seed_row(number: str, **more: Any) -> dict[str, Any]:
    choices = {f"choice_{letter}": f"loaf {letter}" for letter in "abcd"}
    return {"answer": "C", **choices, "data_id": "1454426_2591111986", "data_type": "image", "question": f"Which {SECRET} loaf?",
            "question_id": number, "question_type_id": 5, **more}  # fmt: skip


def write_seedbench(folder: Path) -> Path:
    rows = [
        seed_row("101669"),
        seed_row("v1738", data_type="video", data_id="94328.webm", question_type_id=10),
        seed_row("17_0", data_type="Multiple Images", data_id=["task17/a.png", "task17/b.png"], question_type_id=17),
    ]
    kinds = {"Instances Counting": 5, "Action Recognition": 10, "Difference Spotting": 17}
    put_json(folder / "SEED-Bench.json", {"questions": rows, "question_type": kinds})
    home = folder / "SEED-Bench-image"
    put(home / "1454426_2591111986", picture(1, "JPEG"))
    for n, name in enumerate(("task17/a.png", "task17/b.png")):
        put(home / name, picture(n + 2))
    return folder


MME_TASKS = ["existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
             "commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"]  # fmt: skip


def write_mme(folder: Path) -> Path:
    home = folder / "MME_Benchmark_release_version"
    for task in MME_TASKS:
        split = task in ("posters", "celebrity", "scene", "landmark", "artwork")
        for n in range(2):
            lines = f"Is there a {SECRET} loaf? Please answer yes or no.\tYes\nIs there no loaf? Please answer yes or no.\tNo\n"
            put(home / task / ("questions_answers_YN" if split else "") / f"{n}.txt", lines)
            put(home / task / ("images" if split else "") / (f"{n}.jpg" if split else f"{n}.png"), picture(n))
    return folder


def science_row(number: int, image: str | None) -> dict[str, Any]:
    return {
        "question": f"Which {SECRET} loaf rises, number {number}?", "choices": ["the first", "the second"], "answer": 1,
        "hint": "Yeast." if image else "",
        "image": image, "task": "closed choice", "grade": "grade3", "subject": "natural science", "topic": "bread", "category": "Baking",
        "skill": "Look", "lecture": "", "solution": "", "split": "test",
    }  # fmt: skip


def write_scienceqa(folder: Path) -> Path:
    put_json(folder / "problems.json", {"4": science_row(4, "image.png"), "11": science_row(11, None)})
    put_json(folder / "pid_splits.json", {"test": ["4", "11"], "train": []})
    put(folder / "images" / "test" / "4" / "image.png", picture(4))
    return folder


def write_scienceqa_hub(folder: Path) -> Path:
    rows = [science_row(4, "image.png"), science_row(11, None)]
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in ("image", "split")}
    shown = [{"bytes": picture(4), "path": None}, None]
    put_parquet(folder / "data" / "test-00000-of-00001-abc.parquet", {"image": shown, **columns})
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "advbench": write_advbench,
    "jailbreakbench": write_jailbreakbench,
    "xstest": write_xstest,
    "figstep": write_figstep,
    "pope": write_pope,
    "maliciousinstruct": write_maliciousinstruct,
    "harmbench": write_harmbench,
    "strongreject": write_strongreject,
    "mm_harmfulbench": write_mm_harmfulbench,
    "mm_safetybench": write_mm_safetybench,
    "rtvlm": write_layout,
    "vlguard": write_vlguard,
    "mossbench": write_mossbench,
    "siuo": write_siuo,
    "mssbench": write_mssbench,
    "jailbreakv": write_jailbreakv,
    "mmbench": write_mmbench,
    "seedbench": write_seedbench,
    "mme": write_mme,
    "scienceqa": write_scienceqa,
}
"""Name -> how its layout is written."""

ROWS = {
    "advbench": "harmful_behaviors.csv",
    "jailbreakbench": "harmful-behaviors.csv",
    "xstest": "xstest_prompts.csv",
    "figstep": "data/question/safebench.csv",
    "pope": "output/coco/coco_pope_random.json",
    "maliciousinstruct": "data/MaliciousInstruct.txt",
    "harmbench": "data/behavior_datasets/harmbench_behaviors_text_test.csv",
    "strongreject": "strongreject_dataset/strongreject_dataset.csv",
    "mm_harmfulbench": "MM-HarmfulBench/questions.jsonl",
    "mm_safetybench": "data/processed_questions/01-Illegal_Activitiy.json",
    "rtvlm": "data/Captcha/captcha.jsonl",
    "vlguard": "test.json",
    "mossbench": "data/images_information/information.json",
    "siuo": "data/siuo_gen.json",
    "mssbench": "combine.json",
    "jailbreakv": "JailBreakV_28K/mini_JailBreakV_28K.csv",
    "mmbench": "mmbench_dev_20230712.tsv",
    "seedbench": "SEED-Bench.json",
    "mme": "MME_Benchmark_release_version/existence/0.txt",
    "scienceqa": "problems.json",
}
"""Name -> a file of rows that a reader opens without options."""
