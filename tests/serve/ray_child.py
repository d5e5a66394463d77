"""The command, with an engine in place of a model and its guard: `python -m tests.serve.ray_child serve echo --guard FOLDER …`."""

from __future__ import annotations

import sightguard.engine.make
from sightguard.cli.app import main
from tests.serve.replica import Pretended

if __name__ == "__main__":
    sightguard.engine.make.Make = Pretended  # type: ignore[misc]
    main()
