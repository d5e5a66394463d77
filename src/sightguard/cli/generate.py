"""`sightguard generate`: one answer, guarded or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightguard.cli.console import Json, Seed, print_json, progress

Revision = Annotated[str | None, typer.Option("--revision", help="Commit of a hub repository; pin it.")]


def generate(
    model: Annotated[str, typer.Argument(help="pocket, pocket-1, pocket-2, a folder with a checkpoint, or a hub id.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to ask.")],
    image: Annotated[
        list[Path] | None, typer.Option("--image", "-i", help="A picture; may be given several times.")
    ] = None,
    guard: Annotated[Path | None, typer.Option("--guard", help="Folder of a fitted guard.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer.")] = 128,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample (with --seed) instead of the likeliest words.")
    ] = False,
    revision: Revision = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Answer one prompt, with pictures and with a guard if given."""
    from dataclasses import asdict

    from sightguard.models.vlm import VLM
    from sightguard.steering.steer import steer
    from sightguard.steering.vlm_guard import VlmGuard
    from sightguard.types import Image, Sample

    asked = Sample.of(prompt, *(Image(path=path) for path in image or ()), id="prompt")
    method = VlmGuard.from_pretrained(guard) if guard else None
    with progress() as show:
        show("load the model", 0, 1)
        vlm = VLM.load(model, revision=revision)
        show("load the model", 1, 1)
        model_or_guarded = steer(vlm, method) if method else vlm
        show("answer", 0, 1)
        (response,) = model_or_guarded.generate(
            [asked],
            max_new_tokens=max_new_tokens,
            do_sample=sample,
            seed=seed,
            progress=lambda done: show("answer", done, 1),
        )
    if json:
        print_json(asdict(response))
    else:
        typer.echo(response.text)
