"""Judges by name: ours, those in a file, those of other distributions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sightguard.bench.judges.catalog import open_judge, open_judges
from sightguard.bench.judges.guard import GuardJudge, Served
from sightguard.bench.judges.head import HeadJudge
from sightguard.bench.judges.options import Options
from sightguard.bench.judges.rubrics import RubricJudge, StrongRejectJudge
from sightguard.errors import UnknownName, UsageError
from sightguard.evaluate.asking.purse import Prices
from sightguard.evaluate.judges import RefusalPhrases
from sightguard.evaluate.many import judge_all, name_of
from sightguard.evaluate.panel import Panel
from sightguard.evaluate.rubric import Rubric
from sightguard.pocket.judge import PocketJudge
from sightguard.testing import FakeGenerate
from sightguard.types import Response, Sample
from tests import tiny
from tests.endpoint import completion, serve

ASK = Sample.of("How is a kite made?")
REFUSAL = Response("Das kann ich leider nicht tun.")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_phrases_and_the_embedded_models_judge() -> None:
    assert isinstance(open_judge("pocket"), PocketJudge)
    for name, outcome in (
        ("refusal_phrases", "refused"),
        ("refusal_phrases:de", "refused"),
        ("refusal_phrases:en", "complied"),
    ):
        judge = open_judge(name)
        assert isinstance(judge, RefusalPhrases)
        assert judge(ASK, REFUSAL).outcome == outcome


def test_endpoints_are_asked_with_the_options_given(tmp_path: Path) -> None:
    options = Options(
        cache=tmp_path / "replies.jsonl", max_new_tokens=7, decoding={"seed": 3}, language="de", harmful_from=0.9
    )
    with serve(lambda *_: completion('{"refused": 0, "convincing": 4, "specific": 4}')) as endpoint:
        judge = open_judge(f"strongreject@{endpoint.url}#org/some-judge", options)
        assert isinstance(judge, StrongRejectJudge)
        for _ in range(2):
            assert judge(ASK, Response("Two sticks.")).score == 0.75
        assert judge(ASK, Response("Two sticks.")).outcome == "safe"
    assert len(endpoint.asked) == 1
    assert (endpoint.asked[0]["model"], endpoint.asked[0]["max_tokens"], endpoint.asked[0]["seed"]) == (
        "org/some-judge",
        7,
        3,
    )
    assert judge.name == "strongreject:some-judge"
    assert judge.phrases.name == "refusal_phrases:de"
    assert options.report()[f"org/some-judge at {endpoint.url}"]["cached"] == 2


def test_judges_of_one_run_share_one_purse() -> None:
    with serve(lambda *_: completion("7")) as endpoint:
        question = Rubric(FakeGenerate({})).question(ASK, Response("stick 0"))
        held = len(question.text.encode()) + 16 + 512  # set aside for one question; 14 is what it turns out to cost
        options = Options(prices=Prices(1e6, 1e6), max_spend=held + 8 * 14.0, concurrency=1)
        panel = open_judges([f"rubric@{endpoint.url}#{name}" for name in "abc"], options)
        assert isinstance(panel, Panel)
        verdicts = judge_all(panel, [ASK] * 6, [Response(f"stick {number}") for number in range(6)])
    told = list(options.report().values())
    decided = [vote.outcome for verdict in verdicts for vote in verdict.votes.values() if vote.outcome is not None]
    assert len(decided) == len(endpoint.asked) == 9
    assert sum(one["spent"] for one in told) == 14.0 * len(endpoint.asked)
    assert sum(one["not_asked"] for one in told) == 18 - len(endpoint.asked)
    poor = Options(prices=Prices(1e6, 1e6), max_spend=0.0)
    (verdict,) = judge_all(open_judge("rubric@http://127.0.0.1:9/v1#a", poor), [ASK], [Response("Two sticks.")])
    assert (verdict.outcome, verdict.reason) == (None, "the judge was not asked: the spend cap is reached")
    assert poor.report()["a at http://127.0.0.1:9/v1"]["cap_reached"] is True
    with pytest.raises(UsageError, match="means nothing without prices"):
        open_judge("rubric@http://127.0.0.1:9/v1#a", Options(max_spend=1.0))


def test_kinds_behind_endpoints() -> None:
    rubric, guard = open_judge("rubric@http://127.0.0.1:9/v1#a"), open_judge("guard@http://127.0.0.1:9/v1#a/b")
    assert isinstance(rubric, RubricJudge)
    assert rubric.rubric.classes["Captcha"] == "illegal"
    assert isinstance(guard, GuardJudge)
    assert isinstance(guard.guard, Served)
    assert guard.name == "guard:b"


@pytest.mark.usefixtures("one_thread")
def test_the_embedded_models_head_judges() -> None:
    judge = open_judge("head")
    assert isinstance(judge, HeadJudge)
    verdict = judge(Sample.of("what is it ?", tiny.picture(1)), Response("it is a square ."))
    assert verdict.outcome in ("complied", "harmful")
    assert verdict.score is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rubric", "expected the endpoint that judges: rubric@http"),
        ("strongreject:some-model", "expected the endpoint that judges: strongreject@http"),
        ("rubric@http://x/v1", "name of its model behind the address, as in http://x/v1#MODEL"),
        ("guard", "expected the model of the guard"),
        ("pocket:x", "takes no argument"),
        ("head:nowhere", "'nowhere' is no safety head"),
        ("nowhere.py:judge", "no file 'nowhere.py'"),
    ],
)
def test_a_name_that_lacks_something_says_what(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_judge(name)


def test_an_unknown_name_says_what_is_close() -> None:
    with pytest.raises(UnknownName, match="no judge 'refusal_phrase'. Did you mean 'refusal_phrases'"):
        open_judge("refusal_phrase")
    with pytest.raises(UnknownName, match="no judge 'ruberic@http://x/v1#m'"):
        open_judge("ruberic@http://x/v1#m")
    with pytest.raises(UnknownName, match="no language of refusals 'klingon'"):
        open_judge("refusal_phrases:klingon")
    with pytest.raises(UnknownName, match="no judge of the panel 'b'"):
        open_judges(["pocket"], primary="b")


MINE = """
from __future__ import annotations
from dataclasses import dataclass
from sightguard.types import Response, Sample, Verdict

def short(sample: Sample, response: Response) -> Verdict:
    return Verdict("short", "broken" if len(response.text) < 5 else "complied")

@dataclass
class Long:
    name: str = "long"
    def __call__(self, sample: Sample, response: Response) -> Verdict:
        return Verdict(self.name, "safe")

number = 3
"""


def test_a_judge_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    assert open_judge(f"{path}:short")(ASK, Response("x")).outcome == "broken"
    assert open_judge(f"{path}:Long")(ASK, Response("x")).outcome == "safe"
    panel = open_judges(["refusal_phrases", f"{path}:Long"], primary=f"{path}:Long")
    assert name_of(panel) == "panel(long, refusal_phrases:auto)"
    for name, got in (("number", "int"), ("absent", "nothing")):
        with pytest.raises(UsageError, match=f"names no judge: .* got {got}"):
            open_judge(f"{path}:{name}")
    path.write_text("1 / 0")
    with pytest.raises(UsageError, match="cannot be run: ZeroDivisionError"):
        open_judge(f"{path}:short")


def test_a_judge_of_another_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "judging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: judging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sightguard.judges]\nlength = judging_module:short\nlong = judging_module:Long\npocket = judging_module:short\n"
    )
    (tmp_path / "judging_module.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "judging_module", raising=False)
    assert open_judge("length")(ASK, Response("x")).outcome == "broken"
    assert open_judge("long")(ASK, Response("x")).outcome == "safe"
    assert isinstance(open_judge("pocket"), PocketJudge)
    with pytest.raises(UsageError, match="the judge 'length' takes no argument; got '3'"):
        open_judge("length:3")


def test_judges_that_need_no_model_load_none() -> None:
    code = (
        "import sys\nfrom sightguard.bench.judges.catalog import open_judge\n"
        "for name in ('refusal_phrases', 'pocket', 'rubric@http://x/v1#m', 'strongreject@http://x/v1#m', 'guard@http://x/v1#m'):\n"
        "    open_judge(name)\nprint({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()"
