"""The monitor process: facts that no message brings, alerts, and the upkeep of the store.

Any number may run: a silent device is found by one of them (`SKIP LOCKED`), an event is judged by
one of them (`ingest.alerts`), and upkeep is idempotent. It holds no state; a restart loses nothing.
"""

import asyncio
import logging
import signal
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta

from ingest.alerts import Alerts
from ingest.announce import event_announcements
from ingest.backfill import Backfills
from ingest.forecasts import Forecasts
from ingest.monitor_metrics import MonitorMetrics
from ingest.roads import Roads, open_roads
from ingest.routes import Routes
from ingest.shipments import Shipments
from ingest.training import Training
from tracking.errors import StoreError
from tracking.feed import EventRecord, Publisher
from tracking.roads import road_source
from tracking.settings import Settings
from tracking.store.commands import elapse_commands
from tracking.store.connection import Connection, translated
from tracking.store.connectivity import find_silent
from tracking.store.erasures import erase_some
from tracking.store.eventlog import write_events
from tracking.store.persistence import Store
from tracking.store.retention import apply_retention, remove_forecasts
from tracking.store.road_paths import forget_ways
from tracking.store.series import (
    SERIES,
    attach_day,
    compress_before,
    days_without_partition,
    drop_before,
    has_chunks,
    prune_checkpoints,
)

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
_SILENT_AT_ONCE = 500
# How late a command times out or expires.
_COMMANDS_EVERY_S = 0.5
_COMMANDS_AT_ONCE = 500
_UPKEEP_EVERY_S = 600.0
_FORGET_EVERY_S = 10.0
# Partitions wait for their day; a worker that runs over midnight never meets a missing one.
_DAYS_AHEAD = 3
# Days of old rows, as a replayed recording brings them, given a partition in one round.
_OLD_DAYS_AT_ONCE = 20


async def run(settings: Settings) -> None:
    """Watch and keep up until SIGTERM or SIGINT.

    Raises:
        SettingsError: whoever should know the roads cannot be used.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    source = road_source(settings.roads)
    opened = nullcontext() if source is None else open_roads(source, settings.roads_costing)
    async with opened as roads:
        monitor = Monitor(settings, roads)
        monitor.metrics.serve(settings.metrics_port)
        await _run(monitor, stopping)


async def _run(monitor: "Monitor", stopping: asyncio.Event) -> None:
    async with monitor.publisher, asyncio.TaskGroup() as tasks:
        loops = (
            monitor.watch,
            monitor.keep_up,
            monitor.alert,
            monitor.forget,
            monitor.ship,
            monitor.forecast,
            monitor.train,
            monitor.route,
            monitor.backfill,
            monitor.time_commands,
        )
        running = [tasks.create_task(loop(), name=f"monitor.{loop.__name__}") for loop in loops]
        await stopping.wait()
        for task in running:
            task.cancel()


class Monitor:
    """Ten loops, each ended by cancelling it."""

    def __init__(self, settings: Settings, roads: Roads | None = None) -> None:
        self._settings = settings
        self._roads = roads
        self._database_url = settings.database_url.get_secret_value()
        self.publisher = Publisher(settings.redis_url.get_secret_value())
        self.metrics = MonitorMetrics()

    async def watch(self) -> None:
        """Raise what deadlines say, for ever."""
        async with Store(self._database_url, "waymark-monitor") as store:
            while True:
                events = await store.insist(self._silent)
                await self.publisher.publish(event_announcements(events))
                if len(events) < _SILENT_AT_ONCE:
                    await asyncio.sleep(_LOOK_EVERY_S)

    async def time_commands(self) -> None:
        """End commands that were not sent or not answered in time, for ever."""
        async with Store(self._database_url, "waymark-commands") as store:
            while True:
                events = await store.insist(self._overdue)
                await self.publisher.publish(event_announcements(events))
                if len(events) < _COMMANDS_AT_ONCE:
                    await asyncio.sleep(_COMMANDS_EVERY_S)

    async def alert(self) -> None:
        """Raise alerts for what is recorded, for ever."""
        redis_url = self._settings.redis_url.get_secret_value()
        await Alerts(self._database_url, redis_url, self.publisher).follow()

    async def backfill(self) -> None:
        """Work in histories that were brought in, for ever."""
        await Backfills(self._settings, self.publisher).follow()

    async def ship(self) -> None:
        """Keep shipments as their events say, for ever."""
        redis_url = self._settings.redis_url.get_secret_value()
        await Shipments(self._database_url, redis_url, self.publisher, self.metrics).follow()

    async def forecast(self) -> None:
        """Forecast when shipments will be where, for ever."""
        forecasts = Forecasts(self._settings, self.publisher, self.metrics, self._roads)
        await forecasts.follow()

    async def train(self) -> None:
        """Learn of arrivals from what was driven, for ever."""
        await Training(self._settings).follow()

    async def route(self) -> None:
        """Follow planned routes, for ever."""
        await Routes(self._database_url, self.metrics).follow()

    async def keep_up(self) -> None:
        """Make, compress and drop partitions, for ever."""
        async with Store(self._database_url, "waymark-upkeep") as store:
            while True:
                await store.insist(lambda conn: upkeep(conn, self._settings))
                await asyncio.sleep(_UPKEEP_EVERY_S)

    async def forget(self) -> None:
        """Erase what people asked to be forgotten and what tenants no longer keep, for ever."""
        async with Store(self._database_url, "waymark-forget") as store:
            while True:
                while await store.insist(erase_some):
                    pass
                removed = await store.insist(apply_retention)
                logger.log(logging.INFO if removed else logging.DEBUG, "retention: %d", removed)
                await asyncio.sleep(_FORGET_EVERY_S)

    async def _overdue(self, conn: Connection) -> list[EventRecord]:
        async with conn.transaction():
            return await write_events(conn, await elapse_commands(conn, _COMMANDS_AT_ONCE))

    async def _silent(self, conn: Connection) -> list[EventRecord]:
        async with conn.transaction():
            found = await find_silent(conn, self._settings.silent_after_s, _SILENT_AT_ONCE)
            return await write_events(conn, found)


async def upkeep(conn: Connection, settings: Settings) -> None:
    """One round of upkeep. A step that must wait for a lock is left to the next round."""
    now = datetime.now(UTC)
    chunks = await has_chunks(conn)
    for series in SERIES:
        with suppress(StoreError), translated():
            if chunks:
                horizon = now - timedelta(days=settings.compress_after_days)
                n = await compress_before(conn, series, horizon)
                logger.log(logging.INFO if n else logging.DEBUG, "%s: compressed %d", series, n)
            else:
                days = await days_without_partition(
                    conn, series, ahead=_DAYS_AHEAD, limit=_OLD_DAYS_AT_ONCE
                )
                for day in days:
                    await attach_day(conn, series, day)
            if settings.retention_days:
                horizon = now - timedelta(days=settings.retention_days)
                n = await drop_before(conn, series, horizon)
                logger.log(logging.INFO if n else logging.DEBUG, "%s: dropped %d", series, n)
    await prune_checkpoints(conn, settings.late_horizon_h)
    await forget_ways(conn)
    await remove_forecasts(conn, now - timedelta(days=settings.forecast_days))
