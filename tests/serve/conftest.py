"""One server of the embedded model for all tests of a file that ask one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serve.servers import Process, started


@pytest.fixture(scope="session")
def pocket() -> Iterator[Process]:
    with started() as process:
        yield process
