"""What a server is started with; nothing here can be changed by a client, or while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from sightguard.data.pictures import MAX_PIXELS
from sightguard.errors import UsageError

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of a server, and what it opens.

    Args:
        host, port: where it listens.
        max_body: bytes of a request, and of all its pictures, those by address too.
        max_images: pictures of a request.
        max_image_bytes: of one picture, encoded.
        max_pixels: of one picture, width times height; also those that are decoded at the same time as requests come in.
        max_request_pixels: of all pictures of a request, and of all requests of one pass. A picture that is small or oblong counts for more, see
            `sightguard.serve.wire.pictures.weight`.
        max_messages: turns of a request.
        image_hosts: from where pictures may be fetched by address; none: data URIs only.
        queue: requests that may wait; more are told to come back (429).
        wait: seconds that a request waits for others to share its batch, at most.
        deadline: seconds until a request is given up.
        max_tokens: longest answer, where the request names none, and at most.
        refuse_uninspected: answer nothing of which any part was not inspected, words without a picture too; pictures always have to be.
        playground: serve the page.
        compare: let the page ask the model without its guard, from loopback only; each is counted as a bypass.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_body: int = 32 * MIB
    max_images: int = 16
    max_image_bytes: int = 20 * MIB
    max_pixels: int = MAX_PIXELS
    max_request_pixels: int = 2 * MAX_PIXELS
    max_messages: int = 2048
    image_hosts: tuple[str, ...] = ()
    queue: int = 256
    wait: float = 0.01
    deadline: float = 120.0
    max_tokens: int = 512
    refuse_uninspected: bool = False
    playground: bool = True
    compare: bool = False

    def __post_init__(self) -> None:
        for name in (
            "max_body", "max_images", "max_image_bytes", "max_pixels", "max_request_pixels", "max_messages", "queue", "max_tokens",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.max_pixels > MAX_PIXELS:
            raise UsageError(
                f"max_pixels must be at most {MAX_PIXELS:,}, as no larger picture is decoded; got {self.max_pixels:,}"
            )
        if self.wait < 0 or not self.deadline > 0:
            raise UsageError(
                f"wait must be 0 or more seconds and deadline above 0; got {self.wait} and {self.deadline}"
            )
        if self.compare and not (self.playground and self.host in ("127.0.0.1", "::1", "localhost")):
            raise UsageError(
                f"--playground-compare answers without the guard, so the server must listen on loopback alone; got host {self.host!r}"
            )
