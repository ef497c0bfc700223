"""The api process: what it is made of, and how it is served."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from starlette.middleware.cors import CORSMiddleware

from api.broker_door import BrokerDoor, look_up
from api.command_waits import CommandWaits
from api.conventions import idempotency, problems
from api.conventions.middleware import Conventions
from api.document.route import DescribedApi
from api.edge import Edge
from api.exports.desk import ExportDesk
from api.feed.fanout import Fanout
from api.feed.socket import Exchange, FeedProtocol
from api.fencebooks import FenceBooks
from api.identity.gate import Gate, rates_of
from api.identity.parts import credentials_of, identity_of
from api.latest import Latest
from api.metrics import Metrics
from api.routers import (
    alerts,
    api_keys,
    areas,
    assets,
    attachments,
    audit,
    auth,
    backfills,
    broker,
    charts,
    commands,
    dead_letters,
    deliveries,
    detention,
    device_credentials,
    devices,
    eta,
    events,
    exports,
    feed,
    fences,
    health,
    ledger,
    orders,
    pickups,
    positions,
    privacy,
    reference,
    rules,
    second_factor,
    share,
    shipments,
    trips,
    users,
    visits,
    webhooks,
    why,
)
from api.routers import map as live_map
from api.routers.preview import preview_routes
from api.rpc.server import RpcServer
from api.services import Services
from tracking.broker_access import Foreign
from tracking.errors import SettingsError
from tracking.feed import Publisher, SharedRates
from tracking.settings import Settings
from tracking.store.pool import ReadPool

logger = logging.getLogger(__name__)

# The largest request of a client: a subscription to 10,000 devices by name.
_MAX_FRAME_BYTES = 1_048_576
# A peer that answers no ping for this long is gone; half of the idle timeout of common proxies.
_PING_S = 20.0
_DRAIN_S = 5


def create_app(settings: Settings, *, map_dir: Path = live_map.MAP_DIR) -> DescribedApi:
    """The application; its lifespan opens and closes everything it uses.

    Neither this nor the lifespan needs the database or Redis to be there.
    """
    metrics = Metrics()
    pool = ReadPool(settings.database_url.get_secret_value())
    identity = identity_of(settings, pool)
    credentials = credentials_of(identity, pool)
    redis_url = settings.redis_url.get_secret_value()
    rates = rates_of(settings)
    services = Services(
        settings=settings,
        pool=pool,
        credentials=credentials,
        gate=Gate(rates, credentials.stood),
        identity=identity,
        fanout=Fanout(redis_url, pool, metrics),
        books=FenceBooks(pool),
        latest=Latest(pool),
        publisher=Publisher(redis_url),
        exports=ExportDesk(settings.database_url.get_secret_value()),
        metrics=metrics,
        door=BrokerDoor(
            partial(look_up, pool),
            Foreign.of(settings.formats, settings.foreign_tenant),
            settings.broker_tenant,
        ),
        command_waits=CommandWaits(redis_url),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: DescribedApi) -> AsyncIterator[None]:
        await pool.open()
        try:
            async with (
                services.fanout,
                services.publisher,
                services.command_waits,
                SharedRates(redis_url, rates),
                RpcServer(services),
            ):
                yield
        finally:
            await identity.close()
            await pool.close()

    app = DescribedApi(
        title="Waymark",
        version=_version(),
        summary="Where everything is, and what happened to it",
        openapi_url="/v1/openapi.json",
        # Their pages load scripts from elsewhere, which a machine without internet cannot.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.services = services
    problems.install(app)
    idempotency.install(app)
    for noun in (
        devices,
        device_credentials,
        commands,
        broker,
        positions,
        visits,
        webhooks,
        deliveries,
        areas,
        assets,
        attachments,
        shipments,
        detention,
        orders,
        pickups,
        eta,
        share,
        why,
        events,
        exports,
        backfills,
        charts,
        trips,
        fences,
        rules,
        alerts,
        ledger,
        dead_letters,
        audit,
        auth,
        second_factor,
        users,
        privacy,
        api_keys,
        health,
        live_map,
        reference,
        feed,
    ):
        app.include_router(noun.router)
    app.include_router(preview_routes())
    app.include_router(share.page_routes())
    app.include_router(live_map.map_routes(map_dir))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Last-Event-ID",
                "If-Match",
                "If-None-Match",
                "X-Request-Id",
            ],
            expose_headers=[
                "ETag",
                "Idempotent-Replayed",
                "Link",
                "Location",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                "X-Request-Id",
            ],
            max_age=600,
        )
    app.add_middleware(Conventions)
    app.add_middleware(
        Edge, metrics=metrics, gate=services.gate, headers=_security_headers(settings)
    )
    return app


async def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, or until cancelled; then finish what is being answered.

    `ready` is called once with the address, when requests are answered. A second signal ends
    the process without waiting for clients.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    sock = _listen(settings.http_host, settings.http_port)
    with sock:
        config = uvicorn.Config(
            create_app(settings),
            http=Exchange,
            ws=FeedProtocol,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            ws_max_size=_MAX_FRAME_BYTES,
            ws_ping_interval=_PING_S,
            ws_ping_timeout=_PING_S,
            # Compression costs more per delivery than everything else together.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        host, port = sock.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        server = _Server(config, lambda: ready(address) if ready else None)
        serving = asyncio.create_task(server.serve(sockets=[sock]), name="api.serve")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise


def keep_what_is_there(_: str) -> None:
    """Spare the collector what lives as long as the process, once it is ready.

    A full collection walks the application, its schemas and all modules: with it one in a hundred
    requests under load waits 67 ms, without 9.
    """
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """uvicorn, which tells when it is ready and whose signals end this process with success."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain at the first signal, without raising it again as uvicorn would."""
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        # Only the main thread has signals; elsewhere cancellation is the way to stop.
        with contextlib.suppress(RuntimeError, ValueError):
            for number in handled:
                loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError, ValueError):
                for number in handled:
                    loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain; the second time, do not wait."""
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio turns off Nagle's algorithm only where it reads TCP, and with it
    # every second answer on a kept connection waits 40 ms for the client's delayed ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart must not wait for the connections of the process before it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as exc:
        sock.close()
        raise SettingsError(
            f"cannot listen on {host} port {port} ({exc.strerror or exc}): "
            "set WAYMARK_HTTP_HOST or WAYMARK_HTTP_PORT, or 0 for any free port"
        ) from exc
    return sock


def _security_headers(settings: Settings) -> dict[str, str]:
    headers = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Content-Security-Policy": _content_security_policy(settings),
    }
    if settings.hsts_max_age_s:
        headers["Strict-Transport-Security"] = f"max-age={settings.hsts_max_age_s}"
    return headers


def _content_security_policy(settings: Settings) -> str:
    # Tiles, sprites and glyphs come from wherever the style says; scripts only from here.
    remote = "https:"
    style = urlsplit(settings.map_style_url or "")
    if style.scheme == "http":
        remote += f" {style.scheme}://{style.netloc}"
    return (
        f"default-src 'self'; img-src 'self' data: blob: {remote}; "
        f"connect-src 'self' {remote}; font-src 'self' data: {remote}; "
        "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def _version() -> str:
    try:
        return version("waymark")
    except PackageNotFoundError:
        return "0"
