"""From the body of /v1/chat/completions to what is asked of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sightguard.serve.job import Decoding
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.faults import parse
from sightguard.serve.wire.models import check_model
from sightguard.serve.wire.pictures import Fetch, Pictures
from sightguard.serve.wire.requests import ChatRequest, ModerationWish
from sightguard.serve.wire.shapes import MAX_PARTS, ImagePart, TextPart
from sightguard.serve.wire.turns import AssistantTurn, SystemTurn, UserTurn
from sightguard.types import Image, Message, Part, Role, Sample

_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Moderated:
    """What a request wants to hear of the inspectors in its answer."""

    model: str
    input: Literal["score", "block"] = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was read whole."""

    sample: Sample = field(repr=False)
    decoding: Decoding
    stream: bool = False
    include_usage: bool = False
    moderation: Moderated | None = None
    received: Mapping[str, int]
    """Parts by kind, "text" and "image"."""
    pixels: int = 0
    """Of all pictures, as they count."""


def read(
    body: object,
    settings: Settings,
    names: Sequence[str],
    *,
    id: str = "request",
    fetch: Fetch | None = None,
    room: Room | None = None,
) -> Asked:
    """Return what a body asks for. Pictures are decoded, so call it in a thread.

    Args:
        body: JSON, parsed.
        settings: limits.
        names: the model as clients call it; further names are those of its inspectors, for `moderation.model`.
        id: of the sample.
        fetch: gets pictures by address; None: data URIs only.
        room: for what is decoded at the same time by all requests.

    Raises:
        WireError: the request cannot be kept to as it stands; 404 for another model, else 400.
    """
    _check_size(body, settings)
    asked = parse(ChatRequest, body)
    check_model(asked.model, names[:1], "model")
    _check_pairs(asked)
    decoding = _decoding(asked, settings.max_tokens)
    moderation = _moderated(asked.moderation, names)
    _check_turns(asked, settings)
    pictures = Pictures(settings, fetch, room)
    sample = Sample(id, tuple(_message(turn, i, pictures) for i, turn in enumerate(asked.messages)))
    pictures.check("messages")
    return Asked(
        sample=sample,
        decoding=decoding,
        stream=bool(asked.stream),
        include_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
        moderation=moderation,
        received=received(sample),
        pixels=pictures.pixels,
    )


def received(sample: Sample) -> dict[str, int]:
    """Return how many parts of each kind a sample has, "text" and "image"."""
    kinds = Counter("image" if isinstance(part, Image) else "text" for turn in sample.messages for part in turn.parts)
    return {kind: kinds[kind] for kind in ("text", "image")}


def _check_size(body: object, settings: Settings) -> None:
    """Before anything is read, so that a body full of empty turns costs nothing."""
    turns = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(turns, list):
        return
    if len(turns) > settings.max_messages:
        raise _refused("messages", f"expected at most {settings.max_messages} turns; got {len(turns)}", "invalid_value")
    contents = (turn.get("content") for turn in turns if isinstance(turn, dict))
    parts = sum(len(content) for content in contents if isinstance(content, list))
    if parts > (most := settings.max_messages + MAX_PARTS):
        raise _refused("messages", f"expected at most {most} parts; got {parts}", "invalid_value")


def _check_pairs(asked: ChatRequest) -> None:
    if asked.top_logprobs is not None and not asked.logprobs:
        raise _refused("top_logprobs", "needs logprobs to be true", "invalid_value")
    if asked.stream_options is not None and not asked.stream:
        raise _refused("stream_options", "needs stream to be true", "invalid_value")


def _decoding(asked: ChatRequest, most: int) -> Decoding:
    wanted = {
        name: getattr(asked, name)
        for name in ("max_tokens", "max_completion_tokens")
        if getattr(asked, name) is not None
    }
    if len(set(wanted.values())) > 1:
        raise _refused("max_tokens", "differs from max_completion_tokens. Send one of them", "invalid_value")
    name, longest = next(iter(wanted.items()), ("max_tokens", most))
    if longest > most:
        raise _refused(name, f"this server writes at most {most} tokens; got {longest}", "integer_above_max_value")
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    return Decoding(
        max_tokens=longest,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=asked.seed,
        stop=stop,
        logprobs=bool(asked.logprobs),
        top_logprobs=asked.top_logprobs or 0,
    )


def _moderated(wish: ModerationWish | None, names: Sequence[str]) -> Moderated | None:
    if wish is None:
        return None
    check_model(wish.model, names, "moderation.model")
    policy = wish.policy
    return Moderated(wish.model, policy.input.mode if policy is not None and policy.input is not None else "score")


def _check_turns(asked: ChatRequest, settings: Settings) -> None:
    last = len(asked.messages) - 1
    if asked.messages[last].role != "user":
        raise _refused(
            f"messages.{last}.role", "the last turn must be the user's, so that there is something to answer"
        )
    pictures = sum(isinstance(part, ImagePart) for turn in asked.messages for part in _parts(turn))
    if pictures > settings.max_images:
        raise _refused(
            "messages", f"expected at most {settings.max_images} pictures; got {pictures}", "too_many_images"
        )
    for i, turn in enumerate(asked.messages):
        if isinstance(turn, AssistantTurn) and (turn.content is None) == (turn.refusal is None):
            raise _refused(f"messages.{i}", "an answer has either content or refusal; this one has both or neither")


def _parts(turn: SystemTurn | UserTurn | AssistantTurn) -> Iterator[str | TextPart | ImagePart]:
    content = turn.content if turn.content is not None else getattr(turn, "refusal", None)
    if isinstance(content, str):
        yield content
    elif content is not None:
        yield from content


def _message(turn: SystemTurn | UserTurn | AssistantTurn, i: int, pictures: Pictures) -> Message:
    parts = (_part(part, f"messages.{i}.content.{j}", pictures) for j, part in enumerate(_parts(turn)))
    return Message(_ROLES[turn.role], tuple(parts))


def _part(part: str | TextPart | ImagePart, param: str, pictures: Pictures) -> Part:
    if isinstance(part, ImagePart):
        return pictures.take(part.image_url.url, f"{param}.image_url.url")
    return part if isinstance(part, str) else part.text


def _refused(param: str, message: str, code: str = "invalid_value") -> WireError:
    return WireError(400, f"{param}: {message}.", param=param, code=code)
