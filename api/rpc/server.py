"""Serves the calls of `tracking.proto` beside HTTP, in the same process and event loop."""

import logging
from types import TracebackType
from typing import Self

import grpc.aio

from api.rpc.service import TrackingService
from api.rpc.tracking_pb2_grpc import add_TrackingServiceServicer_to_server
from api.services import Services
from tracking.errors import SettingsError

logger = logging.getLogger(__name__)

_DRAIN_S = 5
_OPTIONS = [
    # A request names a few things; what is asked for may be large, what asks may not.
    ("grpc.max_receive_message_length", 1_048_576),
    # Half of the idle timeout of common proxies, as the websocket's ping.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


class RpcServer:
    """Listens on WAYMARK_GRPC_PORT for the time of the context; does nothing where that is 0."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        settings = self._services.settings
        if settings.grpc_port:
            host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
            self._server = grpc.aio.server(options=_OPTIONS)
            add_TrackingServiceServicer_to_server(TrackingService(self._services), self._server)
            try:
                self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
            except RuntimeError as exc:
                raise SettingsError(
                    f"cannot listen on {host} port {settings.grpc_port}: set WAYMARK_GRPC_PORT, "
                    "or 0 to do without gRPC"
                ) from exc
            await self._server.start()
            logger.info("gRPC on %s port %d", host, settings.grpc_port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            await self._server.stop(_DRAIN_S)
