"""The follower of planned routes, a part of the monitor.

It takes up what is new of the fixes of whatever carries a shipment and marks those that left their
route, came back or turned round to be derived anew. Any number may run: each takes what nobody else
has in hand, and what a shipment is told to have done is a function of its fixes.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from ingest.monitor_metrics import MonitorMetrics
from tracking.recent import Recent
from tracking.route.course import advanced
from tracking.route.follow import Ground, Thresholds
from tracking.route.line import Line
from tracking.shipments import Way
from tracking.store.connection import Connection
from tracking.store.persistence import Store
from tracking.store.routes import Followed, Taken, put_off, save_courses, take_routes, ways_of

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
# Some 100 ms of work with a few new fixes each, half a second with all that is read at most.
_AT_ONCE = 200
# One that cannot be followed is tried again after so long, one that is being planned anew soon.
_FAILED_S, _SOON_S = 300.0, 2.0
# Of ways kept from look to look: some 60 bytes each.
_POINTS_KEPT = 2_000_000


class _Guide(NamedTuple):
    """A way made ready to be followed."""

    line: Line
    thresholds: Thresholds


class Guides:
    """Ways made ready, the last used ones; to read and build one costs ten times a look."""

    def __init__(self) -> None:
        self._kept: Recent[str, _Guide] = Recent(_POINTS_KEPT)
        self._read: dict[str, Way] = {}

    async def load(self, conn: Connection, taken: Sequence[Taken]) -> None:
        """Read those of these shipments that are not here."""
        missing = [one.number for one in taken if one.digest not in self._kept]
        self._read = await ways_of(conn, missing) if missing else {}

    def of(self, digest: str) -> _Guide | None:
        """One that was loaded; None: its shipment is being planned anew, along another way.

        Raises:
            ValueError: it is no way.
        """
        guide = self._kept.get(digest)
        if guide is None and digest in self._read:
            way = self._read[digest]
            points = way.route.points
            guide = _Guide(Line.of(points), _thresholds(way))
            self._kept.put(digest, guide, len(points))
        return guide


class Routes:
    """The follower as a task of the monitor, ended by cancelling it."""

    def __init__(self, database_url: str, metrics: MonitorMetrics) -> None:
        self._database_url = database_url
        self._metrics = metrics
        self._guides = Guides()

    async def follow(self) -> None:
        """Follow, for ever."""
        async with Store(self._database_url, "waymark-routes") as store:
            while True:
                looked, failed = await store.insist(lambda conn: turn(conn, self._guides))
                self._metrics.failed("routes", failed)
                if looked < _AT_ONCE:
                    await asyncio.sleep(_LOOK_EVERY_S)


async def turn(conn: Connection, guides: Guides) -> tuple[int, int]:
    """Follow some that have news; how many there were, and of how many it failed."""
    async with conn.transaction():
        taken = await take_routes(conn, _AT_ONCE)
        await guides.load(conn, [one for one, _ in taken])
        followed: list[Followed] = []
        failed = 0
        for one, news in taken:
            try:
                guide = guides.of(one.digest)
                if guide is None:
                    await put_off(conn, one.number, _SOON_S)
                    continue
                course, whole = advanced(one.course, guide.line, guide.thresholds, news)
                followed.append(Followed(one, course, whole))
            except Exception:
                logger.exception("the route of shipment number %d cannot be followed", one.number)
                failed += 1
                await put_off(conn, one.number, _FAILED_S)
        await save_courses(conn, followed)
        return len(taken), failed


def _thresholds(way: Way) -> Thresholds:
    route = way.route
    stops = tuple(Ground(place.lon, place.lat, place.radius_m) for place in way.stops)
    return Thresholds(route.detect_m, route.clear_m, route.n, route.of_m, stops)
