"""The follower of planned routes, a part of the monitor.

It takes up what is new of the fixes of whatever carries a shipment and marks those that left their
route, came back or turned round to be derived anew. Any number may run: each takes what nobody else
has in hand, and what a shipment is told to have done is a function of its fixes.
"""

import asyncio
import logging

from ingest.monitor_metrics import MonitorMetrics
from tracking.route.course import advanced
from tracking.route.follow import Ground, Thresholds
from tracking.shipments import Way
from tracking.store.connection import Connection
from tracking.store.persistence import Store
from tracking.store.routes import Followed, put_off, save_courses, take_routes

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
# Some 100 ms of work with a few new fixes each, half a second with all that is read at most.
_AT_ONCE = 200
# One that cannot be followed is tried again after so long.
_FAILED_S = 300.0


class Routes:
    """The follower as a task of the monitor, ended by cancelling it."""

    def __init__(self, database_url: str, metrics: MonitorMetrics) -> None:
        self._database_url = database_url
        self._metrics = metrics

    async def follow(self) -> None:
        """Follow, for ever."""
        async with Store(self._database_url, "waymark-routes") as store:
            while True:
                looked, failed = await store.insist(turn)
                self._metrics.failed("routes", failed)
                if looked < _AT_ONCE:
                    await asyncio.sleep(_LOOK_EVERY_S)


async def turn(conn: Connection) -> tuple[int, int]:
    """Follow some that have news; how many there were, and of how many it failed."""
    async with conn.transaction():
        taken = await take_routes(conn, _AT_ONCE)
        followed: list[Followed] = []
        for one, news in taken:
            try:
                line = one.way.route.line
                course, whole = advanced(one.course, line, _thresholds(one.way), news)
                followed.append(Followed(one, course, whole))
            except Exception:
                logger.exception("the route of shipment number %d cannot be followed", one.number)
                await put_off(conn, one.number, _FAILED_S)
        await save_courses(conn, followed)
        return len(taken), len(taken) - len(followed)


def _thresholds(way: Way) -> Thresholds:
    route = way.route
    stops = tuple(Ground(place.lon, place.lat, place.radius_m) for place in way.stops)
    return Thresholds(route.detect_m, route.clear_m, route.n, route.of_m, stops)
