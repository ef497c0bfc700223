"""`waymark deliver`: the process around the office."""

import asyncio
import resource
import signal
from collections.abc import Callable

from deliver.channels import Channels
from deliver.metrics import Metrics
from deliver.office import Office, Senders
from deliver.sender import Sender
from tracking.egress import Egress
from tracking.errors import SettingsError
from tracking.seal import Seal
from tracking.settings import Settings


async def run(settings: Settings, *, ready: Callable[[], None] = lambda: None) -> None:
    """Deliver until SIGTERM or SIGINT.

    Raises:
        SettingsError: a setting cannot be used.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _allow_many_sockets()
    metrics = Metrics()
    metrics.serve(settings.metrics_port)
    ready()
    await deliver(settings, stopping, metrics=metrics)


async def deliver(
    settings: Settings,
    stopping: asyncio.Event,
    *,
    metrics: Metrics | None = None,
    sender: Sender | None = None,
) -> None:
    """Deliver until `stopping` is set."""
    if settings.secret_key is None:
        raise SettingsError("WAYMARK_SECRET_KEY is not set: it opens the secrets of webhooks")
    egress = Egress.of(
        settings.webhook_allow_nets, settings.webhook_ports, http=settings.webhook_http
    )
    senders: dict[str, Senders] = {}
    async with sender or Sender(egress) as webhooks:
        senders["webhook"] = webhooks
        if settings.channels:
            senders["apprise"] = Channels(settings.channels, egress)
        office = Office(
            settings.database_url.get_secret_value(),
            settings.redis_url.get_secret_value(),
            senders,
            Seal(settings.secret_key.get_secret_value()),
            keep_days=settings.webhook_log_days,
            metrics=metrics or Metrics(),
        )
        await office.run(stopping)


def _allow_many_sockets() -> None:
    """Raise the limit of open files as far as we may: 1,000 targets have 8 requests each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
