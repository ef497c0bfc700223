"""The follower of planned routes, a part of the monitor.

It takes up what is new of the fixes of whatever carries a shipment and marks those that left their
route, came back or turned round to be derived anew. Any number may run: each takes what nobody else
has in hand, and what a shipment is told to have done is a function of its fixes.
"""

import asyncio

from tracking.route.course import advanced
from tracking.route.follow import Thresholds
from tracking.shipments import Route
from tracking.store.connection import Connection
from tracking.store.persistence import Store
from tracking.store.routes import mark_changed, save_course, take_routes

_LOOK_EVERY_S = 2.0
# Even if all have their whole history to be read, half a second of work.
_AT_ONCE = 25


async def turn(conn: Connection) -> int:
    """Follow some that have news; how many there were."""
    async with conn.transaction():
        taken = await take_routes(conn, _AT_ONCE)
        changed: list[int] = []
        for one, news in taken:
            route = one.route
            course, whole = advanced(one.course, route.line, _thresholds(route), news)
            await save_course(conn, one, course, whole=whole)
            if whole and course.transitions != one.told:
                changed.append(one.number)
        if changed:
            await mark_changed(conn, changed)
        return len(taken)


async def follow_routes(database_url: str) -> None:
    """Follow, for ever."""
    async with Store(database_url, "waymark-routes") as store:
        while True:
            if await store.insist(turn) < _AT_ONCE:
                await asyncio.sleep(_LOOK_EVERY_S)


def _thresholds(route: Route) -> Thresholds:
    return Thresholds(route.detect_m, route.clear_m, route.n, route.of_m)
