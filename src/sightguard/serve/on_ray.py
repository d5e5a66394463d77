"""Replicas of a server on a Ray cluster, by Ray Serve: each is an actor with an engine of its own, and the same application as one server's.

Ray's proxy takes the connections and hands requests through to a replica, as they came; fields, headers and streams are made by
`sightguard.serve.app` there. Not run with Ray Serve yet: the tests run the replicas as actors of Ray, and compare the calls with its source.

Whoever may speak to Ray can run code in the place of the server: keep its token authentication on, and the cluster in a network of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sightguard.errors import MissingExtra, ModelError, UsageError
from sightguard.serve.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sightguard.serve.service import Service

LOCAL = "local"
OBJECTS = 256 * 2**20
"""Bytes of Ray's object store where Ray is started here; requests hardly touch it."""
NAME = "sightguard"


def builder(make: Callable[[], Service]) -> Callable[[], FastAPI]:
    """Return the function by which a replica builds its application.

    Args:
        make: loads the model and its guard, asks the canary, and returns the service; called once in each replica. What it raises keeps
            the replica from starting. It travels to the replica, so it must not hold a model.
    """

    def build() -> FastAPI:
        from sightguard.serve.app import make_app

        service = make()
        app = make_app(service)
        app.state.service = service
        return app

    return build


class Replica:
    """What Ray asks of a replica beside its requests; `app` is set by Ray Serve from `builder`."""

    app: FastAPI

    def check_health(self) -> None:
        """Raise where no requests are taken any more: Ray then puts another replica in this one's place."""
        if not self.app.state.service.queue.alive:
            raise RuntimeError("the engine of this replica has ended")


def serve_on_ray(
    make: Callable[[], Service],
    settings: Settings,
    *,
    replicas: int,
    batch: int,
    gpus: float = 0,
    address: str = LOCAL,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the process is told to end.

    Args:
        make: as for `builder`.
        settings: host and port are the proxy's; the rest is each replica's.
        replicas: how many.
        batch: requests of one pass of a replica's engine.
        gpus: of each replica.
        address: of a cluster, as `ray.init` takes it; "local" starts Ray on this machine for the time of the server.
        ready: called when every replica has passed its canary and requests are taken.

    Raises:
        MissingExtra: Ray Serve is not installed.
        UsageError: fewer than one replica; or the playground's comparison, since behind a proxy nothing is known to be loopback.
        ModelError: the replicas did not start.
    """
    if replicas < 1:
        raise UsageError(f"expected at least 1 replica; got {replicas}")
    if settings.compare:
        raise UsageError(
            "--playground-compare works on loopback alone, and behind Ray's proxy nothing is known to be loopback"
        )
    ray, serve = _modules()
    ours = not ray.is_initialized()
    if ours:
        limits = {"object_store_memory": OBJECTS} if address == LOCAL else {"address": address}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **limits)
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": settings.host, "port": settings.port})
        deployment = serve.deployment(
            serve.ingress(builder(make))(Replica), **_options(settings, replicas, batch, gpus)
        )
        serve.run(deployment.bind(), name=NAME, route_prefix="/")
        ready()
        _wait()
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise ModelError(
            f"the replicas on Ray did not start or did not stay: {type(error).__name__}: {' '.join(str(error).split())[:600]}"
        ) from error
    finally:
        serve.shutdown()
        if ours:
            ray.shutdown()


def _options(settings: Settings, replicas: int, batch: int, gpus: float) -> dict[str, Any]:
    """Return how Ray Serve is to run the replicas."""
    return {
        "name": NAME,
        "num_replicas": replicas,
        # Ray's own limit lets 5 in, and no batch would ever be full; ours answers 429 in the form that clients know
        "max_ongoing_requests": settings.queue + 2 * batch,
        # a canary that fails will fail again
        "max_constructor_retry_count": 1,
        "graceful_shutdown_timeout_s": 60,
        "ray_actor_options": {"num_cpus": 1, "num_gpus": gpus},
    }


def _modules() -> tuple[Any, Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        from ray import serve
    except ImportError:
        raise MissingExtra("ray[serve]", "scale", "replicas of a server") from None
    return ray, serve


def _wait() -> None:
    import signal
    import threading

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
