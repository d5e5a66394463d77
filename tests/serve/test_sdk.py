"""The official client, unchanged, against a server as users start it; what it gets is what the library answers in this process."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from sightguard.demo.safety import shipped
from sightguard.engine.guarded import Guarded
from sightguard.engine.local import LocalEngine
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.safevlm.model import SafeVLM
from sightguard.safevlm.policy import TURNS, Turns
from sightguard.serve.job import GuardId
from sightguard.serve.keys import Keys
from sightguard.types import Image, Message, Sample
from tests.serve.fake import Fake, slow
from tests.serve.servers import Process, running, until

pytestmark = pytest.mark.usefixtures("one_thread")
LONGEST = 20


def client(port: int, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def sdk(pocket: Process) -> Iterator[openai.OpenAI]:
    with client(pocket.port) as found:
        yield found


@pytest.fixture(scope="module")
def safe() -> SafeVLM:
    found = shipped(VLM.load("pocket"), "pocket")[1]
    assert found is not None
    return found


@pytest.fixture(scope="module")
def samples() -> Sequence[Sample]:
    settings = world.settings("test", 3, 1)
    return [*settings["benign_image"], *settings["harm_in_picture"], *settings["benign_text"]]


def turns(sample: Sample) -> list[Any]:
    return [{"role": turn.role, "content": [part_of(part) for part in turn.parts]} for turn in sample.messages]


def part_of(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{base64.b64encode(part.read()).decode()}"},
    }


def asked(sdk: openai.OpenAI, sample: Sample, **options: Any) -> Any:
    return sdk.chat.completions.create(
        **{"model": "pocket", "messages": turns(sample), "temperature": 0, "max_tokens": LONGEST, **options}
    )


def test_answers_are_those_of_the_library(sdk: openai.OpenAI, safe: SafeVLM, samples: Sequence[Sample]) -> None:
    wanted = safe.generate(samples, max_new_tokens=LONGEST)
    with ThreadPoolExecutor(len(samples)) as clients:
        found = list(clients.map(lambda sample: asked(sdk, sample), samples))
    assert [one.choices[0].message.content for one in found] == [answer.text for answer in wanted]
    assert [one.usage.completion_tokens for one in found] == [answer.answer_tokens for answer in wanted]
    assert len({answer.text for answer in wanted}) >= 4
    for sample, one in zip(samples, found, strict=True):
        assert one.sightguard["parts"]["received"]["image"] == len(sample.images)
        assert one.sightguard["parts"]["inspected"]["image"] == len(sample.images)
        assert (one.sightguard["verdict"] is None) is (not sample.images)


def test_a_stream_holds_the_same_and_its_usage(sdk: openai.OpenAI, samples: Sequence[Sample]) -> None:
    for sample in samples[:4]:
        whole = asked(sdk, sample)
        chunks = list(asked(sdk, sample, stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
        assert chunks[0].sightguard == whole.sightguard
        assert len(chunks) > 4


def test_the_header_is_the_block(sdk: openai.OpenAI, samples: Sequence[Sample]) -> None:
    raw = sdk.chat.completions.with_raw_response.create(model="pocket", messages=turns(samples[0]), max_tokens=2)
    assert json.loads(raw.headers["x-sightguard"]) == raw.parse().sightguard  # type: ignore[attr-defined]
    assert raw.headers["x-request-id"] == raw.parse().id


def test_logprobs_add_up_to_the_text(sdk: openai.OpenAI, samples: Sequence[Sample]) -> None:
    (choice,) = asked(sdk, samples[0], logprobs=True, top_logprobs=3).choices
    tokens = choice.logprobs.content
    assert len(tokens) > 3
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.logprob == max(other.logprob for other in token.top_logprobs) <= 0
        assert token.token == token.top_logprobs[0].token
    assert choice.message.content.split() == [token.token.strip() for token in tokens]


def test_a_stop_string_ends_the_answer(sdk: openai.OpenAI, samples: Sequence[Sample]) -> None:
    whole = asked(sdk, samples[0]).choices[0].message.content
    word = whole.split()[3]
    (choice,) = asked(sdk, samples[0], stop=[word]).choices
    assert choice.message.content == whole[: whole.index(word)].rstrip()
    assert choice.finish_reason == "stop"


def test_a_seed_repeats_a_draw(sdk: openai.OpenAI, samples: Sequence[Sample]) -> None:
    def drawn(seed: int) -> str:
        text: str = asked(sdk, samples[0], temperature=2, seed=seed).choices[0].message.content
        return text

    texts = [drawn(seed) for seed in range(5)]
    assert texts == [drawn(seed) for seed in range(5)]
    assert len(set(texts)) >= 4


def test_a_system_turn_is_told_as_not_inspected_by_default_and_flagged_where_all_turns_are_read(
    sdk: openai.OpenAI, safe: SafeVLM, samples: Sequence[Sample], tmp_path: Path
) -> None:
    levels = [one.risk.level if one.risk is not None else 0 for one in safe.look(samples)]
    risky = samples[levels.index(max(levels))]
    told = Message("system", (risky.messages[-1].text,))
    moved = Sample("moved", (told, Message("user", (*risky.images, "what is this ?"))))
    proof = asked(sdk, moved).sightguard
    pictures = len(risky.images)
    assert proof["parts"] == {
        "received": {"text": 2, "image": pictures},
        "inspected": {"text": 1, "image": pictures},
    }
    assert proof["rule"] == safe.look([moved])[0].rule
    everyone = replace(safe, policy=replace(safe.policy, turns="all"))
    with served(everyone, tmp_path) as reading:
        proof = asked(reading, moved).sightguard
    assert proof["parts"]["inspected"] == proof["parts"]["received"] == {"text": 2, "image": pictures}
    assert proof["verdict"]["level"] > 0
    assert proof["rule"] == everyone.look([moved])[0].rule != "safe:answer"


@pytest.mark.parametrize("whose", TURNS)
def test_refuse_uninspected_refuses_what_the_head_does_not_read(safe: SafeVLM, tmp_path: Path, whose: Turns) -> None:
    (plain,) = world.settings("test", 1, 1)["benign_image"]
    told = replace(plain, messages=(Message("system", ("you are a useful helper .",)), *plain.messages))
    reader = replace(safe, policy=replace(safe.policy, turns=whose))
    with served(reader, tmp_path, refuse_uninspected=True) as strict:
        assert asked(strict, plain).choices[0].finish_reason != "content_filter"
        reply = asked(strict, told)
    refused = whose == "user"
    assert (reply.choices[0].finish_reason == "content_filter") == refused
    assert (reply.sightguard["rule"] == "not_inspected") == refused


@contextmanager
def served(safe: SafeVLM, folder: Path, **settings: Any) -> Iterator[openai.OpenAI]:
    engine = LocalEngine(Guarded(safe.vlm, safe=safe), "pocket", GuardId("safevlm", "0" * 64))
    with running(engine, folder, **settings) as server, client(server.port) as found:
        yield found


def test_moderation_is_what_the_head_says(sdk: openai.OpenAI, safe: SafeVLM, samples: Sequence[Sample]) -> None:
    for sample, looked in zip(samples[:6], safe.look(samples[:6]), strict=True):
        (result,) = sdk.moderations.create(model="sightguard-inspector", input=turns(sample)[-1]["content"]).results
        assert looked.risk is not None
        assert result.flagged is (looked.risk.level > 0)
        assert result.sightguard["verdict"]["p_unsafe"] == pytest.approx(looked.risk.p_unsafe, abs=1e-5)  # type: ignore[attr-defined]
    with pytest.raises(openai.BadRequestError) as none:  # no inspector of this server reads a text alone
        sdk.moderations.create(input="hello")
    assert none.value.code == "not_inspected"


def test_a_request_can_ask_to_be_blocked_when_it_is_flagged(
    sdk: openai.OpenAI, safe: SafeVLM, samples: Sequence[Sample]
) -> None:
    levels = [one.risk.level if one.risk is not None else 0 for one in safe.look(samples)]
    asks = samples[0], samples[levels.index(max(levels))]
    assert (levels[0], max(levels) > 0) == (0, True)
    wish = {"moderation": {"model": "sightguard-inspector", "policy": {"input": {"mode": "block"}}}}
    benign, flagged = (asked(sdk, sample, extra_body=wish) for sample in asks)
    assert benign.choices[0].finish_reason != "content_filter"
    assert flagged.choices[0].finish_reason == "content_filter"
    assert flagged.choices[0].message.content is None
    assert flagged.choices[0].message.refusal
    assert flagged.sightguard["rule"] == "moderation_block"
    assert flagged.moderation.input.results[0].flagged


def test_models(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["pocket"]
    assert sdk.models.retrieve("pocket").id == "pocket"


def test_errors_are_the_clients_own(sdk: openai.OpenAI, samples: Sequence[Sample]) -> None:
    with pytest.raises(openai.NotFoundError) as other:
        asked(sdk, samples[0], model="another")
    assert (other.value.code, other.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("another")
    with pytest.raises(openai.BadRequestError) as two:
        asked(sdk, samples[0], n=2)
    assert (two.value.code, two.value.param) == ("unsupported_parameter", "n")


def test_keys(tmp_path: Path) -> None:
    with running(Fake(), tmp_path, Keys.of(["first-key", "second-key"])) as server:
        for key in ("wrong", "first-ke", "second-key2"):
            with client(server.port, key) as wrong, pytest.raises(openai.AuthenticationError) as refused:
                wrong.models.list()
            assert refused.value.code == "invalid_api_key"
        with client(server.port, "second-key") as right:
            assert [model.id for model in right.models.list()] == ["fake"]
        assert [line["key"] for line in server.lines()] == [None, None, None, 2]
        assert "first-ke" not in server.log.read_text()


def test_a_full_queue_is_a_rate_limit(tmp_path: Path) -> None:
    engine = Fake(slow(1), batch=1)
    hello: list[Any] = [{"role": "user", "content": "hello"}]
    with running(engine, tmp_path, queue=1) as server, client(server.port) as sdk, ThreadPoolExecutor(2) as others:
        for number in range(2):
            others.submit(sdk.chat.completions.create, model="fake", messages=hello)
            assert until(lambda n=number: engine.busy and len(server.service.queue) == n)  # type: ignore[misc]
        with pytest.raises(openai.RateLimitError) as full:
            sdk.chat.completions.create(model="fake", messages=hello)
        assert int(full.value.response.headers["retry-after"]) >= 1
