"""The forecaster, a part of the monitor: looks at shipments under way when they are due.

A look is due after a while that grows with the time left, and at once when the shipment was
derived. Its row is locked from the look to the commit, and what it tells is dated at the fix it is
based on; so any number of monitors tell each change once, and one that is killed is repeated.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

from ingest.announce import event_announcements
from ingest.monitor_metrics import MonitorMetrics
from ingest.roads import RoadBook, RoadMetrics, Roads, UnderWay, ways_ahead
from tracking.eta.engine import Engine, local_day_s
from tracking.eta.guide import Guide, guide_of
from tracking.eta.itinerary import Given, Here, Site
from tracking.eta.nearby import Place
from tracking.eta.outlook import Look, Seen, look
from tracking.feed import EventRecord, Publisher
from tracking.recent import Recent
from tracking.schedules import zone_of
from tracking.settings import Settings
from tracking.shipment_fences import Circle
from tracking.shipments import Plan, Route, Stop, place_name
from tracking.store.alerts import Tenant
from tracking.store.connection import Connection
from tracking.store.eta_models import latest_engine
from tracking.store.eta_turn import (
    Carrier,
    Due,
    Forecast,
    Known,
    Made,
    known_of,
    plans_of,
    put_off,
    rest,
    save_looks,
    take_due,
)
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.fence_reads import footprints_of
from tracking.store.persistence import Store
from tracking.times import to_us, utc_now

logger = logging.getLogger(__name__)

# Some 100 ms of work; a derivation waits that long for the rows of its shipments.
_AT_ONCE = 200
_LOOK_EVERY_S = 0.5
# Of those nobody carries, or whose carrier has been quiet for long.
_SELDOM_S = 60.0
_UNSEEN_S = 15.0
# One whose events are about to be derived; that takes a moment.
_SOON_S = 1.0
_LOOKS_TILL_SILENT = 4
# One that cannot be forecast.
_FAILED_S = 300.0
# Engines are learned every few minutes.
_MODELS_EVERY_S = 15.0
# Plans kept from look to look, 3 kB each.
_PLANS = 20_000
# Of those with a route how far along it each stop is.
_GUIDES = 20_000


class _Subject(NamedTuple):
    """A shipment to be looked at, with all that is known of it before; `at`: it was seen then."""

    due: Due
    carrier: Carrier
    at: datetime
    known: Known
    plan: Plan

    @property
    def place(self) -> Place:
        """Where it was seen."""
        return self.carrier.lon, self.carrier.lat

    @property
    def here(self) -> Here:
        """Where and when it was seen."""
        return Here(self.place, self.at.timestamp())


class _Scene(NamedTuple):
    """The ground that it moves on."""

    subject: _Subject
    sites: Sequence[Site | None]
    by_route: Mapping[int, Given]


class _Looked(NamedTuple):
    """What the looks of a turn came to."""

    made: list[Made]
    forecasts: list[Forecast]
    occurrences: list[Occurrence]
    failed: list[int]


class Forecaster:
    """Takes turns; keeps plans and engines from turn to turn. One task uses it."""

    def __init__(
        self,
        silent_after_s: float,
        metrics: MonitorMetrics | None = None,
        roads: RoadBook | None = None,
    ) -> None:
        self._metrics = metrics or MonitorMetrics()
        self._roads = roads
        self._silent_after = timedelta(seconds=silent_after_s)
        self._plans = _Plans()
        self._engines: dict[int, tuple[float, int, Engine]] = {}

    async def turn(self, conn: Connection, now: datetime | None = None) -> list[EventRecord] | None:
        """Look at the shipments that are due; the events to publish, None: none was due."""
        now = now or utc_now()
        async with conn.transaction():
            due = await take_due(conn, now, _AT_ONCE)
            if not due:
                return None
            subjects = await self._subjects(conn, now, due)
            looked = _Looked([], [], [], [])
            for tenant in {subject.due.tenant for subject in subjects}:
                of_tenant = [one for one in subjects if one.due.tenant == tenant]
                await self._look(conn, tenant, of_tenant, looked)
            await put_off(conn, now, looked.failed, _FAILED_S)
            await save_looks(conn, now, looked.made, looked.forecasts)
            self._metrics.failed("forecasts", len(looked.failed))
            self._metrics.looks.inc(len(looked.made))
            return await write_events(conn, looked.occurrences)

    async def _subjects(
        self, conn: Connection, now: datetime, due: Sequence[Due]
    ) -> list[_Subject]:
        """Those of which something is new; the others are put off here."""
        alone, unseen, quiet, same, soon, unread = [], [], [], [], [], []
        fresh: list[tuple[Due, Carrier, datetime]] = []
        for one in due:
            carrier = one.carrier
            if carrier is None:
                alone.append(one.number)
            elif carrier.fix_time is None:
                unseen.append(one.number)
            elif now - carrier.fix_time > self._silent_after:
                quiet.append(one.number)
            elif one.known == (carrier.device_id, carrier.fix_time):
                same.append(one.number)
            else:
                fresh.append((one, carrier, carrier.fix_time))
        known = await known_of(conn, [one.number for one, _, _ in fresh])
        await self._plans.load(conn, {number: one.version for number, one in known.items()})
        subjects = []
        for one, carrier, at in fresh:
            of_it = known.get(one.number)
            plan = None if of_it is None else self._plans.of(one.number, of_it.version)
            if of_it is None or plan is None:
                # Its plan has changed just now, or it cannot be read.
                unread.append(one.number)
            elif of_it.moving:
                soon.append(one.number)
            else:
                subjects.append(_Subject(one, carrier, at, of_it, plan))
        await put_off(conn, now, alone, _SELDOM_S, alone=True)
        await put_off(conn, now, unseen, _UNSEEN_S, alone=True)
        await put_off(conn, now, soon, _SOON_S)
        # A derivation makes the one due at once.
        await put_off(conn, now, unread, _SELDOM_S)
        await rest(conn, now, quiet, _SELDOM_S)
        await rest(conn, now, same)
        return subjects

    async def _look(
        self, conn: Connection, tenant: Tenant, subjects: Sequence[_Subject], looked: _Looked
    ) -> None:
        """Look at shipments of one tenant; one that cannot be looked at is no matter of others."""
        model, engine = await self._engine(conn, tenant.id)
        fences = {s.fence for one in subjects for s in one.plan.stops if s.fence is not None}
        grounds = await footprints_of(conn, tenant.id, fences)
        scenes: list[_Scene] = []
        for one in subjects:
            with _alone(one, looked):
                scenes.append(self._scene(one, grounds))
        roads = await self._by_road(conn, tenant, scenes)
        for scene, by_road in zip(scenes, roads, strict=True):
            one = scene.subject
            with _alone(one, looked):
                seen = _seen(scene, {**by_road, **scene.by_route}, model)
                found = look(one.plan, one.known.record, one.known.estimate, seen, engine)
                forecasts = list(_forecasts(one, found, model))
                # What is looked at seldom must not seem to have been quiet.
                next_s = min(found.next_s, self._silent_after.total_seconds() / _LOOKS_TILL_SILENT)
                looked.made.append(Made(one.due.number, one.carrier, next_s, found.estimate))
                looked.forecasts.extend(forecasts)
                looked.occurrences.extend(_occurrences(one, found))

    def _scene(self, one: _Subject, grounds: Mapping[str, Circle]) -> _Scene:
        """Where its stops are, and its ways to them along its route."""
        sites = tuple(_site(stop, grounds) for stop in one.plan.stops)
        if one.plan.route is None:
            return _Scene(one, sites, {})
        guide = self._plans.guide(one.due.number, one.plan.route, sites)
        return _Scene(
            one, sites, guide.ways(one.plan, one.known.record, one.here, one.known.progress)
        )

    async def _by_road(
        self, conn: Connection, tenant: Tenant, scenes: Sequence[_Scene]
    ) -> Sequence[Mapping[int, Given]]:
        """The ways by road that are known to the stops ahead of each."""
        if self._roads is None:
            return [{} for _ in scenes]
        under_way = [
            UnderWay(
                scene.subject.due.number, scene.subject.plan, scene.subject.known.record,
                scene.subject.place, scene.sites, scene.by_route,
            )
            for scene in scenes
        ]  # fmt: skip
        return await ways_ahead(self._roads, conn, tenant.id, under_way)

    async def _engine(self, conn: Connection, tenant_id: int) -> tuple[int, Engine]:
        """The engine to forecast with, and its version."""
        looked_s, version, engine = self._engines.get(tenant_id, (-_MODELS_EVERY_S, 0, Engine()))
        if monotonic() - looked_s >= _MODELS_EVERY_S:
            version, engine = await latest_engine(conn, tenant_id, version) or (version, engine)
            self._engines[tenant_id] = monotonic(), version, engine
        return version, engine


class _Plans:
    """Plans by shipment, the last ones used, and their routes made ready."""

    def __init__(self) -> None:
        self._plans: Recent[int, tuple[int, Plan]] = Recent(_PLANS)
        self._guides: Recent[int, Guide] = Recent(_GUIDES)

    async def load(self, conn: Connection, versions: Mapping[int, int]) -> None:
        """Have the plans of these versions, as far as they are still the latest."""
        missing = [
            number for number, version in versions.items() if self.of(number, version) is None
        ]
        for number, version, plan in await plans_of(conn, missing) if missing else ():
            self._plans.put(number, (version, plan))

    def of(self, number: int, version: int) -> Plan | None:
        """A plan of that version."""
        found = self._plans.get(number)
        return None if found is None or found[0] != version else found[1]

    def guide(self, number: int, route: Route, sites: Sequence[Site | None]) -> Guide:
        """The route of a shipment whose stops are there."""
        found = self._guides.get(number)
        if found is None or found.route is not route or found.sites != sites:
            found = guide_of(route, sites)
            self._guides.put(number, found)
        return found


@contextmanager
def _alone(one: _Subject, looked: _Looked) -> Iterator[None]:
    """Whatever is wrong with a shipment is no matter of others."""
    try:
        yield
    except Exception:
        logger.exception("shipment %r cannot be forecast", one.plan.id)
        looked.failed.append(one.due.number)


def _seen(scene: _Scene, ways: Mapping[int, Given], model: int) -> Seen:
    """What a look at it sees."""
    one = scene.subject
    progress = one.known.progress
    return Seen(
        here=one.here,
        device=one.carrier.device,
        carrier=one.carrier.device_id,
        sites=scene.sites,
        ways=ways,
        off_route=None if progress is None else progress.off_route,
        version=one.known.version,
        model=model,
    )


def _site(stop: Stop, grounds: Mapping[str, Circle]) -> Site | None:
    if stop.place is not None:
        return Site((stop.place.lon, stop.place.lat), stop.place.radius_m)
    ground = None if stop.fence is None else grounds.get(stop.fence)
    return None if ground is None else Site((ground.lon, ground.lat), ground.radius_m)


def _forecasts(one: _Subject, found: Look, model: int) -> Iterator[Forecast]:
    made_us = to_us(one.at)
    for stop in found.keep:
        prior_s = one.at.timestamp() + stop.usual_s + stop.staying_s
        p10_us, p50_us, p90_us, prior_us = (round(1e6 * s) for s in (*stop.arrive, prior_s))
        planned = one.plan.stops[stop.stop]
        lane = " -> ".join(stop.lane or (place_name(planned),))
        yield Forecast(
            one.due.tenant.id, one.due.number, stop.stop, made_us, p10_us, p50_us, p90_us, prior_us,
            stop.legs, lane, _local_hour(planned, one), stop.path, model,
        )  # fmt: skip


def _local_hour(stop: Stop, one: _Subject) -> int:
    """The hour of the look at the stop; by the sun where the plan does not say the time zone."""
    if stop.window is not None:
        return one.at.astimezone(zone_of(stop.window.time_zone)).hour
    lon = one.carrier.lon if stop.place is None else stop.place.lon
    return int(local_day_s(one.at.timestamp(), lon) // 3_600)


def _occurrences(one: _Subject, found: Look) -> Iterator[Occurrence]:
    """Its events; they tell where the device was, and so go with it if it is erased."""
    for told in found.happenings:
        yield Occurrence(
            one.due.tenant.name, one.due.tenant.id, one.plan.subject, told.type, told.time_us,
            told.data, device_id=one.carrier.device_id, rule=told.rule,
        )  # fmt: skip


class Forecasts:
    """The forecaster as a task of the monitor, ended by cancelling it."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        metrics: MonitorMetrics,
        roads: Roads | None = None,
    ) -> None:
        self._database_url = settings.database_url.get_secret_value()
        self._publisher = publisher
        self._book = None
        if roads is not None:
            counted = RoadMetrics(metrics.registry)
            self._book = RoadBook(roads, self._database_url, settings.roads_per_s, counted)
        self._forecaster = Forecaster(settings.silent_after_s, metrics, self._book)

    async def follow(self) -> None:
        """Forecast what is due, for ever, and ask for the roads where somebody knows them."""
        async with asyncio.TaskGroup() as both:
            if self._book is not None:
                both.create_task(self._book.keep(), name="forecasts.roads")
            both.create_task(self._look(), name="forecasts.look")

    async def _look(self) -> None:
        async with Store(self._database_url, "waymark-forecasts") as store:
            while True:
                events = await store.insist(self._forecaster.turn)
                if events is None:
                    await asyncio.sleep(_LOOK_EVERY_S)
                else:
                    await self._publisher.publish(event_announcements(events))
