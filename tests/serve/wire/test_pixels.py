"""What the pictures of a request may come to together, and that nothing is decoded before that is known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sightguard.data.pictures import MAX_PIXELS, Measure
from sightguard.errors import UsageError
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.wire import chat as chats
from sightguard.serve.wire import moderations, pictures
from sightguard.serve.wire.errors import WireError
from sightguard.serve.wire.pictures import READ, weight
from tests.serve.wire.made import NAME, chat, encoded, shown, uri

SIDE = 600
LIMITS = Settings(max_request_pixels=2 * SIDE**2)
LARGE = uri(encoded(size=(SIDE, SIDE)))
Read = Callable[[list[str], Settings], object]


def asked(urls: list[str], limits: Settings, **options: Any) -> object:
    return chats.read(chat(shown(*urls)), limits, [NAME], **options)


def moderated(urls: list[str], limits: Settings, **options: Any) -> object:
    return moderations.read({"input": shown(*urls)}, limits, [NAME], **options)


READS = pytest.mark.parametrize(("read", "param"), [(asked, "messages"), (moderated, "input")])


@READS
def test_the_limit_on_all_pictures_is_exact_and_says_what_came(read: Read, param: str) -> None:
    read([LARGE, LARGE], LIMITS)
    with pytest.raises(WireError) as raised:
        read([LARGE, LARGE], replace(LIMITS, max_request_pixels=2 * SIDE**2 - 1))
    refused = raised.value
    assert (refused.status, refused.param, refused.code) == (400, param, "too_many_pixels")
    assert "at most 719,999 pixels together; got 720,000" in str(refused)


@READS
def test_nothing_is_decoded_of_what_is_too_much_together(
    read: Read, param: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr(pictures, "decode", lambda image, **options: decoded.append(image))
    with pytest.raises(WireError, match="pixels together"):
        read([LARGE] * 3, LIMITS)
    assert decoded == []
    read([LARGE] * 2, LIMITS)
    assert len(decoded) == 2


def test_the_pictures_of_all_turns_count() -> None:
    turns = [{"role": role, "content": shown(LARGE) if role == "user" else "Yes."} for role in ("user", "assistant")]
    body = {"model": NAME, "messages": [*turns, *turns, turns[0]]}
    assert chats.read(body, replace(LIMITS, max_request_pixels=3 * SIDE**2), [NAME]).pixels == 3 * SIDE**2
    with pytest.raises(WireError, match="pixels together"):
        chats.read(body, LIMITS, [NAME])


def test_small_and_oblong_pictures_count_as_what_a_processor_makes_of_them() -> None:
    assert weight(Measure(4000, 3000, 12_000_000)) == 12_000_000
    assert weight(Measure(8, 8, 64)) == READ
    assert weight(Measure(1, 100, 100)) == weight(Measure(100, 1, 100)) == 100 * READ
    assert weight(Measure(16, 16, 64_000_000)) == 64_000_000  # one tile of it


def test_a_line_of_pixels_is_refused_before_a_processor_scales_its_short_side() -> None:
    asked([uri(encoded(size=(3, 300)))], Settings())
    for size in ((3, 301), (301, 3), (1, 65_000)):
        with pytest.raises(WireError, match=f"is {size[0]} x {size[1]}; expected no side longer than 100 times"):
            asked([uri(encoded(size=size))], Settings())


def test_pictures_by_address_bring_no_more_bytes_than_a_body_may_have() -> None:
    data = encoded("BMP", (100, 100))
    urls, limits = ["https://a.example/1", "https://a.example/2"], Settings(max_body=2 * len(data))
    asked(urls, limits, fetch=lambda url: data)
    with pytest.raises(WireError, match="bytes together") as raised:
        asked(urls, replace(limits, max_body=2 * len(data) - 1), fetch=lambda url: data)
    assert raised.value.param == "messages.0.content.1.image_url.url"


@READS
def test_a_picture_waits_until_there_is_room_to_decode_it(read: Any, param: str) -> None:
    room, read_whole = Room(SIDE**2), threading.Event()

    def reads() -> None:
        read([LARGE], LIMITS, room=room)
        read_whole.set()

    with room.take(1):
        thread = threading.Thread(target=reads)
        thread.start()
        assert not read_whole.wait(0.3)
    assert read_whole.wait(10)
    thread.join()


def test_more_pixels_than_are_ever_decoded_are_refused_at_the_start() -> None:
    Settings(max_pixels=MAX_PIXELS)
    with pytest.raises(UsageError, match=r"max_pixels must be at most 64,000,000.*got 64,000,001"):
        Settings(max_pixels=MAX_PIXELS + 1)
    with pytest.raises(UsageError, match="max_request_pixels must be at least 1"):
        Settings(max_request_pixels=0)
