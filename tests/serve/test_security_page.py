"""The page about the server's security names what there is, and nothing that is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sightguard.serve.entry import Entry
from sightguard.serve.fetch import SECONDS
from sightguard.serve.job import GuardId
from sightguard.serve.metrics import Metrics

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve-security.md").read_text(encoding="utf-8")
GUARD = GuardId("g", "0" * 64)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_page_names_every_field_of_a_line_in_its_order() -> None:
    line = json.loads(Entry(id="x", route="/", outcome="answered", status=200, guard=GUARD).line(content=True))
    assert re.findall(r"^\| `(\w+)` \|", section("The log"), re.MULTILINE) == list(line)


def test_the_page_names_every_metric() -> None:
    families = text_string_to_metric_families(Metrics(GUARD).exposition().decode())
    metrics = {family.name for family in families if not family.name.endswith("_created")}
    named = re.findall(r"`(sightguard_\w+)`", section("Metrics"))
    assert sorted(name.removesuffix("_total").removesuffix("_info") for name in named) == sorted(
        name.removesuffix("_total").removesuffix("_info") for name in metrics
    )


def test_the_page_names_the_limit_of_time() -> None:
    assert f"{SECONDS:g} seconds" in section("Pictures by address")
