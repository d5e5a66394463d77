"""A model behind any endpoint that speaks OpenAI's chat completions: hosted, vLLM, SGLang, Ollama, llama.cpp.

    judge = Remote("http://localhost:8000/v1", "some-model")
    judge([Sample.of("What is in the picture?", Image(path=Path("a.png")))])

It is a `Generate` like any other and imports no torch. What is asked leaves this machine: mind what a sample holds.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sightguard.artifacts import well_formed
from sightguard.errors import MissingExtra, ModelError, PictureError, UsageError
from sightguard.types import Image, Message, Response, Sample

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

RESERVED = ("model", "messages", "stream", "n")
"""What `Remote` itself sets: one whole answer a sample."""
_SIGNATURES: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
    (b"ftypavif", 4, "image/avif"),
)


class Remote:
    """Asks an endpoint, a few samples at a time; answers come back in the order of the samples.

    A sample that fails (an HTTP error after all retries, no answer in time, a content filter, an empty choice, a picture that cannot
    be read) is a `Response` with `error` set, in its place. Only what no sample can survive raises.

    Args:
        base_url: the address up to and with `/v1`.
        model: the name that the endpoint knows the model by.
        api_key: default: the environment variable OPENAI_API_KEY; an endpoint that asks for none needs none.
        max_new_tokens: longest answer in tokens, sent as `max_tokens`; None sends none, for endpoints that want another name.
        temperature: 0 is greedy; None sends none.
        timeout: seconds for one attempt.
        retries: further attempts after a timeout, a lost connection, or status 408, 409, 429 or 5xx; `Retry-After` is kept to.
        concurrency: samples asked at the same time.
        decoding: further entries of the request (`top_p`, `seed`, `max_completion_tokens` …), sent as they are.

    Raises:
        MissingExtra: the package `openai` is not installed.
        UsageError: an option that cannot be meant.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        max_new_tokens: int | None = 512,
        temperature: float | None = 0.0,
        timeout: float = 120.0,
        retries: int = 4,
        concurrency: int = 8,
        **decoding: Any,
    ) -> None:
        _check(base_url, max_new_tokens, timeout, retries, concurrency, decoding)
        _import_openai()
        self.base_url, self.model = base_url, model
        self.timeout, self.retries, self.concurrency = timeout, retries, concurrency
        set_here = {"max_tokens": max_new_tokens, "temperature": temperature}
        self.decoding = {name: value for name, value in set_here.items() if value is not None} | decoding
        self._api_key = api_key

    def __repr__(self) -> str:
        return f"Remote({self.base_url!r}, {self.model!r})"  # never the key

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        """Answer `samples`.

        Raises:
            ModelError: the endpoint refuses the key (401, 403), or knows no such model or address (404).
        """
        with self.asking() as ask:
            return at_once(ask, samples, self.concurrency)

    @contextmanager
    def asking(self) -> Iterator[Callable[[Sample], Response]]:
        """Yield a function that asks about one sample, for several threads at once; it raises as a call does."""
        openai = _import_openai()
        # local endpoints ask for no key, and the client will not start without one
        key = self._api_key or os.environ.get("OPENAI_API_KEY") or "none"
        with openai.OpenAI(
            base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=self.retries
        ) as client:
            yield lambda sample: self._ask(client, sample)

    def _ask(self, client: openai.OpenAI, sample: Sample) -> Response:
        openai = _import_openai()
        began = time.perf_counter()
        try:
            messages = [_message(message) for message in sample.messages]
            # all options go in the body: endpoints know more of them than the client does
            answer = client.chat.completions.create(model=self.model, messages=messages, extra_body=self.decoding)
            response = _response(answer, time.perf_counter() - began)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise ModelError(self._advice(error.status_code)) from error
        except openai.APIStatusError as error:
            response = _failed(f"{type(error).__name__}: status {error.status_code}, {_short(error.message)}", began)
        except openai.APITimeoutError:
            response = _failed(f"APITimeoutError: no answer in {self.timeout:g} s, {self.retries} retries", began)
        except (openai.OpenAIError, PictureError) as error:
            response = _failed(f"{type(error).__name__}: {_short(str(error))}", began)
        except (AttributeError, TypeError, ValueError):  # the client takes any reply of status 200 for an answer
            response = _failed("NotACompletion: the endpoint's reply is no chat completion; check the address", began)
        return _well_formed(response)

    def _advice(self, status: int) -> str:
        if status == 404:
            return (
                f"{self.base_url} has no model {self.model!r}, or is not the address of an OpenAI-compatible endpoint (status 404). "
                "Check both; the address usually ends in /v1."
            )
        return (
            f"{self.base_url} refused the key for {self.model!r} (status {status}). Set OPENAI_API_KEY or pass api_key=, and check that the "
            "key may use this model."
        )


def at_once(ask: Callable[[Sample], Response], samples: Sequence[Sample], concurrency: int) -> list[Response]:
    """Return the answers to `samples` in their order, a few of them asked at a time.

    Raises:
        Exception: the first that `ask` raises; nothing further is asked then.
    """
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="remote")
    try:
        futures = [pool.submit(ask, sample) for sample in samples]
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done() and (error := future.exception()) is not None:
                raise error
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _import_openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise MissingExtra("openai", "remote", "a remote model") from error
    return openai


def _check(
    base_url: str,
    max_new_tokens: int | None,
    timeout: float,
    retries: int,
    concurrency: int,
    decoding: Mapping[str, Any],
) -> None:
    if not base_url.startswith(("http://", "https://")):
        raise UsageError(f"expected an address such as http://localhost:8000/v1; got {base_url!r}")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise UsageError(f"expected max_new_tokens of at least 1, or None; got {max_new_tokens}")
    if timeout <= 0 or retries < 0 or concurrency < 1:
        raise UsageError(
            f"expected timeout > 0, retries >= 0 and concurrency >= 1; got {timeout}, {retries} and {concurrency}"
        )
    taken = sorted(set(decoding) & set(RESERVED))
    if taken:
        raise UsageError(f"the options {', '.join(taken)} are set by Remote itself; leave them out")


def _message(message: Message) -> Any:
    """Return one turn on the wire: plain text as a string, since not every endpoint takes a list for it, else parts in their order."""
    if not message.images:
        return {"role": message.role, "content": well_formed(message.text)}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": well_formed(part)}
    try:
        data = part.read()
    except OSError as error:
        raise PictureError(
            f"the picture {str(part.path)!r} cannot be read: {error.strerror}. Check the path."
        ) from error
    url = f"data:{_media_type(data)};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _media_type(data: bytes) -> str:
    for signature, at, name in _SIGNATURES:
        if data[at : at + len(signature)] == signature:
            return name
    raise PictureError(
        f"{len(data)} bytes that are no picture in a known format (PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF)"
    )


def _response(answer: ChatCompletion, seconds: float) -> Response:
    usage = answer.usage
    known: dict[str, Any] = {
        "seconds": seconds,
        "prompt_tokens": usage.prompt_tokens if usage else 0,
        "answer_tokens": usage.completion_tokens if usage else 0,
    }
    if not answer.choices:
        return Response("", error="EmptyChoice: the endpoint gave no choice", **known)
    choice = answer.choices[0]
    said, refusal = choice.message.content, choice.message.refusal
    # where vLLM and others put the thoughts of a thinking model; the client has no name for it
    known["thought"] = (
        getattr(choice.message, "reasoning_content", None) or getattr(choice.message, "reasoning", "") or ""
    )
    if choice.finish_reason == "content_filter":
        return Response("", error="ContentFilter: the endpoint's content filter took the answer", **known)
    if refusal and not said:
        return Response(refusal, "refused", **known)
    if choice.finish_reason == "length":
        return Response(said or "", "length", **known)
    if said is None:
        return Response("", error=f"EmptyChoice: no text; finish reason {choice.finish_reason!r}", **known)
    return Response(said, **known)


def _well_formed(response: Response) -> Response:
    """JSON on the wire may hold half an emoji, where an answer was cut inside one; no file takes it."""
    error = None if response.error is None else well_formed(response.error)
    return replace(response, text=well_formed(response.text), thought=well_formed(response.thought), error=error)


def _failed(error: str, began: float) -> Response:
    return Response("", error=error, seconds=time.perf_counter() - began)


def _short(text: str) -> str:
    """Return the first line, cut: a server may quote the whole prompt back."""
    return text.strip().split("\n")[0][:200]
