"""What the page says that pictures take at most is what they take: measured in a process of its own, on the embedded model."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from tests.conftest import ROOT
from tests.memory import each_grown, grown
from tests.serve.wire.made import encoded

PAGE = (ROOT / "docs" / "serve-security.md").read_text(encoding="utf-8").split("\n## Memory\n")[1].split("\n## ")[0]
FACTORS = {name: int(factor) for factor, name in re.findall(r"\| (\d+) bytes × `--([a-z-]+)` \|", PAGE)}
KEPT = 2**26
"""Bytes that the C library keeps for a thread of what was freed."""

READ = """
import threading
from sightguard.serve.room import Room
from sightguard.serve.settings import Settings
from sightguard.serve.wire import chat as chats, moderations
from sightguard.serve.wire.pictures import keep_texts_short
from tests.serve.wire.made import chat, encoded, shown, uri

keep_texts_short()
picture = uri(Path(sys.argv[1]).read_bytes())
settings = Settings(max_pixels=int(sys.argv[2]), max_request_pixels=2 * int(sys.argv[2]))
room, names = Room(settings.max_pixels), ["pocket"]

def parts(*urls):
    return shown(*urls, text="what is this ?")

def asked(*urls):
    return chats.read({**chat(parts(*urls)), "model": names[0]}, settings, names, room=room)

asked(uri(encoded(size=(16, 16))))
"""
ANSWER = (
    READ
    + """
from sightguard.engine.open import open_engine
from sightguard.models.vlm import VLM
from sightguard.serve.job import Decoding, Done, Job
from sightguard.serve.service import Service

service = Service(open_engine(VLM.load("pocket"), "pocket"), settings)

def answer(*requests):
    left, told = [len(requests)], threading.Event()
    def tell(event):
        left[0] -= isinstance(event, Done)
        if not left[0]:
            told.set()
    for i, one in enumerate(requests):
        service.queue.put(Job(str(i), one.sample, Decoding(max_tokens=2, temperature=0), tell, pixels=one.pixels))
    assert told.wait(60)

answer(asked(uri(encoded(size=(16, 16)))))
requests = [asked(picture, picture) for _ in range(4)]
begin(); answer(requests[0]); end()
begin(); service.engine.inspect([requests[0].sample]); end()
begin(); answer(*requests); end()
service.queue.close()  # a thread inside torch ends the process by abort
"""
)
DOORS = (
    READ
    + """
threads = [threading.Thread(target=asked, args=(picture,)) for _ in range(5)]
begin()
for one in threads: one.start()
for one in threads: one.join()
end()
"""
)


def worst(folder: Path, side: int) -> Path:
    """As many pixels as one picture may have, in the format that takes the most of memory for each."""
    file = folder / "picture.webp"
    file.write_bytes(encoded("WEBP", (side, side), method=0, lossless=True))
    return file


def test_answering_and_moderating_take_no_more_than_the_page_says(tmp_path: Path) -> None:
    pixels = 2000**2
    most = FACTORS["max-request-pixels"] * 2 * pixels
    alone, moderated, four = each_grown(ANSWER, worst(tmp_path, 2000), str(pixels))
    for found in (alone, moderated, four):
        assert 4 * 2 * pixels < found <= most


def test_reading_five_requests_at_once_takes_no_more_than_the_page_says(tmp_path: Path) -> None:
    pixels = 3000**2
    found = grown(DOORS, worst(tmp_path, 3000), str(pixels))
    assert 8 * pixels < found <= FACTORS["max-pixels"] * pixels + 5 * KEPT
    assert "64 MiB" in PAGE


def test_the_page_states_the_sum_for_the_defaults() -> None:
    from sightguard.serve.settings import Settings

    settings = Settings()
    door = FACTORS["max-pixels"] * settings.max_pixels / 1e9
    one = FACTORS["max-request-pixels"] * settings.max_request_pixels / 1e9
    assert set(FACTORS) == {"max-pixels", "max-request-pixels"}
    assert f"{door:.1f} GB" in PAGE
    assert f"{one:.1f} GB" in PAGE
    assert f"{door + 3 * one:.1f} GB" in PAGE, "tokens are counted, a pass, a moderation"


def png_with_texts(count: int) -> bytes:
    """A PNG of which each text unfolds to a million letters."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    whole, text = encoded(), zlib.compress(("é" + "a" * 1_000_000).encode())
    texts = [chunk(b"iTXt", b"note%d\0\1\0\0\0" % i + text) for i in range(count)]
    return whole[:33] + b"".join(texts) + whole[33:]


def test_texts_in_a_picture_do_not_unfold_to_much(tmp_path: Path) -> None:
    file = tmp_path / "texts.png"
    file.write_bytes(png_with_texts(60))
    code = READ + (
        "from sightguard.serve.wire.errors import WireError\nbegin()\ntry: asked(picture)\n"
        "except WireError as refused: assert refused.code == 'invalid_image'\nelse: raise SystemExit('taken')\nend()"
    )
    assert grown(code, file, "1000000") < 16_000_000
