"""`sightguard serve`: a guarded model behind an OpenAI-compatible address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sightguard.cli.console import loaded, progress, say


def serve(
    model: Annotated[str, typer.Argument(help="pocket, pocket-1, pocket-2, a folder with a checkpoint, or a hub id.")],
    guard: Annotated[str | None, typer.Option("--guard", help="Folder of a fitted guard, or its hub id.")] = None,
    safevlm: Annotated[
        str | None,
        typer.Option("--safevlm", help="Folder of a trained SafeVLM, or its hub id. The embedded models bring one."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="YAML of what a SafeVLM does about each risk.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")] = 8000,
    name: Annotated[
        str | None, typer.Option("--name", help="The model, as clients call it; default: as it is named here.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Requests of one pass.")] = 16,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Requests that may wait; more get 429.")] = 256,
    deadline: Annotated[float, typer.Option("--deadline", help="Seconds until a request is given up.")] = 120.0,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Longest answer; also where none is asked for.")
    ] = 512,
    max_images: Annotated[int, typer.Option("--max-images", min=1, help="Pictures of a request.")] = 16,
    max_pixels: Annotated[int, typer.Option("--max-pixels", min=1, help="Of one picture.")] = 64_000_000,
    max_body: Annotated[int, typer.Option("--max-body", min=1, help="Bytes of a request.")] = 32 * 2**20,
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", help="File, one key a line; or set SIGHTGUARD_API_KEYS.")
    ] = None,
    allow_image_urls: Annotated[
        list[str] | None,
        typer.Option("--allow-image-urls", metavar="HOST", help="Fetch pictures from this host; may be repeated."),
    ] = None,
    audit_log: Annotated[
        Path | None, typer.Option("--audit-log", help="JSONL, a line a request; without it there is none.")
    ] = None,
    log_content: Annotated[bool, typer.Option("--log-content", help="Write texts and answers into it too.")] = False,
    playground: Annotated[bool, typer.Option("--playground/--no-playground", help="A page to try it, at /.")] = True,
    playground_compare: Annotated[
        bool,
        typer.Option("--playground-compare", help="Let the page ask without the guard too; on loopback alone."),
    ] = False,
    guard_revision: Annotated[
        str | None, typer.Option("--guard-revision", help="Commit of the guard's or SafeVLM's hub repository; pin it.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit of the model's; pin it.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="bfloat16, float16, float32; auto: the checkpoint's.")] = "auto",
) -> None:
    """Serve a guarded model, OpenAI-compatible; it does not start unless its guard is shown to work."""
    from sightguard.serve.keys import Keys
    from sightguard.serve.listen import bound
    from sightguard.serve.log import AuditLog
    from sightguard.serve.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        queue=queue,
        deadline=deadline,
        max_tokens=max_tokens,
        max_images=max_images,
        max_pixels=max_pixels,
        max_body=max_body,
        image_hosts=tuple(allow_image_urls or ()),
        playground=playground or playground_compare,
        compare=playground_compare,
    )
    keys = Keys.read(api_keys)
    audit = None if audit_log is None else AuditLog(audit_log, content=log_content)
    at = bound(host, port)  # a port that is taken is found out before a model is loaded
    engine, measured = _engine(
        model,
        guard,
        safevlm,
        policy,
        name,
        batch,
        guard_revision,
        {"revision": revision, "device": device, "dtype": dtype},
    )

    from sightguard.serve.app import make_app
    from sightguard.serve.listen import serve as listen
    from sightguard.serve.service import Service

    service = Service(engine, settings, keys, audit, measured)
    where = f"http://{f'[{host}]' if ':' in host else host}:{at.getsockname()[1]}"

    def ready() -> None:
        say(f"{engine.name} behind {engine.guard.id} ({engine.guard.sha256[:12]}): {where}/v1")
        if settings.playground:
            say(f"playground: {where}/")
        if keys is None and host not in ("127.0.0.1", "::1", "localhost"):
            say("warning: no API keys are asked for, and others than this machine can reach the port")

    listen(make_app(service), at, ready=ready, stopping=service.queue.stop)


def _engine(
    model: str,
    guard: str | None,
    safevlm: str | None,
    policy: Path | None,
    name: str | None,
    batch: int,
    guard_revision: str | None,
    load: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """Load the model and its guard, and ask the canary."""
    from sightguard.engine.canary import canary
    from sightguard.engine.open import check_guarded, open_engine
    from sightguard.engine.probes import probes_for

    check_guarded(model, guard, safevlm, policy)
    with progress() as show:
        vlm = loaded(model, show, **load)
        engine = open_engine(
            vlm, model, guard=guard, safevlm=safevlm, policy=policy, name=name, batch=batch, revision=guard_revision
        )
        show("canary", 0, 1)
        found = canary(engine, probes_for(model))
        show("canary", 1, 1)
    say(
        f"canary: {found.complied} of {found.harmful} harmful probes answered, {found.refused} of {found.benign} harmless ones refused, "
        f"states moved by {found.moved:.2f} of their length"
    )
    return engine, found.as_json()
