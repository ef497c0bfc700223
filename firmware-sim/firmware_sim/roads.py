"""A made-up city around a point: a bent street grid, traffic lights and four depots.

Plane coordinates are metres east and north of the centre. The same seed and centre give the same
city on every machine.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from math import atan2, cos, degrees, hypot, inf, radians, sqrt
from random import Random
from typing import NamedTuple

Xy = tuple[float, float]
Node = tuple[int, int]

GRID = 25  # streets each way
SPACING_M = 240.0
ARTERIAL_EVERY = 2  # every other street is a wide one; where two cross there is a light
ARTERIAL_MPS = 16.7
STREET_MPS = 11.1
YARD_MPS = 4.0
BRAKE_MPS2 = 2.0
_EDGE_PIECES = 6
_LIGHT_CYCLE_S = 60.0
_LIGHT_GREEN_S = 27.0  # per axis; the rest of its half is amber and counts as red

M_PER_DEG_LAT = 111_195.0  # a sphere of 6,371 km, to agree with haversine


class Depot(NamedTuple):
    """A yard beside a street; every vehicle passes its door at `door_xy`."""

    name: str
    node: Node
    door_xy: Xy
    yard_xy: Xy
    ring: tuple[tuple[float, float], ...]  # lon, lat, closed


class Light(NamedTuple):
    """A stop line `at_m` along a path; `axis` 0 is met driving east or west, 1 north or south."""

    at_m: float
    node: Node
    axis: int


class Door(NamedTuple):
    """A depot's door `at_m` along a path."""

    at_m: float
    depot: int
    inbound: bool


class Path:
    """A way to drive: vertices, the distance to each and the speed allowed there.

    `caps_mps` already foresees braking for bends and for the end, where it is 0.
    """

    __slots__ = ("along_m", "caps_mps", "doors", "length_m", "lights", "limits_mps", "points")

    def __init__(
        self,
        points: Sequence[Xy],
        limits_mps: Sequence[float],
        lights: Sequence[tuple[int, Node, int]],
        doors: Sequence[tuple[int, int, bool]],
    ) -> None:
        self.points = points
        self.limits_mps = limits_mps
        along = [0.0]
        for (x0, y0), (x1, y1) in pairwise(points):
            along.append(along[-1] + hypot(x1 - x0, y1 - y0))
        self.along_m = along
        self.length_m = along[-1]
        self.lights = [Light(along[i] - 3.0, node, axis) for i, node, axis in lights]
        self.doors = [Door(along[i], depot, inbound) for i, depot, inbound in doors]
        self.caps_mps = self._caps()

    def _caps(self) -> list[float]:
        points, along, limits = self.points, self.along_m, self.limits_mps
        caps = [0.0] * len(points)
        for i in range(len(points) - 2, -1, -1):
            cap = limits[i]
            if i:
                cap = min(cap, limits[i - 1], _bend_mps(points[i - 1], points[i], points[i + 1]))
            caps[i] = min(cap, sqrt(caps[i + 1] ** 2 + 2 * BRAKE_MPS2 * (along[i + 1] - along[i])))
        return caps

    def segment(self, at_m: float) -> int:
        """The index of the vertex at or before *at_m*, never the last one."""
        return min(bisect_right(self.along_m, at_m), len(self.along_m) - 1) - 1

    def place(self, at_m: float) -> tuple[float, float, float]:
        """x, y and course (degrees clockwise from north) after *at_m* metres."""
        along = self.along_m
        i = self.segment(at_m)
        (x0, y0), (x1, y1) = self.points[i], self.points[i + 1]
        share = (at_m - along[i]) / ((along[i + 1] - along[i]) or 1.0)
        course_deg = degrees(atan2(x1 - x0, y1 - y0)) % 360.0
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share, course_deg


def _bend_mps(a: Xy, b: Xy, c: Xy) -> float:
    """The speed at which a van takes the bend a-b-c."""
    before = atan2(b[0] - a[0], b[1] - a[1])
    after = atan2(c[0] - b[0], c[1] - b[1])
    turn_deg = abs((degrees(after - before) + 180.0) % 360.0 - 180.0)
    if turn_deg < 15.0:
        return inf
    return 8.0 if turn_deg < 45.0 else 4.5


class City:
    """Streets, lights and depots; immutable once built, shared by all vehicles."""

    def __init__(self, seed: int, center_lon: float, center_lat: float) -> None:
        self.center_lon = center_lon
        self.center_lat = center_lat
        self._m_per_deg_lon = M_PER_DEG_LAT * cos(radians(center_lat))
        rng = Random(f"city/{seed}")
        half = (GRID - 1) / 2
        self._nodes: dict[Node, Xy] = {
            (i, j): (
                (i - half) * SPACING_M + rng.uniform(-35, 35),
                (j - half) * SPACING_M + rng.uniform(-35, 35),
            )
            for i in range(GRID)
            for j in range(GRID)
        }
        self._bends = {
            (node, axis): rng.uniform(-0.15, 0.15) for node in self._nodes for axis in (0, 1)
        }
        self._phases = {node: rng.uniform(0, _LIGHT_CYCLE_S) for node in self._nodes}
        quarter, far = GRID // 4, GRID - 1 - GRID // 4
        corners = ((quarter, quarter), (far, quarter), (far, far), (quarter, far))
        self.depots = tuple(self._depot(k, node, rng) for k, node in enumerate(corners))

    def _depot(self, index: int, corner: Node, rng: Random) -> Depot:
        node = (corner[0] + rng.randint(-2, 2), corner[1] + rng.randint(-2, 2))
        x, y = self._nodes[node]
        yard = (x + 75.0, y + 75.0)
        # On the driveway, 3 m outside the yard's corner.
        door = (x + 45.0, y + 45.0)
        corners = ((-28, -28), (28, -28), (28, 28), (-28, 28), (-28, -28))
        ring = tuple(self.lon_lat(yard[0] + dx, yard[1] + dy) for dx, dy in corners)
        return Depot(f"depot-{index + 1}", node, door, yard, ring)

    def lon_lat(self, x: float, y: float) -> tuple[float, float]:
        """Degrees of a point of the plane, rounded to 7 places (1 cm)."""
        lon = self.center_lon + x / self._m_per_deg_lon
        return round((lon + 180.0) % 360.0 - 180.0, 7), round(
            self.center_lat + y / M_PER_DEG_LAT, 7
        )

    def crossing(self, node: Node) -> Xy:
        """Where the crossing *node* lies in the plane."""
        return self._nodes[node]

    def is_green(self, node: Node, axis: int, at_s: float) -> bool:
        """Whether traffic along *axis* may pass the light at *node*."""
        in_cycle = (at_s + self._phases[node]) % _LIGHT_CYCLE_S
        return in_cycle - axis * (_LIGHT_CYCLE_S / 2) < _LIGHT_GREEN_S and (
            in_cycle >= axis * (_LIGHT_CYCLE_S / 2)
        )

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every crossing, in a fixed order."""
        return tuple(self._nodes)

    def path(
        self, start: Node, end: Node, rng: Random, *, out_of: int = -1, into: int = -1
    ) -> Path:
        """A way from *start* to *end*, along the driveway of depot *out_of* or *into* if given.

        It never leaves the box the two span and prefers to go straight on.
        """
        points: list[Xy] = []
        limits: list[float] = []
        lights: list[tuple[int, Node, int]] = []
        doors: list[tuple[int, int, bool]] = []
        if out_of >= 0:
            depot = self.depots[out_of]
            points += [depot.yard_xy, depot.door_xy]
            limits += [YARD_MPS, YARD_MPS]
            doors.append((1, out_of, False))
        node = start
        points.append(self._nodes[node])
        came_along: int | None = None
        for following, axis in _walk(start, end, rng):
            if came_along is not None and _is_light(node):
                lights.append((len(points) - 1, node, came_along))
            came_along = axis
            piece = self._edge(node, following, axis)
            points += piece
            limits += [_limit_mps(node, axis)] * len(piece)
            node = following
        if into >= 0:
            depot = self.depots[into]
            points += [depot.door_xy, depot.yard_xy]
            limits += [YARD_MPS, YARD_MPS]
            doors.append((len(points) - 2, into, True))
        return Path(points, limits, lights, doors)

    def _edge(self, a: Node, b: Node, axis: int) -> list[Xy]:
        """The bent street from *a* to its neighbour *b*, without *a* itself."""
        low, high = (a, b) if a < b else (b, a)
        (x0, y0), (x1, y1) = self._nodes[low], self._nodes[high]
        bend = self._bends[low, axis]
        cx = (x0 + x1) / 2 - (y1 - y0) * bend
        cy = (y0 + y1) / 2 + (x1 - x0) * bend
        curve = []
        for k in range(_EDGE_PIECES + 1):
            u = k / _EDGE_PIECES
            v = 1.0 - u
            curve.append(
                (v * v * x0 + 2 * u * v * cx + u * u * x1, v * v * y0 + 2 * u * v * cy + u * u * y1)
            )
        return curve[1:] if a == low else curve[-2::-1]


def _walk(start: Node, end: Node, rng: Random) -> Iterator[tuple[Node, int]]:
    """The crossings from *start* to *end*, each with the axis of the street that leads there."""
    i, j = start
    axis = rng.randrange(2)
    while (i, j) != end:
        if i == end[0]:
            axis = 1
        elif j == end[1]:
            axis = 0
        elif rng.random() < 0.25:
            axis = 1 - axis
        if axis == 0:
            i += 1 if end[0] > i else -1
        else:
            j += 1 if end[1] > j else -1
        yield (i, j), axis


def _is_light(node: Node) -> bool:
    return node[0] % ARTERIAL_EVERY == 0 and node[1] % ARTERIAL_EVERY == 0


def _limit_mps(node: Node, axis: int) -> float:
    return ARTERIAL_MPS if node[1 - axis] % ARTERIAL_EVERY == 0 else STREET_MPS
