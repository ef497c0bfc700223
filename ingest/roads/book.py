"""Ways by road that are known, and those that somebody wants to know.

Whoever forecasts looks up what is known and is never kept waiting: what is missing is noted, asked
for behind its back, and there the next time. So a provider that is slow or away costs a forecast
its roads and nothing else.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import shapely
from h3.api import numpy_int as h3

from geofence.geodesy import Floats
from ingest.roads.breaker import Breaker
from ingest.roads.metrics import RoadMetrics
from ingest.roads.provider import TIMEOUT_S, Roads
from tracking.errors import RoadsUnavailable
from tracking.eta.nearby import Place
from tracking.eta.way import Way, way_of
from tracking.recent import Recent
from tracking.route.line import Line
from tracking.store.connection import Connection
from tracking.store.persistence import Store
from tracking.store.road_paths import (
    KnownWay,
    WayName,
    claim_question,
    keep_way,
    known_ways,
)

logger = logging.getLogger(__name__)

# Further beside its way, something has left it: lanes and yards are wide, and fixes err.
OFF_M = 200.0
# Further still, the old way tells less than a straight line until the new one is known.
_LOST_M = 1_000.0
# Corners by which a way bends less are left out, some 5 m: a tenth of them stays.
_BEND_DEG = 5e-5
_AT_ONCE = 4
_WAITING = 10_000
# Of ways in memory, 100 m each: some 100 MB.
_PIECES = 2_000_000


class Wanted(NamedTuple):
    """A way to a stop that somebody wants to know.

    Attributes:
        here: where it begins.
        there: where the stop is.
        under_way: number of the shipment that is on its way there now, and of the stop; None: from
            one place to another, for whoever goes there.
        since: the place that it left, whose way may do as well.
    """

    tenant_id: int
    here: Place
    there: Place
    under_way: tuple[int, int] | None = None
    since: Place | None = None

    def names(self) -> list[WayName]:
        """Of the ways that may do; the first is the one to ask for."""
        names = [] if self.under_way is None else ["{}/{}".format(*self.under_way)]
        start = self.here if self.under_way is None else self.since
        if start is not None:
            names.append(";".join(f"{lon:.5f},{lat:.5f}" for lon, lat in (start, self.there)))
        return [WayName(self.tenant_id, name) for name in names]


class Ahead(NamedTuple):
    """A way, and how far along it something is. The same way is the same object while it is kept.

    `beside_m` is how far beside it, which is to be driven too.
    """

    way: Way
    along_m: float
    beside_m: float

    @property
    def left_m(self) -> float:
        """What is still to be driven."""
        return self.way.length_m - self.along_m + self.beside_m


class _Kept(NamedTuple):
    made_at: datetime
    line: Line
    way: Way
    end: Place


class RoadBook:
    """What is known of ways by road. `known` may be asked while `keep` runs, on one loop."""

    def __init__(
        self, roads: Roads, database_url: str, per_s: float, metrics: RoadMetrics | None = None
    ) -> None:
        self.metrics = metrics or RoadMetrics()
        self._roads = roads
        self._database_url = database_url
        self._every_s = 1.0 / per_s
        self._breaker = Breaker()
        self._kept: Recent[WayName, _Kept] = Recent(_PIECES)
        # By the way to ask for; the latest to want it says from where.
        self._wanted: dict[WayName, Wanted] = {}
        self._news = asyncio.Event()
        self._settled = asyncio.Event()

    async def known(self, conn: Connection, wanted: Sequence[Wanted]) -> list[Ahead | None]:
        """What is known of each now, None where nothing fits; one query, and no waiting.

        What is missing, or was left, is noted to be asked for.
        """
        names = list(dict.fromkeys(name for one in wanted for name in one.names()))
        stored = await known_ways(conn, [(name, self._made_at(name)) for name in names])
        for name, way in stored.items():
            self._take_up(name, way)
        return [self._fitting(one, stored) for one in wanted]

    async def keep(self) -> None:
        """Ask for what is wanted, for ever; ended by cancelling it."""
        slots = asyncio.Semaphore(_AT_ONCE)
        turn = asyncio.Lock()
        async with Store(self._database_url, "waymark-roads") as store, asyncio.TaskGroup() as all_:
            while True:
                await slots.acquire()
                name, one = await self._next()
                task = all_.create_task(self._ask(store, turn, name, one), name="roads.ask")
                task.add_done_callback(lambda _: slots.release())
                await asyncio.sleep(self._every_s)

    def _fitting(self, one: Wanted, stored: dict[WayName, KnownWay]) -> Ahead | None:
        """The nearest of the ways that may do."""
        names = one.names()
        found = [
            ahead
            for name in names
            if name in stored and (ahead := self._ahead(name, one)) is not None
        ]
        best = min(found, key=lambda ahead: ahead.beside_m, default=None)
        off = best is None or best.beside_m > OFF_M
        result = "missing" if best is None else "off" if off else "on"
        self.metrics.known.labels(result).inc()
        if off and (names[0] not in stored or stored[names[0]].may_ask):
            self._want(names[0], one)
        return best if best is not None and best.beside_m <= _LOST_M else None

    def _ahead(self, name: WayName, one: Wanted) -> Ahead | None:
        kept = self._kept.get(name)
        # The stop may be elsewhere by now.
        if kept is None or _apart_m(kept.end, one.there) > OFF_M:
            return None
        at = kept.line.project(*one.here)
        # Measured along chords there, over ground here.
        along_m = at.along_m * kept.way.length_m / kept.line.length_m
        return Ahead(kept.way, along_m, at.offset_m)

    def _want(self, name: WayName, one: Wanted) -> None:
        if _apart_m(one.here, one.there) <= OFF_M:
            return
        if name in self._wanted or len(self._wanted) < _WAITING:
            self._wanted[name] = one
            self.metrics.waiting.set(len(self._wanted))
            self._news.set()

    def _made_at(self, name: WayName) -> datetime | None:
        kept = self._kept.get(name)
        return None if kept is None else kept.made_at

    def _take_up(self, name: WayName, stored: KnownWay) -> None:
        if stored.made_at == self._made_at(name):
            return
        self._kept.drop(name)
        if stored.points is None or stored.made_at is None:
            return
        points = np.frombuffer(stored.points, "<f8").reshape(-1, 2)
        way = way_of(points)
        line = Line(points[:, 0], points[:, 1])
        end = (float(points[-1, 0]), float(points[-1, 1]))
        self._kept.put(name, _Kept(stored.made_at, line, way, end), len(way.path.cells))

    async def _next(self) -> tuple[WayName, Wanted]:
        """The question whose turn it is, once the provider may be asked."""
        while True:
            await self._news.wait()
            pause_s = self._breaker.pause_s(time.monotonic())
            if pause_s is None:
                self._settled.clear()
                await self._settled.wait()
            elif pause_s > 0:
                await asyncio.sleep(pause_s)
            else:
                break
        name = next(iter(self._wanted))
        one = self._wanted.pop(name)
        self.metrics.waiting.set(len(self._wanted))
        if not self._wanted:
            self._news.clear()
        self._breaker.asked()
        return name, one

    async def _ask(self, store: Store, turn: asyncio.Lock, name: WayName, one: Wanted) -> None:
        """Ask for a way and keep the answer; no transaction is open meanwhile."""
        number = None if one.under_way is None else one.under_way[0]
        async with turn:
            claimed = await store.insist(lambda conn: claim_question(conn, name, number))
        if not claimed:
            self._breaker.withdrawn()
        else:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    path = await self._roads.path([one.here, one.there])
            except (RoadsUnavailable, TimeoutError) as exc:
                self._failed(exc)
            else:
                self._answered("none" if path is None else "found")
                points = None if path is None else _joined(one.here, path.points, one.there)
                packed = None if points is None else points.astype("<f8").tobytes()
                async with turn:
                    await store.insist(lambda conn: keep_way(conn, name, packed))
        self._settled.set()

    def _failed(self, exc: Exception) -> None:
        was_open = self._breaker.open
        chance = random.random()  # noqa: S311 -- jitter
        self._breaker.failed(time.monotonic(), chance)
        self.metrics.asked.labels("failed").inc()
        self.metrics.open.set(self._breaker.open)
        told = str(exc) or f"no answer within {TIMEOUT_S:g} s"
        level = logging.WARNING if self._breaker.open and not was_open else logging.DEBUG
        logger.log(level, "no roads, forecasts go by the detour: %s", told)

    def _answered(self, result: str) -> None:
        if self._breaker.open:
            logger.info("roads are there again")
        self._breaker.succeeded()
        self.metrics.asked.labels(result).inc()
        self.metrics.open.set(0)


def _joined(here: Place, points: Sequence[Place], there: Place) -> Floats:
    """The way from one place to the other by these points, without what hardly bends it."""
    whole = shapely.LineString([here, *points, there])
    bent = shapely.get_coordinates(whole.simplify(_BEND_DEG, preserve_topology=False))
    moved = np.ones(len(bent), bool)
    moved[1:] = (np.diff(bent, axis=0) != 0.0).any(axis=1)
    result: Floats = bent[moved]
    return result


def _apart_m(a: Place, b: Place) -> float:
    return float(h3.great_circle_distance((a[1], a[0]), (b[1], b[0]), unit="m"))
