"""What every verb shares: its options, how it prints, how it shows progress.

stdout carries the answer only (a table, or JSON with --json); everything else goes to stderr, so that output can be
piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from sightguard.models.vlm import VLM

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn at random.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to: a new one, or an empty one.")]

SECONDS_BETWEEN_LINES = 10.0
WIDEST = 1000


class Progress(Protocol):
    """What long work calls to say how far it is. The first call of a stage names its size; `loss` is shown if given."""

    def __call__(self, stage: str, done: int, total: int, loss: float | None = None) -> None: ...


def loaded(model: str, show: Progress, **options: Any) -> VLM:
    """Load a model, and show that it takes a while; options as for `VLM.load`."""
    from sightguard.models.vlm import VLM

    show("load the model", 0, 1)
    vlm = VLM.load(model, **options)
    show("load the model", 1, 1)
    return vlm


def print_json(value: object) -> None:
    """Print one JSON value on stdout."""
    from sightguard.artifacts import json_text

    sys.stdout.write(json_text(value, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table on stdout, as wide as the terminal, or as its content where there is none."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    print_rich(table)


def print_rich(table: Table) -> None:
    """Print a table on stdout, as wide as the terminal, or as its content where there is none."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # measured on a wide one, because a console never measures beyond its own width
        console = Console(width=Console(width=WIDEST).measure(table).maximum)
    console.print(table)


def say(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(text + "\n")


@contextmanager
def new_folder(out: Path) -> Iterator[None]:
    """Take away the folders that the block made on the way to `out`, if it fails and left nothing in them."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # it holds something, or was never made
                folder.rmdir()
        raise


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield a callback that shows progress on stderr: bars in a terminal, a line every few seconds elsewhere."""
    if sys.stderr.isatty():
        with _bars() as show:
            yield show
    else:
        yield _Lines()


class _Lines:
    """Progress for logs: the start and end of each stage, and a line now and then."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}
        self._last = 0.0

    def __call__(self, stage: str, done: int, total: int, loss: float | None = None) -> None:
        now = time.monotonic()
        first = stage not in self._began
        began, before = self._began.setdefault(stage, (now, done))
        if first or done >= total or now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            shown = "" if loss is None else f"  loss {loss:.3f}"
            # what was done when the stage began, by a run before, says nothing of its speed
            more = done - before if done < total else 0
            left = f"  about {(now - began) / more * (total - done):.0f} s left" if more > 0 else ""
            say(f"{stage}  {done}/{total}  {now - began:.0f} s{left}{shown}")


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def show(stage: str, done: int, total: int, loss: float | None = None) -> None:
            if stage not in tasks:
                # what a run before has done is where the bar begins, not progress that it makes
                tasks[stage] = bars.add_task(stage, total=total, completed=done, loss="")
            bars.update(tasks[stage], completed=done, total=total, loss="" if loss is None else f"loss {loss:.3f}")

        yield show
