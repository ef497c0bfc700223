"""How vehicles move: trips from a depot over the streets and back, obeying limits and lights."""

from math import ceil, sqrt
from random import Random
from typing import Any, NamedTuple

from firmware_sim.roads import BRAKE_MPS2, City, Path
from firmware_sim.ticks import Ticks

_ACCELERATE_MPS2 = 1.5
# Late for a light that has just turned: harder than this and the driver goes on.
HARD_BRAKE_MPS2 = 4.0
ARRIVED_M = 0.5
_MAX_STEP_S = 1.0


class Passage(NamedTuple):
    """A vehicle went through a depot's door."""

    at_ms: int
    vehicle: int
    depot: int
    inbound: bool
    load: int  # pallets on board
    trip: int


class Observed(NamedTuple):
    """What a device would measure at `at_ms` (since the start) if nothing went wrong."""

    at_ms: int
    body: dict[str, Any]


class Vehicle:
    """One van: parks in its depot, drives to a few stops, comes back.

    `observe` moves it in steps that depend on the interval alone, so how a run is sliced or paced
    changes nothing.
    """

    def __init__(self, index: int, seed: int, city: City, interval_s: float) -> None:
        self.index = index
        self.passages: list[Passage] = []
        self._city = city
        self._rng = Random(f"vehicle/{seed}/{index}")
        # The fleet does not tick in unison.
        self.ticks = Ticks(interval_s, self._rng.random() * (interval_s * 1000))
        self._now_s = 0.0
        self._depot = index % len(city.depots)
        self._trip = 0
        self._load = 0
        self._stops_left = 0
        self._node = city.depots[self._depot].node
        self._battery = self._rng.uniform(0.4, 1.0)
        self._path: Path | None = None
        self._at_m = 0.0
        self._next_light = 0
        self._next_door = 0
        self.speed_mps = 0.0
        # Half of the fleet is out already; the rest leaves within the first minute and a half.
        if self._rng.random() < 0.5:
            self._node = self._rng.choice(city.nodes)
            self._load = self._rng.randint(0, 3)
            self._x, self._y = city.crossing(self._node)
            self._wait_s = self._rng.uniform(0.0, 15.0)
            self._stops_left = self._rng.randint(0, 2)
            self._parked = False
        else:
            self._x, self._y = city.depots[self._depot].yard_xy
            self._wait_s = self._rng.uniform(0.0, 90.0)
            self._parked = True
        self._course_deg = self._rng.uniform(0.0, 360.0)

    def observe(self, end_ms: int) -> list[Observed]:
        """Every fix due before *end_ms*, in order. Adds what it met to `passages`."""
        seen = []
        while (at_ms := self.ticks.next_ms) < end_ms:
            steps = max(1, ceil(self.ticks.interval_s / _MAX_STEP_S))
            step_s = (at_ms / 1000 - self._now_s) / steps
            if step_s > 0:
                for _ in range(steps):
                    self._step(step_s)
            self.ticks.advance()
            seen.append(Observed(at_ms, self._body()))
        return seen

    def _body(self) -> dict[str, Any]:
        lon, lat = self._city.lon_lat(self._x, self._y)
        return {
            "lon": lon,
            "lat": lat,
            "alt_m": round(34.0 + self._x * 0.002 + self._y * 0.001, 1),
            "speed_mps": round(self.speed_mps, 2),
            "course_deg": round(self._course_deg, 1) % 360.0,
            "accuracy_m": 4.0,
            "battery": round(self._battery, 3),
            "attrs": {"ignition": self._path is not None, "trip": self._trip},
        }

    def _step(self, step_s: float) -> None:
        self._now_s += step_s
        if self._path is None:
            self._battery = min(1.0, self._battery + step_s * 1e-4)
            self._wait_s -= step_s
            if self._wait_s <= 0.0:
                self._depart()
            return
        self._battery = max(0.05, self._battery - step_s * 1e-5)
        self._drive(self._path, step_s)

    def _drive(self, path: Path, step_s: float) -> None:
        self.speed_mps = self._next_speed_mps(path, step_s)
        before_m = self._at_m
        self._at_m = min(before_m + self.speed_mps * step_s, path.length_m)
        while self._next_door < len(path.doors) and path.doors[self._next_door].at_m <= self._at_m:
            door = path.doors[self._next_door]
            self._next_door += 1
            late_s = (self._at_m - door.at_m) / (self.speed_mps or 1.0)
            at_ms = int((self._now_s - late_s) * 1000)
            self.passages.append(
                Passage(at_ms, self.index, door.depot, door.inbound, self._load, self._trip)
            )
        if path.length_m - self._at_m <= ARRIVED_M:
            self._at_m = path.length_m
        self._x, self._y, self._course_deg = path.place(self._at_m)
        if self._at_m >= path.length_m:
            self._arrive()

    def _next_speed_mps(self, path: Path, step_s: float) -> float:
        at_m, speed = self._at_m, self.speed_mps
        fastest = free_mps(path, at_m, speed, step_s)
        while self._next_light < len(path.lights):
            light = path.lights[self._next_light]
            gap_m = light.at_m - at_m
            if gap_m >= 0.0:
                if not self._city.is_green(
                    light.node, light.axis, self._now_s
                ) and gap_m >= speed * speed / (2 * HARD_BRAKE_MPS2):
                    fastest = min(fastest, _safe_mps(gap_m, 0.0, step_s))
                break
            self._next_light += 1
        return max(0.0, fastest)

    def _depart(self) -> None:
        if self._parked:
            self._trip += 1
            self._load = self._rng.randint(1, 3)
            self._stops_left = self._rng.randint(1, 3)
        city, depot = self._city, self._depot
        out_of = depot if self._parked else -1
        if self._stops_left > 0:
            self._stops_left -= 1
            end, into = self._near(self._node), -1
        else:
            end, into = city.depots[depot].node, depot
        self._path = city.path(self._node, end, self._rng, out_of=out_of, into=into)
        self._node = end
        self._parked = False
        self._at_m = 0.0
        self._next_light = self._next_door = 0

    def _near(self, node: tuple[int, int]) -> tuple[int, int]:
        """Another crossing, a few streets away."""
        while True:
            other = self._rng.choice(self._city.nodes)
            if 2 <= abs(other[0] - node[0]) + abs(other[1] - node[1]) <= 10:
                return other

    def _arrive(self) -> None:
        path, self._path = self._path, None
        self.speed_mps = 0.0
        self._parked = bool(path and path.doors and path.doors[-1].inbound)
        if self._parked:
            self._wait_s = self._rng.uniform(40.0, 180.0)
            self._load = 0
        else:
            self._wait_s = self._rng.uniform(20.0, 90.0)
            self._load = max(0, self._load - 1)


def free_mps(path: Path, at_m: float, speed_mps: float, step_s: float) -> float:
    """The most that limits, bends and the end of *path* allow during the next step."""
    along = path.along_m
    i = path.segment(at_m)
    fastest = min(
        speed_mps + _ACCELERATE_MPS2 * step_s,
        path.limits_mps[i],
        _safe_mps(along[i + 1] - at_m, path.caps_mps[i + 1], step_s),
    )
    if i + 2 < len(along):
        fastest = min(fastest, _safe_mps(along[i + 2] - at_m, path.caps_mps[i + 2], step_s))
    return fastest


def _safe_mps(gap_m: float, then_mps: float, step_s: float) -> float:
    """The most a van may do during the next step and still do *then_mps* after *gap_m* (Krauss)."""
    reach = BRAKE_MPS2 * step_s
    return -reach + sqrt(reach * reach + then_mps * then_mps + 2 * BRAKE_MPS2 * max(0.0, gap_m))
