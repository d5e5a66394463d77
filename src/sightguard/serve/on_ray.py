"""Replicas of a server on a Ray cluster, by Ray Serve: each is an actor with an engine of its own, and the same application as one server's.

Ray's proxy takes the connections and hands requests through to a replica, as they came; fields, headers and streams are made by
`sightguard.serve.app` there. A replica that dies, or whose engine ends, is replaced by another that asks its canary first.

Whoever may speak to Ray can run code in the place of the server: keep its token authentication on, and the cluster in a network of its own.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sightguard.errors import MissingExtra, ModelError, UsageError
from sightguard.serve import replica
from sightguard.serve.listen import bound, url
from sightguard.serve.replica import Replica, builder
from sightguard.serve.settings import Settings

if TYPE_CHECKING:
    from sightguard.serve.service import Service

LOCAL = "local"
OBJECTS = 256 * 2**20
"""Bytes of Ray's object store where Ray is started here; requests hardly touch it."""
NAME = "sightguard"
HEALTH = 2.0
"""Seconds between two questions of Ray Serve to a replica whether it is well; until then a dead one is not replaced."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{replica.__name__}.middlewares",
    # a proxy that needs more than 3 times 5 seconds, as on a busy machine, would be ended and begun anew
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Ray's workers stand behind everything else that the machine does, and here they are the server
    "RAY_worker_niceness": "0",
}
"""What Ray is told where it is started here, unless it was told otherwise. The processes of a cluster have their own environment."""
_ERROR = re.compile(r"^(?:\w+\.)*(?=[A-Z]\w*: )", re.MULTILINE)
"""Where a line begins that ends a traceback, without the module of the error."""


def serve_on_ray(
    make: Callable[[], Service],
    settings: Settings,
    *,
    replicas: int,
    batch: int,
    gpus: float | None = None,
    address: str = LOCAL,
    ready: Callable[[str], None] = lambda where: None,
) -> None:
    """Serve until the process is told to end.

    Args:
        make: as for `sightguard.serve.replica.builder`.
        settings: host and port are the proxy's; the rest is each replica's.
        replicas: how many.
        batch: requests of one pass of a replica's engine.
        gpus: of each replica; None: one where the cluster has any.
        address: of a cluster, as `ray.init` takes it; "local" starts Ray on this machine for the time of the server.
        ready: called with the address of the proxy when every replica has passed its canary and requests are taken.

    Raises:
        MissingExtra: Ray Serve is not installed.
        UsageError: fewer than one replica; a port that is taken; the playground's comparison, since behind a proxy nothing is known to be
            loopback; or a cluster that serves something already, which would be ended with this.
        ModelError: Ray did not start, has no place for the replicas, or the replicas did not start; the message says why.
    """
    if replicas < 1:
        raise UsageError(f"expected at least 1 replica; got {replicas}")
    if settings.compare:
        raise UsageError(
            "--playground-compare works on loopback alone, and behind Ray's proxy nothing is known to be loopback"
        )
    port = _port(settings, address)
    ray, serve = _modules()
    with _cluster(ray, address):
        _check_free(serve)
        each = (1.0 if ray.cluster_resources().get("GPU") else 0.0) if gpus is None else gpus
        if address == LOCAL:
            _check_place(ray.cluster_resources(), replicas, each)
        signal.signal(signal.SIGTERM, _end)  # in place of Ray's, which leaves replicas that are being made
        try:
            deployment = serve.deployment(
                serve.ingress(builder(make))(Replica), **_options(settings, replicas, batch, each)
            )
            _start(ray, serve, deployment.bind(), settings.host, port)
            ready(url(settings.host, port))
            _wait()
        except _Told:
            pass
        finally:
            serve.shutdown()


def _start(ray: Any, serve: Any, application: Any, host: str, port: int) -> None:
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
        serve.run(application, name=NAME, route_prefix="/")
    except (ray.exceptions.RayError, RuntimeError, TimeoutError) as error:
        raise ModelError(f"the replicas on Ray did not start: {_reason(serve) or _line(error)}") from error


def _reason(serve: Any) -> str:
    """Return the error that a replica ended with; Ray Serve's own says that there was one."""
    with suppress(Exception):  # where Ray itself is gone there is nobody to ask
        told: str = serve.status().applications[NAME].deployments[NAME].message
        ends = [found.end() for found in _ERROR.finditer(told)]
        return " ".join(told[ends[-1] if ends else -600 :].split())
    return ""


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"


@contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """Be connected to Ray, and leave it again where that was done here."""
    if ray.is_initialized():
        yield
        return
    # without an address Ray would take the one of RAY_ADDRESS
    limits = {"object_store_memory": OBJECTS} if address == LOCAL else {}
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **limits)
    except Exception as error:  # Ray raises a plain one where its own processes do not come up in time
        ray.shutdown()
        raise ModelError(f"Ray did not start, or cannot be reached at {address!r}: {_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _port(settings: Settings, address: str) -> int:
    """Return the port of the proxy, after a look whether it is free on this machine."""
    if address != LOCAL:
        if settings.port == 0:
            raise UsageError("--port 0 takes a port of this machine; for a cluster name the port of its proxy")
        return settings.port
    at = bound(settings.host, settings.port)
    number: int = at.getsockname()[1]
    at.close()
    return number


def _check_free(serve: Any) -> None:
    found = serve.status()
    if found.proxies or found.applications:
        raise UsageError(
            "this cluster runs Ray Serve already, and what it serves would end with this server; expected a cluster without, or end "
            "that one first (`serve shutdown`)"
        )


def _check_place(found: Mapping[str, float], replicas: int, gpus: float) -> None:
    for kind, each in (("CPU", 1.0), ("GPU", gpus)):
        if replicas * each > found.get(kind, 0):
            raise ModelError(
                f"{replicas} replicas need {replicas * each:g} {kind}s, and this machine has {found.get(kind, 0):g}; give fewer --replicas"
            )


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
        "health_check_period_s": HEALTH,
        # the audit log is the log
        "logging_config": {"enable_access_log": False},
        "ray_actor_options": {"num_cpus": 1, "num_gpus": gpus},
    }


def _modules() -> tuple[Any, Any]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray import serve
    except ImportError:
        raise MissingExtra("ray[serve]", "scale", "replicas of a server") from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return ray, serve


class _Told(BaseException):
    """The process was told to end."""


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends once
    raise _Told


def _wait() -> None:
    threading.Event().wait()
