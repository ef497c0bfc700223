"""A stand-in for Valhalla and OSRM: it speaks their HTTP, in answers of the shape of theirs.

It knows no roads: every way first goes along the parallel and then along the meridian. The real
engines are asked by `test_road_engines.py`, where they are installed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

from aiohttp import web
from h3.api import numpy_int as h3

from tracking.eta.nearby import Place
from tracking.route.polyline import encode

Answer = Callable[[list[Place]], Awaitable[web.StreamResponse]]


def way(places: Sequence[Place]) -> list[Place]:
    """The way the stand-in tells."""
    points = [places[0]]
    for here, there in pairwise(places):
        points += [(there[0], here[1]), there]
    return points


def metres(points: Sequence[Place]) -> float:
    return sum(
        float(h3.great_circle_distance((a[1], a[0]), (b[1], b[0]), unit="m"))
        for a, b in pairwise(points)
    )


async def found(places: list[Place]) -> web.StreamResponse:
    """As a server answers where there is a way."""
    return _route(way(places))


def by(bend: Place) -> Answer:
    """The same, where every way leads over one place."""

    async def answer(places: list[Place]) -> web.StreamResponse:
        return _route([places[0], bend, places[-1]])

    return answer


def _route(points: list[Place]) -> web.StreamResponse:
    length_m = metres(points)
    route = {
        "legs": [{"steps": [], "weight": 1.0, "summary": "", "duration": 1, "distance": 1}],
        "weight_name": "routability",
        "geometry": encode(points, 6),
        "weight": length_m / 11,
        "duration": length_m / 11,
        "distance": length_m,
    }
    return web.json_response({"code": "Ok", "routes": [route], "waypoints": []})


async def no_way(_: list[Place]) -> web.StreamResponse:
    """As both answer where there is none."""
    message = {"message": "Impossible route between points", "code": "NoRoute"}
    return web.json_response(message, status=400)


async def broken(_: list[Place]) -> web.StreamResponse:
    """As a proxy answers for a server that is down."""
    return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")


def held(until: asyncio.Event) -> Answer:
    """An answer that takes until then."""

    async def answer(places: list[Place]) -> web.StreamResponse:
        await until.wait()
        return await found(places)

    return answer


class StandIn:
    """What was asked, and how it is answered, which may be changed at any time."""

    def __init__(self) -> None:
        self.asked: list[list[Place]] = []
        self.costings: list[str] = []
        self.answer: Answer = found
        self.url = ""

    async def valhalla(self, request: web.Request) -> web.StreamResponse:
        question = json.loads(await request.read())
        assert question["format"] == "osrm"
        assert question["shape_format"] == "polyline6"
        self.costings.append(question["costing"])
        return await self._told([(at["lon"], at["lat"]) for at in question["locations"]])

    async def osrm(self, request: web.Request) -> web.StreamResponse:
        assert request.query["geometries"] == "polyline6"
        assert request.query["overview"] == "full"
        places = [place.split(",") for place in request.match_info["places"].split(";")]
        return await self._told([(float(lon), float(lat)) for lon, lat in places])

    async def status(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"version": "3.9.1", "tileset_last_modified": 1_795_879_546})

    async def _told(self, places: list[Place]) -> web.StreamResponse:
        self.asked.append(places)
        return await self.answer(places)


@asynccontextmanager
async def stand_in() -> AsyncIterator[StandIn]:
    """A stand-in on loopback."""
    made = StandIn()
    app = web.Application()
    app.router.add_post("/route", made.valhalla)
    app.router.add_get("/route/v1/driving/{places}", made.osrm)
    app.router.add_get("/status", made.status)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()
