"""`sightguard pocket`: the embedded model, made again or described."""

from __future__ import annotations

from typing import Annotated

import typer

from sightguard.cli.console import Json, Out, Seed, print_json, print_table, progress, say

app = typer.Typer(
    help="The embedded model: a test bench for methods, never evidence about large models.", no_args_is_help=True
)


@app.command()
def build(out: Out, seed: Seed = 0, json: Json = False) -> None:
    """Train the embedded model again from nothing (about 15 minutes on 2 cores); a second call takes up an interrupted one."""
    from sightguard.artifacts import read_json
    from sightguard.pocket.build import build as build_pocket
    from sightguard.pocket.locate import FIGURES

    with progress() as report:
        made = build_pocket(seed, out, progress=report)
    if json:
        print_json({"seed": seed, "folder": str(made), **read_json(made / FIGURES)})
    else:
        say(f"done: {made}. Load it with VLM.load({str(made)!r}).")


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(help="pocket, pocket-1, pocket-2, or a folder made by `pocket build`.")
    ] = "pocket",
    json: Json = False,
) -> None:
    """Show the measured figures of an embedded model."""
    from sightguard.artifacts import read_json
    from sightguard.pocket.locate import FIGURES, find

    place = find(name)
    figures = read_json(place / FIGURES)
    if json:
        print_json({"name": name, "folder": str(place), **figures})
        return
    rows = _flatten({key: value for key, value in figures.items() if key not in ("recipe", "stages")})
    print_table(("what", "value"), rows, title=f"{name}: a test bench, no evidence about large models")


def _flatten(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested figures as rows with dotted names."""
    if isinstance(value, dict):
        return [
            row for key, inner in value.items() for row in _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    return [(prefix, f"{value:.3f}" if isinstance(value, float) else str(value))]
