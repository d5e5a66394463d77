"""A remote model: the wire is a local server, and what it means is read by the official client."""

from __future__ import annotations

import base64
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sightguard.errors import MissingExtra, ModelError, UsageError
from sightguard.models.remote import Remote
from sightguard.types import Image, Message, Sample
from tests.endpoint import Reply, completion, failure, serve, text_of
from tests.rtvlm_layout import jpeg

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def texts(n: int) -> list[Sample]:
    return [Sample.of(f"question {number}", id=str(number)) for number in range(n)]


def test_an_answer_has_its_text_tokens_seconds_and_reason() -> None:
    with serve(lambda *_: completion("hello")) as endpoint:
        (response,) = Remote(endpoint.url, "m")(texts(1))
    assert (response.text, response.finish_reason, response.error) == ("hello", "stop", None)
    assert (response.prompt_tokens, response.answer_tokens) == (11, 3)
    assert response.seconds > 0


def test_what_is_asked_is_greedy_and_has_every_further_option() -> None:
    with serve(lambda *_: completion("hello")) as endpoint:
        Remote(endpoint.url, "m", max_new_tokens=9, top_k=3, seed=4)(texts(1))
        Remote(endpoint.url, "m", max_new_tokens=None, temperature=None, max_completion_tokens=7)(texts(1))
    turn = {"role": "user", "content": "question 0"}
    plain = {"path": "/v1/chat/completions", "model": "m", "messages": [turn]}
    assert endpoint.asked == [
        {**plain, "max_tokens": 9, "temperature": 0.0, "top_k": 3, "seed": 4},
        {**plain, "max_completion_tokens": 7},
    ]


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (jpeg(), "image/jpeg"),
        (jpeg((1, 2, 3, 4), "CMYK"), "image/jpeg"),
        (b"GIF89a..", "image/gif"),
    ],
)
def test_picture_bytes_arrive_identical(data: bytes, media_type: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    with serve(lambda *_: completion("seen")) as endpoint:
        Remote(endpoint.url, "m")([Sample.of("?", Image(data=data)), Sample.of("?", Image(path=path))])
    for request in endpoint.asked:
        head, body = request["messages"][0]["content"][0]["image_url"]["url"].split(",", 1)
        assert head == f"data:{media_type};base64"
        assert base64.b64decode(body, validate=True) == data


def test_turns_and_parts_keep_their_order() -> None:
    turns = (
        Message("system", ("be kind",)),
        Message("user", ("before", Image(data=PNG), "between", Image(data=jpeg()), "after")),
        Message("assistant", ("yes",)),
        Message("user", ("and?",)),
    )
    with serve(lambda *_: completion("ok")) as endpoint:
        Remote(endpoint.url, "m")([Sample("s", turns)])
    sent = endpoint.asked[0]["messages"]
    assert [turn["role"] for turn in sent] == ["system", "user", "assistant", "user"]
    assert [part.get("text", part["type"]) for part in sent[1]["content"]] == [
        "before",
        "image_url",
        "between",
        "image_url",
        "after",
    ]
    assert (sent[0]["content"], sent[3]["content"]) == ("be kind", "and?")


def test_answers_come_back_in_order_though_the_last_asked_answers_first() -> None:
    def answer(request: dict[str, Any], _: int) -> Reply:
        number = int(text_of(request).split()[1])
        time.sleep(0.05 * (3 - number % 4))
        return completion(f"answer {number}")

    with serve(answer) as endpoint:
        responses = Remote(endpoint.url, "m", concurrency=4)(texts(12))
    assert [response.text for response in responses] == [f"answer {number}" for number in range(12)]


def test_no_more_are_asked_at_once_than_concurrency_allows() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def answer(*_: Any) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return completion("ok")

    with serve(answer) as endpoint:
        Remote(endpoint.url, "m", concurrency=3)(texts(9))
    assert 2 <= most[0] <= 3


@pytest.mark.parametrize("status", [500, 429])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    def answer(_: dict[str, Any], number: int) -> Reply:
        return failure(status, retry_after_ms="1") if number < 2 else completion("at last")

    with serve(answer) as endpoint:
        (response,) = Remote(endpoint.url, "m", retries=2)(texts(1))
    assert (response.text, response.error, len(endpoint.asked)) == ("at last", None, 3)


def test_retry_after_is_kept_to() -> None:
    def answer(_: dict[str, Any], number: int) -> Reply:
        return failure(429, Retry_After="1") if number == 0 else completion("at last")

    with serve(answer) as endpoint:
        (response,) = Remote(endpoint.url, "m")(texts(1))
    assert response.text == "at last"
    assert response.seconds >= 1


def test_a_sample_that_keeps_failing_is_an_error_in_its_place() -> None:
    def answer(request: dict[str, Any], _: int) -> Reply:
        return failure(500, "broken\nsecond line", retry_after_ms="1") if "1" in text_of(request) else completion("ok")

    with serve(answer) as endpoint:
        responses = Remote(endpoint.url, "m", retries=1)(texts(3))
    assert [response.text for response in responses] == ["ok", "", "ok"]
    assert responses[1].error is not None
    assert responses[1].error.startswith("InternalServerError: status 500")
    assert "broken" in responses[1].error
    assert len(endpoint.asked) == 4


def test_a_bad_request_is_not_tried_again() -> None:
    with serve(lambda *_: failure(400, "content policy")) as endpoint:
        (response,) = Remote(endpoint.url, "m")(texts(1))
    assert (response.error or "").startswith("BadRequestError: status 400")
    assert len(endpoint.asked) == 1


def test_no_answer_in_time_is_an_error() -> None:
    def answer(*_: Any) -> Reply:
        time.sleep(0.5)
        return completion("late")

    with serve(answer) as endpoint:
        (response,) = Remote(endpoint.url, "m", timeout=0.1, retries=0)(texts(1))
    assert (response.text, response.error) == ("", "APITimeoutError: no answer in 0.1 s, 0 retries")


def test_no_server_is_an_error_of_the_sample() -> None:
    with serve(lambda *_: completion("ok")) as endpoint:
        pass
    (response,) = Remote(endpoint.url, "m", retries=0)(texts(1))
    assert (response.error or "").startswith("APIConnectionError")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_raises_at_once(status: int) -> None:
    with (
        serve(lambda *_: failure(status)) as endpoint,
        pytest.raises(
            ModelError, match=rf"refused the key for 'm' \(status {status}\)\. Set OPENAI_API_KEY or pass api_key="
        ),
    ):
        Remote(endpoint.url, "m", concurrency=2)(texts(200))
    assert len(endpoint.asked) < 20


def test_an_unknown_model_raises_at_once() -> None:
    with serve(lambda *_: failure(404)) as endpoint, pytest.raises(ModelError, match=r"no model 'm'.*status 404"):
        Remote(endpoint.url, "m")(texts(1))


def test_the_key_is_the_argument_or_that_of_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda *_: completion("ok")) as endpoint:
        Remote(endpoint.url, "m")(texts(1))
        monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
        Remote(endpoint.url, "m")(texts(1))
        given = Remote(endpoint.url, "m", api_key="from-argument")
        given(texts(1))
    assert [headers["authorization"] for headers in endpoint.headers] == [
        "Bearer none",
        "Bearer from-environment",
        "Bearer from-argument",
    ]
    assert "from-argument" not in repr(given)


@pytest.mark.parametrize(
    ("reply", "text", "finish_reason", "error"),
    [
        (completion("cut", "length"), "cut", "length", None),
        (completion(None, "length"), "", "length", None),
        (completion("", "stop"), "", "stop", None),
        (completion(None, refusal="I will not."), "I will not.", "refused", None),
        (completion("x", "content_filter"), "", "stop", "ContentFilter: the endpoint's content filter took the answer"),
        (completion(None), "", "stop", "EmptyChoice: no text; finish reason 'stop'"),
        (Reply({**completion("x").body, "choices": []}), "", "stop", "EmptyChoice: the endpoint gave no choice"),
        (
            Reply(b"<html>", headers={"Content-Type": "text/html"}),
            "",
            "stop",
            "NotACompletion: the endpoint's reply is no chat completion; check the address",
        ),
    ],
)
def test_what_an_ending_means(reply: Reply, text: str, finish_reason: str, error: str | None) -> None:
    with serve(lambda *_: reply) as endpoint:
        (response,) = Remote(endpoint.url, "m")(texts(1))
    assert (response.text, response.finish_reason, response.error) == (text, finish_reason, error)


def test_a_reply_that_is_not_json_is_an_error() -> None:
    with serve(lambda *_: Reply(b"{")) as endpoint:
        (response,) = Remote(endpoint.url, "m", retries=0)(texts(1))
    assert response.text == ""
    assert response.error is not None


def test_thoughts_are_kept_apart_from_the_answer() -> None:
    with serve(lambda *_: completion("7", reasoning_content="hm")) as endpoint:
        (response,) = Remote(endpoint.url, "m")(texts(1))
    assert (response.text, response.thought) == ("7", "hm")


def test_a_picture_that_cannot_be_sent_is_an_error_in_its_place(tmp_path: Path) -> None:
    samples = [
        Sample.of("?", Image(path=tmp_path / "none.png")),
        Sample.of("?"),
        Sample.of("?", Image(data=b"no picture")),
    ]
    with serve(lambda *_: completion("ok")) as endpoint:
        responses = Remote(endpoint.url, "m")(samples)
    assert [response.text for response in responses] == ["", "ok", ""]
    assert "none.png' cannot be read" in (responses[0].error or "")
    assert "no picture in a known format" in (responses[2].error or "")
    assert len(endpoint.asked) == 1


def test_nothing_is_asked_for_nothing() -> None:
    assert Remote("http://127.0.0.1:9/v1", "m")([]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "localhost:8000"}, "expected an address such as http://localhost:8000/v1; got 'localhost:8000'"),
        ({"concurrency": 0}, "concurrency >= 1"),
        ({"timeout": 0}, "timeout > 0"),
        ({"retries": -1}, "retries >= 0"),
        ({"max_new_tokens": 0}, "max_new_tokens of at least 1"),
        ({"n": 2, "stream": True}, "the options n, stream are set by Remote itself"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Remote(**{"base_url": "http://127.0.0.1:9/v1", "model": "m", **options})
    assert message in str(caught.value)


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sightguard\[remote\]'"):
        Remote("http://127.0.0.1:9/v1", "m")
