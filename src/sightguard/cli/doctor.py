"""`sightguard doctor`: whether this computer can run Sightguard, and whether Sightguard works on a model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sightguard.cli.console import Json, print_json, print_table, progress
from sightguard.cli.generate import Revision


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            help="pocket, pocket-1, pocket-2, a folder with a checkpoint, or a hub id; without it, the environment alone."
        ),
    ] = None,
    guard: Annotated[
        str | None, typer.Option("--guard", help="Folder of a guard fitted on the model, or its hub id.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1, …; default: where models run.")
    ] = None,
    revision: Revision = None,
    json: Json = False,
) -> None:
    """Check this computer and, given a model, test Sightguard on its weights; status 1 if anything fails."""
    from sightguard.doctor.report import visit

    with progress() as show:
        report = visit(model, guard=guard, revision=revision, dtype=dtype, device=device, progress=show)
    if json:
        print_json(report.as_json())
    else:
        if report.anatomy is not None:
            _print_parts(report.anatomy)
        rows = [(c.name, c.status, _shown(c.measured), _shown(c.tolerance), c.detail) for c in report.checks]
        print_table(("check", "status", "measured", "tolerance", "detail"), rows)
    raise typer.Exit(0 if report.ok else 1)


def _print_parts(anatomy: dict[str, Any]) -> None:
    rows = [
        (name, part["path"] or "–", part["type"], f"{part['parameters']:,}", ", ".join(part["dtypes"]))
        for name, part in anatomy["parts"].items()
    ]
    title = f"{anatomy['model']}, {anatomy['depth']} blocks of width {anatomy['hidden_size']}, {anatomy['dtype']} on {anatomy['device']}"
    print_table(("part", "where", "class", "parameters", "dtype"), rows, title=title)


def _shown(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.2g}"
