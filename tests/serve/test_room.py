"""Room for pixels: never more than there is, in order, and what is larger than all of it alone."""

from __future__ import annotations

import random
import threading
import time

import pytest

from sightguard.serve.room import Room


def test_many_threads_never_take_more_than_there_is_and_all_get_it() -> None:
    room, lock, now, most, done = Room(100), threading.Lock(), [0], [0], []

    def work(pixels: int) -> None:
        with room.take(pixels):
            with lock:
                now[0] += pixels
                most[0] = max(most[0], now[0])
            time.sleep(0.001)
            with lock:
                now[0] -= pixels
        done.append(pixels)

    sizes = [random.Random(0).randint(1, 60) for _ in range(60)]
    threads = [threading.Thread(target=work, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == sorted(sizes)
    assert 50 < most[0] <= 100


def test_what_is_larger_than_the_room_has_it_alone_and_nothing_overtakes_it() -> None:
    room, order = Room(10), []

    def work(pixels: int) -> None:
        with room.take(pixels):
            order.append(pixels)

    threads = []
    with room.take(4):
        for pixels in (1000, 3):  # 3 would fit, and has to wait all the same
            threads.append(threading.Thread(target=work, args=(pixels,)))
            threads[-1].start()
            time.sleep(0.1)
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == [1000, 3]


def test_an_error_inside_frees_the_room() -> None:
    room = Room(10)
    with pytest.raises(ValueError, match="damaged"), room.take(10):
        raise ValueError("damaged")
    with room.take(10):
        pass
