"""`sightguard serve`: a guarded model behind an OpenAI-compatible address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightguard.cli.console import progress, say
from sightguard.errors import UsageError
from sightguard.pocket.locate import NAMES

if TYPE_CHECKING:
    from sightguard.engine.make import Make


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
    max_request_pixels: Annotated[
        int, typer.Option("--max-request-pixels", min=1, help="Of all pictures of a request, and of one pass.")
    ] = 128_000_000,
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
    refuse_uninspected: Annotated[
        bool,
        typer.Option(
            "--refuse-uninspected", help="Answer nothing of which any part was not inspected; pictures always must be."
        ),
    ] = False,
    playground: Annotated[bool, typer.Option("--playground/--no-playground", help="A page to try it, at /.")] = True,
    playground_compare: Annotated[
        bool,
        typer.Option(
            "--playground-compare",
            help="Let the page, opened by the printed address, ask without the guard too; on loopback alone.",
        ),
    ] = False,
    guard_revision: Annotated[
        str | None, typer.Option("--guard-revision", help="Commit of the guard's or SafeVLM's hub repository; pin it.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit of the model's; pin it.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="bfloat16, float16, float32; auto: the checkpoint's.")] = "auto",
    replicas: Annotated[
        int,
        typer.Option("--replicas", min=1, help="Engines, each in a process of its own, by Ray Serve; 1: without Ray."),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Run the replicas on this Ray cluster; default: this machine."),
    ] = None,
) -> None:
    """Serve a guarded model, OpenAI-compatible; it does not start unless its guard is shown to work."""
    from sightguard.engine.make import Make
    from sightguard.serve.keys import Keys
    from sightguard.serve.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        queue=queue,
        deadline=deadline,
        max_tokens=max_tokens,
        max_images=max_images,
        max_pixels=max_pixels,
        max_request_pixels=max_request_pixels,
        max_body=max_body,
        image_hosts=tuple(allow_image_urls or ()),
        refuse_uninspected=refuse_uninspected,
        playground=playground or playground_compare,
        compare=playground_compare,
    )
    make = Make(
        model=_place(model),
        settings=settings,
        guard=guard and _place(guard),
        safevlm=safevlm and _place(safevlm),
        policy=policy and policy.absolute(),
        name=name,
        batch=batch,
        guard_revision=guard_revision,
        load={"revision": revision, "device": device, "dtype": dtype},
        keys=Keys.read(api_keys),
        audit=audit_log and audit_log.absolute(),
        content=log_content,
    )
    make.check()
    if replicas > 1 or ray is not None:
        _several(make, replicas, ray)
    else:
        _one(make)


def _one(make: Make) -> None:
    """Serve from this process."""
    from sightguard.serve.app import make_app
    from sightguard.serve.listen import bound, url
    from sightguard.serve.listen import serve as listen

    at = bound(make.settings.host, make.settings.port)  # a port that is taken is found out before a model is loaded
    with progress() as show:
        service = make(show)
    found = service.canary
    say(
        f"canary: {found['complied']} of {found['harmful']} harmful probes answered, {found['refused']} of {found['benign']} harmless "
        f"ones refused, states moved by {found['moved']:.2f} of their length"
    )
    engine, where = service.engine, url(make.settings.host, at.getsockname()[1])
    what = f"{engine.name} behind {engine.guard.id} ({engine.guard.sha256[:12]})"
    listen(make_app(service), at, ready=lambda: _ready(make, what, where, service.secret), stopping=service.queue.stop)


def _several(make: Make, replicas: int, ray: str | None) -> None:
    """Serve from replicas on Ray; each asks its own canary."""
    from sightguard.serve.on_ray import LOCAL, serve_on_ray

    device = make.load["device"]
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"a replica is given its GPU by Ray; expected --device cpu or cuda, or none; got {device!r}")
    count = f"{replicas} replica{'s' * (replicas > 1)}"
    say(f"starting {count} on Ray; each loads the model and asks its canary")
    serve_on_ray(
        make,
        make.settings,
        replicas=replicas,
        batch=make.batch,
        gpus={None: None, "cpu": 0, "cuda": 1}[device],
        address=ray or LOCAL,
        ready=lambda where: _ready(make, f"{count} of {make.name or make.model}, each shown to be guarded", where),
    )


def _ready(make: Make, what: str, where: str, secret: str = "") -> None:
    say(f"{what}: {where}/v1")
    if make.settings.playground:
        # after the # it reaches neither the server nor its log
        say(f"playground: {where}/#compare={secret}" if make.settings.compare else f"playground: {where}/")
    if make.keys is None and make.settings.host not in ("127.0.0.1", "::1", "localhost"):
        say("warning: no API keys are asked for, and others than this machine can reach the port")


def _place(name: str) -> str:
    """Return the whole path of a folder, which other processes find too; other names stay."""
    return str(Path(name).absolute()) if name not in NAMES and Path(name).is_dir() else name
