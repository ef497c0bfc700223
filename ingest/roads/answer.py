"""What providers of roads answer. Pure: bytes in, ways out."""

from typing import NamedTuple

import msgspec

from tracking.errors import RoadsUnavailable
from tracking.eta.nearby import Place
from tracking.route.polyline import decode

# There is no way: they are apart, or no road is near. Valhalla also knows ways too long for it.
_NO_WAY = {"NoRoute", "NoSegment", "DistanceExceeded"}


class RoadPath(NamedTuple):
    """A way by road: its [lon, lat], how long it is, and how long it takes in usual traffic."""

    points: list[Place]
    metres: float
    seconds: float


class _Route(msgspec.Struct):
    geometry: str
    distance: float
    duration: float


class _Answer(msgspec.Struct):
    code: str
    message: str = ""
    routes: list[_Route] = []


_answers = msgspec.json.Decoder(_Answer)


def read_answer(body: bytes, status: int = 200) -> RoadPath | None:
    """The way of an answer in OSRM's format with polyline6, which Valhalla speaks too; None: none.

    Raises:
        RoadsUnavailable: It is no such answer, or tells of an error.
    """
    try:
        answer = _answers.decode(body)
        if answer.code in _NO_WAY:
            return None
        if answer.code != "Ok":
            raise RoadsUnavailable(f"{answer.code}: {answer.message}"[:200])
        route = answer.routes[0]
        points = decode(route.geometry, 6)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, IndexError) as exc:
        raise RoadsUnavailable(f"no answer about roads (HTTP {status}): {exc}") from exc
    if len(points) < 2 or not all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in points):
        raise RoadsUnavailable("its way does not lie on the earth")
    return RoadPath(points, route.distance, route.duration)
